import SpanwireServiceKit
import Testing

@testable import SpanwireOperations

struct ScheduleDecisionTests {
  static let minute: Int64 = 60_000_000_000

  struct Case: Sendable, CustomTestStringConvertible {
    var name: String
    /// When it is decided, after it was due, in seconds; it is due every minute.
    var late: Int64 = 0
    var facts: ScheduleDecision.Facts
    /// Fates with how many times each stands for.
    var expected: [(ScheduleDecision.Fate, Int)]
    var testDescription: String { name }
  }

  private static func facts(
    paused: Bool = false, critical: Bool = false, incident: Bool = false, overlaps: Bool = false, running: Bool = false,
    coalesces: Bool = true
  ) -> ScheduleDecision.Facts {
    ScheduleDecision.Facts(
      isPaused: paused, isCritical: critical, isIncident: incident, overlaps: overlaps, isRunning: running, coalesces: coalesces)
  }

  private static let suspended = ScheduleDecision.Fate.isSkipped("incident mode suspends what is not critical")
  private static let running = ScheduleDecision.Fate.isSkipped("what it began last still runs")

  static let cases = [
    Case(name: "on time", facts: facts(), expected: [(.fires, 1)]),
    Case(name: "a little late", late: 29, facts: facts(coalesces: false), expected: [(.fires, 1)]),
    Case(name: "paused", facts: facts(paused: true), expected: [(.isSkipped("it is paused"), 1)]),
    Case(name: "paused and down", late: 150, facts: facts(paused: true, coalesces: false), expected: [(.isSkipped("it is paused"), 3)]),
    Case(name: "in an incident", facts: facts(incident: true), expected: [(suspended, 1)]),
    Case(name: "critical in an incident", facts: facts(critical: true, incident: true), expected: [(.fires, 1)]),
    Case(name: "its last work runs", facts: facts(running: true), expected: [(running, 1)]),
    Case(name: "its last work runs and may", facts: facts(overlaps: true, running: true), expected: [(.fires, 1)]),
    Case(name: "late for once, coalescing", late: 50, facts: facts(), expected: [(.fires, 1)]),
    Case(name: "down for three times, coalescing", late: 150, facts: facts(), expected: [(.coalesces, 3)]),
    Case(name: "down for three times in an incident", late: 150, facts: facts(incident: true), expected: [(suspended, 3)]),
    Case(name: "late for once, and gone", late: 50, facts: facts(coalesces: false), expected: [(.isMissed, 1)]),
    Case(name: "down for three times, all gone", late: 155, facts: facts(coalesces: false), expected: [(.isMissed, 3)]),
    Case(
      name: "down for three times, back for the third", late: 145, facts: facts(coalesces: false), expected: [(.isMissed, 2), (.fires, 1)]),
    Case(
      name: "back for the third, whose last work runs", late: 145, facts: facts(running: true, coalesces: false),
      expected: [(.isMissed, 2), (running, 1)]),
  ]

  @Test("What becomes of a schedule that is due", arguments: cases)
  func fates(_ story: Case) {
    let due = 1_000 * Self.minute
    let now = due + story.late * 1_000_000_000
    let decision = ScheduleDecision.decide(.every(Self.minute, from: 0), due: due, now: now, story.facts)
    #expect(decision.lines.map(\.fate) == story.expected.map(\.0))
    #expect(decision.lines.map(\.firings) == story.expected.map(\.1))
    #expect(decision.lines.first?.due == due)
    #expect(decision.next == (now / Self.minute + 1) * Self.minute)
  }

  @Test("Being down for long is counted up to a bound, and at once")
  func long() {
    let year: Int64 = 86_400_000_000_000 * 365
    let decision = ScheduleDecision.decide(
      .every(1_000_000_000, from: 0), due: 1_000_000_000, now: year, Self.facts(coalesces: true))
    #expect(decision.lines.map(\.firings) == [ScheduleLimits.counted + 1])
    let next: Int64? = year + 1_000_000_000
    #expect(decision.next == next)
  }
}
