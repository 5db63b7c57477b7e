import Foundation
import SpanwireDatabase
import SpanwireEventLog
import SpanwireEventLoop
import SpanwirePolicy
import SpanwireRPC
import SpanwireRPCInProcess
import SpanwireSchema
import SpanwireServiceKit
import SpanwireTurns
import Synchronization

@testable import SpanwireOrchestrator

/// An orchestrator on a temporary database, with the real policy and a small town of five cafés around it.
final class OrchestratorHarness: Sendable {
  let folder: URL
  let database: SQLiteDatabase
  let loops: EventLoopGroup
  let clock: ManualClock
  let environment: ServiceEnvironment
  let town: SmallTown
  let others: InProcessChannel
  let server: OrchestratorServer
  let agents: AgentOrchestratorClient
  let workers: AgentWorkerClient
  /// To what is served here, for those who bring a client of their own.
  let channel: InProcessChannel
  let turns: TurnsClient

  init(
    town: SmallTown = SmallTown(), start: Bool = true, queue: FairQueue = FairQueue(), providers: ModelProviders = ModelProviders()
  ) async throws {
    folder = FileManager.default.temporaryDirectory.appending(path: "spanwire-orchestrator-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    database = try await SQLiteDatabase.open(
      path: folder.appending(path: "test.db").path, durability: .off,
      migrations: ServiceEnvironment.migrations + [TurnsServer.migrations, OrchestratorServer.migrations, PolicyServer.migrations])
    loops = EventLoopGroup(loops: 1)
    clock = ManualClock(SmallTown.noon)
    let log = EventLog(database: database, loops: loops)
    let effects = EffectDispatcher(database: database, clock: clock)
    environment = ServiceEnvironment(database: database, log: log, effects: effects, clock: clock, ids: IDGenerator(clock: clock))
    others = InProcessChannel(
      ServerRouter([
        Registry.routes(town), Lem.routes(town), Trutta.routes(town), JourneyRuntime.routes(town),
        Policy.routes(
          PolicyServer(environment: environment, registry: RegistryClient(InProcessChannel(ServerRouter([Registry.routes(town)]))))),
      ]), service: "ao")
    self.town = town
    server = Self.server(environment, others, queue, providers)
    channel = InProcessChannel(
      ServerRouter([AgentOrchestrator.routes(server), AgentWorker.routes(server.workers)], interceptors: [ExposureInterceptor()]))
    agents = AgentOrchestratorClient(channel)
    workers = AgentWorkerClient(channel)
    let hosts = InProcessChannel(ServerRouter([AgentOrchestrator.routes(server), TurnHost.routes(server)]), service: "turns")
    turns = TurnsClient(
      InProcessChannel(
        ServerRouter(
          [
            Turns.routes(
              TurnsServer(environment: environment, agents: AgentOrchestratorClient(hosts), host: TurnHostClient(hosts)))
          ], interceptors: [ExposureInterceptor()])))
    try await log.start()
    effects.start()
    if start { try await server.start() }
  }

  /// Another orchestrator on the same rows, as after a restart.
  func again() -> (OrchestratorServer, AgentOrchestratorClient) {
    let server = Self.server(environment, others, FairQueue(), ModelProviders())
    return (server, AgentOrchestratorClient(InProcessChannel(ServerRouter([AgentOrchestrator.routes(server)]))))
  }

  private static func server(
    _ environment: ServiceEnvironment, _ others: InProcessChannel, _ queue: FairQueue, _ providers: ModelProviders
  ) -> OrchestratorServer {
    OrchestratorServer(
      environment: environment, over: others, queue: queue, providers: providers,
      // A test looks after its workers itself, and waits for nothing.
      retries: RetryPolicy(firstPause: .microseconds(100)), supervision: .seconds(3_600))
  }

  func end() async {
    await server.stop()
    environment.effects.stop()
    await environment.log.stop()
    await database.close()
    loops.stop()
    try? FileManager.default.removeItem(at: folder)
  }

  /// Calls as a service does for a traveller.
  func asService<R>(_ service: String = "prg", tenant: String = "vienna", _ call: (AgentOrchestratorClient) async throws -> R) async throws
    -> R
  {
    let traveller = Principal(kind: .user, id: "USR-1", tenant: tenant, roles: ["traveller"], surface: .edge)
    return try await CallContext.with(principal: .service(service, onBehalfOf: traveller), trace: .root()) { try await call(agents) }
  }

  func asOperator<R>(_ call: (AgentOrchestratorClient) async throws -> R) async throws -> R {
    let principal = Principal(kind: .ops, id: "OPS-1", tenant: "vienna", roles: ["ops_lead"], surface: .ops)
    return try await CallContext.with(principal: principal, trace: .root()) { try await call(agents) }
  }

