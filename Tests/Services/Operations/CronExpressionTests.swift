import Foundation
import SpanwireServiceKit
import Testing

@testable import SpanwireOperations

struct CronExpressionTests {
  struct Case: Sendable, CustomTestStringConvertible {
    var expression: String
    var zone: String
    var after: String
    /// The times that follow, in UTC.
    var times: [String]
    var testDescription: String { "\(expression) in \(zone) after \(after)" }

    init(_ expression: String, _ zone: String, _ after: String, _ times: String...) {
      (self.expression, self.zone, self.after, self.times) = (expression, zone, after, times)
    }
  }

  static let cases = [
    Case("0 9 * * 1-5", "Europe/Vienna", "2026-05-22T08:00:00Z", "2026-05-25T07:00:00Z", "2026-05-26T07:00:00Z"),
    Case("*/20 * * * *", "UTC", "2026-05-22T08:00:00Z", "2026-05-22T08:20:00Z", "2026-05-22T08:40:00Z", "2026-05-22T09:00:00Z"),
    Case("5/25 3 * * *", "UTC", "2026-05-22T08:00:00Z", "2026-05-23T03:05:00Z", "2026-05-23T03:30:00Z", "2026-05-23T03:55:00Z"),
    Case("0 0 29 feb *", "UTC", "2026-05-22T08:00:00Z", "2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"),
    Case("0 12 13 * fri", "UTC", "2026-02-11T00:00:00Z", "2026-02-13T12:00:00Z", "2026-02-20T12:00:00Z", "2026-02-27T12:00:00Z"),
    Case("0 12 */2 * 7", "UTC", "2026-02-01T13:00:00Z", "2026-02-15T12:00:00Z", "2026-03-01T12:00:00Z"),
    Case("30 22 31 12 *", "Asia/Kolkata", "2026-05-22T08:00:00Z", "2026-12-31T17:00:00Z"),
    // The clock is put forward at 02:00: what is due in the hour that is not there is due at 03:00, once.
    Case("30 2 * * *", "Europe/Vienna", "2026-03-28T00:00:00Z", "2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"),
    Case("*/15 2 * * *", "Europe/Vienna", "2026-03-28T23:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"),
    Case("0 3 * * *", "Europe/Vienna", "2026-03-28T23:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"),
    // The clock is put back at 03:00: what is due in the hour that comes twice is due the first time.
    Case("30 2 * * *", "Europe/Vienna", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
    Case("0 3 * * *", "Europe/Vienna", "2026-10-24T12:00:00Z", "2026-10-25T02:00:00Z", "2026-10-26T02:00:00Z"),
    // What is due every hour neither misses one nor has one for two.
    Case("30 * * * *", "Europe/Vienna", "2026-03-28T23:31:00Z", "2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z", "2026-03-29T02:30:00Z"),
    Case("30 * * * *", "Europe/Vienna", "2026-10-24T23:31:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"),
    // Half an hour is put here.
    Case("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", "2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"),
    Case("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"),
  ]

  @Test("The times of an expression follow its zone's clock, in spring and in autumn too", arguments: cases)
  func times(_ story: Case) throws {
    let expression = try CronExpression(story.expression)
    let zone = try #require(TimeZone(identifier: story.zone))
    var moment = try #require(RFC3339.parse(story.after)) / 1_000_000_000
    for expected in story.times {
      let next = try #require(expression.next(after: moment, in: zone))
      #expect(RFC3339.format(next * 1_000_000_000) == expected)
      moment = next
    }
  }

  @Test("The next time is the first minute that matches, minute by minute, in any zone")
  func oracle() throws {
    for (text, name) in [("*/7 1-4 * * *", "Europe/Vienna"), ("13 * 29 * *", "America/New_York"), ("0 0,2 * 3,10,11 sun", "Europe/London")]
    {
      let expression = try CronExpression(text)
      let zone = try #require(TimeZone(identifier: name))
      var calendar = Calendar(identifier: .gregorian)
      calendar.timeZone = zone
      let begin = try #require(RFC3339.parse("2026-01-01T00:00:00Z")) / 1_000_000_000
      var moment = begin
      while let next = expression.next(after: moment, in: zone), next < begin + 400 * 86_400 {
        // Foundation's calendar says what the clock shows then; on days when it is put, the table above is the judge.
        let date = Date(timeIntervalSince1970: Double(next))
        let (before, after) = (date.addingTimeInterval(-86_400), date.addingTimeInterval(86_400))
        let isQuiet = zone.secondsFromGMT(for: before) == zone.secondsFromGMT(for: after)
        let shown = calendar.dateComponents([.minute, .hour, .day, .month, .weekday], from: date)
        if isQuiet {
          let fields = text.split(separator: " ").map(String.init)
          #expect(try matches(fields[0], shown.minute, 0...59) && matches(fields[1], shown.hour, 0...23))
          #expect(try matches(fields[2], shown.day, 1...31) && matches(fields[3], shown.month, 1...12))
        }
        #expect(next > moment)
        moment = next
      }
    }
  }

  private func matches(_ field: String, _ value: Int?, _ range: ClosedRange<Int>) throws -> Bool {
    let value = try #require(value)
    if field == "*" { return true }
    return field.split(separator: ",").contains { part in
      if part.hasPrefix("*/") { return value % (Int(part.dropFirst(2)) ?? 1) == 0 }
      let ends = part.split(separator: "-").compactMap { Int($0) }
      return ends.count == 2 ? (ends[0]...ends[1]).contains(value) : ends.first == value
    }
  }

  @Test(
    "What is no expression is refused with the field that is wrong",
    arguments: [
      ("", "has 0 fields"), ("* * * *", "has 4 fields"), ("60 * * * *", "minute: 60"), ("* 24 * * *", "hour: 24"),
      ("* * 0 * *", "day of the month: 0"), ("* * * 13 *", "month: 13"), ("* * * * 8", "day of the week: 8"),
      ("* * * foo *", "month: foo"), ("5-1 * * * *", "minute: 5-1 runs backwards"), ("*/0 * * * *", "minute: 0 is no step"),
      ("1,,2 * * * *", "minute:  is no range"), ("1/2/3 * * * *", "minute: 1/2/3"), ("-1 * * * *", "minute:"),
    ])
  func refused(_ text: String, _ problem: String) {
    do throws(CronExpression.Fault) {
      _ = try CronExpression(text)
      Issue.record("\(text) was taken")
    } catch {
      #expect(error.description.hasPrefix(problem), "\(error.description)")
    }
  }

  @Test("An expression that no day matches has no next time")
  func never() throws {
    let utc = try #require(TimeZone(identifier: "UTC"))
    #expect(try CronExpression("0 0 30 2 *").next(after: 1_800_000_000, in: utc) == nil)
  }
}
