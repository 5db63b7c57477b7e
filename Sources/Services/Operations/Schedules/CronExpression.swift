import Foundation

/// Five fields: minute, hour, day of the month, month, day of the week. In each `*`, numbers, ranges, lists and steps; months and days of
/// the week also by their first three letters, Sunday as 0 or 7. If both kinds of days are restricted, either makes a day match.
///
/// A clock that is put forward skips times: what is due at one of them is due when the clock has been put. A clock that is put back shows
/// times twice: what is due at one of them is due the first time. What is due in every hour goes by the time that passes instead, and
/// neither misses an hour nor has one for two.
struct CronExpression: Sendable, Hashable {
  private let minutes: [Int]
  private let hours: [Int]
  private let days: Set<Int>
  private let months: Set<Int>
  private let weekdays: Set<Int>
  private let everyHour: Bool
  private let restrictsDays: Bool
  private let restrictsWeekdays: Bool

  /// Why a text is no expression.
  struct Fault: Error, CustomStringConvertible, Hashable {
    let description: String
  }

  init(_ text: String) throws(Fault) {
    let fields = text.split(whereSeparator: { $0 == " " || $0 == "\t" }).map { $0.lowercased() }
    guard fields.count == 5 else {
      throw Fault(description: "has \(fields.count) fields; five are minute, hour, day of the month, month, day of the week")
    }
    minutes = try Self.parse(fields[0], "minute", 0...59).sorted()
    hours = try Self.parse(fields[1], "hour", 0...23).sorted()
    days = try Self.parse(fields[2], "day of the month", 1...31)
    months = try Self.parse(fields[3], "month", 1...12, Self.monthNames)
    weekdays = Set(try Self.parse(fields[4], "day of the week", 0...7, Self.weekdayNames).map { $0 % 7 })
    everyHour = hours.count == 24
    restrictsDays = !fields[2].hasPrefix("*")
    restrictsWeekdays = !fields[4].hasPrefix("*")
  }

  private static let monthNames: [String: Int] = [
    "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12,
  ]
  private static let weekdayNames: [String: Int] = ["sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6]

  private static func parse(
    _ field: String, _ name: String, _ range: ClosedRange<Int>, _ names: [String: Int] = [:]
  ) throws(Fault) -> Set<Int> {
    func number(_ text: Substring) throws(Fault) -> Int {
      guard let value = names[String(text)] ?? (text.allSatisfy(\.isASCII) ? Int(text) : nil), range.contains(value) else {
        throw Fault(description: "\(name): \(text) is not one of \(range.lowerBound) to \(range.upperBound)")
      }
      return value
    }
    var values: Set<Int> = []
    for part in field.split(separator: ",", omittingEmptySubsequences: false) {
      let steps = part.split(separator: "/", omittingEmptySubsequences: false)
      guard let span = steps.first, !span.isEmpty, steps.count <= 2 else { throw Fault(description: "\(name): \(part) is no range") }
      var step = 1
      if steps.count == 2 {
        guard let asked = Int(steps[1]), (1...range.upperBound).contains(asked) else {
          throw Fault(description: "\(name): \(steps[1]) is no step")
        }
        step = asked
      }
      let (first, last): (Int, Int)
      let ends = span.split(separator: "-", omittingEmptySubsequences: false)
      if span == "*" {
        (first, last) = (range.lowerBound, range.upperBound)
      } else if ends.count == 2 {
        (first, last) = (try number(ends[0]), try number(ends[1]))
        guard first <= last else { throw Fault(description: "\(name): \(span) runs backwards") }
      } else {
        first = try number(span)
        // 5/15 is every fifteenth from 5 on.
        last = steps.count == 2 ? range.upperBound : first
      }
      values.formUnion(stride(from: first, through: last, by: step))
    }
    return values
  }

  // MARK: Times

  /// The first time after a moment, in seconds since 1970; nil when there is none within years.
  func next(after moment: Int64, in zone: TimeZone) -> Int64? {
    var day = Day(at: moment, zone)
    for _ in 0..<(ScheduleLimits.years * 366) {
      defer { day = day.following }
      guard matches(day), let found = times(of: day, in: zone).first(where: { $0 > moment }) else { continue }
      return found
    }
    return nil
  }

  private func matches(_ day: Day) -> Bool {
    guard months.contains(day.month) else { return false }
    if restrictsDays, restrictsWeekdays { return days.contains(day.day) || weekdays.contains(day.weekday) }
    return days.contains(day.day) && weekdays.contains(day.weekday)
  }

  /// The moments of a day, in their order.
  private func times(of day: Day, in zone: TimeZone) -> [Int64] {
    let clock = LocalClock(around: day.number * 86_400, zone)
    if everyHour { return elapsed(of: day, clock) }
    var times: [Int64] = []
    for hour in hours {
      for minute in minutes {
        let time = clock.moment(day.number * 86_400 + Int64(hour * 3_600 + minute * 60))
        if times.last != time { times.append(time) }
      }
    }
    return times
  }

  /// Every minute of a day that passes and whose number is one of those asked for.
  private func elapsed(of day: Day, _ clock: LocalClock) -> [Int64] {
    let (begin, end) = (clock.moment(day.number * 86_400), clock.moment((day.number + 1) * 86_400))
    let wanted = Set(minutes.map(Int64.init))
    return stride(from: begin, to: end, by: 60).filter { wanted.contains(($0 + clock.offset(at: $0)) / 60 % 60) }
  }
}

/// A zone's clock on one day. Times are seconds since 1970, wall times as if the clock were that of Greenwich.
private struct LocalClock {
  private let zone: TimeZone
  private let before: Int64
  private let after: Int64

  /// - Parameter wall: when the day begins.
  init(around wall: Int64, _ zone: TimeZone) {
    self.zone = zone
    // No clock is further than 14 hours from Greenwich, and none is put twice within three days.
    before = Self.offset(wall - 86_400, zone)
    after = Self.offset(wall + 2 * 86_400, zone)
  }

  private static func offset(_ moment: Int64, _ zone: TimeZone) -> Int64 {
    Int64(zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(moment))))
  }

  /// Seconds east of Greenwich.
  func offset(at moment: Int64) -> Int64 { before == after ? before : Self.offset(moment, zone) }

  /// When the clock shows a time: the first time that it does, or when it is put forward over it.
  func moment(_ wall: Int64) -> Int64 {
    if offset(at: wall - before) == before { return wall - before }
    if offset(at: wall - after) == after { return wall - after }
    var (low, high) = (wall - 86_400, wall + 86_400)
    while high - low > 1 {
      let middle = low + (high - low) / 2
      if offset(at: middle) == before { low = middle } else { high = middle }
    }
    return high
  }
}

/// A day of the Gregorian calendar.
private struct Day {
  /// Since 1970-01-01.
  var number: Int64

  /// The day that it is at a moment.
  init(at moment: Int64, _ zone: TimeZone) {
    let local = moment + Int64(zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(moment))))
    number = local >= 0 ? local / 86_400 : (local - 86_399) / 86_400
  }

  private init(number: Int64) { self.number = number }

  var following: Day { Day(number: number + 1) }

  /// 0 is Sunday; the first of January 1970 was a Thursday.
  var weekday: Int { Int(((number + 4) % 7 + 7) % 7) }

  var month: Int { civil.month }
  var day: Int { civil.day }

  /// Howard Hinnant's "civil_from_days".
  private var civil: (month: Int, day: Int) {
    let shifted = number + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    return (Int(shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9), Int(dayOfYear - (153 * shiftedMonth + 2) / 5 + 1))
  }
}
