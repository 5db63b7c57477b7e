import Glibc
import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireRPCInProcess
import SpanwireSchema
import SpanwireServiceKit

@testable import SpanwireGateway

/// A gateway on a database of its own, with neighbours that answer as the test wants.
final class World: Sendable {
  let folder: String
  let clock = ManualClock()
  let neighbours = Neighbours()
  let environment: ServiceEnvironment
  let server: GatewayServer
  private let database: SQLiteDatabase
  private let router: ServerRouter

  static let traveller = Principal(kind: .user, id: "USR-1", tenant: "vienna", roles: ["traveller"], surface: .edge)
  static let stranger = Principal(kind: .user, id: "USR-2", tenant: "vienna", roles: ["traveller"], surface: .edge)
  static let operations = Principal(kind: .ops, id: "OPS-1", tenant: "vienna", roles: ["ops_operator"], surface: .ops)

  init() async throws {
    folder = try World.temporaryFolder()
    database = try await SQLiteDatabase.open(
      path: folder + "/db", durability: .off, migrations: ServiceEnvironment.migrations + [GatewayServer.migrations])
    let channel = InProcessChannel(ServerRouter(neighbours.routes, interceptors: [ExposureInterceptor()]), service: "prg")
    environment = ServiceEnvironment(
      database: database, log: EventLog(database: database), effects: EffectDispatcher(database: database, clock: clock), clock: clock,
      ids: IDGenerator(clock: clock))
    server = GatewayServer(
      environment: environment,
      clients: GatewayClients(
        registry: RegistryClient(channel), policy: PolicyClient(channel), journeys: JourneyRuntimeClient(channel),
        agents: AgentOrchestratorClient(channel), entitlements: TruttaClient(channel), city: LemClient(channel)))
    server.performEffects(over: channel)
    router = ServerRouter([ProductRuntimeGateway.routes(server)], interceptors: [ExposureInterceptor()])
    try await environment.log.start()
    environment.effects.start()
    server.start()
  }

  /// Stops as a server does that goes down.
  func stop() async {
    environment.effects.stop()
    await server.stop()
    await environment.log.stop()
    await database.close()
  }

  func call<Result: Sendable>(
    as principal: Principal = World.traveller, _ body: @Sendable (ProductRuntimeGatewayClient) async throws -> Result
  ) async throws -> Result {
    try await CallContext.with(principal: principal, trace: .root()) {
      try await body(ProductRuntimeGatewayClient(InProcessChannel(router)))
    }
  }

  /// The whole log, oldest first.
  func events() async throws -> [EventEnvelope] {
    try await environment.log.list(LogFilter(tenant: nil), after: .beginning, limit: 10_000).events.map { try $0.decoded() }
  }

  /// Writes an event as the journey runtime would, and waits until the session has taken it in.
  func journeyEnds(_ payload: any EventPayload, _ session: String, until state: SessionState) async throws {
    let draft = EventDraft(
      payload, producer: "tjm", tenant: "vienna", session: session, journey: "JRN-1", occurredAt: clock.now, trace: .root())
    _ = try await database.transaction("test") { [environment] in try $0.append(draft, environment) }
    let request = WatchSessionRequest(productRuntimeSessionID: session, types: ["product.runtime.session.*"])
    try await call { gateway in
      for try await item in try await gateway.watchSession(request) {
        guard case .event = item.item else { continue }
        if try await gateway.getSession(GetSessionRequest(productRuntimeSessionID: session)).state == state { return }
      }
    }
  }

  private static func temporaryFolder() throws -> String {
    var template = Array("/tmp/spanwire-gateway-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw RPCError.internal("no temporary folder") }
    return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

extension World {
  static let openRequest = OpenSessionRequest(
    idempotencyKey: "open", productID: "PRD-PASS", marketCode: "AT-VIE", segments: ["tourist"])

  func open() async throws -> String {
    try await call { try await $0.openSession(Self.openRequest).productRuntimeSessionID }
  }

  /// An open session whose journey runs.
  func onTheWay() async throws -> String {
    let session = try await open()
    _ = try await call { try await $0.startJourney(StartSessionJourneyRequest(idempotencyKey: "start", productRuntimeSessionID: session)) }
    return session
  }

  /// Stores a session as it might have come to be, without what the log would tell of it.
  func put(_ session: ProductRuntimeSession) async throws {
    _ = try await environment.database.transaction("test") { try SessionStore.insert(session, in: $0) }
  }

  /// A session of the traveller's in some phase, with a journey that runs where there can be one.
  func put(_ id: String, _ phase: SessionPhase) async throws {
    let early: [SessionPhase] = [.created, .preflight, .ready]
    try await put(
      ProductRuntimeSession(
        productRuntimeSessionID: id, tenantID: "vienna", productID: "PRD-PASS", productVersionID: "PRDV-PASS-1", marketCode: "AT-VIE",
        userID: "USR-1", state: phase.contract, runtimeSnapshotRef: "SNAP-1", journeyInstanceID: early.contains(phase) ? "" : "JRN-\(id)",
        revision: 1))
  }

  func session(_ id: String) async throws -> ProductRuntimeSession {
    try await call { try await $0.getSession(GetSessionRequest(productRuntimeSessionID: id)) }
  }

  func propose(_ kind: Proposal.Kind, in session: String, id: String = "PRP-1", rule: String = "") {
    let proposal = Proposal(
      proposalID: id, agentTaskID: "ATASK-1", state: rule.isEmpty ? .open : .refused, summary: "go there", kind: kind,
      productRuntimeSessionID: session, refusedRule: rule)
    neighbours.change { $0.proposals[id] = proposal }
  }

  func accept(_ session: String, _ proposal: String = "PRP-1", key: String = "accept") async throws -> DecideProposalResponse {
    try await call {
      try await $0.acceptProposal(
        DecideProposalRequest(idempotencyKey: key, productRuntimeSessionID: session, proposalID: proposal))
    }
  }

  func control(
    _ action: ApplyControlRequest.Action, key: String = "control", as principal: Principal = World.operations
  ) async throws -> ApplyControlResponse {
    try await call(as: principal) {
      try await $0.applyControl(ApplyControlRequest(idempotencyKey: key, reason: "a water pipe broke", action: action))
    }
  }
}
