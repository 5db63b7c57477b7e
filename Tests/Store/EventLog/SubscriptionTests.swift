import SpanwireDatabase
import SpanwireEventLoop
import Synchronization
import Testing

@testable import SpanwireEventLog

@Suite(.timeLimit(.minutes(15))) struct SubscriptionTests {
  struct Refused: Error {}

  @Test("positions are dense, and so are the sequences of each stream, whatever is refused in between")
  func density() async throws {
    let test = try await TestLog()
    await withTaskGroup(of: Void.self) { group in
      for caller in 0..<100 {
        group.addTask {
          _ = try? await test.database.transaction("append") { transaction in
            for _ in 0..<3 { try transaction.append("a", session: "S\(caller % 5)") }
            if caller % 4 == 0 { throw Refused() }
          }
        }
      }
    }
    let (events, through, atEnd) = try await test.log.list(LogFilter(tenant: "t"), after: .beginning, limit: 1_000)
    #expect(events.map(\.position) == Array(1...225))
    #expect(through == 225 && atEnd)
    for session in 0..<5 {
      let own = events.filter { $0.header.session == "S\(session)" }
      #expect(own.map(\.sequence) == Array(1...Int64(own.count)))
      #expect(
        try await test.log.list(LogFilter(tenant: "t", session: "S\(session)"), after: .beginning, limit: 1_000).events.map(\.position)
          == own.map(\.position))
    }
    #expect(try await test.log.list(LogFilter(tenant: "t"), after: .after(220), limit: 3).events.map(\.position) == [221, 222, 223])
    await test.end()
  }

  @Test("a subscriber gets every event once and in order, whenever it comes and however slow it is", arguments: 0..<8)
  func handOver(round: UInt64) async throws {
    var random = SplitMix(state: round &* 7919 + 1)
    let test = try await TestLog(ring: Int.random(in: 20...400, using: &random))
    let total = 1_500
    // Some pages of history, which no ring holds: who begins in it comes through pages, ring and live.
    for _ in 0..<7 {
      _ = try await test.database.transaction("history") { transaction in
        for index in 0..<100 {
          try transaction.append(index % 2 == 0 ? "even.x" : "odd.x", tenant: "t\(index % 3)", session: "S\(index % 20)", lane: .control)
        }
      }
    }
    await withTaskGroup(of: Void.self) { writers in
      for writer in 0..<6 {
        var own = SplitMix(state: random.next())
        writers.addTask {
          for _ in 0..<total / 12 {
            let sessions = (0..<Int.random(in: 1...3, using: &own)).map { _ in Int.random(in: 0..<20, using: &own) }
            let refuses = Int.random(in: 0..<10, using: &own) == 0
            _ = try? await test.database.transaction("append") { transaction in
              for session in sessions {
                try transaction.append(
                  session % 2 == 0 ? "even.x" : "odd.x", tenant: "t\(session % 3)", session: "S\(session)",
                  lane: session % 5 == 0 ? .control : .data)
              }
              if refuses { throw Refused() }
            }
            if Int.random(in: 0..<4, using: &own) == 0 { await Task.yield() }
          }
          _ = writer
        }
      }
      for reader in 0..<24 {
        let filter =
          switch reader % 4 {
          case 0: LogFilter(tenant: nil)
          case 1: LogFilter(tenant: "t\(reader % 3)", session: "S\(reader % 20)")
          case 2: LogFilter(types: ["even.*"], tenant: nil)
          default: LogFilter(tenant: "t1", lanes: [.control])
          }
        let pauses = Int.random(in: 0..<40, using: &random)
        let cursor: LogCursor = reader % 3 == 0 ? .beginning : reader % 3 == 1 ? .now : .after(Int64.random(in: 0...700, using: &random))
        let isSlow = reader % 5 == 4
        var own = SplitMix(state: random.next())
        writers.addTask {
          for _ in 0..<pauses { await Task.yield() }
          let recorder = Recorder(room: isSlow ? 5 : .max)
          let reading = Task(executorPreference: test.loops.loops[reader % 2]) {
            try await test.log.deliver(filter, from: cursor, to: recorder.sink)
          }
          // The slow take a few at a time, with pauses, until everybody has written.
          if isSlow {
            for _ in 0..<60 {
              await Task.yield()
              recorder.allow(Int.random(in: 1...20, using: &own))
            }
          }
          await recorder.check(reading, test, filter, from: cursor)
        }
      }
    }
    await test.end()
  }

  @Test("with `untilEnd` a reader gets what there is, and its cursor")
  func untilEnd() async throws {
    let test = try await TestLog(ring: 64)
    for _ in 0..<10 {
      _ = try await test.database.transaction("append") { for _ in 0..<100 { try $0.append("a") } }
    }
    let recorder = Recorder()
    try await test.log.deliver(LogFilter(tenant: nil), from: .beginning, untilEnd: true, to: recorder.sink)
    #expect(recorder.positions == Array(1...1_000))
    #expect(recorder.heartbeats.last?.position == 1_000)
    let rest = Recorder()
    try await test.log.deliver(LogFilter(tenant: nil), from: .after(998), untilEnd: true, to: rest.sink)
    #expect(rest.positions == [999, 1_000])
    await #expect(throws: EventLogError.self) {
      try await test.log.deliver(LogFilter(tenant: nil), from: .after(1_001), untilEnd: true, to: rest.sink)
    }
    await test.end()
  }

  @Test("a LIVE subscriber that falls behind loses telemetry first, then data, never control, and is told what")
  func live() async throws {
    let test = try await TestLog(ring: 50, loops: 1)
    let recorder = Recorder(room: 3)
    let reading = Task { try await test.log.deliver(LogFilter(tenant: nil), from: .now, mode: .live, to: recorder.sink) }
    await recorder.wait(for: 0)
    // 3,000 events while it takes only a few: 20 of control, the rest telemetry and data by turns.
    for batch in 0..<30 {
      _ = try await test.database.transaction("append") { transaction in
        for index in 0..<100 {
          let lane: EventLane = (batch * 100 + index) % 150 == 149 ? .control : index % 2 == 0 ? .telemetry : .data
          try transaction.append("x", lane: lane)
        }
      }
    }
    recorder.allow(.max)
    let all = try await test.log.list(LogFilter(tenant: nil), after: .beginning, limit: 10_000).events
    let last = try await test.database.transaction("append") { try $0.append("last", lane: .control) }.value
    while recorder.positions.last != last { await recorder.wait(for: recorder.positions.count + 1) }
    reading.cancel()
    _ = try? await reading.value
    let got = Set(recorder.positions)
    #expect(recorder.positions == recorder.positions.sorted() && got.count == recorder.positions.count)
    let missing = all.filter { !got.contains($0.position) }
    #expect(missing.allSatisfy { $0.header.lane != .control })
    for lane in [EventLane.telemetry, .data] {
      let told = recorder.losses.filter { $0.lane == lane }
      #expect(told.reduce(0) { $0 + $1.count } == Int64(missing.count { $0.header.lane == lane }))
      #expect(
        missing.filter { $0.header.lane == lane }.allSatisfy { event in told.contains { ($0.first...$0.last).contains(event.position) } })
    }
    let lostData = missing.count { $0.header.lane == .data }
    let lostTelemetry = missing.count { $0.header.lane == .telemetry }
    #expect(lostData > 0 && lostData < lostTelemetry)
    await test.end()
  }

  @Test("a LIVE subscriber that owes too much control is ended with its cursor")
  func liveEnds() async throws {
    let test = try await TestLog(ring: 50, loops: 1)
    let recorder = Recorder(room: 2)
    let reading = Task { try await test.log.deliver(LogFilter(tenant: nil), from: .now, mode: .live, to: recorder.sink) }
    await recorder.wait(for: 0)
    for _ in 0..<10 { _ = try await test.database.transaction("append") { for _ in 0..<100 { try $0.append("x", lane: .control) } } }
    recorder.allow(.max)
    do {
      try await reading.value
      Issue.record("it should have been ended")
    } catch EventLogError.tooSlow(let cursor) {
      #expect(cursor == recorder.positions.last)
    }
    await test.end()
  }

  @Test("history of 100,000 events is read in bounded memory")
  func memory() async throws {
    let bound = 1 << 20
    let test = try await TestLog(ring: 1_000, pageCacheBytes: bound)
    for _ in 0..<200 {
      _ = try await test.database.transaction("append") { for _ in 0..<500 { try $0.append("a", bytes: 100) } }
    }
    let counts = try await withThrowingTaskGroup(of: Int64.self) { group in
      for _ in 0..<3 {
        group.addTask {
          let counter = try await count(test)
          return counter.last.load(ordering: .relaxed) == 100_000 ? counter.count.load(ordering: .relaxed) : -1
        }
      }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    #expect(counts == [100_000, 100_000, 100_000])
    #expect(test.log.cachedBytes <= bound)
    await test.end()
  }
}

