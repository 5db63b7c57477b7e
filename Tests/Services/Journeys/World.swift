import FoundationEssentials
import Glibc
import SpanwireDatabase
import SpanwireEventLog
import SpanwireProtobuf
import SpanwireRPC
import SpanwireRPCInProcess
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

@testable import SpanwireJourneys

/// A journey runtime on a database of its own, with neighbours that answer as the test wants.
final class World: Sendable {
  let folder: String
  let clock = ManualClock(World.beginning)
  let neighbours: Neighbours
  let environment: ServiceEnvironment
  let server: JourneyServer
  private let database: SQLiteDatabase
  private let router: ServerRouter
  /// 2026-05-04T11:00 in Vienna.
  static let beginning: Int64 = 1_777_885_200_000_000_000
  static let traveller = Principal(kind: .user, id: "USR-1", tenant: "vienna", roles: ["traveller"], surface: .edge)

  /// With an earlier world that has stopped, goes on from a copy of what that one left on disk.
  init(after earlier: World? = nil) async throws {
    folder = try World.temporaryFolder()
    neighbours = earlier?.neighbours ?? Neighbours()
    if let earlier {
      for file in ["/db", "/db-wal"] where FileManager.default.fileExists(atPath: earlier.folder + file) {
        try FileManager.default.copyItem(atPath: earlier.folder + file, toPath: folder + file)
      }
    }
    database = try await SQLiteDatabase.open(
      path: folder + "/db", durability: .off,
      migrations: ServiceEnvironment.migrations + [JourneyServer.migrations])
    let channel = InProcessChannel(ServerRouter(neighbours.routes, interceptors: [ExposureInterceptor()]), service: "tjm")
    let effects = EffectDispatcher(database: database, clock: clock)
    environment = ServiceEnvironment(
      database: database, log: EventLog(database: database), effects: effects, clock: clock, ids: IDGenerator(clock: clock))
    server = JourneyServer(
      environment: environment,
      clients: JourneyClients(
        registry: RegistryClient(channel), policy: PolicyClient(channel), agents: AgentOrchestratorClient(channel),
        entitlements: TruttaClient(channel), city: LemClient(channel)))
    server.performEffects(over: channel)
    router = ServerRouter([JourneyRuntime.routes(server)], interceptors: [ExposureInterceptor()])
    try await environment.log.start()
    effects.start()
    server.start()
  }

  /// Stops as a server does that goes down.
  func stop() async {
    environment.effects.stop()
    await server.stop()
    await database.close()
  }

  /// Calls as the gateway does, for a traveller.
  func asGateway<Result: Sendable>(
    for principal: Principal = World.traveller, _ body: @Sendable (JourneyRuntimeClient) async throws -> Result
  ) async throws -> Result {
    try await CallContext.with(principal: principal, trace: .root()) {
      try await body(JourneyRuntimeClient(InProcessChannel(router, service: "prg")))
    }
  }

  func journey(_ id: String) async throws -> JourneyInstance {
    try await asGateway { try await $0.getJourney(GetJourneyRequest(journeyInstanceID: id)) }
  }

  /// Lets time pass, and what is due happen.
  func pass(_ time: Duration) async {
    clock.advance(by: time)
    environment.effects.poll()
    await environment.effects.settled()
  }

  /// Ends an agent's task as the orchestrator does, and waits until the journey has taken it in.
  func endTask(_ request: RunTaskRequest, with payload: any Message) async throws {
    let journey = request.context?.journeyInstanceID ?? ""
    let draft = EventDraft(
      payload, producer: "ao", tenant: request.tenantID, session: request.context?.productRuntimeSessionID ?? "", journey: journey,
      agentTask: request.agentTaskID, occurredAt: clock.now)
    let position = try await environment.database.transaction("test") { [environment] tx in
      try tx.append(draft, environment).position
    }.value
    while try await environment.database.read({ reader in
      try reader.first("SELECT position FROM event_consumer WHERE name = 'tjm.tasks'") { $0.get(0, as: Int64.self) }
    }) != position { await Task.yield() }
  }

  func block(
    _ places: [String], _ blocked: Bool = true, until: Int64? = nil, key: String
  ) async throws -> SetServicePointBlockResponse {
    try await asGateway {
      try await $0.setServicePointBlock(
        SetServicePointBlockRequest(
          idempotencyKey: key, tenantID: "vienna", servicePointIds: places, blocked: blocked, reason: "burst pipe", actor: "ops:OPS-1",
          until: until.map { .init(nanosecondsSinceEpoch: $0) }))
    }
  }

  /// The whole log, oldest first.
  func events() async throws -> [EventEnvelope] {
    try await environment.log.list(LogFilter(tenant: nil), after: .beginning, limit: 10_000).events.map {
      try $0.decoded()
    }
  }

  private static func temporaryFolder() throws -> String {
    var template = Array("/tmp/spanwire-journeys-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw RPCError.internal("no temporary folder") }
    return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

extension World {
  static let start = StartJourneyRequest(
    idempotencyKey: "start", tenantID: "vienna", productRuntimeSessionID: "PRS-1", productVersionID: "PRDV-PASS-1",
    runtimeSnapshotRef: "SNAP-1", userID: "USR-1", marketCode: "AT-VIE", entitlementIds: ["ENT-1"])

  /// A journey of a session of its own, or the same again for the same key.
  func begin(_ key: String = "start", session: String = "PRS-1", snapshot: String = "SNAP-1") async throws -> String {
    var request = Self.start
    request.idempotencyKey = key
    request.productRuntimeSessionID = session
    request.runtimeSnapshotRef = snapshot
    return try await asGateway { [request] in try await $0.startJourney(request).journeyInstanceID }
  }

  func change(_ id: String, to stops: [String], key: String = "route") async throws -> JourneyInstance {
    try await asGateway {
      try await $0.changeRoute(
        ChangeRouteRequest(
          idempotencyKey: key, journeyInstanceID: id, servicePointIds: stops, proposalID: "PRP-1", agentTaskID: "ATASK-1",
          actor: "user:USR-1"))
    }
  }

  func advance(_ id: String, _ node: String, _ step: AdvanceJourneyRequest.Step, key: String) async throws -> JourneyInstance {
    try await asGateway {
      try await $0.advanceJourney(AdvanceJourneyRequest(idempotencyKey: key, journeyInstanceID: id, nodeID: node, step: step))
    }
  }
}

extension JourneyInstance {
  /// Where the traveller stands: `visit active SP-A`.
  var stands: String {
    guard let node = nodes.first(where: { $0.state == .active || $0.state == .blocked }) else { return "\(state)" }
    return [node.nodeID, "\(node.state)", node.servicePointID].filter { !$0.isEmpty }.joined(separator: " ")
  }
}
