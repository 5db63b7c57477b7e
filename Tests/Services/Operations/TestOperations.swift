import Glibc
import SpanwireDatabase
import SpanwireEventLog
import SpanwireEventLoop
import SpanwireProtobuf
import SpanwireRPC
import SpanwireRPCInProcess
import SpanwireSchema
import SpanwireServiceKit
import Synchronization

@testable import SpanwireOperations

/// The service on a database of its own, with a clock that stands still, beside an orchestrator that notes what it is given.
final class TestOperations: Sendable {
  let clock = ManualClock()
  let database: SQLiteDatabase
  let agents = NotingOrchestrator()
  /// What the webhook was sent.
  let alerts = Mutex<[String]>([])
  /// How many of its calls fail before one is taken.
  let failures = Mutex(0)
  private let path: String
  private let loops = EventLoopGroup(loops: 1)
  private let running = Mutex<(ServiceEnvironment, OperationsServer)?>(nil)

  static let olga = Principal(kind: .ops, id: "olga", tenant: "vienna", roles: ["ops_lead"], surface: .ops)
  static let root = Principal(kind: .ops, id: "root", tenant: "platform", roles: ["platform_admin"], surface: .ops)

  init() async throws {
    var template = Array("/tmp/spanwire-operations-XXXXXX".utf8CString)
    path = String(cString: mkdtemp(&template)!)
    database = try await SQLiteDatabase.open(
      path: path + "/test.db", durability: .off, migrations: ServiceEnvironment.migrations + [OperationsServer.migrations])
    try await start()
  }

  deinit {
    loops.stop()
    for suffix in ["", "-wal", "-shm", ".lock"] { unlink(path + "/test.db" + suffix) }
    rmdir(path)
  }

  /// A process on the same rows: the first, or after a restart.
  func start() async throws {
    let log = EventLog(database: database, loops: loops)
    let environment = ServiceEnvironment(
      database: database, log: log, effects: EffectDispatcher(database: database, clock: clock), clock: clock,
      ids: IDGenerator(clock: clock))
    let registry = ServiceRoutes(
      Registry.descriptor, [MethodRoute(Registry.Methods.listDefinitions) { [self] in try $0.respond(definitions($0.request())) }])
    let channel = InProcessChannel(ServerRouter([agents.routes, registry]), service: "operations")
    let server = OperationsServer(environment: environment, databases: [], folder: path, over: channel) { [unowned self] body in
      let fails = failures.withLock { left in
        defer { left = max(0, left - 1) }
        return left > 0
      }
      if fails { throw RPCError.unavailable("nobody there") }
      alerts.withLock { $0.append(String(decoding: body, as: UTF8.self)) }
    }
    try await log.start()
    environment.effects.start()
    running.withLock { $0 = (environment, server) }
  }

  /// A registry that holds targets and nothing else, each of which tenant `platform` shares.
  let targets = Mutex<[SlaTarget]>([])

  private func definitions(_ request: ListDefinitionsRequest) -> ListDefinitionsResponse {
    let isShared = CallContext.current?.principal.tenant == Caller.platformTenant
    guard request.kind == .slaTarget, isShared else { return ListDefinitionsResponse() }
    return ListDefinitionsResponse(
      definitions: targets.withLock { $0 }.map { Definition(kind: .slaTarget, id: $0.jobType, value: .slaTarget($0)) })
  }

  var environment: ServiceEnvironment { running.withLock { $0!.0 } }
  var server: OperationsServer { running.withLock { $0!.1 } }

  func stop() async {
    environment.effects.stop()
    await environment.log.stop()
  }

  func context(_ principal: Principal = olga) -> ServerContext {
    ServerContext(method: Operations.Methods.createSchedule, peer: .inProcess, principal: principal)
  }

  /// Moves the clock and lets what is due then happen.
  func pass(_ span: Duration) async {
    clock.advance(by: span)
    environment.effects.poll()
    await environment.effects.settled()
  }

  func schedule(_ id: String, every seconds: Int64 = 60, _ change: (inout Schedule) -> Void = { _ in }) async throws {
    var schedule = Schedule(
      scheduleID: id, timing: .every(.init(seconds: seconds)),
      work: .task(ScheduledTask(task: AgentTaskSpec(agentType: "ops_analyst", intent: "explain_incident"))))
    change(&schedule)
    let request = CreateScheduleRequest(idempotencyKey: "make-\(id)-\(seconds)", schedule: schedule)
    _ = try await server.createSchedule(request, context: context())
  }

  /// What became of its times, the first one first: `fired 1`.
  func runs(_ id: String) async throws -> [String] {
    try await server.listScheduleRuns(ListScheduleRunsRequest(scheduleID: id), context: context()).runs.reversed().map {
      "\($0.outcome) \($0.firings)"
    }
  }

  func events(_ tenant: String? = nil) async throws -> [EventEnvelope] {
    try await environment.log.list(LogFilter(tenant: tenant), after: .beginning, limit: 1_000).events.map { try $0.decoded() }
  }

  /// How many events of a type the tenant has.
  func count(_ type: String) async throws -> Int { try await events("vienna").count { $0.type == type } }

  /// Writes events as other services do.
  func happen(_ payloads: [any Message], tenant: String = "vienna") async throws {
    let drafts = payloads.map { EventDraft($0, producer: "test", tenant: tenant, agentTask: "ATASK-X", occurredAt: clock.now) }
    let environment = environment
    _ = try await database.transaction("test.happen") { try $0.append(drafts, environment) }
  }
}

/// Notes the tasks it is given; each ends when the test says so.
final class NotingOrchestrator: Sendable {
  struct State {
    var given: [RunTaskRequest] = []
    var callers: [String] = []
    var ended: Set<String> = []
    var refuses = false
  }

  let state = Mutex(State())

  /// What schedules ask of it, and nothing else.
  var routes: ServiceRoutes {
    ServiceRoutes(
      AgentOrchestrator.descriptor,
      [
        MethodRoute(AgentOrchestrator.Methods.submitTask) { [self] in try $0.respond(submit($0.request(), $0.context)) },
        MethodRoute(AgentOrchestrator.Methods.getTask) { [self] in try $0.respond(get($0.request())) },
      ])
  }

  private func submit(_ request: RunTaskRequest, _ context: ServerContext) throws -> AgentTask {
    try state.withLock { state in
      if state.refuses { throw RPCError.precondition(.agentUnknown, "no such agent") }
      if !state.given.contains(request) { state.given.append(request) }
      state.callers.append(Caller(context.principal.subject).name)
    }
    return AgentTask(agentTaskID: request.agentTaskID)
  }

  private func get(_ request: GetTaskRequest) throws -> AgentTask {
    try state.withLock { state in
      guard state.given.contains(where: { $0.agentTaskID == request.agentTaskID }) else { throw RPCError.notFound("no task") }
      return AgentTask(
        agentTaskID: request.agentTaskID, endedAt: state.ended.contains(request.agentTaskID) ? .init(seconds: 1) : nil)
    }
  }

  func endAll() { state.withLock { $0.ended = Set($0.given.map(\.agentTaskID)) } }
  var count: Int { state.withLock { $0.given.count } }
  var callers: [String] { state.withLock { $0.callers } }
  var given: [RunTaskRequest] { state.withLock { $0.given } }
}
