/// The bounds of schedules, each with its reason.
enum ScheduleLimits {
  /// Of one tenant: each has a timer of its own.
  static let schedules = 1_000
  /// Runs kept of one schedule: a week of one that is due every hour.
  static let runs = 200
  /// How late a time may be decided before the platform counts as having been down at it.
  static let grace: Int64 = 30_000_000_000
  /// Times counted of one stretch of being down; there may have been more.
  static let counted = 1_000
  /// Of one that is due by intervals: more often is no schedule but a loop, more rarely nobody remembers it.
  static let shortest = Duration.seconds(1)
  static let longest = Duration.seconds(366 * 24 * 3_600)
  static let titleLetters = 200
  static let reasonLetters = 500
  /// Letters of a cron expression: far more than five fields need.
  static let expressionLetters = 200
  /// Years that a time of day is looked for in: a leap day comes within eight.
  static let years = 9
  static let defaultPageSize = 50
  static let maxPageSize = 500
}
