import SpanwireChain
import SpanwireCityGraph
import SpanwireDatabase
import SpanwireEntitlements
import SpanwireEventLog
import SpanwireEventLoop
import SpanwireEvents
import SpanwireExecutions
import SpanwireFlags
import SpanwireGateway
import SpanwireIdentity
import SpanwireJourneys
import SpanwireObservability
import SpanwireOperations
import SpanwireOrchestrator
import SpanwirePolicy
import SpanwireRPC
import SpanwireRegistry
import SpanwireSchema
import SpanwireServiceKit
import SpanwireTelemetry
import SpanwireTurns
import Synchronization

/// Every service of the platform, made and wired: each gets the environment and the clients it needs, bound to its own identity.
///
/// It opens no port and starts no thread: `Platform` puts it behind one, a simulation calls it in process.
package final class PlatformServices: Sendable {
  let local = LocalRouter()
  let recorder: SpanRecorder
  package let environment: ServiceEnvironment
  package let routes: [ServiceRoutes]

  private let gateway: GatewayServer
  private let journeys: JourneyServer
  private let orchestrator: OrchestratorServer
  private let executions: ExecutionsServer
  private let entitlements: EntitlementsServer
  private let registry: RegistryServer
  private let city: CityGraphServer
  private let identity: IdentityServer
  private let operations: OperationsServer
  private let collector: CollectorServer
  private let retention: RetentionPeriods
  private let background = Mutex<[Task<Void, Never>]>([])

  package static let migrations: [Migrations] =
    ServiceEnvironment.migrations + [
      RegistryServer.migrations, GatewayServer.migrations, JourneyServer.migrations, TurnsServer.migrations,
      OrchestratorServer.migrations, ExecutionsServer.migrations, EntitlementsServer.migrations, CityGraphServer.migrations,
      PolicyServer.migrations,
      FlagsServer.migrations,
      IdentityServer.migrations, OperationsServer.migrations,
    ]

  /// - Parameters:
  ///   - files: the databases as files, which operators copy and have looked over; none where there are no files.
  ///   - folder: for what stands beside them for a while.
  ///   - loops: those that serve subscribers.
  ///   - random: where ids and the pauses between attempts get their chance from.
  ///   - alert: tells somebody outside when the incident mode changes; nil: nobody is told.
  package init(
    database: any Database, spans: any Database, files: [(name: String, database: any FileDatabase)] = [], folder: String = "",
    clock: any WallClock, retention: RetentionPeriods = RetentionPeriods(), isSandbox: Bool = false, loops: EventLoopGroup = .shared,
    random: @escaping @Sendable () -> UInt64 = RandomNumbers().next, flagsTenant: String? = nil,
    tenantWeights: [String: UInt32] = [:], models: ModelProviders = ModelProviders(), alert: IncidentAlertSender? = nil
  ) async throws {
    self.retention = retention
    let local = local
    let log = EventLog(database: database, loops: loops)
    let clock = FlooredClock(clock, notBefore: try await Self.lastMoment(of: log))
    let effects = EffectDispatcher(database: database, clock: clock) { Double(random() >> 11) / Double(1 << 53) }
    let environment = ServiceEnvironment(
      database: database, log: log, effects: effects, clock: clock, ids: IDGenerator(clock: clock, random: random))
    self.environment = environment
    recorder = SpanRecorder(
      names: ServiceNames.byContract,
      silent: [
        Collector.descriptor.fullName, "opentelemetry.proto.collector.trace.v1.TraceService", "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
      ])

    let prg = local.channel(as: ServiceNames.prg)
    let tjm = local.channel(as: ServiceNames.tjm)
    let ao = local.channel(as: ServiceNames.ao)
    let registryChannel = local.channel(as: ServiceNames.registry)
    let observability = local.channel(as: ServiceNames.observability)
    let trutta = local.channel(as: ServiceNames.trutta)

    registry = RegistryServer(
      environment: environment, lem: LemClient(registryChannel), policy: PolicyClient(registryChannel),
      checks: .platform)
    let policyChannel = local.channel(as: ServiceNames.policy)
    let policy = PolicyServer(
      environment: environment, registry: RegistryClient(policyChannel), operations: OperationsClient(policyChannel))
    gateway = GatewayServer(
      environment: environment,
      clients: GatewayClients(
        registry: RegistryClient(prg), policy: PolicyClient(prg), journeys: JourneyRuntimeClient(prg),
        agents: AgentOrchestratorClient(prg), entitlements: TruttaClient(prg), city: LemClient(prg)))
    journeys = JourneyServer(
      environment: environment,
      clients: JourneyClients(
        registry: RegistryClient(tjm), policy: PolicyClient(tjm), agents: AgentOrchestratorClient(tjm), entitlements: TruttaClient(tjm),
        city: LemClient(tjm)))
    orchestrator = OrchestratorServer(environment: environment, over: ao, weights: tenantWeights, providers: models)
    let turnsChannel = local.channel(as: ServiceNames.turns)
    let turns = TurnsServer(
      environment: environment, agents: AgentOrchestratorClient(turnsChannel), host: TurnHostClient(turnsChannel))
    executions = ExecutionsServer(environment: environment, over: local.channel(as: ServiceNames.executions))
    entitlements = EntitlementsServer(environment: environment, registry: RegistryClient(trutta))
    city = CityGraphServer(environment: environment)
    let flagsChannel = local.channel(as: ServiceNames.flags)
    let flags = FlagsServer(
      environment: environment, registry: RegistryClient(flagsChannel), policy: PolicyClient(flagsChannel), anonymousTenant: flagsTenant)
    let chainChannel = local.channel(as: ServiceNames.chain)
    let chain = ChainServer(policy: PolicyClient(chainChannel), flags: FlagsClient(chainChannel), clock: clock)
    identity = IdentityServer(environment: environment)
    collector = CollectorServer(database: spans, recorder: recorder, events: EventsClient(observability))

    // Effects are performed under the identity of the service that wrote them.
    gateway.performEffects(over: prg)
    journeys.performEffects(over: tjm)
    effects.route(
      ServiceNames.registry, Lem.Methods.syncServicePoints, SyncServicePointsRequest.self, SyncServicePointsResponse.self,
      over: registryChannel)
    effects.onOutcome(of: EntitlementsServer.effectOwner, entitlements.effectOutcome)
    effects.onOutcome(of: PolicyServer.producer, policy.effectOutcome)

    operations = OperationsServer(
      environment: environment, databases: files, folder: folder, over: local.channel(as: ServiceNames.operations), alert: alert)
    let events = EventsServer(
      environment: environment,
      checks: [
        operations.verify,
        registry.verify, gateway.verify, journeys.verify, orchestrator.verify, turns.verify, executions.verify, entitlements.verify,
        city.verify, policy.verify, flags.verify,
      ], retention: retention, isSandbox: isSandbox)

    routes = [
      ProductRuntimeGateway.routes(gateway),
      Registry.routes(registry),
      Policy.routes(policy),
      JourneyRuntime.routes(journeys),
      AgentOrchestrator.routes(orchestrator),
      AgentWorker.routes(orchestrator.workers),
      TurnHost.routes(orchestrator),
      Turns.routes(turns),
      Executions.routes(executions),
      Trutta.routes(entitlements),
      Lem.routes(city),
      Identity.routes(identity),
      Flags.routes(flags),
      Chain.routes(chain),
      Flagd_Evaluation_V1_Service.routes(FlagdEvaluationV1(flags)),
      Flagd_Evaluation_V2_Service.routes(FlagdEvaluationV2(flags)),
      Flagd_Sync_V1_FlagSyncService.routes(FlagdSync(flags)),
      Events.routes(events),
      Collector.routes(collector),
      Operations.routes(operations),
      Opentelemetry_Proto_Collector_Trace_V1_TraceService.routes(OTLPTraceReceiver(collector)),
      // A new service is a line here.
    ]
  }

  /// When the last event of the log happened; the beginning of time when there is none.
  private static func lastMoment(of log: EventLog) async throws -> Int64 {
    let everything = LogFilter(tenant: nil)
    let head = try await log.head()
    guard head > 0, let last = try await log.list(everything, after: .after(head - 1), limit: 1).events.first else { return 0 }
    return try last.decoded().occurredAt?.nanosecondsSinceEpoch ?? 0
  }

  /// The one router: these services, and others beside them, behind the exposure gate. From now on services reach each other.
  package func connect(
    beside others: [ServiceRoutes] = [], behind front: [any ServerInterceptor] = [], observer: (any CallObserver)? = nil
  ) -> ServerRouter {
    let routes = routes + others
    let open: Set<String> = Set(routes.map(\.descriptor.fullName)).subtracting(ServiceNames.byContract.keys)
    let gate = ExposureGate(exposure: ExposureInterceptor(openServices: open))
    let router = ServerRouter(routes, interceptors: [DenialAudit(environment: environment)] + front + [gate], observer: observer)
    local.connect(router)
    return router
  }

  /// Takes up what an earlier run left pending, then begins to follow the log.
  package func start() async throws {
    try await environment.log.start()
    environment.effects.start()
    gateway.start()
    journeys.start()
    try await orchestrator.start()
    try await executions.start()
  }

  /// Begins what goes on beside the calls: spans are stored, what is kept for a day is forgotten.
  func keepHouse() {
    background.withLock {
      $0.append(Task { [collector] in await collector.run() })
      $0.append(Task { [operations] in await operations.run() })
      $0.append(
        Task { [environment, identity, operations, executions, retention] in
          await Self.forget(environment, identity, operations, executions, retention)
        })
      $0.append(
        Task { [environment] in
          await environment.clock.every(EventLogLimits.denialWindow) { await environment.settleDenials() }
        })
    }
  }

  /// Forgets, every hour, what is kept for a day, outcomes by idempotency key and those of effects, and events past their retention.
  private static func forget(
    _ environment: ServiceEnvironment, _ identity: IdentityServer, _ operations: OperationsServer, _ executions: ExecutionsServer,
    _ retention: RetentionPeriods
  ) async {
    await environment.clock.every(.seconds(3_600)) {
      // What is not forgotten now is forgotten an hour later.
      _ = try? await Idempotency.purge(environment.database, now: environment.clock.now)
      try? await environment.effects.purge()
      try? await identity.purge()
      try? await operations.purge()
      try? await executions.purge()
      _ = try? await environment.log.compact(retention, now: environment.clock.now)
    }
  }

  /// Ends every subscription and every worker's attachment with UNAVAILABLE, so that they go elsewhere: subscribers with their cursors.
  package func endSubscriptions() async {
    orchestrator.workers.endAttachments()
    executions.endWatching()
    await environment.log.stop()
  }

  package func stop() async {
    environment.effects.stop()
    await gateway.stop()
    await journeys.stop()
    await executions.stop()
    await orchestrator.stop()
    for task in background.withLock({ $0 }) { task.cancel() }
    await environment.settleDenials(all: true)
    try? await flushSpans()
  }

  /// Judges the platform by what has happened since the last time, as it does every second while it keeps house.
  package func look() async throws { try await operations.look() }

  /// Stores the spans of every call that has ended.
  package func flushSpans() async throws { try await collector.flush() }
}

extension BundleChecks {
  /// What the rooms that know of journeys, opening hours, clocks and flags' rules say of a bundle.
  public static let platform = BundleChecks(
    journeyDocument: { JourneyGraph($0).problems().map { ($0.path, $0.reason) } },
    openingHours: { text in
      do {
        _ = try OpeningHours(parsing: text)
        return nil
      } catch {
        return "\(error)"
      }
    },
    timeZone: { CityTimeZone(identifier: $0) != nil },
    targeting: FlagsServer.problem(inTargeting:))
}
