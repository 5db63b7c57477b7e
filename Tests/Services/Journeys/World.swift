import FoundationEssentials
import Glibc
import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireRPCInProcess
import SpanwireSchema
import SpanwireServiceKit

@testable import SpanwireJourneys

/// A journey runtime on a database of its own, with neighbours that answer as the test wants.
final class World: Sendable {
  let folder: String
  let clock = ManualClock()
  let neighbours: Neighbours
  let environment: ServiceEnvironment
  let server: JourneyServer
  private let database: SQLiteDatabase
  private let router: ServerRouter
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
  }

  /// Stops as a server does that goes down.
  func stop() async {
    environment.effects.stop()
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

  func begin() async throws -> String {
    try await asGateway { try await $0.startJourney(Self.start).journeyInstanceID }
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