  /// Runs a task for the traveller and gathers its updates.
  func run(_ request: RunTaskRequest) async throws -> [AgentTaskUpdate] {
    try await asService { agents in
      var updates: [AgentTaskUpdate] = []
      for try await update in try await agents.runTask(request) { updates.append(update) }
      return updates
    }
  }

  func eventTypes() async throws -> [String] {
    try await environment.log.list(ListEventsRequest(pageSize: 1_000), tenant: "vienna").events.map(\.type)
  }

  /// What the gateway asks for in a session; with all the time there is, since many tests share the processors.
  static func request(_ key: String, _ type: String, _ intent: String, message: String = "") -> RunTaskRequest {
    RunTaskRequest(
      idempotencyKey: key, invoker: "prg",
      context: AgentContext(
        productRuntimeSessionID: "PRS-1", journeyInstanceID: "JRN-1", userID: "USR-1", marketCode: "AT-VIE", runtimeSnapshotRef: "SNAP-1",
        position: GeoPoint(latitude: 48.2085, longitude: 16.3721)),
      task: AgentTaskSpec(
        agentType: type, intent: intent, constraints: AgentConstraints(timeoutMs: 60_000), message: message))
  }
}

/// Five cafés in a row and everything that agents read, as values a test may change.
final class SmallTown: RegistryService, LemService, TruttaService, JourneyRuntimeService {
  /// 2026-05-04T12:00:00Z
  static let noon: Int64 = 1_777_896_000_000_000_000
  private static let hour: Int64 = 3_600_000_000_000

  struct State {
    var remaining: Int64 = 3
    var visited: [String] = []
    /// Calls that ask for places wait until they are cancelled.
    var isSlow = false
    var routesAsked = 0
    /// Calls that ask for routes fail.
    var isBroken = false
    /// Agents whose tasks attached workers do.
    var byWorkers: Set<String> = []
    /// Agents whose tasks language models do, and where they are put to.
    var byModel: Set<String> = []
    var routes: [ModelRoute] = []
    /// Of every agent: what its models may call, and its model policy.
    var capabilities: [String] = []
    var modelPolicy: ModelPolicy?
    /// What each task may cost, and does; nil: nothing.
    var price: Money?
    /// How many turns an agent may have open.
    var quota: TurnQuota?
    var policies: [PolicyDefinition] = []
  }

  let state = Mutex(State())

  var config: RuntimeConfig {
    RuntimeConfig(
      productID: "PRD-1",
      productVersion: ProductVersion(
        productVersionID: "PRDV-1", productID: "PRD-1",
        variants: [variant("VAR-THREE", 3, 12_900_000), variant("VAR-FIVE", 5, 19_900_000), variant("VAR-TEN", 10, 39_900_000)]),
      market: Market(marketCode: "AT-VIE", timeZone: "Europe/Vienna"),
      profiles: [
        Profile(profileID: "S", kind: .safety(SafetyProfile(maxStops: 4, maxWalkingMetres: 1_000, latestEndLocal: "22:00"))),
        Profile(profileID: "P", kind: .pricing(PricingProfile(ceiling: Money(micros: 25_000_000, currency: "EUR")))),
        Profile(profileID: "O", kind: .ops(OpsProfile(blockedServicePointIds: ["SP-5"]))),
        Profile(profileID: "Q", kind: .quality(QualityProfile(minExperienceScore: 0.3))),
      ],
      tokens: [Token(tokenID: "TOK-1", title: "One coffee", redeemableTags: ["cafe"])], snapshotRef: "SNAP-1")
  }

  private func variant(_ id: String, _ quantity: Int64, _ micros: Int64) -> Variant {
    Variant(
      variantID: id, title: id, price: Money(micros: micros, currency: "EUR"), grants: [TokenGrant(tokenID: "TOK-1", quantity: quantity)])
  }

  private func place(_ number: Int) -> ServicePointStatus {
    ServicePointStatus(
      servicePoint: ServicePoint(
        servicePointID: "SP-\(number)", name: "Café \(number)", marketCode: "AT-VIE",
        position: GeoPoint(latitude: 48.2085 + Double(number) * 0.001, longitude: 16.3721), tags: ["cafe"],
        experienceScore: 1 - Double(number) * 0.1, dwell: .init(seconds: 1_800)),
      openState: .open, openUntil: .init(nanosecondsSinceEpoch: Self.noon + 8 * Self.hour))
  }

  // MARK: Registry

