import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireTurnKernel

/// AO: every call of an agent goes through it. It stores tasks and proposals and changes nothing else, anywhere.
///
/// A task is stored before it runs, and everything told of it is stored before it is sent: whoever asks again with the same key gets
/// the same updates, and a task that the process's end cut short begins again at the next start.
public final class OrchestratorServer: AgentOrchestratorService {
  let environment: ServiceEnvironment
  let journal: TaskJournal
  let runner: TaskRunner
  let registry: RegistryClient
  let agentGuard: AgentGuard
  let breakers: CircuitBreakers
  let sources: AgentSources
  let models: ModelRunner
  /// The side that workers attach to.
  public let workers: AgentWorkerServer
  let places: TaskPlaces
  private let wakes = Wakes<AgentTaskKey>()

  public static let migrations = OrchestratorStore.migrations
  /// The service's name in events.
  public static let producer = "ao"

  /// - Parameters:
  ///   - channel: bound to AO's own service identity; it acts for whoever asked.
  ///   - weights: how many turns a tenant gets when others get one, while they compete; 1 for those not named.
  ///   - providers: of the language models that agents may be put to.
  public convenience init(
    environment: ServiceEnvironment, over channel: any Channel, weights: [String: UInt32] = [:],
    providers: ModelProviders = ModelProviders()
  ) {
    self.init(environment: environment, over: channel, queue: FairQueue(weights: weights), providers: providers)
  }

  init(
    environment: ServiceEnvironment, over channel: any Channel, queue: FairQueue, providers: ModelProviders = ModelProviders(),
    retries: RetryPolicy = RetryPolicy(),
    supervision: Duration = OrchestratorLimits.supervision
  ) {
    self.environment = environment
    registry = RegistryClient(channel)
    let policy = PolicyClient(channel)
    agentGuard = AgentGuard(policy: policy, clock: environment.clock)
    // What agents call is asked of policy first, all of it.
    let tools = channel.intercepted(by: [agentGuard])
    journal = TaskJournal(environment: environment, wakes: wakes, turns: TurnKernel(environment: environment))
    places = TaskPlaces(queue: queue, clock: environment.clock)
    let pool = WorkerPool(places: places)
    breakers = CircuitBreakers(journal: journal)
    workers = AgentWorkerServer(
      environment: environment, executions: ExecutionsClient(channel), journal: journal, pool: pool, places: places,
      supervision: supervision)
    sources = AgentSources(
      registry: RegistryClient(tools), lem: LemClient(tools), trutta: TruttaClient(tools), journeys: JourneyRuntimeClient(tools),
      log: environment.log)
    let mode = DefinitionCache.incidentMode(OperationsClient(channel), as: Self.producer, lifetime: OrchestratorLimits.modeLifetime)
    environment.database.observe(mode)
    models = ModelRunner(journal: journal, registry: registry, agentGuard: agentGuard, breakers: breakers, providers: providers)
    runner = TaskRunner(
      journal: journal, sources: sources, agentGuard: agentGuard, models: models, policy: policy, places: places, pool: pool,
      breakers: breakers, retries: retries, mode: mode)
    let effects = environment.effects
    effects.route(
      Self.producer, Policy.Methods.settleReservation, SettleReservationRequest.self, BudgetReservation.self, over: channel)
    effects.route(
      Self.producer, Policy.Methods.releaseReservation, ReleaseReservationRequest.self, BudgetReservation.self, over: channel)
    effects.route(Self.producer, Executions.Methods.redriveExecution, RedriveExecutionRequest.self, Execution.self, over: channel)
  }

  /// Takes up the tasks that the last process left unfinished.
  public func start() async throws {
    try await breakers.start()
    _ = try await environment.database.transaction("ao.start") { try WorkerStore.detachAll($0) }
    let rows = try await environment.database.scan { try OrchestratorStore.unfinished($0, limit: OrchestratorLimits.openTasks) }
    let open = rows.filter { $0.attempt > 0 }
    for start in stride(from: 0, to: open.count, by: OrchestratorLimits.abandonedAtOnce) {
      try await journal.abandon(Array(open[start..<min(start + OrchestratorLimits.abandonedAtOnce, open.count)]))
    }
    for row in rows {
      guard runner.reserve(row.key), let caller = CallerRecord(text: row.caller) else { continue }
      runner.start(row, for: caller.principal, trace: caller.trace?.child())
    }
  }

