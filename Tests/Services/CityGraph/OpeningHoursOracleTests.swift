import Foundation
import Testing

@testable import SpanwireCityGraph

/// Another's implementation of the same syntax, PyPI's opening-hours-py, on expressions made at random.
///
/// What is left out is what we answer otherwise on purpose: rules without hours, comments and open ends, which promise nothing; and nights
/// that go on into a day for which another rule has taken over, which they end at midnight.
@Suite("Opening hours, against another's evaluator")
struct OpeningHoursOracleTests {
  @Test("Both are open at the same times", arguments: [UInt64(1), 2, 3])
  func agrees(_ seed: UInt64) throws {
    var random = SeededGenerator(state: seed)
    let questions = (0..<150).map { _ -> (text: String, from: UnixSeconds, to: UnixSeconds) in
      let text = HoursGrammar(random: &random).text
      // They count Easter Sunday and Whit Sunday among Austria's holidays, the law does not: none of the days is one.
      let first = CivilDate(year: Int.random(in: 2026...2028, using: &random), month: 7, day: 1)
      let day = first + Int.random(in: 0..<(text.contains("PH") ? 180 : 365), using: &random)
      let last = day + Int.random(in: 3...60, using: &random)
      return (text, CityTimeZone.vienna.instant(day, minute: 0), CityTimeZone.vienna.instant(last, minute: 0))
    }
    let answers = try judge(questions)
    try #require(answers.count == questions.count)
    for (question, answer) in zip(questions, answers) {
      let ours = try OpeningHours(parsing: question.text).openWindows(from: question.from, to: question.to, in: .vienna)
      guard let theirs = answer as? [[Int]] else {
        Issue.record("\(question.text): they can't read it: \(answer)")
        continue
      }
      // Where the sun decides, two almanacs differ by a minute or two; of an hour that occurs twice, they take the second.
      let slack: Int64 = question.text.contains("sun") ? 120 : 0
      func isSame(_ ours: Int64, _ theirs: Int) -> Bool { [0, 3600].contains { abs(Int64(theirs) - ours - $0) <= slack } }
      let same = ours.count == theirs.count && zip(ours, theirs).allSatisfy { isSame($0.start, $1[0]) && isSame($0.end, $1[1]) }
      #expect(same, "\(question.text) from \(question.from): \(ours.map { [$0.start, $0.end] }) and \(theirs)")
    }
  }

  private func judge(_ questions: [(text: String, from: UnixSeconds, to: UnixSeconds)]) throws -> [Any] {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "opening_hours_oracle.py").path
    process.arguments = [ProcessInfo.processInfo.environment["SPANWIRE_PYTHON"] ?? "python3", script]
    let (input, output) = (Pipe(), Pipe())
    process.standardInput = input
    process.standardOutput = output
    try process.run()
    // All of it fits the pipe's buffer, and the judge reads a line before it answers it.
    for question in questions { input.fileHandleForWriting.write(Data("\(question.from)\t\(question.to)\t\(question.text)\n".utf8)) }
    try input.fileHandleForWriting.close()
    let lines = try #require(try output.fileHandleForReading.readToEnd()).split(separator: UInt8(ascii: "\n"))
    process.waitUntilExit()
    return try lines.map { try JSONSerialization.jsonObject(with: Data($0), options: .fragmentsAllowed) }
  }
}

/// Writes opening hours at random.
private struct HoursGrammar {
  private(set) var text = ""
  private static let days = ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"]
  private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

  init(random: inout SeededGenerator) {
    let hasNights = Bool.random(using: &random)
    let rules = Int.random(in: 1...4, using: &random)
    for number in 0..<rules {
      if number > 0 { text += hasNights || Int.random(in: 0..<4, using: &random) == 0 ? ", " : "; " }
      text += Self.rule(hasNights: hasNights, isFirst: number == 0, &random)
    }
  }

  private static func rule(hasNights: Bool, isFirst: Bool, _ random: inout SeededGenerator) -> String {
    var parts: [String] = []
    switch Int.random(in: 0..<10, using: &random) {
    case 0: parts.append("\(month(&random))-\(month(&random))")
    case 1:
      parts.append(
        "\(month(&random)) \(Int.random(in: 1...28, using: &random))-\(month(&random)) \(Int.random(in: 1...28, using: &random))")
    case 2: parts.append("week \(Int.random(in: 1...26, using: &random))-\(Int.random(in: 27...52, using: &random))/2")
    case 3: parts.append("2026-2027")
    case 4: parts.append("easter -\(Int.random(in: 1...9, using: &random)) days")
    default: break
    }
    if parts.isEmpty || Bool.random(using: &random) { parts.append(weekdays(&random)) }
    if !isFirst, !hasNights, Int.random(in: 0..<4, using: &random) == 0 {
      parts.append("off")
    } else {
      parts.append(times(hasNights: hasNights, &random))
    }
    return parts.joined(separator: " ")
  }

  private static func month(_ random: inout SeededGenerator) -> String { months.randomElement(using: &random)! }

  private static func weekdays(_ random: inout SeededGenerator) -> String {
    let (one, other) = (days.randomElement(using: &random)!, days.randomElement(using: &random)!)
    switch Int.random(in: 0..<8, using: &random) {
    case 0: return "PH"
    case 1: return one == other ? one : "\(one),\(other)"
    case 2: return "\(one)[\(Int.random(in: 1...4, using: &random))]"
    case 3: return "\(one)[-1]"
    case 4: return "PH,\(one)"
    default: return one == other ? one : "\(one)-\(other)"
    }
  }

  private static func times(hasNights: Bool, _ random: inout SeededGenerator) -> String {
    func clock(_ hours: ClosedRange<Int>) -> String {
      let (hour, minute) = (Int.random(in: hours, using: &random), [0, 15, 30, 45].randomElement(using: &random)!)
      return (hour < 10 ? "0\(hour)" : "\(hour)") + ":" + (minute == 0 ? "00" : "\(minute)")
    }
    switch Int.random(in: 0..<6, using: &random) {
    case 0: return "\(clock(6...9))-\(clock(10...12)),\(clock(13...16))-\(clock(17...22))"
    case 1 where hasNights: return "\(clock(16...22))-\(clock(0...5))"
    case 2 where hasNights: return "\(clock(16...22))-26:00"
    case 3: return "sunrise-sunset"
    case 4: return "\(clock(8...11))-(sunset-00:30)"
    default: return "\(clock(6...12))-\(clock(13...23))"
    }
  }
}
