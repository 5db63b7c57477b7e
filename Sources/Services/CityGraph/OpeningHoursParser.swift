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
      } else if case .number(let year)? = peek(), year >= 1900 {
        index += 1
        var last = year
        if peek() == .symbol("-"), case .number(let to)? = peek(1), to >= year {
          index += 2
          last = to
        }
        rule.years.append(year...last)
        if peek() == .symbol(","), case .number(let next)? = peek(1), next >= 1900 {
          index += 1
          continue
        }
      } else {
        break
      }
      found = true
    }
    if found || !rule.years.isEmpty { _ = accept(.symbol(":")) }
  }

  private mutating func weekRange() throws(OpeningHoursError) -> OpeningHours.WeekRange {
    let first = try number(1...53)
    let last = accept(.symbol("-")) ? try number(first...53) : first
    let step = accept(.symbol("/")) ? try number(1...52) : 1
    return .init(weeks: first...last, step: step)
  }

  private mutating func dateRanges(_ rule: inout OpeningHours.Rule) throws(OpeningHoursError) {
    while true {
      let first = try dateAnchor(inMonthOf: nil)
      var last = first
      if accept(.symbol("-")) { last = try dateAnchor(inMonthOf: first) }
      rule.dates.append(.init(first: first, last: last))
      // `Dec 24,31`: a further day of the same month.
      while peek() == .symbol(","), case .number(let day)? = peek(1), (1...31).contains(day), case .day = last {
        index += 1
        let one = try dateAnchor(inMonthOf: last)
        last = one
        if accept(.symbol("-")) { last = try dateAnchor(inMonthOf: one) }
        rule.dates.append(.init(first: one, last: last))
      }
      guard peek() == .symbol(","), startsDate(at: 1) else { return }
      index += 1
    }
  }

  private mutating func dateAnchor(inMonthOf former: OpeningHours.DateAnchor?) throws(OpeningHoursError) -> OpeningHours.DateAnchor {
    if case .day(let year, let month, _)? = former, case .number(let day)? = peek(), (1...31).contains(day) {
      index += 1
      return .day(year: year, month: month, day: day)
    }
    var year: Int?
    if case .number(let number)? = peek(), number >= 1900 {
      index += 1
      year = number
    }
    guard case .word(let word)? = peek() else { throw unexpected() }
    if word == "easter" {
      index += 1
      return .easter(year: year, offset: try dayOffset())
    }
    guard let month = Self.months[word] else { throw unexpected() }
    index += 1
    if case .number(let day)? = peek(), day < 1900, peek(1) != .symbol("/") {
      guard (1...31).contains(day) else { throw outOfRange() }
      index += 1
      return .day(year: year, month: month, day: day)
    }
    return .month(year: year, month: month)
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
      if word == "ph" {
        index += 1
        rule.holidays.append(try dayOffset())
      } else if word == "sh" {
        throw .unsupported("SH", offset: lexemes[index].offset)
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
      if dayOffsetFollows() { throw .unsupported("day offset", offset: lexemes[index].offset) }
    }
    return selector
  }

  private func dayOffsetFollows() -> Bool {
    if case .number? = peek(1), case .word(let unit)? = peek(2), unit.hasPrefix("day") { true } else { false }
  }

  // MARK: Times

  private mutating func times(_ rule: inout OpeningHours.Rule) throws(OpeningHoursError) {
    try refuseSunTimes()
    guard case .time? = peek() else { return }
    repeat { rule.spans.append(try span()) } while acceptComma { if case .time? = $0 { true } else { false } }
    if peek() == .symbol(",") { try refuseSunTimes(at: 1) }
  }

  private mutating func span() throws(OpeningHoursError) -> OpeningHours.Span {
    guard case .time(let start)? = peek() else { throw unexpected() }
    guard start <= 1440 else { throw outOfRange() }
    index += 1
    if accept(.symbol("+")) {
      // The guess of opening_hours.js: an evening's end is ten hours on at most, an afternoon's is midnight.
      let guess = start >= 17 * 60 ? start + 600 : 1440
      return .init(start: start, end: guess, openEnd: true, endIsUnknown: true)
    }
    guard accept(.symbol("-")) else {
      throw index < lexemes.count ? unexpected() : .unsupported("a point in time", offset: lexemes[index - 1].offset)
    }
    try refuseSunTimes()
    guard case .time(var end)? = peek() else { throw unexpected() }
    index += 1
    if end <= start { end += 1440 }
    guard end - start <= 1440, end <= 2880 else {
      throw .outOfRange(String(lexemes[index - 1].text), offset: lexemes[index - 1].offset)
    }
    if peek() == .symbol("/") { throw .unsupported("/", offset: lexemes[index].offset) }
    return .init(start: start, end: end, openEnd: accept(.symbol("+")))
  }

  private func refuseSunTimes(at ahead: Int = 0) throws(OpeningHoursError) {
    guard index + ahead < lexemes.count else { return }
    var position = index + ahead
    if lexemes[position].token == .symbol("("), position + 1 < lexemes.count { position += 1 }
    if case .word(let word) = lexemes[position].token, ["sunrise", "sunset", "dawn", "dusk"].contains(word) {
      throw .unsupported(word, offset: lexemes[position].offset)
    }
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
    case .word(let word)?: word == "easter" || Self.months[word] != nil
    case .number(let year)? where year >= 1900:
      if case .word(let word)? = peek(ahead + 1) { word == "easter" || Self.months[word] != nil } else { false }
    default: false
    }
  }

  private func isDay(_ token: Token?) -> Bool {
    if case .word(let word)? = token { word == "ph" || word == "sh" || Self.weekdays[word] != nil } else { false }
  }

  private func unexpected() -> OpeningHoursError {
    index < lexemes.count ? .unexpected(String(lexemes[index].text), offset: lexemes[index].offset) : .unexpected("the end", offset: end)
  }

  private func outOfRange() -> OpeningHoursError { .outOfRange(String(lexemes[index].text), offset: lexemes[index].offset) }

  private static let weekdays: [String: Weekday] = [
    "mo": .monday, "tu": .tuesday, "we": .wednesday, "th": .thursday, "fr": .friday, "sa": .saturday, "su": .sunday,
  ]
  private static let months: [String: Int] = [
    "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12,
  ]
}