  public func stop() async {
    await runner.stop()
    workers.endAttachments()
    models.providers.shutDown()
    wakes.close()
  }

  // MARK: Tasks

  public func runTask(_ request: RunTaskRequest, responses: ResponseWriter<AgentTaskUpdate>, context: ServerContext) async throws {
    let key = try await receive(request, context).key
    try await follow(key, responses, context)
  }

  public func submitTask(_ request: RunTaskRequest, context: ServerContext) async throws -> AgentTask {
    let row = try await receive(request, context)
    return try await stored(row.key)
  }

  public func getTask(_ request: GetTaskRequest, context: ServerContext) async throws -> AgentTask {
    var validation = Validation()
    validation.id(request.agentTaskID, "agent_task_id")
    try validation.finish()
    return try await stored(try AgentTaskKey(tenant: Caller(context).tenant, id: request.agentTaskID))
  }

  public func listTasks(_ request: ListTasksRequest, context: ServerContext) async throws -> ListTasksResponse {
    let tenant = try Caller(context).tenant
    var validation = Validation()
    validation.optionalID(request.productRuntimeSessionID, "product_runtime_session_id")
    validation.optionalID(request.agentSlug, "agent_slug")
    validation.known(request.state, "state")
    validation.optionalID(request.agentType, "agent_type")
    validation.optionalID(request.intent, "intent")
    let size = validation.pageSize(request.pageSize, default: OrchestratorLimits.defaultPageSize, max: OrchestratorLimits.maxPageSize)
    try validation.finish()
    let after = try PageToken.decode(request.pageToken)
    let filter = OrchestratorStore.TaskFilter(
      session: request.productRuntimeSessionID, slug: request.agentSlug, type: request.agentType, intent: request.intent,
      state: request.state, from: request.receivedFrom?.nanosecondsSinceEpoch ?? .min,
      before: request.receivedBefore?.nanosecondsSinceEpoch ?? .max)
    let page = try await environment.database.scan { snapshot in
      var tasks = try OrchestratorStore.tasks(snapshot, tenant: tenant, filter, after: after, limit: size + 1)
      for index in tasks.indices {
        tasks[index].proposals = try ProposalStore.proposals(snapshot, of: AgentTaskKey(tenant: tenant, id: tasks[index].agentTaskID))
      }
      return tasks
    }
    var response = ListTasksResponse(tasks: Array(page.prefix(size)))
    if page.count > size, let last = response.tasks.last {
      response.nextPageToken = PageToken.encode(last.agentTaskID)
    }
    return response
  }

  public func cancelTask(_ request: CancelTaskRequest, context: ServerContext) async throws -> AgentTask {
    var validation = Validation()
    validation.idempotencyKey(request.idempotencyKey)
    validation.id(request.agentTaskID, "agent_task_id")
    validation.optionalText(request.reason, "reason", max: OrchestratorLimits.reasonLetters)
    try validation.finish()
    let key = try AgentTaskKey(tenant: Caller(context).tenant, id: request.agentTaskID)
    let stamp = TaskStamp(environment)
    let once = IdempotencyKey(request.idempotencyKey, request, context)
    let journal = journal
    // From here on its running turn has no say, whatever comes in before the row is written.
    let fence = journal.turns.fence(tenant: key.tenant, task: key.id)
    let task: AgentTask
    do {
      task = try await environment.database.transaction("ao.cancel") { transaction -> AgentTask in
        try transaction.once(once, at: stamp.now) {
          guard let row = try OrchestratorStore.task(transaction, key) else { throw Self.unknownTask(key.id) }
          guard !AgentTaskStateMachine.isTerminal(row.task.state) else {
            throw RPCError.failedPrecondition(
              "the task is \(row.task.state.word); only one that is received or running can be cancelled")
          }
          return try journal.end(row, .cancelled(reason: request.reason), at: stamp, transaction)
        }
      }.value
    } catch {
      if let fence { journal.turns.lift(fence) }
      throw error
    }
    runner.cancel(key)
    wakes.wake(key)
    return task
  }

  // MARK: Proposals

