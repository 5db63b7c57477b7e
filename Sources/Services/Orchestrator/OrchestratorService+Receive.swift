import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// How a task comes in: checked, matched with an agent, given a place, stored with its receipt, started.
extension OrchestratorServer {
  func receive(_ request: RunTaskRequest, _ context: ServerContext) async throws -> OrchestratorStore.TaskRow {
    let caller = context.principal
    try TaskValidation.check(request, caller: caller)
    let stamp = TaskStamp(environment)
    let now = stamp.now
    let once = IdempotencyKey(request.idempotencyKey, request, context)
    let tenant = try Caller(context).tenant
    // A repeated request finds its task even when there is no room for another.
    if case .done(let earlier) = try await environment.database.read({ try $0.recall(once, at: now) }) {
      return try await resumed(AgentTaskKey(tenant: tenant, id: try AgentTask(decoding: earlier).agentTaskID), caller, context.trace)
    }
    let agent = try await agent(for: request.task ?? AgentTaskSpec())
    if agent.byWorkers, let refusal = breakers.refusal(TaskRunner.circuit(of: agent.agentSlug), of: tenant), refusal.fallback.isEmpty {
      throw refusal.error(agent.agentSlug)
    }
    try admit(request.task, of: agent, tenant: tenant)
    let id = request.agentTaskID.isEmpty ? environment.ids.next(.agentTask) : request.agentTaskID
    let key = AgentTaskKey(tenant: tenant, id: id)
    var task = AgentTask(
      agentTaskID: id, tenantID: tenant, invoker: request.invoker, context: request.context, task: request.task, state: .received,
      agentSlug: agent.agentSlug, receivedAt: .init(nanosecondsSinceEpoch: now))
    let row: OrchestratorStore.TaskRow
    guard runner.reserve(key) else {
      // One that is under way already is no matter of room: its key was used for another request, or its id is taken.
      if runner.isRunning(key) { throw RPCError.alreadyExists("there is an agent task \(id) already") }
      throw RPCError.later(
        .resourceExhausted, .queueFull, "as many agent tasks are open as may be",
        after: .milliseconds(OrchestratorLimits.retryAfterMilliseconds))
    }
    do {
      try await agentGuard.admit(&task, of: agent)
      row = OrchestratorStore.TaskRow(
        task: task, attempt: 0, caller: CallerRecord(principal: caller.subject, trace: context.trace).text, byWorkers: agent.byWorkers,
        agent: agent.encoded(), byModel: agent.byModel)
      let stored = try await store(row, once, request, at: stamp)
      guard stored.agentTaskID == id else {
        // The same request came a moment before, under a task of its own; what was set aside for this one comes back by itself.
        runner.release(key)
        return try await resumed(AgentTaskKey(tenant: tenant, id: stored.agentTaskID), caller, context.trace)
      }
    } catch {
      runner.release(key)
      throw error
    }
    runner.start(row, for: caller, trace: context.trace?.child())
    return row
  }

  /// Refuses what could not begin in time: to let it wait would cost others their time, and end no better.
  private func admit(_ task: AgentTaskSpec?, of agent: AgentDefinition, tenant: String) throws {
    let asked = task?.constraints?.timeoutMs ?? 0
    let time = Duration.milliseconds(Int64(asked == 0 ? OrchestratorLimits.defaultTimeoutMilliseconds : asked))
    let wait = places.expectedWait(tenant: tenant, agentSlug: agent.agentSlug, byWorkers: agent.byWorkers)
    let longest = time * OrchestratorLimits.waitingPart
    guard wait > longest else { return }
    throw RPCError.later(
      .resourceExhausted, .queueFull, "tasks of \(agent.agentSlug) wait too long for their turn",
      after: max(wait - longest, .milliseconds(OrchestratorLimits.retryAfterMilliseconds)))
  }

  private func store(
    _ row: OrchestratorStore.TaskRow, _ once: IdempotencyKey, _ request: RunTaskRequest, at stamp: TaskStamp
  ) async throws -> AgentTask {
    let journal = journal
    return try await environment.database.transaction("ao.receive") { transaction -> AgentTask in
      try transaction.once(once, at: stamp.now) {
        guard try OrchestratorStore.insert(row, transaction) else {
          throw RPCError.alreadyExists("there is an agent task \(row.task.agentTaskID) already")
        }
        try journal.tellReceipt(row, at: stamp, transaction)
        return row.task
      }
    }.value
  }

  /// A task that was stored before: one that nobody works on, because its process ended, is taken up now.
  private func resumed(_ key: AgentTaskKey, _ caller: Principal, _ trace: TraceContext?) async throws -> OrchestratorStore.TaskRow {
    guard let row = try await environment.database.read({ try OrchestratorStore.task($0, key) }) else { throw Self.unknownTask(key.id) }
    if !AgentTaskStateMachine.isTerminal(row.task.state), runner.reserve(key) {
      runner.start(row, for: caller, trace: trace?.child())
    }
    return row
  }

  /// The agent that does this kind of work: of the tenant's registry, else of those that tenant platform shares; of several, the first
  /// by its slug. A tenant's own definition of a slug hides the shared one, and a disabled agent takes no work.
  func agent(for task: AgentTaskSpec) async throws -> AgentDefinition {
    var types = false
    for definition in try await registry.effective(.agent) {
      guard case .agent(let agent) = definition, agent.enabled ?? true, agent.agentType == task.agentType else { continue }
      if agent.intents.contains(task.intent) { return agent }
      types = true
    }
    if types {
      throw RPCError.precondition(.agentIntentUnknown, "no \(task.agentType) agent of this tenant does \(task.intent)")
    }
    // Operators need their analyst also where nobody has defined one.
    if BuiltInAgents.operatorTypes.contains(task.agentType), task.intent == "explain_incident" || task.intent == "suggest_mitigation" {
      return AgentDefinition(agentSlug: "ops-analyst")
    }
    throw RPCError.precondition(.agentUnknown, "this tenant's registry defines no \(task.agentType) agent")
  }
}

extension RegistryClient {
  /// All definitions of a kind that hold for the caller's tenant, in the order of their ids: its own, then those that tenant platform
  /// shares and that none of its own hides.
  func effective(_ kind: DefinitionKind) async throws -> [Definition.Value] {
    var found: [Definition.Value] = []
    var seen: Set<String> = []
    for isShared in [false, true] {
      var request = ListDefinitionsRequest(kind: kind, pageSize: 1_000, shared: isShared)
      repeat {
        let page = try await listDefinitions(request)
        found += page.definitions.filter { seen.insert($0.id).inserted }.compactMap(\.value)
        request.pageToken = page.nextPageToken
      } while !request.pageToken.isEmpty
    }
    return found
  }
}
