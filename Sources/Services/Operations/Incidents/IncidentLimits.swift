/// The bounds of incident mode, each with its reason.
enum IncidentLimits {
  /// How often the log is looked through for what the mode goes by, and how late a target that was missed may be told of.
  static let look = Duration.seconds(1)
  /// Events read at a time, and how many times in one look: what is left is read in the next, so that none holds a reader for long.
  static let page = 500
  static let pagesPerLook = 64
  /// The seed's: more than a fifth of the work of five minutes failed. Back in order is half of that.
  static let window: Int64 = 300_000_000_000
  static let errorRate = 0.2
  static let calmErrorRate = 0.1
  /// Fewer ends than these say nothing of the platform.
  static let leastOutcomes: Int64 = 50
  /// Ends are counted by stretches of this length: thirty of them are a window.
  static let outcomeStretch: Int64 = 10_000_000_000
  /// The seed's: an hour that cost more than twice the average one of the day before.
  static let spendRatio = 2.0
  static let calmSpendRatio = 1.5
  static let spendWindow: Int64 = 3_600_000_000_000
  static let spendPast: Int64 = 24 * 3_600_000_000_000
  /// An average of less than this says nothing of what is usual.
  static let leastSpendPast: Int64 = 6 * 3_600_000_000_000
  /// What an hour may cost without anybody asking whether it is usual: one of the currency's units.
  static let leastSpend: Int64 = 1_000_000
  static let spendStretch: Int64 = 300_000_000_000
  /// Currencies told apart; what is spent in a further one is not judged.
  static let currencies = 16
  /// The seed's: more than three workers whose heartbeats failed within the window.
  static let silentWorkers = 3.0
  static let calmSilentWorkers = 2.0
  /// Workers told apart: as many as may be attached.
  static let workers = 1_024
  /// How long one trigger must hold before degraded becomes incident. Two at once need no confirmation.
  static let confirmation: Int64 = 60_000_000_000
  /// How long every trigger must have come down before the mode is normal again: as long as the window, so that no fault inside it is
  /// forgotten.
  static let calm: Int64 = 300_000_000_000
  /// How long a mode that an operator chose holds, and at most: nobody forgets it for longer than a day.
  static let forced = Duration.seconds(3_600)
  static let longestForced = Duration.seconds(24 * 3_600)
  static let reasonLetters = 500
  static let defaultPageSize = 50
  static let maxPageSize = 500
  /// Tries to deliver one alert, with pauses that double from the first: half a minute in all.
  static let alertAttempts = 5
  static let firstAlertPause: Int64 = 2_000_000_000
  /// How long one of them may take.
  static let alertTimeout = Duration.seconds(5)
  /// How old the mode may be that another node changed.
  static let modeLifetime = Duration.seconds(10)
}
