extension OpeningHours {
  /// Parses an `opening_hours` value. An empty text is an error too: its reader must answer "unknown", not "always closed".
  public init(parsing text: String) throws(OpeningHoursError) {
    guard text.utf8.count <= CityGraphLimits.openingHoursBytes else { throw .tooLong }
    var parser = OpeningHoursParser(lexemes: try OpeningHoursLexer.lexemes(text), end: text.utf8.count)
    self.init(text: text, rules: try parser.rules())
  }
}

/// Recursive descent over the lexemes; one method per production of the specification's grammar.
struct OpeningHoursParser {
  private typealias Token = OpeningHoursLexer.Token
  private let lexemes: [OpeningHoursLexer.Lexeme]
  private let end: Int
  private var index = 0

  init(lexemes: [OpeningHoursLexer.Lexeme], end: Int) {
    self.lexemes = lexemes
    self.end = end
  }

  // MARK: Rules

  mutating func rules() throws(OpeningHoursError) -> [OpeningHours.Rule] {
    guard !lexemes.isEmpty else { throw .empty }
    var rules: [OpeningHours.Rule] = []
    var joint = OpeningHours.Rule.Joint.replaces
    while true {
      rules.append(try rule(joint))
      guard rules.count <= CityGraphLimits.openingHoursRules else { throw .tooManyRules }
      if accept(.symbol(";")) {
        joint = .replaces
      } else if accept(.symbol(",")) {
        joint = .adds
      } else if accept(.fallback) {
        joint = .fallsBack
      } else if peek() == nil {
        return rules
      } else {
        throw unexpected()
      }
      if joint == .replaces, peek() == nil { return rules }  // a final semicolon
    }
  }

  private mutating func rule(_ joint: OpeningHours.Rule.Joint) throws(OpeningHoursError) -> OpeningHours.Rule {
    let began = index
    var rule = OpeningHours.Rule(joint: joint)
    if peek() == .number(24), peek(1) == .symbol("/"), peek(2) == .number(7) {
      index += 3
      rule.always = true
    } else {
      try wideRange(&rule)
      try days(&rule)
      try times(&rule)
    }
    try modifier(&rule)
    guard index > began else { throw unexpected() }
    return rule
  }

  private mutating func modifier(_ rule: inout OpeningHours.Rule) throws(OpeningHoursError) {
    var isExplicit = false
    if case .word(let word)? = peek() {
      switch word {
      case "open": rule.state = .open
      case "off", "closed": rule.state = .closed
      case "unknown": rule.state = .unknown
      default: throw unexpected()
      }
      isExplicit = true
      index += 1
    }
    if case .comment(let comment)? = peek() {
      index += 1
      rule.comment = comment
      if !isExplicit { rule.state = .unknown }  // "by appointment" alone promises nothing
    } else if !isExplicit, rule.spans.isEmpty, !rule.always {
      rule.state = .unknown  // a season without hours
    }
  }

  // MARK: Years, dates, weeks

  private mutating func wideRange(_ rule: inout OpeningHours.Rule) throws(OpeningHoursError) {
    var found = false
    while true {
      if case .word("week")? = peek() {
        index += 1
        repeat { rule.weeks.append(try weekRange()) } while acceptComma { if case .number? = $0 { true } else { false } }
      } else if startsDate() {
        try dateRanges(&rule)
      } else if isYear(peek()) {
        repeat { rule.years.append(try yearRange()) } while acceptComma(ifNext: isYear)
      } else {
        break
      }
      found = true
    }
    if found { _ = accept(.symbol(":")) }
  }

  private mutating func yearRange() throws(OpeningHoursError) -> OpeningHours.Stride {
    let first = try number(Self.years)
    if accept(.symbol("+")) { return .init(range: first...Self.years.upperBound) }
    let last = accept(.symbol("-")) ? try number(first...Self.years.upperBound) : first
    let step = last > first && accept(.symbol("/")) ? try number(1...100) : 1
    return .init(range: first...last, step: step)
  }

  private mutating func weekRange() throws(OpeningHoursError) -> OpeningHours.Stride {
    let first = try number(1...53)
    let last = accept(.symbol("-")) ? try number(first...53) : first
    let step = accept(.symbol("/")) ? try number(1...52) : 1
    return .init(range: first...last, step: step)
  }

  private mutating func dateRanges(_ rule: inout OpeningHours.Rule) throws(OpeningHoursError) {
    while true {
      var last = try dateRange(inMonthOf: nil, &rule)
      // `Dec 24,31`: a further day of the same month.
      while peek() == .symbol(","), case .number(let day)? = peek(1), (1...31).contains(day), case .day? = last?.base {
        index += 1
        last = try dateRange(inMonthOf: last, &rule)
      }
      guard peek() == .symbol(","), startsDate(at: 1) else { return }
      index += 1
    }
  }

