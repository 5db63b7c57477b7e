import SpanwireDatabase
import SpanwireRPC
import SpanwireServiceKit
import SpanwireWellKnown
import SpanwireProtobuf
import Synchronization
import Testing

@testable import SpanwireEventLog

@Suite(.timeLimit(.minutes(15))) struct GivenUpEffectTests {
  /// A callee that is broken until it is mended.
  final class Callee: Sendable {
    let isBroken = Atomic<Bool>(true)
    let calls = Mutex<[String]>([])

    func perform(_ effect: Effect) throws -> [UInt8] {
      calls.withLock { $0.append(effect.id) }
      if effect.stream == "stuck" && isBroken.load(ordering: .relaxed) {
        throw RPCError(
          .internal, "broken", details: [Google_Protobuf_Any(packing: Google_Rpc_ErrorInfo(reason: "FUSE", domain: "test"))])
      }
      return [1]
    }
  }

  static let retries = EffectRetries(attempts: 3, firstDelay: .milliseconds(1), longestDelay: .milliseconds(1))

  static func dispatcher(_ database: SQLiteDatabase, _ callee: Callee, _ journal: EffectTests.Journal) -> EffectDispatcher {
    let dispatcher = EffectDispatcher(database: database, clock: ManualClock(5), random: { 0 }, retries: retries) { try callee.perform($0) }
    dispatcher.onOutcome(of: "test") { effect, outcome in
      journal.note("\(effect.id) \(outcome.isFailure ? "failed" : "done")")
      return { try $0.execute("INSERT INTO told (id, outcome) VALUES (?1, '')", effect.id) }
    }
    dispatcher.onGiveUp { effect, error in
      journal.note("\(effect.id) given up after \(effect.attempts): \(error.message)")
      return { _ in }
    }
    return dispatcher
  }

  static func list(_ database: SQLiteDatabase, _ state: ListedState, tenant: String = "t") async throws -> [ListedEffect] {
    try await database.scan { try EffectStore.list($0, state, tenant: tenant, after: EffectPlace(), limit: 10) }
  }

  /// A stream that is stuck at its first effect, with one behind it, and one that is not.
  static func stuck(_ database: SQLiteDatabase, _ dispatcher: EffectDispatcher) async throws {
    _ = try await database.transaction("perform") { transaction in
      for id in ["a", "b"] { try transaction.perform(EffectTests.effect(id, stream: "stuck")) }
      try transaction.perform(EffectTests.effect("c", stream: "free"))
    }
    await dispatcher.settled()
  }

  @Test("an effect without a verdict is given up, is seen with all that its callee said, holds its stream and no other")
  func givenUp() async throws {
    let folder = TemporaryFolder()
    let database = try await EffectTests.database(folder)
    let (callee, journal) = (Callee(), EffectTests.Journal())
    let dispatcher = Self.dispatcher(database, callee, journal)
    dispatcher.start()
    try await Self.stuck(database, dispatcher)
    #expect(callee.calls.withLock { $0.filter { $0 != "c" } } == ["a", "a", "a"])
    #expect(Set(journal.all) == ["c done", "a given up after 3: broken"])
    let listed = try await Self.list(database, .givenUp)
    #expect(listed.map(\.effect.id) == ["a"] && listed[0].effect.attempts == 3 && listed[0].endedAt == 5)
    let detail = try #require(listed[0].error?.details.first).unpack(as: Google_Rpc_ErrorInfo.self)
    #expect(listed[0].error?.code == .internal && detail.reason == "FUSE")
    #expect(try await Self.list(database, .pending).map(\.effect.id) == ["b"])
    #expect(try await Self.list(database, .givenUp, tenant: "u").isEmpty)
    do {
      _ = try await dispatcher.outcome(of: "a")
      Issue.record("nobody knows how it ends")
    } catch let error as RPCError {
      #expect(error.code == .unavailable && error.reasonMetadata("effect_id") == "a")
    }
    // What is new in the stream waits as well; a restart changes nothing.
    _ = try await database.transaction("perform") { try $0.perform(EffectTests.effect("d", stream: "stuck")) }
    dispatcher.stop()
    let second = Self.dispatcher(database, callee, journal)
    second.start()
    await second.settled()
    #expect(callee.calls.withLock { $0.filter { $0 != "c" } } == ["a", "a", "a"])
    second.stop()
    await database.close()
  }

  @Test("redriven it is tried again, and its stream goes on in order; a second time there is nothing to redrive")
  func redrive() async throws {
    let folder = TemporaryFolder()
    let database = try await EffectTests.database(folder)
    let (callee, journal) = (Callee(), EffectTests.Journal())
    let dispatcher = Self.dispatcher(database, callee, journal)
    dispatcher.start()
    try await Self.stuck(database, dispatcher)
    #expect(try await database.transaction("redrive") { try $0.redriveEffect("a") }.value)
    await dispatcher.settled()
    #expect(try await Self.list(database, .givenUp).count == 1, "it is still broken, and given up again")
    callee.isBroken.store(false, ordering: .relaxed)
    #expect(try await database.transaction("redrive") { try $0.redriveEffect("a") }.value)
    #expect(try await dispatcher.outcome(of: "b") == .succeeded([1]))
    #expect(callee.calls.withLock { $0.filter { $0 != "c" } } == ["a", "a", "a", "a", "a", "a", "a", "b"])
    #expect(try await database.transaction("redrive") { try $0.redriveEffect("a") }.value == false)
    #expect(try await Self.list(database, .givenUp).isEmpty)
    dispatcher.stop()
    await database.close()
  }

  @Test("discarded it fails, which its owner is told in the same transaction, and its stream goes on")
  func discard() async throws {
    let folder = TemporaryFolder()
    let database = try await EffectTests.database(folder)
    let (callee, journal) = (Callee(), EffectTests.Journal())
    let dispatcher = Self.dispatcher(database, callee, journal)
    dispatcher.start()
    try await Self.stuck(database, dispatcher)
    let discard = try await dispatcher.discarding("a")
    callee.isBroken.store(false, ordering: .relaxed)
    #expect(try await database.transaction("discard") { try discard($0) }.value)
    #expect(try await dispatcher.outcome(of: "b") == .succeeded([1]))
    guard case .failed(let error) = try await dispatcher.outcome(of: "a") else { return #expect(Bool(false), "it should have failed") }
    #expect(error.code == .internal && error.details.count == 1)
    #expect(journal.all.suffix(2) == ["a failed", "b done"])
    #expect(try await Self.list(database, .failed).map(\.effect.id) == ["a"])
    #expect(try await database.transaction("discard") { try discard($0) }.value == false)
    let told = try await database.read { try $0.query("SELECT id FROM told ORDER BY id") { $0.get(0, as: String.self) } }
    #expect(told == ["a", "b", "c"])
    dispatcher.stop()
    await database.close()
  }

  @Test("attempts are counted over restarts, and the last error of a pending effect can be seen")
  func counted() async throws {
    let folder = TemporaryFolder()
    let database = try await EffectTests.database(folder)
    let effect = EffectTests.effect("a", stream: "stuck")
    _ = try await database.transaction("perform") { transaction in
      try transaction.perform(effect)
      var tried = try EffectStore.find(transaction, "a")!.effect
      tried.attempts = 2
      try transaction.noteAttempt(tried, .unavailable("away"))
    }
    #expect(try await Self.list(database, .pending).map(\.error?.message) == ["away"])
    let (callee, journal) = (Callee(), EffectTests.Journal())
    let dispatcher = Self.dispatcher(database, callee, journal)
    dispatcher.start()
    await dispatcher.settled()
    #expect(journal.all == ["a given up after 3: broken"])
    dispatcher.stop()
    await database.close()
  }
}

extension EffectOutcome {
  fileprivate var isFailure: Bool { if case .failed = self { true } else { false } }
}
