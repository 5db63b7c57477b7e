import SpanwireDatabase
import SpanwireEventLog
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// Executions: an intent is given to a handler, which works in steps, and leaves state, records and artifacts behind.
///
/// Handlers do not know where they run: one in this process calls the same methods of this service, under the same claim, as one in a
/// worker. An execution is stored before it runs, and one that the process's end cut short begins again at the next start, at the first
/// step without a checkpoint.
public final class ExecutionsServer: ExecutionsService {
  let environment: ServiceEnvironment
  let journal: ExecutionJournal
  let registry: IntentRegistry
  let runner: ExecutionRunner
  let policy: PolicyClient
  let wakes = Wakes<ExecutionKey>()

  public static let migrations = ExecutionsStore.migrations
  /// The service's name, as an identity and in events.
  public static let producer = "executions"

  /// - Parameter channel: bound to this service's own identity; it acts for whoever asked.
  public convenience init(environment: ServiceEnvironment, over channel: any Channel) {
    self.init(environment: environment, over: channel, retries: RetryPolicy())
  }

  init(environment: ServiceEnvironment, over channel: any Channel, retries: RetryPolicy) {
    self.environment = environment
    journal = ExecutionJournal(environment: environment, wakes: wakes)
    let workers = AgentWorkerClient(channel)
    registry = IntentRegistry(environment: environment, workers: workers)
    runner = ExecutionRunner(journal: journal, registry: registry, workers: workers, over: channel, retries: retries)
    policy = PolicyClient(channel)
    environment.effects.route(
      Self.producer, AgentOrchestrator.Methods.enqueueDeadLetter, EnqueueDeadLetterRequest.self, EnqueueDeadLetterResponse.self,
      over: channel)
    registry.registerIntent(
      "compose_journey", handlerName: "city-guide", handler: ComposeJourney.run, metadata: ["title": "Plans a day and keeps its itinerary"])
    registry.registerIntent(
      "settlement_report", handlerName: "ledger", handler: SettlementReport.run,
      metadata: ["title": "Gathers a vendor's settlements into a table"])
    registry.registerIntent(
      "ingest_file", handlerName: "files", handler: IngestFile.run, metadata: ["title": "Keeps a file's content under its hash"])
  }

  /// Takes up the executions that the last process left unfinished.
  public func start() async throws {
    let rows = try await environment.database.scan { try ExecutionsStore.unfinished($0, limit: ExecutionsLimits.open) }
    for row in rows where runner.reserve(row.key, beyondLimits: true) { runner.start(row) }
  }

  /// Ends every stream that follows an execution with UNAVAILABLE: the server drains, and executions may take longer than that.
  public func endWatching() { wakes.close() }

  public func stop() async {
    await runner.stop()
    wakes.close()
  }

  /// Forgets states that ended a day ago.
  public func purge() async throws {
    let before = environment.clock.now - Idempotency.retention.nanoseconds
    while try await environment.database.transaction("exec.purge", { try StateStore.purge(before: before, limit: 500, $0) }).value == 500 {}
  }

  // MARK: Executions

  public func execute(
    _ request: SubmitExecutionRequest, responses: ResponseWriter<ExecutionUpdate>, context: ServerContext
  ) async throws {
    try await follow(try await receive(request, context), responses, context)
  }

  public func submitExecution(_ request: SubmitExecutionRequest, context: ServerContext) async throws -> Execution {
    try await stored(try await receive(request, context))
  }

  public func getExecution(_ request: GetExecutionRequest, context: ServerContext) async throws -> Execution {
    try await stored(try key(request.executionID, context))
  }

  public func watchExecution(
    _ request: GetExecutionRequest, responses: ResponseWriter<ExecutionUpdate>, context: ServerContext
  ) async throws {
    let key = try key(request.executionID, context)
    guard try await environment.database.read({ try ExecutionsStore.row($0, key) }) != nil else { throw Self.unknown(key.id) }
    try await follow(key, responses, context)
  }

  public func listExecutions(_ request: ListExecutionsRequest, context: ServerContext) async throws -> ListExecutionsResponse {
    let tenant = try Caller(context).tenant
    var validation = Validation()
    validation.optionalID(request.sessionID, "session_id")
    validation.optionalID(request.intentType, "intent_type")
    validation.known(request.status, "status")
    let size = pageSize(request.pageSize, &validation)
    try validation.finish()
    let after = try PageToken.decode(request.pageToken)
    let page = try await environment.database.scan { snapshot in
      try ExecutionsStore.page(
        snapshot, tenant: tenant, session: request.sessionID, intentType: request.intentType, status: request.status, after: after,
        limit: size + 1)
    }
    return ListExecutionsResponse(
      executions: Array(page.prefix(size)), nextPageToken: page.count > size ? PageToken.encode(page[size - 1].executionID) : "")
  }

