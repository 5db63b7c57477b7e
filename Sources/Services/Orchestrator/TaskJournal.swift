import SpanwireDatabase
import SpanwireEventLog
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// When something happens to a task and as part of which trace: taken before the transaction, which runs on another thread, and perhaps
/// twice.
struct TaskStamp: Sendable {
  let now: Int64
  let trace: TraceContext?

  init(_ environment: ServiceEnvironment) {
    now = environment.clock.now
    trace = CallContext.current?.trace
  }
}

/// Writes what happens to a task: its row, its update and its event, always the three in one transaction.
struct TaskJournal: Sendable {
  let environment: ServiceEnvironment
  let wakes: UpdateWakes

  /// What `begin` found.
  enum Begin: Sendable {
    /// The run may go on.
    case run(OrchestratorStore.TaskRow)
    /// Somebody ended the task before.
    case ended
  }

  /// Begins a run: the first, or a further one after a restart.
  func begin(_ key: AgentTaskKey) async throws -> Begin {
    let stamp = TaskStamp(environment)
    let begin = try await environment.database.transaction("ao.begin") { transaction -> Begin in
      guard var row = try OrchestratorStore.task(transaction, key), AgentTaskStateMachine.allows(row.task.state, to: .running) else {
        return .ended
      }
      row.task.state = .running
      row.attempt += 1
      try OrchestratorStore.update(row, transaction)
      let started = AgentTaskStarted(agentSlug: row.task.agentSlug, attempt: row.attempt)
      let progress = Progress(stage: "started", percent: 0, message: row.attempt > 1 ? "Begins again" : "")
      try tell(.progress(progress), started, row.task, at: stamp, transaction)
      return .run(row)
    }.value
    wakes.wake(key)
    return begin
  }

  /// Tells of progress, or sends a piece of the answer ahead. Throws `CancellationError` when the task has ended meanwhile.
  func tell(_ update: AgentTaskUpdate.Update, of key: AgentTaskKey) async throws {
    let stamp = TaskStamp(environment)
    _ = try await environment.database.transaction("ao.tell") { transaction in
      guard let row = try OrchestratorStore.task(transaction, key), row.task.state == .running else { throw CancellationError() }
      switch update {
      case .progress(let progress):
        let payload = AgentTaskProgress(stage: progress.stage, percent: progress.percent, message: progress.message)
        try tell(update, payload, row.task, at: stamp, transaction)
      case .partial(let partial): try tell(update, AgentTaskPartial(text: partial.text), row.task, at: stamp, transaction)
      default: preconditionFailure("only progress and parts are told on the way")
      }
    }
    wakes.wake(key)
  }

  /// Ends a task with an answer: its proposals, those refused among them, and its result, all at once.
  func complete(_ key: AgentTaskKey, text: String, proposals: [Proposal]) async throws {
    let stamp = TaskStamp(environment)
    _ = try await environment.database.transaction("ao.complete") { transaction in
      guard var row = try OrchestratorStore.task(transaction, key), AgentTaskStateMachine.allows(row.task.state, to: .completed) else {
        return
      }
      for proposal in proposals {
        try OrchestratorStore.insert(proposal, tenant: key.tenant, transaction)
        if proposal.state == .refused {
          try tellRefusal(of: proposal, row.task, at: stamp, transaction)
        } else {
          let created = RecommendationCreated(proposalID: proposal.proposalID, kind: proposal.kind?.word ?? "", summary: proposal.summary)
          try tell(.proposal(proposal), created, row.task, at: stamp, transaction)
        }
      }
      row.task.state = .completed
      row.task.text = text
      row.task.endedAt = .init(nanosecondsSinceEpoch: stamp.now)
      try OrchestratorStore.update(row, transaction)
      let result = AgentTaskResult(
        text: text, proposalIds: proposals.map(\.proposalID), refused: UInt32(proposals.count { $0.state == .refused }))
      var task = row.task
      task.proposals = proposals
      try tell(.result(task), result, row.task, at: stamp, transaction)
    }
    wakes.wake(key)
  }

  /// How a task ends without an answer.
  enum Ending: Sendable {
    case failed(reason: String, message: String)
    case timedOut(milliseconds: Int64)
    case cancelled(reason: String)