  public func getProposal(_ request: GetProposalRequest, context: ServerContext) async throws -> Proposal {
    var validation = Validation()
    validation.id(request.proposalID, "proposal_id")
    try validation.finish()
    let (tenant, id) = (try Caller(context).tenant, request.proposalID)
    guard let proposal = try await environment.database.read({ try ProposalStore.proposal($0, tenant: tenant, id: id) }) else {
      throw RPCError.missing(.proposalNotFound, "there is no proposal \(id)")
    }
    return proposal
  }

  public func recordProposalDecision(_ request: RecordProposalDecisionRequest, context: ServerContext) async throws -> Proposal {
    var validation = Validation()
    validation.idempotencyKey(request.idempotencyKey)
    validation.id(request.proposalID, "proposal_id")
    if ![.accepted, .rejected, .applied].contains(request.state) {
      validation.add("state", "must be accepted, rejected or applied")
    }
    validation.optionalText(request.reason, "reason", max: OrchestratorLimits.reasonLetters)
    validation.optionalText(request.change, "change", max: OrchestratorLimits.messageLetters)
    try validation.finish()
    let tenant = try Caller(context).tenant
    let (once, now) = (IdempotencyKey(request.idempotencyKey, request, context), environment.clock.now)
    let decision = ProposalDecision(
      state: request.state, actor: request.actor, reason: request.reason, change: request.change,
      decidedAt: .init(nanosecondsSinceEpoch: now))
    return try await environment.database.transaction("ao.decision") { transaction -> Proposal in
      try transaction.once(once, at: now) {
        guard var proposal = try ProposalStore.proposal(transaction, tenant: tenant, id: request.proposalID) else {
          throw RPCError.missing(.proposalNotFound, "there is no proposal \(request.proposalID)")
        }
        // What is told twice under two keys is the same news.
        if proposal.state == request.state { return proposal }
        guard ProposalStateMachine.allows(proposal.state, to: request.state) else {
          throw RPCError.precondition(
            .proposalAlreadyDecided, "the proposal is \(proposal.state.word) and cannot become \(request.state.word)")
        }
        proposal.state = request.state
        proposal.decisions.append(decision)
        try ProposalStore.update(proposal, tenant: tenant, transaction)
        return proposal
      }
    }.value
  }

  // MARK: Inside

  static func unknownTask(_ id: String) -> RPCError { RPCError.missing(.agentTaskNotFound, "there is no agent task \(id)") }

  private func stored(_ key: AgentTaskKey) async throws -> AgentTask {
    let task = try await environment.database.read { snapshot -> AgentTask? in
      guard var task = try OrchestratorStore.task(snapshot, key)?.task else { return nil }
      task.proposals = try ProposalStore.proposals(snapshot, of: key)
      task.attempts = try AttemptStore.attempts(snapshot, of: key)
      return task
    }
    guard let task else { throw Self.unknownTask(key.id) }
    return task
  }

  /// Sends what was told of a task from its beginning to its result, as it comes.
  private func follow(_ key: AgentTaskKey, _ responses: ResponseWriter<AgentTaskUpdate>, _ context: ServerContext) async throws {
    let follower = wakes.follow(key)
    let token = context.onCancel { follower.end() }
    defer { context.forget(token) }
    var told: Int64 = 0
    while true {
      let after = told
      let (updates, hasEnded) = try await environment.database.read { snapshot in
        (
          try OrchestratorStore.updates(snapshot, key, after: after, limit: OrchestratorLimits.updatesPerRead),
          try OrchestratorStore.hasEnded(snapshot, key)
        )
      }
      for update in updates {
        try await responses.writeEncoded(update.update)
        told = update.seq
      }
      if updates.count == OrchestratorLimits.updatesPerRead { continue }
      if hasEnded { return }
      try context.checkCancellation()
      if !(await follower.next()) {
        try context.checkCancellation()
        throw RPCError.unavailable("the server stops; ask again with the same key")
      }
    }
  }
}

extension AgentTaskState {
  var word: String {
    switch self {
    case .received: "received"
    case .running: "running"
    case .completed: "completed"
    case .failed: "failed"
    case .cancelled: "cancelled"
    case .timedOut: "timed out"
    default: "unspecified"
    }
  }
}

extension ProposalState {
  var word: String {
    switch self {
    case .open: "open"
    case .accepted: "accepted"
    case .rejected: "rejected"
    case .applied: "applied"
    case .refused: "refused"
    default: "unspecified"
    }
  }
}