  /// The range's last day, or nil if it has none.
  private mutating func dateRange(
    inMonthOf former: OpeningHours.DateAnchor?, _ rule: inout OpeningHours.Rule
  ) throws(OpeningHoursError) -> OpeningHours.DateAnchor? {
    let first = try dateAnchor(inMonthOf: former)
    var last: OpeningHours.DateAnchor? = first
    if accept(.symbol("-")) {
      last = try dateAnchor(inMonthOf: first)
    } else if accept(.symbol("+")) {
      last = nil
    }
    rule.dates.append(.init(first: first, last: last))
    return last
  }

  private mutating func dateAnchor(inMonthOf former: OpeningHours.DateAnchor?) throws(OpeningHoursError) -> OpeningHours.DateAnchor {
    if let former, case .day(let month, _) = former.base, case .number(let day)? = peek(), (1...31).contains(day) {
      guard day <= Self.daysInMonth[month - 1] else { throw outOfRange() }
      index += 1
      return try withOffsets(.init(year: former.year, base: .day(month: month, day: day)))
    }
    var year: Int?
    if isYear(peek()), case .number(let number)? = peek() {
      index += 1
      year = number
    }
    guard case .word(let word)? = peek() else { throw unexpected() }
    if word == "easter" {
      index += 1
      return try withOffsets(.init(year: year, base: .easter))
    }
    guard let month = Self.months[word] else { throw unexpected() }
    index += 1
    if case .number(let day)? = peek(), !isYear(peek()), peek(1) != .symbol("/") {
      guard (1...Self.daysInMonth[month - 1]).contains(day) else { throw outOfRange() }
      index += 1
      return try withOffsets(.init(year: year, base: .day(month: month, day: day)))
    }
    if let weekday = try weekdayOfMonth(after: former) {
      return try withOffsets(.init(year: year, base: .weekday(month: month, weekday.day, nth: weekday.nth)))
    }
    return .init(year: year, base: .month(month))
  }

  /// `Su[-1]` after a month, where it is a day that begins or ends a range: `Mar Su[-1]-Oct Su[-1]`. Elsewhere it says on which days of
  /// the season a rule applies: `Mar-Oct Su[-1]`.
  private mutating func weekdayOfMonth(after former: OpeningHours.DateAnchor?) throws(OpeningHoursError) -> (day: Weekday, nth: Int)? {
    guard case .word(let word)? = peek(), let weekday = Self.weekdays[word], peek(1) == .symbol("[") else { return nil }
    let sign = peek(2) == .symbol("-") ? -1 : 1
    let ahead = sign < 0 ? 3 : 2
    guard case .number(let nth)? = peek(ahead), peek(ahead + 1) == .symbol("]") else { return nil }
    if let former {
      if case .month = former.base { return nil }
    } else if peek(ahead + 2) != .symbol("-") || !startsDate(at: ahead + 3) {
      return nil
    }
    guard (1...5).contains(nth) else { throw outOfRange(at: index + ahead) }
    index += ahead + 2
    return (weekday, nth * sign)
  }

  /// `+Su` or `-Mo`, then `+1 day`; either may be missing.
  private mutating func withOffsets(_ anchor: OpeningHours.DateAnchor) throws(OpeningHoursError) -> OpeningHours.DateAnchor {
    var anchor = anchor
    // No range ends with a weekday, so a sign before one always means an offset.
    if case .symbol(let sign)? = peek(), sign == "+" || sign == "-", case .word(let word)? = peek(1), let weekday = Self.weekdays[word] {
      index += 2
      anchor.towards = (weekday, sign == "+")
    }
    anchor.days = try dayOffset()
    return anchor
  }

  /// `+1 day`, `-2 days`, or nothing.
  private mutating func dayOffset() throws(OpeningHoursError) -> Int {
    guard case .symbol(let sign)? = peek(), sign == "+" || sign == "-", case .number(let count)? = peek(1),
      case .word(let unit)? = peek(2), unit == "day" || unit == "days"
    else { return 0 }
    guard count <= 366 else { throw outOfRange() }
    index += 3
    return sign == "-" ? -count : count
  }

  // MARK: Days of the week

  private mutating func days(_ rule: inout OpeningHours.Rule) throws(OpeningHoursError) {
    guard isDay(peek()) else { return }
    while true {
      guard case .word(let word)? = peek() else { throw unexpected() }
      if word == "ph" || word == "sh" {
        index += 1
        rule.holidays.append(.init(kind: word == "ph" ? .public : .school, offset: try dayOffset()))
      } else {
        rule.days.append(try daySelector())
      }
      if peek() == .symbol(","), isDay(peek(1)) {
        index += 1
      } else if isDay(peek()) {
        rule.holidaysRestrictDays = true
      } else {
        break
      }
    }
    _ = accept(.symbol(":"))
  }

  private mutating func daySelector() throws(OpeningHoursError) -> OpeningHours.DaySelector {
    guard case .word(let word)? = peek(), let first = Self.weekdays[word] else { throw unexpected() }
    index += 1
    var selector = OpeningHours.DaySelector(first: first, last: first)
    if peek() == .symbol("-"), case .word(let word)? = peek(1), let last = Self.weekdays[word] {
      index += 2
      selector.last = last
    } else if accept(.symbol("[")) {
      repeat {
        let sign = accept(.symbol("-")) ? -1 : 1
        let from = try number(1...5)
        let to = sign > 0 && accept(.symbol("-")) ? try number(from...5) : from
        selector.nth += (from...to).map { $0 * sign }
      } while accept(.symbol(","))
      guard accept(.symbol("]")) else { throw unexpected() }
      selector.offset = try dayOffset()
    }
    return selector
  }

