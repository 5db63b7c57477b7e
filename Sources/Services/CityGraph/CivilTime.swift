/// Seconds since 1970-01-01T00:00:00Z.
public typealias UnixSeconds = Int64

/// The days of the week in the order OpenStreetMap counts them.
public enum Weekday: Int, Sendable, CaseIterable {
  case monday, tuesday, wednesday, thursday, friday, saturday, sunday
}

/// A day of the proleptic Gregorian calendar, in no time zone.
///
/// Stored as a count of days, so that stepping and comparing cost one addition; year, month and day are computed when asked for.
public struct CivilDate: Hashable, Comparable, Sendable {
  /// Days since 1970-01-01.
  public var daysSinceEpoch: Int

  public init(daysSinceEpoch: Int) { self.daysSinceEpoch = daysSinceEpoch }

  /// The date of a year, month (1–12) and day (1–31); a day past the month's end runs over into the next month.
  public init(year: Int, month: Int, day: Int) {
    // Howard Hinnant, "chrono-compatible low-level date algorithms": eras of 400 years, years that begin in March.
    let shifted = month <= 2 ? year - 1 : year
    let era = (shifted >= 0 ? shifted : shifted - 399) / 400
    let yearOfEra = shifted - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
    daysSinceEpoch = era * 146_097 + dayOfEra - 719_468
  }

  public static func < (a: Self, b: Self) -> Bool { a.daysSinceEpoch < b.daysSinceEpoch }
  public static func + (date: Self, days: Int) -> Self { Self(daysSinceEpoch: date.daysSinceEpoch + days) }
  public static func - (date: Self, days: Int) -> Self { Self(daysSinceEpoch: date.daysSinceEpoch - days) }

  /// Year, month (1–12) and day (1–31).
  public var components: (year: Int, month: Int, day: Int) {
    let shifted = daysSinceEpoch + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let marchMonth = (5 * dayOfYear + 2) / 153
    let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * marchMonth + 2) / 5 + 1)
  }

  public var weekday: Weekday {
    let index = (daysSinceEpoch + 3) % 7  // the epoch was a Thursday
    return Weekday(rawValue: index < 0 ? index + 7 : index)!
  }

  /// The ISO 8601 week, 1–53: the week belongs to the year its Thursday is in.
  public var isoWeek: Int {
    let thursday = self + (3 - weekday.rawValue)
    return (thursday.daysSinceEpoch - CivilDate(year: thursday.components.year, month: 1, day: 1).daysSinceEpoch) / 7 + 1
  }

  /// The first such weekday from the day on.
  public func next(_ weekday: Weekday) -> CivilDate { self + (weekday.rawValue - self.weekday.rawValue + 7) % 7 }

  /// The last such weekday up to the day.
  public func previous(_ weekday: Weekday) -> CivilDate { self - (self.weekday.rawValue - weekday.rawValue + 7) % 7 }

  /// How many days its month has.
  public var daysInMonth: Int {
    let (year, month, _) = components
    let next = month == 12 ? CivilDate(year: year + 1, month: 1, day: 1) : CivilDate(year: year, month: month + 1, day: 1)
    return next.daysSinceEpoch - CivilDate(year: year, month: month, day: 1).daysSinceEpoch
  }

  /// Easter Sunday of a year (the anonymous Gregorian computus, Nature 1876).
  public static func easter(_ year: Int) -> CivilDate {
    let (a, b, c) = (year % 19, year / 100, year % 100)
    let (d, e) = (b / 4, b % 4)
    let g = (8 * b + 13) / 25
    let h = (19 * a + b - d - g + 15) % 30
    let (i, k) = (c / 4, c % 4)
    let l = (32 + 2 * e + 2 * i - h - k) % 7
    let m = (a + 11 * h + 22 * l) / 451
    let n = h + l - 7 * m + 114
    return CivilDate(year: year, month: n / 31, day: n % 31 + 1)
  }
}
