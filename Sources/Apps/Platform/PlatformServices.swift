import SpanwireCityGraph
import SpanwireDatabase
import SpanwireEntitlements
import SpanwireEventLog
import SpanwireEvents
import SpanwireGateway
import SpanwireJourneys
import SpanwireObservability
import SpanwireOrchestrator
import SpanwirePolicy
import SpanwireRPC
import SpanwireRegistry
import SpanwireSchema
import SpanwireServiceKit
import SpanwireTelemetry
import Synchronization

/// Every service of the platform, made and wired: each gets the environment and the clients it needs, bound to its own identity.
final class PlatformServices: Sendable {
  let local = LocalRouter()
  let recorder: SpanRecorder
  let environment: ServiceEnvironment
  let routes: [ServiceRoutes]

  private let gateway: GatewayServer
  private let journeys: JourneyServer
  private let orchestrator: OrchestratorServer
  private let city: CityGraphServer
  private let collector: CollectorServer
  private let background = Mutex<[Task<Void, Never>]>([])
  private let refusals = RefusalAudit()

  static let migrations: [Migrations] = [
    LogStore.migrations, EffectStore.migrations, Idempotency.migrations, RegistryServer.migrations, GatewayServer.migrations,
    JourneyServer.migrations, OrchestratorServer.migrations, EntitlementsServer.migrations, CityGraphServer.migrations,
  ]

  init(database: any Database, spans: any Database, clock: any WallClock) async throws {
    let local = local
    let log = EventLog(database: database)
    let performer = EffectPerformer(local: local)
    let effects = EffectDispatcher(database: database, clock: clock, perform: performer.perform)
    let environment = ServiceEnvironment(database: database, log: log, effects: effects, clock: clock, ids: IDGenerator(clock: clock))
    self.environment = environment
    recorder = SpanRecorder(
      names: ServiceNames.byContract,
      silent: [Collector.descriptor.fullName, "opentelemetry.proto.collector.trace.v1.TraceService", "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"])

    let prg = local.channel(as: ServiceNames.prg)
    let tjm = local.channel(as: ServiceNames.tjm)
    let ao = local.channel(as: ServiceNames.ao)
    let observability = local.channel(as: ServiceNames.observability)

    let registry = RegistryServer(environment: environment)
    let policy = PolicyServer(environment: environment)
    gateway = GatewayServer(environment: environment, channel: prg)
    journeys = JourneyServer(environment: environment, channel: tjm)
    orchestrator = OrchestratorServer(environment: environment, channel: ao)
    let entitlements = EntitlementsServer(environment: environment)
    city = CityGraphServer(environment: environment)
    collector = CollectorServer(database: spans, recorder: recorder, events: EventsClient(observability))
    let events = EventsServer(log: log, checks: [])

    routes = [
      ProductRuntimeGateway.routes(gateway),
      Registry.routes(registry),
      Policy.routes(policy),
      JourneyRuntime.routes(journeys),
      AgentOrchestrator.routes(orchestrator),
      Trutta.routes(entitlements),
      Lem.routes(city),
      Events.routes(events),
      Collector.routes(collector),
      Opentelemetry_Proto_Collector_Trace_V1_TraceService.routes(OTLPTraceReceiver(collector)),
      // A new service is a line here.
    ]
  }

  /// Takes up what an earlier run left pending, then begins to follow the log.
  func start() async throws {
    try await environment.log.start()
    try await city.start()
    try await gateway.start()
    try await journeys.start()
    try await orchestrator.start()
    environment.effects.start()
    background.withLock { $0.append(Task { [collector] in await collector.run() }) }
  }

  /// Ends every subscription with UNAVAILABLE, so that subscribers go elsewhere with their cursors.
  func endSubscriptions() async { await environment.log.stop() }

  func stop() async {
    environment.effects.stop()
    await gateway.stop()
    await orchestrator.stop()
    for task in background.withLock({ $0 }) { task.cancel() }
    try? await collector.flush()
  }
}
