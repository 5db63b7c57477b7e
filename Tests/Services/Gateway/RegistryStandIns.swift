import Foundation
import SpanwireDatabase
import SpanwireEventLog
import SpanwirePolicy
import SpanwireRPC
import SpanwireRPCInProcess
import SpanwireRegistry
import SpanwireSchema
import SpanwireServiceKit
import Synchronization

@testable import SpanwireGateway

/// A registry of which the test decides when it changes, when it says so, and when it answers.
final class StubRegistry: Sendable {
  private struct State {
    var asked = 0
    var revision: UInt64 = 1
    var gate: Gate?
    var watchers: [AsyncStream<RegistryChange>.Continuation] = []
  }

  /// Where one answer waits, after it was made up.
  final class Gate: Sendable {
    private let arrivals = AsyncStream.makeStream(of: Void.self)
    private let openings = AsyncStream.makeStream(of: Void.self)

    func reached() async { for await _ in arrivals.stream { return } }
    func open() { openings.continuation.finish() }

    fileprivate func pass() async {
      arrivals.continuation.finish()
      for await _ in openings.stream {}
    }
  }

  private let state = Mutex(State())
  private let isFollowed: Bool

  init(isFollowed: Bool = true) { self.isFollowed = isFollowed }

  var asked: Int { state.withLock { $0.asked } }
  var revision: UInt64 { state.withLock { $0.revision } }

  /// The next answer is made up, then held.
  func holdNext() -> Gate {
    let gate = Gate()
    state.withLock { $0.gate = gate }
    return gate
  }

  func changeSilently() { state.withLock { $0.revision += 1 } }

  func push(_ tenant: String) {
    state.withLock { state in
      state.revision += 1
      for watcher in state.watchers { watcher.yield(RegistryChange(revision: state.revision, tenantID: tenant)) }
    }
  }

  var client: RegistryClient {
    let routes = ServiceRoutes(
      Registry.descriptor,
      [
        .unary(Registry.Methods.resolveRuntimeConfig) { [self] (_: ResolveRuntimeConfigRequest, _) -> RuntimeConfig in
          let (config, gate) = state.withLock { state in
            state.asked += 1
            defer { state.gate = nil }
            return (RuntimeConfig(registryRevision: state.revision), state.gate)
          }
          await gate?.pass()
          return config
        },
        .serverStreaming(Registry.Methods.watch) { [self] (_: WatchRequest, responses: ResponseWriter<RegistryChange>, _) in
          guard isFollowed else { throw RPCError.unavailable("nobody follows this one") }
          let (changes, continuation) = AsyncStream.makeStream(of: RegistryChange.self)
          state.withLock { $0.watchers.append(continuation) }
          responses.sendMetadata()
          for await change in changes { try await responses.write(change) }
        },
      ])
    return RegistryClient(InProcessChannel(ServerRouter([routes]), service: "prg"))
  }
}

/// The real registry on a database of its own, with a product whose price is the number of its revision.
final class RegistryWorld: Sendable {
  let clock = ManualClock()
  let client: RegistryClient
  private let folder: URL
  private let database: SQLiteDatabase
  private let environment: ServiceEnvironment
  private let operators: RegistryClient

  init() async throws {
    folder = FileManager.default.temporaryDirectory.appending(path: "spanwire-configs-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    database = try await SQLiteDatabase.open(
      path: folder.appending(path: "test.db").path, durability: .off,
      migrations: ServiceEnvironment.migrations + [RegistryServer.migrations])
    environment = ServiceEnvironment(
      database: database, log: EventLog(database: database),
      effects: EffectDispatcher(database: database, clock: clock, perform: { _ in SyncServicePointsResponse().encoded() }), clock: clock,
      ids: IDGenerator(clock: clock))
    let nobody = InProcessChannel(ServerRouter([]), service: "registry")
    let checks = BundleChecks(journeyDocument: { _ in [] }, openingHours: { _ in nil }, timeZone: { _ in true }, targeting: { _ in nil })
    // Policy reads the roles of this registry; who only reads is not judged.
    let reading = RegistryServer(environment: environment, lem: LemClient(nobody), policy: PolicyClient(nobody), checks: checks)
    let judge = PolicyServer(
      environment: environment, registry: RegistryClient(InProcessChannel(ServerRouter([Registry.routes(reading)]), service: "policy")))
    let server = RegistryServer(
      environment: environment, lem: LemClient(nobody),
      policy: PolicyClient(InProcessChannel(ServerRouter([Policy.routes(judge)]), service: "registry")), checks: checks)
    let router = ServerRouter([Registry.routes(server)], interceptors: [ExposureInterceptor()])
    client = RegistryClient(InProcessChannel(router, service: "prg"))
    operators = RegistryClient(InProcessChannel(router))
    try await environment.log.start()
    environment.effects.start()
  }

  func end() async {
    environment.effects.stop()
    await environment.log.stop()
    await database.close()
    try? FileManager.default.removeItem(at: folder)
  }

  /// Lets a cache see what is committed, as it does on the registry's own node.
  func observe(_ cache: ConfigCache) { database.observe(cache) }

  /// As the gateway asks, for a traveller.
  func asked<Result: Sendable>(_ body: @Sendable () async throws -> Result) async throws -> Result {
    try await CallContext.with(principal: World.traveller) { try await body() }
  }

  /// Publishes another version of the product; returns the revision that is acknowledged.
  func apply(price: Int64) async throws -> UInt64 {
    let bundle = """
      markets: [{market_code: AT-VIE, name: Vienna, city_code: VIE, time_zone: Europe/Vienna, currency: EUR, country: AT}]
      journey_documents: [{journey_doc_id: TJM-1, version: 1}]
      products: [{product_id: PRD-1, title: One, current_version_id: PRDV-1-\(price)}]
      product_versions:
        - product_version_id: PRDV-1-\(price)
          product_id: PRD-1
          version: \(price)
          title: One
          market_codes: [AT-VIE]
          journey_doc_id: TJM-1
          variants: [{variant_id: VAR-1, title: One, price: {micros: \(price), currency: EUR}}]
      """
    let principal = Principal(kind: .ops, id: "OPS-1", tenant: "vienna", roles: ["ops_lead"], surface: .ops)
    return try await CallContext.with(principal: principal) {
      try await operators.apply(ApplyRequest(idempotencyKey: "K-\(price)", source: .bundleYaml(bundle))).revision
    }
  }
}
