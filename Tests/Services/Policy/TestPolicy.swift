import Glibc
import SpanwireDatabase
import SpanwireEventLog
import SpanwireEventLoop
import SpanwireRPC
import SpanwireRPCInProcess
import SpanwireRegistry
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Testing

@testable import SpanwirePolicy

/// The service on a database of its own, with a clock that stands still.
final class TestPolicy: Sendable {
  let environment: ServiceEnvironment
  let server: PolicyServer
  /// The real one, on the same database.
  private let registry: RegistryClient
  let clock: ManualClock
  private let path: String
  private let loops: EventLoopGroup

  static func ops(_ id: String, _ roles: String..., tenant: String = "vienna") -> Principal {
    Principal(kind: .ops, id: id, tenant: tenant, roles: roles, surface: .ops)
  }
  static let olga = ops("olga", "ops_lead")

  init() async throws {
    var template = Array("/tmp/spanwire-policy-XXXXXX".utf8CString)
    path = String(cString: mkdtemp(&template)!)
    let database = try await SQLiteDatabase.open(
      path: path + "/test.db", durability: .off,
      migrations: ServiceEnvironment.migrations + [RegistryServer.migrations, PolicyServer.migrations])
    clock = ManualClock()
    loops = EventLoopGroup(loops: 1)
    let log = EventLog(database: database, loops: loops)
    try await log.start()
    let effects = EffectDispatcher(database: database, clock: clock)
    environment = ServiceEnvironment(database: database, log: log, effects: effects, clock: clock, ids: IDGenerator(clock: clock))
    let nobody = InProcessChannel(ServerRouter([]), service: "registry")
    let environment = environment
    func definitions(judgedBy policy: PolicyClient) -> ServerRouter {
      ServerRouter([
        Registry.routes(
          RegistryServer(
            environment: environment, lem: LemClient(nobody), policy: policy,
            checks: BundleChecks(journeyDocument: { _ in [] }, openingHours: { _ in nil }, timeZone: { _ in true }, targeting: { _ in nil })
          ))
      ])
    }
    // Who only reads definitions is not judged, so the judge's own registry needs none.
    let read = InProcessChannel(definitions(judgedBy: PolicyClient(nobody)), service: "policy")
    let judge = PolicyServer(environment: environment, registry: RegistryClient(read))
    let definitions = definitions(
      judgedBy: PolicyClient(InProcessChannel(ServerRouter([Policy.routes(judge)]), service: "registry")))
    registry = RegistryClient(InProcessChannel(definitions))
    server = PolicyServer(environment: environment, registry: RegistryClient(InProcessChannel(definitions, service: "policy")))
  }

  deinit {
    loops.stop()
    for suffix in ["", "-wal", "-shm", ".lock"] { unlink(path + "/test.db" + suffix) }
    rmdir(path)
  }

  func context(_ principal: Principal = olga) -> ServerContext {
    ServerContext(method: Policy.Methods.checkTool, peer: .inProcess, principal: principal)
  }

  /// Defines a policy in the registry, as an operator does.
  func set(_ id: String, _ scope: String, _ config: PolicyDefinition.Config, enabled: Bool = true, by who: Principal = olga) async throws {
    let bundle = Bundle(bundleID: "BND-\(id)", policies: [PolicyDefinition(policyID: id, scope: scope, enabled: enabled, config: config)])
    try await apply(bundle, key: "set-\(id)-\(enabled)", by: who)
  }

  /// Applies a bundle of definitions, as an operator does.
  func apply(_ bundle: Bundle, key: String, by who: Principal = olga) async throws {
    _ = try await CallContext.with(principal: who, trace: nil) {
      try await registry.apply(ApplyRequest(idempotencyKey: key, source: .bundle(bundle), reason: "for the test"))
    }
  }

  /// Asks for one call, by default one that nothing but a policy of its own could stop.
  func check(_ change: (inout CheckToolRequest) -> Void = { _ in }, by who: Principal = olga) async throws -> ToolDecision {
    var request = CheckToolRequest(agentSlug: "planner", toolName: "search", actionType: "read", runID: "RUN-1")
    change(&request)
    let asked = request
    return try await CallContext.with(principal: who, trace: nil) { try await server.checkTool(asked, context: context(who)) }
  }

  func reserve(_ micros: Int64, key: String, run: String = "RUN-1", by who: Principal = olga) async throws -> ToolDecision {
    try await check(
      {
        $0.idempotencyKey = key
        $0.runID = run
        $0.estimatedCost = Money(micros: micros, currency: "USD")
      }, by: who)
  }

  /// Lets every timer of the service fire that is due, as the dispatcher would.
  func fire(_ method: String, _ id: String) async throws {
    let effect = Effect(
      id: "EXPIRY-" + id, owner: PolicyServer.producer, stream: id, method: method, request: Array(id.utf8), dueAt: clock.now,
      tenant: "vienna")
    guard let body = try await server.effectOutcome(effect, .succeeded([])) else { return }
    _ = try await environment.database.transaction("test.fire") { try body($0) }
  }

  func budgets() async throws -> [String] {
    try await CallContext.with(principal: Self.olga, trace: nil) {
      try await server.listBudgets(ListBudgetsRequest(), context: context())
    }.budgets.map {
      "\($0.policyID) \($0.bucket) \($0.reserved?.micros ?? 0) \($0.spent?.micros ?? 0)"
    }
  }

  func eventTypes() async throws -> [String] {
    try await environment.log.list(LogFilter(tenant: "vienna"), after: .beginning, limit: 1_000).events.map(\.header.type)
  }

  func expectSound() async throws {
    for check in try await server.verify() { #expect(check.isSound, "\(check)") }
  }

  func expect(_ code: RPCError.Code, _ reason: Reason, _ body: () async throws -> Void) async {
    do {
      try await body()
      Issue.record("nothing was refused")
    } catch {
      let error = RPCError.outcome(of: error, in: nil)
      #expect(error.code == code, "\(error)")
      #expect(error.reason == reason, "\(error)")
    }
  }
}