  public func cancelExecution(_ request: CancelExecutionRequest, context: ServerContext) async throws -> Execution {
    var validation = Validation()
    validation.idempotencyKey(request.idempotencyKey)
    validation.optionalText(request.reason, "reason", max: ExecutionsLimits.messageLetters)
    try validation.finish()
    let key = try key(request.executionID, context)
    let (stamp, once, journal) = (ExecutionStamp(environment), IdempotencyKey(request.idempotencyKey, request, context), journal)
    let caller = try Caller(context)
    let audit = AuditRecorded(
      action: "execution.cancel", target: key.id, actor: caller.id, actorKind: "\(caller.kind)", decision: "allow",
      reason: request.reason, method: context.method.path)
    let execution = try await environment.database.transaction("exec.cancel") { transaction -> Execution in
      try transaction.once(once, at: stamp.now) {
        guard let row = try ExecutionsStore.row(transaction, key) else { throw Self.unknown(key.id) }
        guard ExecutionStateMachine.allows(row.execution.status, to: .cancelled) else {
          throw RPCError.precondition(
            .executionTransitionInvalid,
            "the execution is \(row.execution.status.word); only one that is created or running can be cancelled")
        }
        try journal.append(audit, tenant: key.tenant, execution: key.id, at: stamp, transaction)
        return try journal.end(row, .cancelled(reason: request.reason), at: stamp, transaction)
      }
    }.value
    runner.cancel(key)
    wakes.wake(key)
    return execution
  }

  // MARK: Intents

  public func registerIntent(_ request: RegisterIntentRequest, context: ServerContext) async throws -> IntentHandlerInfo {
    let caller = try Caller(context)
    var validation = Validation()
    validation.id(request.intentType, "intent_type")
    validation.id(request.handlerName, "handler_name")
    ExecutionValidation.metadata(request.metadata, "metadata", &validation)
    try validation.finish()
    let isBuiltIn = registry.isBuiltIn(request.intentType, request.handlerName)
    let byWorker = caller.kind == .worker
    if isBuiltIn, byWorker {
      throw RPCError.denied(
        .agentForbidden, rule: "WORKER-BUILT-IN", "\(request.handlerName) serves \(request.intentType) in the platform itself")
    }
    let info = IntentHandlerInfo(
      intentType: request.intentType, handlerName: request.handlerName, priority: request.priority, metadata: request.metadata,
      builtIn: isBuiltIn, disabled: request.disabled)
    let (journal, stamp) = (journal, ExecutionStamp(environment))
    let audit = AuditRecorded(
      action: "intent.register", target: "\(info.intentType):\(info.handlerName)", actor: caller.id, actorKind: "\(caller.kind)",
      decision: "allow", reason: info.disabled ? "disabled" : "priority \(info.priority)", method: context.method.path)
    return try await environment.database.transaction("exec.register") { transaction -> IntentHandlerInfo in
      let handlers = try HandlerStore.handlers(transaction, tenant: caller.tenant, intentType: "")
      let known = handlers.first { $0.intentType == info.intentType && $0.handlerName == info.handlerName }
      var info = info
      // What an operator has disabled, a worker that attaches does not enable; nor does it take away what was said of it.
      if let known, byWorker { (info.disabled, info.metadata) = (known.disabled, known.metadata) }
      if known == info { return info }
      guard known != nil || handlers.count < ExecutionsLimits.handlers else {
        throw RPCError.resourceExhausted("a tenant names at most \(ExecutionsLimits.handlers) handlers")
      }
      try HandlerStore.put(info, tenant: caller.tenant, transaction)
      try journal.append(audit, tenant: caller.tenant, at: stamp, transaction)
      return info
    }.value
  }

  public func listIntents(_ request: ListIntentsRequest, context: ServerContext) async throws -> ListIntentsResponse {
    var validation = Validation()
    validation.optionalID(request.intentType, "intent_type")
    try validation.finish()
    return ListIntentsResponse(handlers: try await registry.examined(of: request.intentType, tenant: Caller(context).tenant))
  }

  // MARK: Inside

  static func unknown(_ id: String) -> RPCError { RPCError.missing(.executionNotFound, "there is no execution \(id)") }

  /// The key of an execution that a caller names.
  func key(_ id: String, _ context: ServerContext, field: String = "execution_id") throws -> ExecutionKey {
    var validation = Validation()
    validation.id(id, field)
    try validation.finish()
    return ExecutionKey(tenant: try Caller(context).tenant, id: id)
  }

  func pageSize(_ asked: UInt32, _ validation: inout Validation) -> Int {
    validation.pageSize(asked, default: ExecutionsLimits.defaultPageSize, max: ExecutionsLimits.maxPageSize)
  }