private func count(_ test: TestLog) async throws -> Counter {
  let counter = Counter()
  try await test.log.deliver(
    LogFilter(tenant: nil), from: .beginning, untilEnd: true,
    to: LogSink(
      take: { delivery in
        if case .event(let event) = delivery { counter.add(event.position) }
        return true
      }, drained: {}))
  return counter
}

/// Counts positions that come in order.
final class Counter: Sendable {
  let count = Atomic<Int64>(0)
  let last = Atomic<Int64>(0)

  func add(_ position: Int64) {
    if last.exchange(position, ordering: .relaxed) == position - 1 { count.wrappingAdd(1, ordering: .relaxed) }
  }
}

extension Recorder {
  /// Waits for a last event and compares with the log: everything that matches after where it began, once, in order.
  fileprivate func check(_ reading: Task<Void, any Error>, _ test: TestLog, _ filter: LogFilter, from cursor: LogCursor) async {
    // Room first: one that was slow to the end would never be live.
    allow(.max)
    await wait(for: 0)
    do {
      let mark = try await test.database.transaction("mark") { transaction in
        try transaction.append(
          filter.types.isEmpty ? "mark" : "even.mark", tenant: filter.tenant ?? "t", session: filter.session, lane: .control)
      }.value
      while (positions.last ?? 0) < mark { await wait(for: positions.count + 1) }
      reading.cancel()
      _ = try? await reading.value
      let all = try await test.log.list(filter, after: .beginning, limit: .max - 1).events.map(\.position)
      let got = positions
      let first: Int64 =
        switch cursor {
        case .beginning: 1
        case .after(let position): position + 1
        case .now: got.first ?? mark
        }
      #expect(got == all.filter { $0 >= first && $0 <= got.last! })
    } catch {
      Issue.record(error)
    }
  }
}