  func listDefinitions(_ request: ListDefinitionsRequest, context: ServerContext) async throws -> ListDefinitionsResponse {
    if request.kind == .policy {
      let policies = request.shared ? [] : state.withLock { $0.policies }
      return ListDefinitionsResponse(definitions: policies.map { Definition(kind: .policy, id: $0.policyID, value: .policy($0)) })
    }
    if request.kind == .modelRoute {
      let routes = request.shared ? [] : state.withLock { $0.routes }
      return ListDefinitionsResponse(definitions: routes.map { Definition(kind: .modelRoute, id: $0.routeID, value: .modelRoute($0)) })
    }
    return ListDefinitionsResponse(
      definitions: agents.map { Definition(kind: .agent, id: $0.agentSlug, value: .agent($0)) })
  }

  func getDefinition(_ request: GetDefinitionRequest, context: ServerContext) async throws -> Definition {
    guard request.kind == .agent, let agent = agents.first(where: { $0.agentSlug == request.id }) else { throw none }
    return Definition(kind: .agent, id: agent.agentSlug, value: .agent(agent))
  }

  private var agents: [AgentDefinition] {
    let state = state.withLock { $0 }
    let model = state.modelPolicy ?? state.price.map { ModelPolicy(defaultModel: "none", maxCost: $0, price: $0) }
    return [
      ("vienna-trip-planner", "trip_planner", ["build_initial_route", "suggest_next_stop"]),
      ("vienna-journey-guide", "journey_guide", ["suggest_next_stop", "explain_limits"]),
      ("vienna-support", "support", ["explain_limits"]), ("vienna-pricing", "pricing", ["offer_upsell"]),
    ].map { slug, type, intents in
      AgentDefinition(
        agentSlug: slug, agentType: type, intents: intents, capabilityTiers: ["read"],
        capabilities: state.capabilities.map { ToolCapability(tool: $0, permissionTier: "read") }, modelPolicy: model,
        byWorkers: state.byWorkers.contains(slug), turns: state.quota, byModel: state.byModel.contains(slug))
    }
  }

  func getSnapshot(_ request: GetSnapshotRequest, context: ServerContext) async throws -> RuntimeConfig { config }
  func apply(_ request: ApplyRequest, context: ServerContext) async throws -> ApplyResponse { throw none }
  func diff(_ request: DiffRequest, context: ServerContext) async throws -> DiffResponse { throw none }
  func rollback(_ request: RollbackRequest, context: ServerContext) async throws -> ApplyResponse { throw none }
  func listRevisions(_ request: ListRevisionsRequest, context: ServerContext) async throws -> ListRevisionsResponse { throw none }
  func resolveRuntimeConfig(_ request: ResolveRuntimeConfigRequest, context: ServerContext) async throws -> RuntimeConfig { throw none }
  func watch(_ request: WatchRequest, responses: ResponseWriter<RegistryChange>, context: ServerContext) async throws { throw none }

  // MARK: City

  func listServicePoints(_ request: ListServicePointsRequest, context: ServerContext) async throws -> ListServicePointsResponse {
    if state.withLock({ $0.isSlow }) {
      // Until the caller's patience ends: nothing ever comes, and the cancellation of the call ends the wait.
      let (nothing, source) = AsyncStream<Void>.makeStream()
      for await _ in nothing {}
      source.finish()
      throw CancellationError()
    }
    return ListServicePointsResponse(servicePoints: (1...5).map(place))
  }

  func getServicePoint(_ request: GetServicePointRequest, context: ServerContext) async throws -> ServicePointStatus {
    place(Int(request.servicePointID.dropFirst(3)) ?? 1)
  }

  func computeRoute(_ request: ComputeRouteRequest, context: ServerContext) async throws -> ComputeRouteResponse {
    let isBroken = state.withLock { state in
      state.routesAsked += 1
      return state.isBroken
    }
    if isBroken { throw RPCError.unavailable("the town's map is gone") }
    let ids = request.servicePointIds.prefix(Int(request.maxStops))
    var time = request.departAt?.nanosecondsSinceEpoch ?? Self.noon
    let stops = ids.map { id -> RouteStop in
      time += Self.hour
      return RouteStop(
        servicePointID: id, name: id, arriveAt: .init(nanosecondsSinceEpoch: time),
        leaveAt: .init(nanosecondsSinceEpoch: time + Self.hour / 2),
        openUntil: .init(nanosecondsSinceEpoch: Self.noon + 8 * Self.hour), walkingMetres: 400)
    }
    return ComputeRouteResponse(
      stops: stops, walkingMetres: Double(stops.count) * 400, finishAt: .init(nanosecondsSinceEpoch: time + Self.hour / 2),
      candidates: UInt32(request.servicePointIds.count))
  }

