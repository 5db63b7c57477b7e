import Testing

@testable import SpanwireOrchestrator

@Suite("Whose turn it is")
struct FairQueueTests {
  private func entry(_ id: UInt64, _ tenant: String, agent: String = "a", session: String = "", byWorkers: Bool = false) -> FairQueue.Entry
  {
    FairQueue.Entry(id: id, tenant: tenant, agentSlug: agent, session: session, byWorkers: byWorkers)
  }

  private func filled(_ entries: [FairQueue.Entry], weights: [String: UInt32] = [:], limits: FairQueue.Limits = .init()) -> FairQueue {
    var queue = FairQueue(limits: limits, weights: weights)
    for entry in entries {
      let isAdmitted = queue.admit(entry.tenant)
      precondition(isAdmitted)
      queue.enqueue(entry)
    }
    return queue
  }

  private func drain(_ queue: inout FairQueue, _ count: Int, _ offer: FairQueue.Offer = .builtIn) -> [FairQueue.Entry] {
    (0..<count).compactMap { _ in queue.next(offer) }
  }

  @Test(
    "a greedy tenant gets as many turns as its weight says, however much it asks for",
    arguments: [
      (weights: [:], expected: ["greedy": 50, "modest": 50]),
      (weights: ["greedy": 3], expected: ["greedy": 75, "modest": 25]),
      (weights: ["modest": 4], expected: ["greedy": 20, "modest": 80]),
    ] as [(weights: [String: UInt32], expected: [String: Int])])
  func weighs(_ weights: [String: UInt32], _ expected: [String: Int]) {
    var queue = filled(
      (0..<1_000).map { entry($0, "greedy") } + (1_000..<1_100).map { entry($0, "modest") }, weights: weights)
    var turns: [String: Int] = [:]
    for entry in drain(&queue, 100) { turns[entry.tenant, default: 0] += 1 }
    #expect(turns == expected)
  }

  @Test("within a tenant the order is that of arrival, whatever the agent")
  func order() {
    var queue = filled([entry(1, "t", agent: "b"), entry(2, "t", agent: "a"), entry(3, "t", agent: "b")])
    #expect(drain(&queue, 5).map(\.id) == [1, 2, 3])
  }

  @Test("one that comes back is owed nothing for its absence")
  func absence() {
    let limits = FairQueue.Limits(runningPerTenant: 1_000, runningPerAgent: 1_000)
    var queue = filled((0..<200).map { entry($0, "busy") }, limits: limits)
    _ = drain(&queue, 100)
    for id in 200..<300 as Range<UInt64> {
      _ = queue.admit("late")
      queue.enqueue(entry(id, "late"))
    }
    var turns: [String: Int] = [:]
    for entry in drain(&queue, 20) { turns[entry.tenant, default: 0] += 1 }
    #expect(turns["busy"] == 10 && turns["late"] == 10)
  }

  @Test("no limit of running tasks is passed, and what ends makes room")
  func limits() {
    let limits = FairQueue.Limits(open: 100, openPerTenant: 50, runningPerTenant: 4, runningPerAgent: 3, runningPerSession: 2)
    var queue = filled(
      (0..<3).map { entry($0, "t", agent: "a", session: "s") } + (3..<6).map { entry($0, "t", agent: "a") }
        + (6..<9).map { entry($0, "t", agent: "b") }, limits: limits)
    let first = drain(&queue, 9)
    // Two of the session, a third of the agent, then the other agent's until the tenant is full.
    #expect(first.map(\.id) == [0, 1, 3, 6])
    queue.end(first[0])
    #expect(drain(&queue, 9).map(\.id) == [2])
    #expect(queue.running == 4 && queue.waiting == 4)
  }

  @Test("no more is admitted than there may be, of one tenant and of all")
  func admits() {
    var queue = FairQueue(limits: FairQueue.Limits(open: 3, openPerTenant: 2))
    #expect(
      [queue.admit("a"), queue.admit("a"), queue.admit("a"), queue.admit("b"), queue.admit("c")] == [true, true, false, true, false])
    queue.dismiss("a")
    #expect(queue.admit("c") && queue.open == 3)
  }

  @Test(
    "an offer takes only what it may",
    arguments: [
      (.builtIn, [1]), (.worker(tenant: "t", slugs: ["a"]), [2]), (.worker(tenant: nil, slugs: ["a"]), [2, 4]),
      (.worker(tenant: "t", slugs: ["a", "b"]), [2, 3]), (.worker(tenant: "u", slugs: ["b"]), []),
    ] as [(FairQueue.Offer, [UInt64])])
  func offers(_ offer: FairQueue.Offer, _ expected: [UInt64]) {
    var queue = filled([
      entry(1, "t"), entry(2, "t", byWorkers: true), entry(3, "t", agent: "b", byWorkers: true), entry(4, "u", byWorkers: true),
    ])
    #expect(drain(&queue, 4, offer).map(\.id).sorted() == expected)
  }

  @Test("what is taken back is not dispatched")
  func takesBack() {
    var queue = filled([entry(1, "t"), entry(2, "t")])
    let (first, again) = (queue.remove(entry(1, "t")), queue.remove(entry(1, "t")))
    #expect(first && !again)
    #expect(drain(&queue, 2).map(\.id) == [2])
  }
}
