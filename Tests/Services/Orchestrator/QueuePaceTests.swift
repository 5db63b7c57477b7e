import Testing

@testable import SpanwireOrchestrator

struct QueuePaceTests {
  private static let lane = QueuePace.Lane(tenant: "vienna", agentSlug: "guide", byWorkers: true)
  private static let second: Int64 = 1_000_000_000

  @Test("What one more would wait is the pace of turns while others waited, times those before it")
  func pace() {
    var pace = QueuePace()
    #expect(pace.wait(Self.lane, behind: 1_000, at: 0) == 0, "nothing is known yet")
    for turn in 0..<20 { pace.dispatched(Self.lane, leaving: 10, at: Int64(turn) * Self.second) }
    #expect(pace.wait(Self.lane, behind: 10, at: 19 * Self.second) == 10 * Self.second)
    #expect(pace.wait(Self.lane, behind: 0, at: 19 * Self.second) == 0)
    var other = Self.lane
    other.tenant = "graz"
    #expect(pace.wait(other, behind: 10, at: 19 * Self.second) == 0, "another tenant has its own turns")
  }

  @Test("The time in which nobody waited says nothing, and turns that stopped coming say that it lasts")
  func gaps() {
    var pace = QueuePace()
    pace.dispatched(Self.lane, leaving: 1, at: 0)
    pace.dispatched(Self.lane, leaving: 0, at: Self.second)
    pace.dispatched(Self.lane, leaving: 1, at: 1_000 * Self.second)
    #expect(pace.wait(Self.lane, behind: 4, at: 1_000 * Self.second) == 4 * Self.second)
    #expect(pace.wait(Self.lane, behind: 4, at: 1_030 * Self.second) == 120 * Self.second)
  }

  @Test("A pace that changes is followed")
  func changes() {
    var pace = QueuePace()
    var now: Int64 = 0
    for interval in [Int64](repeating: 1, count: 20) + [Int64](repeating: 3, count: 40) {
      now += interval * Self.second
      pace.dispatched(Self.lane, leaving: 5, at: now)
    }
    let wait = pace.wait(Self.lane, behind: 1, at: now)
    #expect(wait > 2_900_000_000 && wait <= 3 * Self.second)
  }
}