  func checkCoverage(_ request: CheckCoverageRequest, context: ServerContext) async throws -> CheckCoverageResponse { throw none }
  func syncServicePoints(_ request: SyncServicePointsRequest, context: ServerContext) async throws -> SyncServicePointsResponse {
    throw none
  }
  func blockServicePoint(_ request: BlockServicePointRequest, context: ServerContext) async throws -> BlockChange { throw none }
  func unblockServicePoint(_ request: UnblockServicePointRequest, context: ServerContext) async throws -> BlockChange { throw none }

  func listClusters(_ request: ListClustersRequest, context: ServerContext) async throws -> ListClustersResponse { throw none }
  func explainHours(_ request: ExplainHoursRequest, context: ServerContext) async throws -> ExplainHoursResponse { throw none }
  func reserveCapacity(_ request: ReserveCapacityRequest, context: ServerContext) async throws -> ReserveCapacityResponse { throw none }
  func releaseCapacity(_ request: ReleaseCapacityRequest, context: ServerContext) async throws -> CapacityReservation { throw none }
  func listReservations(_ request: ListReservationsRequest, context: ServerContext) async throws -> ListReservationsResponse { throw none }

  // MARK: Entitlements

  func listEntitlements(_ request: ListEntitlementsRequest, context: ServerContext) async throws -> ListEntitlementsResponse {
    let remaining = state.withLock { $0.remaining }
    return ListEntitlementsResponse(entitlements: [
      Entitlement(entitlementID: "ENT-1", tokenID: "TOK-1", issued: 3, remaining: remaining, state: remaining > 0 ? .active : .exhausted)
    ])
  }

  func getEntitlement(_ request: GetEntitlementRequest, context: ServerContext) async throws -> Entitlement { throw none }
  func issue(_ request: IssueRequest, context: ServerContext) async throws -> Entitlement { throw none }
  func redeem(_ request: RedeemRequest, context: ServerContext) async throws -> Redemption { throw none }
  func compensate(_ request: CompensateRequest, context: ServerContext) async throws -> Entitlement { throw none }
  func withdraw(_ request: WithdrawRequest, context: ServerContext) async throws -> Entitlement { throw none }
  func getSettlement(_ request: GetSettlementRequest, context: ServerContext) async throws -> Settlement { throw none }
  func exportSettlement(_ request: ExportSettlementRequest, context: ServerContext) async throws -> SettlementFile { throw none }
  func settle(_ request: SettleRequest, context: ServerContext) async throws -> SettleResponse { throw none }
  func listSettlements(_ request: ListSettlementsRequest, context: ServerContext) async throws -> ListSettlementsResponse { throw none }
  func correctSettlement(_ request: CorrectSettlementRequest, context: ServerContext) async throws -> Settlement { throw none }
  func listLedger(_ request: ListLedgerRequest, context: ServerContext) async throws -> ListLedgerResponse { throw none }

  // MARK: Journeys

  func getJourney(_ request: GetJourneyRequest, context: ServerContext) async throws -> JourneyInstance {
    JourneyInstance(
      journeyInstanceID: request.journeyInstanceID, state: .running,
      nodes: [NodeStatus(nodeID: "more", kind: "choice", state: .active)], visitedServicePointIds: state.withLock { $0.visited })
  }

  func startJourney(_ request: StartJourneyRequest, context: ServerContext) async throws -> JourneyInstance { throw none }
  func listJourneys(_ request: ListJourneysRequest, context: ServerContext) async throws -> ListJourneysResponse { throw none }
  func advanceJourney(_ request: AdvanceJourneyRequest, context: ServerContext) async throws -> JourneyInstance { throw none }
  func changeRoute(_ request: ChangeRouteRequest, context: ServerContext) async throws -> JourneyInstance { throw none }
  func declineRecommendation(_ request: DeclineRecommendationRequest, context: ServerContext) async throws -> JourneyInstance { throw none }
  func abandonJourney(_ request: AbandonJourneyRequest, context: ServerContext) async throws -> JourneyInstance { throw none }
  func forceAbort(_ request: ForceAbortRequest, context: ServerContext) async throws -> JourneyInstance { throw none }
  func forceSkipNode(_ request: ForceNodeRequest, context: ServerContext) async throws -> JourneyInstance { throw none }
  func forceCompleteNode(_ request: ForceNodeRequest, context: ServerContext) async throws -> JourneyInstance { throw none }
  func completeNodeWork(_ request: CompleteNodeWorkRequest, context: ServerContext) async throws -> JourneyInstance { throw none }
  func setServicePointBlock(
    _ request: SetServicePointBlockRequest, context: ServerContext
  ) async throws -> SetServicePointBlockResponse { throw none }

  func watchJourney(
    _ request: WatchJourneyRequest, responses: ResponseWriter<SubscribeResponse>, context: ServerContext
  ) async throws { throw none }

  private var none: RPCError { .unimplemented("not in this test") }
}
