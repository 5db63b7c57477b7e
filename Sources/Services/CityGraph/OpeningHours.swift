/// Whether a place is open. Unknown is an answer of its own and never counts as open.
public enum OpeningState: Sendable, Hashable { case open, closed, unknown }

/// Opening hours in OpenStreetMap's `opening_hours` syntax, parsed.
///
/// What it reads: weekday lists, ranges and n-th weekdays, `PH` with offsets, months, dates, years, `easter`, ISO weeks, times past
/// midnight, open ends, `24/7`, `open` / `off` / `closed` / `unknown`, comments, and the three ways rules follow one another:
/// `;` replaces a day's hours, `,` adds to them, `||` applies where nothing else did.
///
/// Where it is more careful than the specification, because a traveller stands before the door: a rule with dates or days but no
/// times says the season and not the hours, so it answers unknown and not open all day. Sun times and school holidays, which need
/// tables we do not hold, are refused as `.unsupported`.
///
/// Source: wiki.openstreetmap.org/wiki/Key:opening_hours/specification.
public struct OpeningHours: Sendable, Hashable {
  /// The text it was parsed from.
  public let text: String
  let rules: [Rule]

  init(text: String, rules: [Rule]) {
    self.text = text
    self.rules = rules
  }

  struct Rule: Sendable, Hashable {
    enum Joint: Sendable { case replaces, adds, fallsBack }
    var joint: Joint
    var always = false
    var years: [ClosedRange<Int>] = []
    var dates: [DateRange] = []
    var weeks: [WeekRange] = []
    var days: [DaySelector] = []
    /// Holidays stand beside the weekdays (`Mo,PH`) unless a blank joins them (`PH Mo-Fr`: holidays that are weekdays).
    var holidays: [Int] = []
    var holidaysRestrictDays = false
    var spans: [Span] = []
    var state: OpeningState = .open
    var comment: String?
  }

  struct WeekRange: Sendable, Hashable { var weeks: ClosedRange<Int>, step: Int }

  struct DaySelector: Sendable, Hashable {
    var first: Weekday, last: Weekday
    var nth: [Int] = []  // 1…5 from the month's start, -1…-5 from its end; empty: all
  }

  /// A day of the year, fixed or counted from Easter.
  enum DateAnchor: Sendable, Hashable {
    case day(year: Int?, month: Int, day: Int)
    case month(year: Int?, month: Int)
    case easter(year: Int?, offset: Int)
  }

  struct DateRange: Sendable, Hashable { var first: DateAnchor, last: DateAnchor }

  /// Minutes of the day, `end` up to 2880 when it runs past midnight.
  struct Span: Sendable, Hashable {
    var start: Int, end: Int
    var openEnd = false
    /// The end is not given at all (`17:00+`).
    var endIsUnknown = false
  }
}

/// Why a text is not opening hours we can read. Offsets count UTF-8 bytes from the start.
public enum OpeningHoursError: Error, Sendable, Hashable, CustomStringConvertible {
  case empty
  case tooLong
  case tooManyRules
  /// The syntax has it, this evaluator does not.
  case unsupported(String, offset: Int)
  case unexpected(String, offset: Int)
  case outOfRange(String, offset: Int)

  public var description: String {
    switch self {
    case .empty: "no opening hours are given"
    case .tooLong: "longer than \(CityGraphLimits.openingHoursBytes) bytes"
    case .tooManyRules: "more than \(CityGraphLimits.openingHoursRules) rules"
    case .unsupported(let what, let offset): "'\(what)' at \(offset) is not supported"
    case .unexpected(let what, let offset): "unexpected '\(what)' at \(offset)"
    case .outOfRange(let what, let offset): "'\(what)' at \(offset) is out of range"
    }
  }
}
