/// Every bound of this room, with its reason.
public enum JourneyLimits {
  /// A document is read whole into memory and drawn on one page; the largest hand-made ones have some fifty.
  public static let nodes = 256
  /// Four ways out of every node.
  public static let edges = 1024
  /// A choice that a person can still read.
  public static let options = 16
  /// Stops ahead and behind: a day's twenty-five (the route optimiser's bound), changed a few times.
  public static let routeStops = 100
  /// Blocks that one journey remembers; a closed district.
  public static let blockedServicePoints = 256
  /// Nodes one command may pass without waiting. A valid document can't pass more than it has nodes between two waits.
  public static let automaticSteps = 64
  /// Signal names and values, reasons: they travel in events of the control lane.
  public static let textBytes = 1024
}
