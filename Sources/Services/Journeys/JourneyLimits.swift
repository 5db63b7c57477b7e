/// Every bound of this room, with its reason.
public enum JourneyLimits {
  /// A document is read whole into memory and drawn on one page; the largest hand-made ones have some fifty.
  public static let nodes = 256
  /// Four ways out of every node.
  public static let edges = 1024
  /// With the journey's id and a visit number it is part of ids that have 128 characters at most.
  public static let nodeIDBytes = 64
  /// Titles, questions and messages: a page on a telephone.
  public static let documentTextBytes = 4_096
  /// A choice that a person can still read.
  public static let options = 16
  /// Waits of a journey: longer ones outlive what it runs on.
  public static let longestTimerDays: Int64 = 366
  public static let longestTimer = longestTimerDays * 86_400 * 1_000_000_000
  /// Stops ahead and behind: a day's twenty-five (the route optimiser's bound), changed a few times.
  public static let routeStops = 100
  /// Places of a tenant that are blocked at a time: every start and change of route reads them; a closed district.
  public static let blockedServicePoints = 1_000
  /// Places of one blocking: the cafés of a cluster.
  public static let placesPerBlock = 200
  /// Nodes one command may pass without waiting. A valid document can't pass more than it has nodes between two waits.
  public static let automaticSteps = 512
  /// Signal names and values, reasons: they travel in events of the control lane.
  public static let textBytes = 1024
  /// Signals that a journey remembers by name, for the conditions that ask for them.
  public static let signals = 64
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
  /// Running journeys that learn of a block in one transaction: a few milliseconds of the writer.
  public static let journeysPerSweep = 100
  /// Journeys that the answer to a block names; it counts the others.
  public static let touchedJourneys = 1_000
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
