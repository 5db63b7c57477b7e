import Glibc
import SpanwireDatabase
import SpanwireRPC
import SpanwireServiceKit
import Synchronization
import Testing

@testable import SpanwireEventLog

@Suite(.timeLimit(.minutes(15))) struct EffectTests {
  /// What was performed and what was told, in order.
  final class Journal: Sendable {
    let lines = Mutex<[String]>([])
    func note(_ line: String) { lines.withLock { $0.append(line) } }
    var all: [String] { lines.withLock { $0 } }
  }

  final class Busy: Sendable { let streams = Mutex<Set<String>>([]) }

  static func database(_ folder: TemporaryFolder) async throws -> SQLiteDatabase {
    try await SQLiteDatabase.open(
      path: folder.file, durability: .off,
      migrations: [
        EffectStore.migrations,
        Migrations("test", [.init("told", sqlite: "CREATE TABLE told (id TEXT NOT NULL PRIMARY KEY, outcome TEXT NOT NULL) STRICT")]),
      ])
  }

  static func effect(_ id: String, stream: String = "s", dueAt: Int64 = 0, timer: Bool = false) -> Effect {
    Effect(id: id, owner: "test", stream: stream, method: timer ? "timer" : "/test/Do", request: Array(id.utf8), dueAt: dueAt, tenant: "t")
  }

  static func dispatcher(
    _ database: SQLiteDatabase, _ journal: Journal, _ clock: ManualClock = ManualClock(), perform: @escaping EffectDispatcher.Performer
  ) -> EffectDispatcher {
    let dispatcher = EffectDispatcher(database: database, clock: clock, random: { 0 }, perform: perform)
    dispatcher.onOutcome(of: "test") { effect, outcome in
      let text = "\(outcome)"
      journal.note("told \(effect.id)")
      return { try $0.execute("INSERT INTO told (id, outcome) VALUES (?1, ?2)", effect.id, text) }
    }
    return dispatcher
  }

  @Test("effects of a stream are performed in order, one at a time; those of a refused transaction never")
  func order() async throws {
    let folder = TemporaryFolder()
    let journal = Journal()
    let database = try await Self.database(folder)
    let busy = Busy()
    let dispatcher = Self.dispatcher(database, journal) { effect in
      #expect(busy.streams.withLock { $0.insert(effect.stream).inserted })
      await Task.yield()
      busy.streams.withLock { _ = $0.remove(effect.stream) }
      journal.note("did \(effect.stream) \(effect.id)")
      return effect.request
    }
    dispatcher.start()
    await withTaskGroup(of: Void.self) { group in
      for stream in 0..<10 {
        group.addTask {
          for step in 0..<20 {
            _ = try? await database.transaction("perform") { transaction in
              try transaction.perform(Self.effect("\(stream)-\(100 + step)", stream: "s\(stream)"))
              if step % 5 == 4 { throw CancellationError() }
            }
          }
        }
      }
    }
    #expect(try await dispatcher.response(of: "3-118") == Array("3-118".utf8))
    await dispatcher.settled()
    for stream in 0..<10 {
      let done = journal.all.filter { $0.hasPrefix("did s\(stream) ") }.map { String($0.split(separator: " ")[2]) }
      #expect(done == (0..<20).filter { $0 % 5 != 4 }.map { "\(stream)-\(100 + $0)" })
    }
    let told = try await database.read { try $0.first("SELECT count(*) FROM told") { $0.get(0, as: Int.self) } }
    #expect(told == 160)
    dispatcher.stop()
    await database.close()
  }

  @Test("a passing failure is tried again, a verdict is not; the outcome can be awaited, at once or later")
  func retry() async throws {
    let folder = TemporaryFolder()
    let journal = Journal()
    let database = try await Self.database(folder)
    let dispatcher = Self.dispatcher(database, journal) { effect in
      journal.note("try \(effect.id) \(effect.attempts)")
      if effect.id == "a" && effect.attempts < 3 { throw RPCError.unavailable("not yet") }
      if effect.id == "b" { throw RPCError.failedPrecondition("never") }
      return [1]
    }
    dispatcher.start()
    _ = try await database.transaction("perform") { transaction in
      for id in ["a", "b"] { try transaction.perform(Self.effect(id)) }
    }
    #expect(try await dispatcher.outcome(of: "a") == .succeeded([1]))
    #expect(try await dispatcher.outcome(of: "b") == .failed(RPCError(.failedPrecondition, "never")))
    #expect(try await dispatcher.outcome(of: "a") == .succeeded([1]))
    #expect(journal.all == ["try a 1", "try a 2", "try a 3", "told a", "try b 1", "told b"])
    await #expect(throws: RPCError.self) { try await dispatcher.outcome(of: "c") }
    dispatcher.stop()
    await database.close()
  }

  @Test("timers fire once when they are due, by a clock set by hand, and not when taken back")
  func timers() async throws {
    let folder = TemporaryFolder()
    let journal = Journal()
    let clock = ManualClock(1_000)
    let database = try await Self.database(folder)
    let dispatcher = Self.dispatcher(database, journal, clock) { _ in [] }
    dispatcher.start()
    await dispatcher.settled()
    let far: Int64 = 1_000_000_000_000_000
    _ = try await database.transaction("timers") { transaction in
      for (id, due) in [("late", 3 * far), ("soon", far), ("never", 2 * far)] {
        try transaction.perform(Self.effect(id, dueAt: due, timer: true))
      }
      try transaction.perform(Self.effect("now", timer: true))
    }
    _ = try await dispatcher.outcome(of: "now")
    #expect(journal.all == ["told now"])
    #expect(try await database.transaction("cancel") { try $0.cancelEffect("never", at: clock.now) }.value)
    #expect(try await dispatcher.outcome(of: "never") == .cancelled)
    clock.set(2 * far + 1)
    dispatcher.poll()
    _ = try await dispatcher.outcome(of: "soon")
    clock.set(3 * far)
    dispatcher.poll()
    _ = try await dispatcher.outcome(of: "late")
    await dispatcher.settled()
    #expect(journal.all == ["told now", "told soon", "told late"])
    #expect(try await database.transaction("cancel") { try $0.cancelEffect("soon", at: clock.now) }.value == false)
    dispatcher.stop()
    await database.close()
  }

  @Test("what one run leaves pending, the next performs; more than fits in memory too")
  func restart() async throws {
    let folder = TemporaryFolder()
    let journal = Journal()
    let database = try await Self.database(folder)
    let count = EffectLimits.queued + 600
    for start in stride(from: 0, to: count, by: 500) {
      _ = try await database.transaction("fill") { transaction in
        for index in start..<min(count, start + 500) { try transaction.perform(Self.effect("e\(index)", stream: "s\(index % 50)")) }
      }
    }
    let dispatcher = Self.dispatcher(database, journal) { effect in
      journal.note("\(effect.stream) \(effect.id.dropFirst())")
      return []
    }
    dispatcher.start()
    _ = try await database.transaction("one more") { try $0.perform(Self.effect("e\(count)", stream: "s\(count % 50)")) }
    _ = try await dispatcher.outcome(of: "e\(count)")
    await dispatcher.settled()
    let lines = journal.all.filter { !$0.hasPrefix("told") }
    #expect(lines.count == count + 1)
    for stream in 0..<50 {
      let order = lines.filter { $0.hasPrefix("s\(stream) ") }.map { Int($0.split(separator: " ")[1])! }
      #expect(order == order.sorted() && Set(order).count == order.count)
    }
    dispatcher.stop()
    await database.close()
  }

  @Test("killed between an effect and its record, the next run performs it again and records it once")
  func killed() async throws {
    let folder = TemporaryFolder()
    let journal = Journal()
    await #expect(processExitsWith: .signal(SIGKILL)) { [path = folder.path as String] in
      let database = try await SQLiteDatabase.open(
        path: path + "/test.db",
        migrations: [
          EffectStore.migrations,
          Migrations("test", [.init("told", sqlite: "CREATE TABLE told (id TEXT NOT NULL PRIMARY KEY, outcome TEXT NOT NULL) STRICT")]),
        ])
      Failpoint.arm("after-effect-before-ack:2")
      let dispatcher = EffectTests.dispatcher(database, EffectTests.Journal()) { _ in [7] }
      dispatcher.start()
      for id in ["a", "b", "c"] { _ = try await database.transaction("perform") { try $0.perform(EffectTests.effect(id)) } }
      _ = try await dispatcher.outcome(of: "c")
    }
    let database = try await Self.database(folder)
    let dispatcher = Self.dispatcher(database, journal) { effect in
      journal.note("did \(effect.id)")
      return [7]
    }
    dispatcher.start()
    await dispatcher.settled()
    #expect(journal.all.prefix(2) == ["did b", "told b"])
    let told = try await database.read { try $0.query("SELECT id FROM told ORDER BY id") { $0.get(0, as: String.self) } }
    #expect(told == ["a", "b"] || told == ["a", "b", "c"])
    dispatcher.stop()
    await database.close()
  }
}
