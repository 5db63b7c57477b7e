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
  /// Stops of one change of route: what the city graph's optimiser takes.
  public static let changedStops = 25
  /// A reason is a sentence for the audit, not a document.
  public static let reasonCharacters = 500
  /// Entitlements a journey may draw on.
  public static let entitlements = 200
  public static let segments = 32
  /// Journeys of one page.
  public static let pageSize = 500
  public static let defaultPageSize = 50
  /// Running journeys that one block of a place reaches in its transaction.
  public static let journeysPerBlock = 2_000
  /// How long a call waits for what it asked of another service before it answers with the journey as it stands.
  public static let effectPatience = Duration.seconds(20)
  /// A walk between two stops when a route is re-validated: what the city graph takes for a walk.
  public static let walkingMetresPerSecond = 1.25
  /// How long a visit takes when the place doesn't say.
  public static let dwell: Int64 = 30 * 60 * 1_000_000_000
  /// How long a traveller would wait before a door that is about to open.
  public static let waitForOpening: Int64 = 60 * 60 * 1_000_000_000
  /// Documents held in memory, ready to be walked; a frozen one never changes, so that any may be dropped.
  public static let heldDocuments = 64
}
