/// The bounds of service levels, each with its reason.
enum SLALimits {
  /// Work watched at a time: all that may be open of agent tasks, and as much again. What comes beyond that is not measured.
  static let open = 10_000
  /// Work of which no end was heard for so long is no longer watched: it may last minutes.
  static let forgotten: Int64 = 24 * 3_600_000_000_000
  /// How old targets may be that another node changed, and of how many tenants they are in memory.
  static let targetLifetime = Duration.seconds(10)
  static let tenants = 1_000
  static let letters = 128
  static let defaultPageSize = 50
  static let maxPageSize = 500
  /// Measurements that a summary of one type is made of, the latest ones: a few milliseconds' sorting.
  static let summarised = 10_000
  /// How far back a summary goes when nobody says.
  static let summary: Int64 = 24 * 3_600_000_000_000
  /// Types of one tenant in a summary: the targets that its operators wrote.
  static let types = 1_000
  /// How long measurements are kept, and how many go in one transaction.
  static let retention: Int64 = 30 * 24 * 3_600_000_000_000
  static let purgeBatch = 500
}
