import Foundation
import SpanwireDatabase
import SpanwireEventLog
import SpanwireEventLoop
import SpanwireOrchestrator
import SpanwirePolicy
import SpanwireProtobuf
import SpanwireRPC
import SpanwireRPCInProcess
import SpanwireSchema
import SpanwireServiceKit
import SpanwireTurns
import SpanwireWellKnown
import SpanwireWorker
import Synchronization

@testable import SpanwireExecutions

/// Executions on a temporary database, with the real orchestrator for workers and dead letters, and the real policy for approvals.
final class ExecutionsHarness: Sendable {
  let folder: URL
  let database: SQLiteDatabase
  let loops: EventLoopGroup
  let clock: ManualClock
  let environment: ServiceEnvironment
  let orchestrator: OrchestratorServer
  let first: Node

  /// A server with the clients of those who call it.
  final class Node: Sendable {
    let server: ExecutionsServer
    let executions: ExecutionsClient
    let agents: AgentOrchestratorClient
    let channel: InProcessChannel

    init(_ server: ExecutionsServer, _ channel: InProcessChannel) {
      self.server = server
      self.channel = channel
      executions = ExecutionsClient(channel)
      agents = AgentOrchestratorClient(channel)
    }
  }

  init() async throws {
    folder = FileManager.default.temporaryDirectory.appending(path: "spanwire-executions-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    database = try await SQLiteDatabase.open(
      path: folder.appending(path: "test.db").path, durability: .off,
      migrations: ServiceEnvironment.migrations + [
        ExecutionsServer.migrations, TurnsServer.migrations, OrchestratorServer.migrations, PolicyServer.migrations,
      ])
    loops = EventLoopGroup(loops: 1)
    clock = ManualClock()
    let log = EventLog(database: database, loops: loops)
    let effects = EffectDispatcher(database: database, clock: clock)
    environment = ServiceEnvironment(database: database, log: log, effects: effects, clock: clock, ids: IDGenerator(clock: clock))
    let late = LateChannel()
    orchestrator = OrchestratorServer(environment: environment, over: LateChannel(late, as: "ao"))
    let server = ExecutionsServer(
      environment: environment, over: LateChannel(late, as: "executions"), retries: RetryPolicy(firstPause: .microseconds(100)))
    first = Self.node(server, orchestrator, environment, late)
    try await log.start()
    effects.start()
    try await server.start()
  }

  private static func node(
    _ server: ExecutionsServer, _ orchestrator: OrchestratorServer, _ environment: ServiceEnvironment, _ late: LateChannel
  ) -> Node {
    // A registry without definitions: policy judges by the platform's own model.
    let registry = ServerRouter([
      ServiceRoutes(
        Registry.descriptor,
        [.unary(Registry.Methods.listDefinitions) { (_: ListDefinitionsRequest, _) -> ListDefinitionsResponse in .init() }])
    ])
    let router = ServerRouter(
      [
        Executions.routes(server), AgentOrchestrator.routes(orchestrator), AgentWorker.routes(orchestrator.workers),
        Policy.routes(PolicyServer(environment: environment, registry: RegistryClient(InProcessChannel(registry)))),
      ], interceptors: [ExposureInterceptor()])
    late.connect(router)
    return Node(server, InProcessChannel(router))
  }

  /// Another server on the same rows, as after a restart. It is not started.
  func again() -> Node {
    let late = LateChannel()
    let server = ExecutionsServer(
      environment: environment, over: LateChannel(late, as: "executions"), retries: RetryPolicy(firstPause: .microseconds(100)))
    return Self.node(server, orchestrator, environment, late)
  }

  func end() async {
    await first.server.stop()
    await orchestrator.stop()
    environment.effects.stop()
    await environment.log.stop()
    await database.close()
    loops.stop()
    try? FileManager.default.removeItem(at: folder)
  }

  // MARK: Callers

  static let operators = Principal(kind: .ops, id: "OPS-1", tenant: "vienna", roles: ["ops_lead"], surface: .ops)

  func asOperator<R>(_ principal: Principal = ExecutionsHarness.operators, _ call: (ExecutionsClient) async throws -> R) async throws -> R {
    try await CallContext.with(principal: principal, trace: .root()) { try await call(first.executions) }
  }

  static func request(
    _ key: String, _ intentType: String, _ parameters: Google_Protobuf_Struct = [:], session: String = "PRS-1", timeout: UInt32 = 0,
    retries: UInt32? = nil
  ) -> SubmitExecutionRequest {
    SubmitExecutionRequest(
      idempotencyKey: key,
      intent: Intent(intentType: intentType, sessionID: session, solutionID: "coffee", parameters: parameters), timeoutMs: timeout,
      maxRetries: retries)
  }

  /// Submits and follows to the end.
  func run(_ request: SubmitExecutionRequest) async throws -> (execution: Execution, types: [String]) {
    try await asOperator { executions in
      var (ended, types) = (Execution(), [String]())
      for try await update in try await executions.execute(request) {
        types.append(update.event?.type ?? "")
        if let execution = update.execution { ended = execution }
      }
      return (try await executions.getExecution(GetExecutionRequest(executionID: ended.executionID)), types)
    }
  }

  /// An execution once it has ended.
  func ended(_ id: String, on node: Node? = nil) async throws -> Execution {
    let node = node ?? first
    return try await CallContext.with(principal: Self.operators) {
      for try await _ in try await node.executions.watchExecution(GetExecutionRequest(executionID: id)) {}
      return try await node.executions.getExecution(GetExecutionRequest(executionID: id))
    }
  }
}

/// A channel to a router that is made later, of services that hold the channel; as one service.
final class LateChannel: Channel {
  private let root: LateChannel?
  private let service: String
  private let router = Mutex<ServerRouter?>(nil)

  init() {
    root = nil
    service = ""
  }

  init(_ root: LateChannel, as service: String) {
    self.root = root
    self.service = service
  }

  func connect(_ router: ServerRouter) { self.router.withLock { $0 = router } }

  private var channel: InProcessChannel {
    guard let router = (root ?? self).router.withLock({ $0 }) else { preconditionFailure("called before it was connected") }
    return InProcessChannel(router, service: service)
  }

  func unary<Request: Message, Response: Message>(
    _ request: Request, _ method: MethodDescriptor, _ options: CallOptions, returning: Response.Type
  ) async throws -> UnaryResponse<Response> {
    try await channel.unary(request, method, options, returning: Response.self)
  }

  func start(_ method: MethodDescriptor, _ options: CallOptions) async throws -> any ClientCall {
    try await channel.start(method, options)
  }
}

/// Counts and remembers what happened in handlers.
final class Notes: Sendable {
  private let notes = Mutex<[String]>([])

  func add(_ note: String) { notes.withLock { $0.append(note) } }
  var all: [String] { notes.withLock { $0 } }
  func count(_ note: String) -> Int { notes.withLock { $0.count { $0 == note } } }
}

/// Opens once; who comes before waits, until it opens or their task is cancelled.
final class Gate: Sendable {
  private let stream: AsyncStream<Void>
  private let source: AsyncStream<Void>.Continuation

  init() { (stream, source) = AsyncStream.makeStream() }

  func open() { source.finish() }

  func pass() async throws {
    for await _ in stream {}
    try Task.checkCancellation()
  }
}