    var state: AgentTaskState {
      switch self {
      case .failed: .failed
      case .timedOut: .timedOut
      case .cancelled: .cancelled
      }
    }

    var text: String {
      switch self {
      case .failed(let reason, let message): message.isEmpty ? reason : "\(reason): \(message)"
      case .timedOut(let milliseconds): "no answer within \(milliseconds) ms"
      case .cancelled(let reason): reason.isEmpty ? "cancelled" : "cancelled: \(reason)"
      }
    }
  }

  /// Ends a task without an answer; nothing happens if it has ended.
  func end(_ key: AgentTaskKey, _ ending: Ending) async throws {
    let stamp = TaskStamp(environment)
    _ = try await environment.database.transaction("ao.end") { transaction in
      guard let row = try OrchestratorStore.task(transaction, key), !AgentTaskStateMachine.isTerminal(row.task.state) else { return }
      _ = try end(row, ending, at: stamp, transaction)
    }
    wakes.wake(key)
  }

  /// The same inside a transaction that does more.
  func end(
    _ row: OrchestratorStore.TaskRow, _ ending: Ending, at stamp: TaskStamp, _ transaction: borrowing Transaction
  ) throws -> AgentTask {
    var row = row
    row.task.state = ending.state
    row.task.failure = ending.text
    row.task.endedAt = .init(nanosecondsSinceEpoch: stamp.now)
    try OrchestratorStore.update(row, transaction)
    let result = AgentTaskUpdate.Update.result(row.task)
    switch ending {
    case .failed(let reason, let message):
      try tell(result, AgentTaskFailed(reason: reason, message: message), row.task, at: stamp, transaction)
    case .timedOut(let milliseconds): try tell(result, AgentTaskTimedOut(timeoutMs: milliseconds), row.task, at: stamp, transaction)
    case .cancelled(let reason): try tell(result, AgentTaskCancelled(reason: reason), row.task, at: stamp, transaction)
    }
    return row.task
  }

  // MARK: Events

  /// Appends an event of a task and adds the update that it stands for.
  func tell(
    _ update: AgentTaskUpdate.Update, _ payload: some Message, _ task: AgentTask, at stamp: TaskStamp, _ transaction: borrowing Transaction
  ) throws {
    let event = try append(payload, task, at: stamp, transaction)
    let key = AgentTaskKey(tenant: task.tenantID, id: task.agentTaskID)
    try OrchestratorStore.add(AgentTaskUpdate(update: update), event, to: key, transaction)
  }

  @discardableResult
  private func append(
    _ payload: some Message, _ task: AgentTask, at stamp: TaskStamp, _ transaction: borrowing Transaction
  ) throws -> LogEvent {
    try transaction.append(
      EventDraft(
        payload, producer: OrchestratorServer.producer, tenant: task.tenantID, session: task.context?.productRuntimeSessionID ?? "",
        journey: task.context?.journeyInstanceID ?? "", productVersion: task.context?.productVersionID ?? "",
        market: task.context?.marketCode ?? "", agentTask: task.agentTaskID, occurredAt: stamp.now, trace: stamp.trace), environment)
  }

  private func tellRefusal(of proposal: Proposal, _ task: AgentTask, at stamp: TaskStamp, _ transaction: borrowing Transaction) throws {
    guard case .requestedAction(let wish)? = proposal.kind else { preconditionFailure("only requested actions are refused") }
    let refused = RecommendationRefused(
      proposalID: proposal.proposalID, action: wish.action, rule: proposal.refusedRule, reason: proposal.rationale)
    try tell(.proposal(proposal), refused, task, at: stamp, transaction)
    let audit = AuditRecorded(
      action: wish.action, target: wish.target, actor: task.agentSlug, actorKind: "agent", decision: "deny", rule: proposal.refusedRule,
      reason: proposal.rationale, method: AgentOrchestrator.Methods.runTask.path)
    try append(audit, task, at: stamp, transaction)
  }
}

extension Proposal.Kind {
  /// The name of the kind in events and in policy.
  var word: String {
    switch self {
    case .route: "route_change"
    case .product: "product"
    case .recommendation: "recommendation"
    case .explanation: "explanation"
    case .requestedAction: "requested_action"
    }
  }
}
