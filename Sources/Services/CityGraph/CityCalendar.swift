/// What a place's opening hours are read against: its clock and its public holidays.
public struct CityCalendar: Hashable, Sendable {
  public var timeZone: CityTimeZone
  public var holidays: PublicHolidays

  public init(timeZone: CityTimeZone, holidays: PublicHolidays) {
    self.timeZone = timeZone
    self.holidays = holidays
  }

  public static let vienna = CityCalendar(timeZone: .vienna, holidays: .austria)
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