  // MARK: Times

  private mutating func times(_ rule: inout OpeningHours.Rule) throws(OpeningHoursError) {
    guard startsTime() else { return }
    repeat { rule.spans.append(try span()) } while acceptTimeComma()
  }

  private mutating func span() throws(OpeningHoursError) -> OpeningHours.Span {
    let began = index
    let start = try time()
    if case .minute(let minute) = start, minute > 1440 { throw outOfRange(at: began) }
    if accept(.symbol("+")) { return .init(start: start, end: nil, openEnd: true) }
    guard accept(.symbol("-")) else {
      throw .unsupported("a point in time", offset: lexemes[began].offset)
    }
    let ended = index
    var end = try time()
    if case .minute(let from) = start, case .minute(let to) = end {
      let minute = to <= from ? to + 1440 : to
      guard minute - from <= 1440, minute <= 2880 else { throw outOfRange(at: ended) }
      end = .minute(minute)
    }
    if peek() == .symbol("/") { throw .unsupported("/", offset: lexemes[index].offset) }
    return .init(start: start, end: end, openEnd: accept(.symbol("+")))
  }

  /// `10:00`, `sunset`, `(sunset-01:30)`.
  private mutating func time() throws(OpeningHoursError) -> OpeningHours.Time {
    switch peek() {
    case .time(let minute)?:
      index += 1
      return .minute(minute)
    case .word(let word)?:
      guard let event = SunEvent(rawValue: word) else { throw unexpected() }
      index += 1
      return .sun(event, offset: 0)
    case .symbol("(")?:
      index += 1
      guard case .word(let word)? = peek(), let event = SunEvent(rawValue: word) else { throw unexpected() }
      index += 1
      let isLater = peek() == .symbol("+")
      guard accept(.symbol("+")) || accept(.symbol("-")), case .time(let offset)? = peek() else { throw unexpected() }
      guard offset < 1440 else { throw outOfRange() }
      index += 1
      guard accept(.symbol(")")) else { throw unexpected() }
      return .sun(event, offset: isLater ? offset : -offset)
    default: throw unexpected()
    }
  }

  private func startsTime(at ahead: Int = 0) -> Bool {
    switch peek(ahead) {
    case .time?: true
    case .word(let word)?: SunEvent(rawValue: word) != nil
    case .symbol("(")?: true
    default: false
    }
  }

  private mutating func acceptTimeComma() -> Bool {
    guard peek() == .symbol(","), startsTime(at: 1) else { return false }
    index += 1
    return true
  }

  // MARK: Lexemes

  private func peek(_ ahead: Int = 0) -> Token? { index + ahead < lexemes.count ? lexemes[index + ahead].token : nil }

  private mutating func accept(_ token: Token) -> Bool {
    guard peek() == token else { return false }
    index += 1
    return true
  }

  /// Takes a comma if what follows continues the list; otherwise the comma begins a further rule.
  private mutating func acceptComma(ifNext continues: (Token?) -> Bool) -> Bool {
    guard peek() == .symbol(","), continues(peek(1)) else { return false }
    index += 1
    return true
  }

  private mutating func number(_ range: ClosedRange<Int>) throws(OpeningHoursError) -> Int {
    guard case .number(let number)? = peek() else { throw unexpected() }
    guard range.contains(number) else { throw outOfRange() }
    index += 1
    return number
  }

  private func startsDate(at ahead: Int = 0) -> Bool {
    switch peek(ahead) {
    case .word(let word)?: return word == "easter" || Self.months[word] != nil
    case .number? where isYear(peek(ahead)):
      guard case .word(let word)? = peek(ahead + 1) else { return false }
      return word == "easter" || Self.months[word] != nil
    default: return false
    }
  }

  private func isYear(_ token: Token?) -> Bool {
    if case .number(let year)? = token { Self.years.contains(year) } else { false }
  }

  private func isDay(_ token: Token?) -> Bool {
    if case .word(let word)? = token { word == "ph" || word == "sh" || Self.weekdays[word] != nil } else { false }
  }

  private func unexpected() -> OpeningHoursError {
    index < lexemes.count ? .unexpected(String(lexemes[index].text), offset: lexemes[index].offset) : .unexpected("the end", offset: end)
  }

  private func outOfRange(at position: Int? = nil) -> OpeningHoursError {
    let lexeme = lexemes[position ?? index]
    return .outOfRange(String(lexeme.text), offset: lexeme.offset)
  }

  private static let years = 1900...9999
  /// February has its leap day: a rule for it applies where there is one.
  private static let daysInMonth = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

  private static let weekdays: [String: Weekday] = [
    "mo": .monday, "tu": .tuesday, "we": .wednesday, "th": .thursday, "fr": .friday, "sa": .saturday, "su": .sunday,
  ]
  private static let months: [String: Int] = [
    "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12,
  ]
}
