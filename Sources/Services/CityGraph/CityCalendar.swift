/// What a place's opening hours are read against: its clock, its holidays and where it is.
public struct CityCalendar: Hashable, Sendable {
  public var timeZone: CityTimeZone
  public var holidays: PublicHolidays
  public var schoolHolidays: SchoolHolidays
  /// Where the sun is looked at; nil: sunrise and sunset are unknown.
  public var position: Coordinate?

  public init(
    timeZone: CityTimeZone, holidays: PublicHolidays = .none, schoolHolidays: SchoolHolidays = .none, position: Coordinate? = nil
  ) {
    self.timeZone = timeZone
    self.holidays = holidays
    self.schoolHolidays = schoolHolidays
    self.position = position
  }

  /// Vienna's, as seen from Stephansplatz.
  public static let vienna = CityCalendar(
    timeZone: .vienna, holidays: .austria, schoolHolidays: .vienna, position: Coordinate(latitude: 48.2085, longitude: 16.3731))
}

/// A country's public holidays, computed for any year.
public enum PublicHolidays: Hashable, Sendable {
  /// Austria's thirteen (Feiertagsruhegesetz 1957 §1 and §7). Good Friday is none since 2019.
  case austria
  /// None is known: a rule for `PH` never applies.
  case none

  /// The set of an ISO 3166-1 country; `.none` where we have no table.
  public init(country: String) { self = country == "AT" ? .austria : .none }

  public func contains(_ date: CivilDate) -> Bool { name(of: date) != nil }

  /// The holiday's name in the country's language, if the date is one.
  public func name(of date: CivilDate) -> String? {
    guard self == .austria else { return nil }
    let (year, month, day) = date.components
    switch (month, day) {
    case (1, 1): return "Neujahr"
    case (1, 6): return "Heilige Drei Könige"
    case (5, 1): return "Staatsfeiertag"
    case (8, 15): return "Mariä Himmelfahrt"
    case (10, 26): return "Nationalfeiertag"
    case (11, 1): return "Allerheiligen"
    case (12, 8): return "Mariä Empfängnis"
    case (12, 25): return "Christtag"
    case (12, 26): return "Stefanitag"
    default: break
    }
    guard (3...6).contains(month) else { return nil }  // Easter Monday is March 23 at the earliest, Corpus Christi June 24 at the latest
    switch date.daysSinceEpoch - CivilDate.easter(year).daysSinceEpoch {
    case 1: return "Ostermontag"
    case 39: return "Christi Himmelfahrt"
    case 50: return "Pfingstmontag"
    case 60: return "Fronleichnam"
    default: return nil
    }
  }
}

/// When a city's schools are closed, computed for any year.
public enum SchoolHolidays: Hashable, Sendable {
  /// Vienna's (Schulzeitgesetz 1985 §2, as it stands since the autumn holidays of 2020).
  case vienna
  /// None are known: a rule for `SH` never applies.
  case none

  /// Those of a market, `AT-VIE`; `.none` where we have no table.
  public init(market code: String) { self = code == "AT-VIE" ? .vienna : .none }

  public func contains(_ date: CivilDate) -> Bool {
    guard self == .vienna else { return false }
    let (year, month, day) = date.components
    switch month {
    case 12: return day >= 24 || day == 23 && date.weekday == .monday
    case 1: return day <= 6
    case 2:
      // The week of the first Monday.
      let first = CivilDate(year: year, month: 2, day: 1).next(.monday)
      return first <= date && date < first + 7
    case 3...6 where isAroundEaster(date, of: year): return true
    case 6, 7, 8, 9:
      // From the Saturday of June 28 to July 4, to the Sunday before September's first Monday.
      let begins = CivilDate(year: year, month: 6, day: 28).next(.saturday)
      return begins <= date && date < CivilDate(year: year, month: 9, day: 1).next(.monday)
    case 10: return day >= 27
    default: return false
    }
  }

  /// From the Saturday before Palm Sunday to Easter Monday, and from Saturday to Monday at Pentecost.
  private func isAroundEaster(_ date: CivilDate, of year: Int) -> Bool {
    let days = date.daysSinceEpoch - CivilDate.easter(year).daysSinceEpoch
    return (-8...1).contains(days) || (48...50).contains(days)
  }
}
