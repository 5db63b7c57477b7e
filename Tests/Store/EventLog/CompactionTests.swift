import SpanwireDatabase
import SpanwireSchema
import SpanwireServiceKit
import Synchronization
import Testing

@testable import SpanwireEventLog

@Suite(.timeLimit(.minutes(15))) struct CompactionTests {
  /// Fills the log with so many events a day of each retention, session by session; the clock is left at the last one.
  static func fill(_ test: TestEnvironment, days: Int, perDay: Int = 150) async throws {
    for day in 0..<days {
      test.clock.set(Int64(day) * 86_400_000_000_000 + 1)
      for start in stride(from: 0, to: perDay, by: 50) {
        _ = try await test.append(
          (start..<start + 50).map { index in
            let session = "PRS-\(index % 7)"
            return switch index % 3 {
            case 0: test.draft(JourneyChoiceMade(nodeID: "n", option: "tea", revision: 2), session: session)
            case 1: test.draft(AgentTaskStarted(), session: session, task: "TSK-1")
            default: test.draft(AgentTaskProgress(), session: session, task: "TSK-1")
            }
          })
      }
    }
  }

  static func kept(_ test: TestEnvironment) async throws -> [EventRetention: Int] {
    var counts: [EventRetention: Int] = [:]
    try await test.environment.log.replay(LogFilter(tenant: nil)) { counts[$0.header.retention, default: 0] += 1 }
    return counts
  }

  @Test("what is past its retention goes, by type; business events stay, positions stay, and the log still proves whole")
  func byType() async throws {
    let test = try await TestEnvironment()
    try await Self.fill(test, days: 40)
    let log = test.environment.log
    let all = try await log.list(LogFilter(tenant: nil), after: .beginning, limit: 10_000).events.filter {
      $0.header.retention == .business
    }
    let periods = RetentionPeriods(operational: .seconds(30 * 86_400), transient: .seconds(5 * 86_400))
    let done = try await log.compact(periods, now: test.clock.now)
    let kept = try await Self.kept(test)
    #expect(kept[.business] == 2_000)
    // Whole pages, each as old as its last event: up to a page's worth more is kept.
    #expect((1_550...1_600).contains(kept[.operational] ?? 0), "\(kept)")
    #expect((300...350).contains(kept[.transient] ?? 0), "\(kept)")
    #expect(done.removed == 6_000 - Int64(kept.values.reduce(0, +)))
    let left = try await log.list(LogFilter(types: ["journey.*"], tenant: nil), after: .beginning, limit: 10_000).events
    #expect(left.map(\.position) == all.map(\.position) && left.map(\.envelope) == all.map(\.envelope))
    #expect(try await log.verify().filter { !$0.isSound } == [])
    #expect(try await log.compact(periods, now: test.clock.now) == Compaction())
    let next = try await test.append([test.draft(JourneyChoiceMade(nodeID: "n", option: "tea", revision: 2))])
    #expect(next[0].position == 6_001)
    await test.end()
  }

  @Test("what compaction did not take is found missing", arguments: [("business", 1), ("progress", 3)])
  func stolen(name: String, retention: Int) async throws {
    let test = try await TestEnvironment()
    try await Self.fill(test, days: 10)
    let log = test.environment.log
    _ = try await log.compact(RetentionPeriods(operational: .zero, transient: .zero), now: test.clock.now)
    let head = try await log.head()
    _ = try await test.environment.database.transaction("steal") {
      try $0.execute(
        "DELETE FROM event_log WHERE position = (SELECT max(position) FROM event_log WHERE retention = ?1 AND position < ?2)", retention,
        head,
        expecting: .rows(1))
    }
    let found = try await log.verify().filter { !$0.isSound }.map(\.name)
    #expect(found.contains("log.positions are dense") && found.contains("log.stream_sequence is dense in every stream"), "\(found)")
    await test.end()
  }

  @Test("a tenant's compaction removes its own events alone, and leaves the rest to be removed for everybody")
  func byTenant() async throws {
    let test = try await TestEnvironment()
    for tenant in ["vienna", "graz", "vienna", "graz"] {
      _ = try await test.append(
        (0..<200).map { _ in test.draft(AgentTaskProgress(), session: "PRS-\(tenant)", task: "TSK-1", tenant: tenant) })
    }
    test.clock.advance(by: .seconds(1))
    let log = test.environment.log
    let everything = RetentionPeriods(operational: .zero, transient: .zero)
    func kept(_ tenant: String) async throws -> Int {
      try await log.list(LogFilter(tenant: tenant), after: .beginning, limit: 10_000).events.count
    }
    // Six of the pages are full, and each is gone through twice; what lies beyond is the last of the other tenant's.
    let own = try await log.compact(everything, now: test.clock.now, tenant: "vienna")
    #expect(own.removed == 400 && own.pages == 12)
    #expect(try await kept("vienna") == 0)
    #expect(try await kept("graz") == 400)
    #expect(try await log.verify().filter { !$0.isSound } == [])
    #expect(try await log.compact(everything, now: test.clock.now, tenant: "vienna").removed == 0)
    #expect(try await log.compact(everything, now: test.clock.now).removed == 368)
    #expect(try await log.verify().filter { !$0.isSound } == [])
    await test.end()
  }

  @Test("a named consumer keeps what it has not acknowledged, and follows the log although nothing concerns it")
  func consumers() async throws {
    let test = try await TestEnvironment()
    try await Self.fill(test, days: 10)
    let environment = test.environment
    let log = environment.log
    let everything = RetentionPeriods(operational: .zero, transient: .zero)
    func acknowledge(_ position: Int64) async throws -> Int64 {
      try await environment.database.transaction("acknowledge") {
        try EventConsumers.acknowledge($0, tenant: "t", "billing", through: position)
      }.value
    }
    #expect(try await acknowledge(300) == 300)
    #expect(try await acknowledge(200) == 300, "a place never moves back")
    await #expect(throws: EventLogError.self) { try await acknowledge(1_000_000) }
    #expect(try await log.compact(everything, now: test.clock.now).pages == 4, "two pages have been passed, each is gone through twice")
    let first = try await log.list(LogFilter(tenant: nil), after: .after(300), limit: 3).events.map(\.position)
    #expect(first == [301, 302, 303])
    let places = try await environment.database.scan { try EventConsumers.all($0, tenant: "t") }
    #expect(places == [.init(name: "billing", position: 300, isInternal: false)])
    #expect(try await environment.database.scan { try EventConsumers.all($0, tenant: "u") } == [])

    let consumer = DurableConsumer("test.none", log, LogFilter(types: ["registry.*"], tenant: nil)) { _ in nil }
    consumer.start()
    let head = try await log.head()
    var place: Int64?
    while place != head {
      await Task.yield()
      place = try await environment.database.scan { try EventConsumers.all($0, tenant: "t") }.first { $0.isInternal }?.position
    }
    await consumer.stop()
    #expect(try await environment.database.transaction("forget") { try EventConsumers.delete($0, tenant: "t", "billing") }.value)
    #expect(try await log.compact(everything, now: test.clock.now).removed > 0)
    await #expect(throws: EventLogError.cursorTooOld(first: 4)) {
      _ = try await test.compactHead(log)
    }
    await test.end()
  }

  @Test("the headers of a full page are those that stand, whatever was rolled back on the way")
  func openPage() {
    func header(_ name: String) -> EventHeader { EventHeader(type: name, tenant: "t", lane: .data, producer: "p") }
    let page = OpenPage()
    let size = EventLogLimits.page
    // A page of which the beginning is not known is read.
    for position in 100...size { #expect(page.take(header("first"), at: position) == nil) }
    var full: [EventHeader]?
    for position in size + 1...size + 50 { full = page.take(header("lost"), at: position) }
    for position in size + 11...size + 20 { full = page.take(header("lost too"), at: position) }
    for position in size + 6...2 * size { full = page.take(header("kept"), at: position) }
    #expect(full?.map(\.type) == Array(repeating: "lost", count: 5) + Array(repeating: "kept", count: Int(size) - 5))
    // The last of it was rolled back, and comes again.
    #expect(page.take(header("again"), at: 2 * size)?.last?.type == "again")
    // Others were written meanwhile.
    _ = page.take(header("next"), at: 2 * size + 1)
    for position in 2 * size + 3...3 * size { #expect(page.take(header("gap"), at: position) == nil) }
  }

  @Test("summaries pass over pages, never over an event", arguments: 0..<4)
  func summaries(round: UInt64) async throws {
    var random = SplitMix(state: round &* 977 + 3)
    let test = try await TestLog()
    for _ in 0..<30 {
      let rows = (0..<100).map { _ in
        (
          type: ["a.b.c", "a.b", "a.x", "z", "q_r"].randomElement(using: &random)!, session: "S\(Int.random(in: 0..<40, using: &random))",
          trace: [UInt8](repeating: UInt8.random(in: 0..<60, using: &random), count: 16),
          lane: EventLane.allCases.randomElement(using: &random)!
        )
      }
      _ = try await test.database.transaction("append") { transaction in
        for row in rows {
          try transaction.append(row.type, tenant: row.session == "S1" ? "u" : "t", session: row.session, lane: row.lane, trace: row.trace)
        }
      }
    }
    let all = try await test.log.list(LogFilter(tenant: nil), after: .beginning, limit: 10_000).events
    #expect(all.count == 3_000)
    let filters = [
      LogFilter(types: ["a.b.*"], tenant: nil), LogFilter(types: ["a.*", "z"], tenant: "t"), LogFilter(types: ["*"], tenant: nil),
      LogFilter(types: ["q*"], tenant: nil), LogFilter(types: ["none.*"], tenant: nil), LogFilter(tenant: nil, session: "S7"),
      LogFilter(tenant: nil, trace: [UInt8](repeating: 9, count: 16)), LogFilter(tenant: nil, trace: [UInt8](repeating: 99, count: 16)),
      LogFilter(types: ["a.x"], tenant: "u", trace: [UInt8](repeating: 3, count: 16), lanes: [.control]),
      LogFilter(tenant: "t", lanes: [.telemetry]),
    ]
    for filter in filters {
      let after = Int64.random(in: 0..<3_000, using: &random)
      let found = try await test.log.list(filter, after: .after(after), limit: 10_000)
      #expect(
        found.atEnd && found.events.map(\.position) == all.filter { $0.position > after && filter.matches($0.header) }.map(\.position))
    }
    await test.end()
  }

  @Test("one request for a list looks through so many pages and no more")
  func bounded() async throws {
    let test = try await TestLog()
    let pages = EventLogLimits.pagesPerList + 10
    for _ in 0..<pages {
      _ = try await test.database.transaction("append") { transaction in
        for _ in 0..<EventLogLimits.page { try transaction.append("a") }
      }
    }
    _ = try await test.database.transaction("append") { try $0.append("a", tenant: "other") }
    let filter = LogFilter(tenant: "other")
    let first = try await test.log.list(filter, after: .beginning, limit: 1)
    #expect(first.events.isEmpty && !first.atEnd && first.through == Int64(EventLogLimits.pagesPerList) * EventLogLimits.page)
    let second = try await test.log.list(filter, after: .after(first.through), limit: 1)
    #expect(second.events.count == 1)
    await test.end()
  }
}

extension TestEnvironment {
  fileprivate func draft(_ payload: some EventPayload, session: String, task: String, tenant: String = "t") -> EventDraft {
    EventDraft(payload, producer: "ao", tenant: tenant, session: session, agentTask: task, occurredAt: clock.now)
  }

  /// Reads after the second position of a log whose first two events have gone.
  fileprivate func compactHead(_ log: EventLog) async throws -> Int {
    _ = try await environment.database.transaction("head") { try $0.execute("DELETE FROM event_log WHERE position <= 2") }
    return try await log.list(LogFilter(tenant: nil), after: .after(1), limit: 1).events.count
  }
}