  func stored(_ key: ExecutionKey) async throws -> Execution {
    let execution = try await environment.database.read { snapshot in
      try ExecutionsStore.row(snapshot, key).map { try ExecutionsStore.full($0.execution, snapshot, key) }
    }
    guard let execution else { throw Self.unknown(key.id) }
    return execution
  }

  /// Stores and starts what is asked for; asked again with the same key, it is the same execution.
  private func receive(_ request: SubmitExecutionRequest, _ context: ServerContext) async throws -> ExecutionKey {
    let caller = try Caller(context)
    try ExecutionValidation.check(request)
    try caller.admit(tenant: request.intent?.tenantID ?? "")
    let now = environment.clock.now
    let once = IdempotencyKey(request.idempotencyKey, request, context)
    // A repeated request finds its execution even when there is no room for another.
    if case .done(let earlier) = try await environment.database.read({ try $0.recall(once, at: now) }) {
      return ExecutionKey(tenant: caller.tenant, id: try Execution(decoding: earlier).executionID)
    }
    var intent = request.intent ?? Intent()
    intent.tenantID = caller.tenant
    if intent.intentID.isEmpty { intent.intentID = environment.ids.next("INT") }
    guard try await !registry.handlers(of: intent.intentType, tenant: caller.tenant).filter({ !$0.disabled }).isEmpty else {
      throw RPCError.precondition(.intentUnknown, "nobody is named to serve \(intent.intentType)")
    }
    let execution = Execution(
      executionID: request.executionID.isEmpty ? environment.ids.next(.execution) : request.executionID, intent: intent, status: .created,
      timeoutMs: request.timeoutMs == 0 ? ExecutionsLimits.defaultTimeoutMilliseconds : request.timeoutMs,
      maxRetries: request.maxRetries ?? ExecutionsLimits.defaultRetries, createdAt: .init(nanosecondsSinceEpoch: now))
    let row = ExecutionsStore.ExecutionRow(
      execution: execution, metadata: SubmitExecutionRequest(metadata: request.metadata),
      caller: CallerRecord(principal: caller.principal, trace: context.trace).text)
    let received = JobReceived(intentType: intent.intentType)
    return try await submit(row, once) { journal, stamp, transaction in
      try journal.tell(received, execution, at: stamp, transaction)
    }
  }

  /// Stores an execution, with what is told of it and what `more` writes, and starts it.
  func submit(
    _ row: ExecutionsStore.ExecutionRow, _ once: IdempotencyKey,
    _ more: @escaping @Sendable (ExecutionJournal, ExecutionStamp, borrowing Transaction) throws -> Void
  ) async throws -> ExecutionKey {
    let key = row.key
    guard runner.reserve(key) else {
      if runner.isRunning(key) { throw RPCError.alreadyExists("there is an execution \(key.id) already") }
      throw RPCError.later(
        .resourceExhausted, .queueFull, "as many executions are open as may be", after: ExecutionsLimits.retryAfter)
    }
    let (journal, stamp) = (journal, ExecutionStamp(environment))
    do {
      let stored = try await environment.database.transaction("exec.submit") { transaction -> Execution in
        try transaction.once(once, at: stamp.now) {
          guard try ExecutionsStore.insert(row, transaction) else {
            throw RPCError.alreadyExists("there is an execution \(key.id) already")
          }
          try more(journal, stamp, transaction)
          return row.execution
        }
      }.value
      guard stored.executionID == key.id else {
        // The same request came a moment before.
        runner.release(key)
        return ExecutionKey(tenant: key.tenant, id: stored.executionID)
      }
    } catch {
      runner.release(key)
      throw error
    }
    runner.start(row)
    return key
  }

  /// Sends what was told of an execution from its beginning to its end, as it comes.
  private func follow(_ key: ExecutionKey, _ responses: ResponseWriter<ExecutionUpdate>, _ context: ServerContext) async throws {
    let follower = wakes.follow(key)
    let token = context.onCancel { follower.end() }
    defer { context.forget(token) }
    var told: Int64 = 0
    while true {
      let after = told
      let (updates, hasEnded) = try await environment.database.read { snapshot in
        (
          try ExecutionsStore.updates(snapshot, key, after: after, limit: ExecutionsLimits.updatesPerRead),
          try ExecutionsStore.hasEnded(snapshot, key)
        )
      }
      for update in updates {
        try await responses.writeEncoded(update.update)
        told = update.seq
      }
      if updates.count == ExecutionsLimits.updatesPerRead { continue }
      if hasEnded { return }
      try context.checkCancellation()
      if !(await follower.next()) {
        try context.checkCancellation()
        throw RPCError.unavailable("the server stops; watch again")
      }
    }
  }
}
