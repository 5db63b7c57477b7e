import Foundation
import SpanwireDatabase
import SpanwireEventLog
import SpanwireEventLoop
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Testing

@testable import SpanwireFlags

@Suite("Flags, the service")
struct FlagsServerTests {
  static let json = #"{"flags":{"open":{"state":"ENABLED","variants":{"on":true,"off":false},"defaultVariant":"on"}}}"#

  /// The service on a database of its own.
  final class TestFlags: Sendable {
    let server: FlagsServer
    let environment: ServiceEnvironment
    private let folder: URL
    private let loops = EventLoopGroup(loops: 1)

    init(anonymousTenant: String? = nil) async throws {
      folder = FileManager.default.temporaryDirectory.appending(path: "flags-\(UUID().uuidString)")
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      let database = try await SQLiteDatabase.open(
        path: folder.appending(path: "test.db").path, durability: .off,
        migrations: [LogStore.migrations, EffectStore.migrations, Idempotency.migrations, FlagsServer.migrations])
      let clock = ManualClock()
      let log = EventLog(database: database, loops: loops)
      try await log.start()
      environment = ServiceEnvironment(
        database: database, log: log, effects: EffectDispatcher(database: database, clock: clock), clock: clock,
        ids: IDGenerator(clock: clock))
      server = FlagsServer(environment: environment, anonymousTenant: anonymousTenant)
    }

    deinit {
      loops.stop()
      try? FileManager.default.removeItem(at: folder)
    }

    func context(_ principal: Principal) -> ServerContext {
      ServerContext(method: Flags.Methods.applyFlags, peer: .inProcess, principal: principal)
    }

    func olga(of tenant: String = "vienna") -> ServerContext {
      context(Principal(kind: .ops, id: "olga", tenant: tenant, roles: ["ops_lead"], surface: .ops))
    }

    func apply(_ json: String, key: String, tenant: String = "vienna", at revision: UInt64 = 0, only: Bool = false) async throws
      -> ApplyFlagsResponse
    {
      try await server.applyFlags(
        ApplyFlagsRequest(idempotencyKey: key, json: json, reason: "test", expectedRevision: revision, validateOnly: only),
        context: olga(of: tenant))
    }

    func evaluate(_ key: String, tenant: String = "vienna") async throws -> EvaluateFlagResponse {
      try await server.evaluateFlag(EvaluateFlagRequest(flagKey: key), context: olga(of: tenant))
    }
  }

  @Test("A set replaces the one before, once per key, and the log tells what changed; a set that is the same changes nothing")
  func applies() async throws {
    let flags = try await TestFlags()
    let before = try await flags.evaluate("open")
    #expect(before.errorCode == "FLAG_NOT_FOUND" && before.reason == "ERROR")
    let first = try await flags.apply(Self.json, key: "a")
    #expect(first == ApplyFlagsResponse(revision: 1, changed: ["open"]))
    let again = try await flags.apply(Self.json, key: "a")
    #expect(again == first)
    let same = try await flags.apply(Self.json, key: "b")
    #expect(same == ApplyFlagsResponse(revision: 1))
    let open = try await flags.evaluate("open")
    #expect(open.value == Google_Protobuf_Value(kind: .boolValue(true)) && open.reason == "STATIC" && open.variant == "on")
    let other = Self.json.replacingOccurrences(of: "open", with: "late")
    let trial = try await flags.apply(other, key: "", only: true)
    #expect(trial == ApplyFlagsResponse(revision: 1, changed: ["late", "open"]))
    let second = try await flags.apply(other, key: "c", at: 1)
    #expect(second.revision == 2)
    let gone = try await flags.evaluate("open")
    #expect(gone.errorCode == "FLAG_NOT_FOUND")
    let stale = await #expect(throws: RPCError.self) { _ = try await flags.apply(Self.json, key: "d", at: 1) }
    #expect(stale?.code == .failedPrecondition)
    let stored = try await flags.server.getFlags(GetFlagsRequest(), context: flags.olga())
    #expect(stored.json == other && stored.revision == 2 && stored.actor == "ops:olga" && stored.reason == "test")
    let events = try await flags.environment.log.list(LogFilter(tenant: "vienna"), after: .beginning, limit: 10).events
    let told = try events.compactMap { try $0.payload(FlagsApplied.self) }
    #expect(told.count == 2 && told[1].added == ["late"] && told[1].removed == ["open"])
    for check in try await flags.server.verify() { #expect(check.isSound, "\(check.name)") }
  }

  @Test("A set with mistakes is refused with each of them, and changes nothing")
  func refuses() async throws {
    let flags = try await TestFlags()
    for json in ["", "[]", "{", #"{"flags": {"a": {"state": "ON", "variants": {}}}}"#, #"{"flags": 1}"#] {
      let error = await #expect(throws: RPCError.self) { _ = try await flags.apply(json, key: "a") }
      #expect(error?.code == .invalidArgument, "\(json)")
    }
    let stored = try await flags.server.getFlags(GetFlagsRequest(), context: flags.olga())
    #expect(stored.revision == 0)
  }

  @Test("A tenant's flags are its own, and callers without a credential see those of the tenant that the server names, if it does")
  func tenants() async throws {
    let flags = try await TestFlags(anonymousTenant: "vienna")
    _ = try await flags.apply(Self.json, key: "a")
    let elsewhere = try await flags.evaluate("open", tenant: "graz")
    #expect(elsewhere.errorCode == "FLAG_NOT_FOUND")
    let anonymous = flags.context(.anonymous)
    let open = try await FlagdEvaluationV1(flags.server).resolveBoolean(.init(flagKey: "open"), context: anonymous)
    #expect(open.value && open.variant == "on")
    let all = try await FlagdEvaluationV1(flags.server).resolveAll(.init(), context: anonymous)
    #expect(all.flags["open"]?.value == .boolValue(true))
    let synced = try await FlagdSync(flags.server).fetchAllFlags(.init(), context: anonymous)
    #expect(synced.flagConfiguration == Self.json)
    let mismatch = await #expect(throws: RPCError.self) {
      _ = try await FlagdEvaluationV2(flags.server).resolveString(.init(flagKey: "open"), context: anonymous)
    }
    #expect(mismatch?.code == .invalidArgument)
    let closed = try await TestFlags()
    let refused = await #expect(throws: RPCError.self) {
      _ = try await FlagdSync(closed.server).fetchAllFlags(.init(), context: closed.context(.anonymous))
    }
    #expect(refused?.code == .failedPrecondition)
  }
}
