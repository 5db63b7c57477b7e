/// Whether a place is open. Unknown is an answer of its own and never counts as open.
public enum OpeningState: Sendable, Hashable { case open, closed, unknown }

/// Opening hours in OpenStreetMap's `opening_hours` syntax, parsed.
///
/// What it reads: weekday lists, ranges and n-th weekdays, `PH` and `SH`, offsets by days and to a weekday, months, dates, `easter`,
/// years with steps and open ends, ISO weeks, times past midnight, `dawn`, `sunrise`, `sunset`, `dusk` with offsets, open ends, `24/7`,
/// `open` / `off` / `closed` / `unknown`, comments, and the three ways rules follow one another: `;` replaces a day's hours, `,` adds
/// to them, `||` applies where nothing else did. Points in time and their repetitions (`10:00`, `10:00-16:00/01:30`) belong to
/// collections and tours, not to doors: they are refused as `.unsupported`.
///
/// Where it is more careful than the specification, because a traveller stands before the door: a rule with dates or days but no
/// times says the season and not the hours, so it answers unknown and not open all day; a comment without a state, and an evening
/// without an end, are no promise either. Where a day is off, the night that began the day before still goes on.
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
    var years: [Stride] = []
    var dates: [DateRange] = []
    var weeks: [Stride] = []
    var days: [DaySelector] = []
    /// Holidays stand beside the weekdays (`Mo,PH`) unless a blank joins them (`PH Mo-Fr`: holidays that are weekdays).
    var holidays: [HolidaySelector] = []
    var holidaysRestrictDays = false
    var spans: [Span] = []
    var state: OpeningState = .open
    var comment: String?
  }

  /// Years or weeks: from one to another, each or every n-th.
  struct Stride: Sendable, Hashable {
    var range: ClosedRange<Int>
    var step = 1

    func contains(_ value: Int) -> Bool { range.contains(value) && (value - range.lowerBound) % step == 0 }
  }

  struct DaySelector: Sendable, Hashable {
    var first: Weekday, last: Weekday
    var nth: [Int] = []  // 1…5 from the month's start, -1…-5 from its end; empty: all
    /// How many days after the n-th weekday.
    var offset = 0
  }

  struct HolidaySelector: Sendable, Hashable {
    enum Kind: Sendable { case `public`, school }
    var kind: Kind
    var offset = 0
  }

  /// A day of the year, fixed or counted from Easter or among the weekdays of a month, or a whole month.
  struct DateAnchor: Sendable, Hashable {
    enum Base: Sendable, Hashable {
      case day(month: Int, day: Int)
      case month(Int)
      case weekday(month: Int, Weekday, nth: Int)
      case easter
    }
    var year: Int?
    var base: Base
    /// `+Su`: the next Sunday, `-Su`: the one before; the day itself if it is one.
    var towards: (weekday: Weekday, isForward: Bool)?
    /// Days added after that.
    var days = 0

    static func == (a: Self, b: Self) -> Bool {
      a.year == b.year && a.base == b.base && a.days == b.days && a.towards?.weekday == b.towards?.weekday
        && a.towards?.isForward == b.towards?.isForward
    }

    func hash(into hasher: inout Hasher) {
      hasher.combine(year)
      hasher.combine(base)
    }
  }

  /// `last` is nil when the range has no end within the year (`Mar 1+`), or, with a year, none at all.
  struct DateRange: Sendable, Hashable { var first: DateAnchor, last: DateAnchor? }

  /// A time of day: minutes after midnight (to 2880, where it is an end past midnight), or so many after an event of the sun.
  enum Time: Sendable, Hashable {
    case minute(Int)
    case sun(SunEvent, offset: Int)
  }

  struct Span: Sendable, Hashable {
    var start: Time
    /// Nil when the end is not given at all (`17:00+`).
    var end: Time?
    var openEnd = false
  }

  /// Whether it names holidays of a kind.
  func names(_ kind: HolidaySelector.Kind) -> Bool { rules.contains { $0.holidays.contains { $0.kind == kind } } }
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

  /// Where in the text it is, in UTF-8 bytes from its start; 0 where the text is refused as a whole.
  public var offset: Int {
    switch self {
    case .empty, .tooLong, .tooManyRules: 0
    case .unsupported(_, let offset), .unexpected(_, let offset), .outOfRange(_, let offset): offset
    }
  }

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
