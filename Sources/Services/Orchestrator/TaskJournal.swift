import SpanwireDatabase
import SpanwireEventLog
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireTurnKernel
import SpanwireWellKnown

/// When something happens to a task and as part of which trace: taken before the transaction, which runs on another thread, and perhaps
/// twice.
struct TaskStamp: Sendable {
  let now: Int64
  let trace: TraceContext?
  /// Of the dead letter, should the task end as one.
  let deadLetter: ULID

  init(_ environment: ServiceEnvironment) {
    now = environment.clock.now
    trace = CallContext.current?.trace
    deadLetter = environment.ids.ulid()
  }
}

/// Writes what happens to a task: its row, its update and its event, and what it means to the turn of its attempt, always in one
/// transaction.
struct TaskJournal: Sendable {
  let environment: ServiceEnvironment
  let wakes: Wakes<AgentTaskKey>
  let turns: TurnKernel

  /// What `begin` found.
  enum Begin: Sendable {
    /// The run may go on.
    case run(OrchestratorStore.TaskRow)
    /// Somebody ended the task before.
    case ended
    /// Another run has begun since: this one has no say any more.
    case stale
  }

  /// Tells of a task that came in.
  func tellReceipt(_ row: OrchestratorStore.TaskRow, at stamp: TaskStamp, _ transaction: borrowing Transaction) throws {
    let task = row.task
    let received = AgentTaskReceived(agentType: task.task?.agentType ?? "", intent: task.task?.intent ?? "", invoker: task.invoker)
    try tell(.receipt(Receipt(agentTaskID: task.agentTaskID, agentSlug: task.agentSlug)), received, row, at: stamp, transaction)
  }

  /// Begins a run: the first, or a further one after one that failed or that the process's end cut short. Its turn opens with it. From now
  /// on answers count under its epoch alone.
  ///
  /// - Parameter worker: who does it; nil for the platform's own agent.
  func begin(_ key: AgentTaskKey, by worker: String?, as turn: TurnRecorder, under plan: FrozenPlan) async throws -> Begin {
    let stamp = TaskStamp(environment)
    let (turns, opening) = (turns, turn.evidence)
    let begin = try await environment.database.transaction("ao.begin") { transaction -> Begin in
      guard var row = try OrchestratorStore.task(transaction, key), AgentTaskStateMachine.allows(row.task.state, to: .running) else {
        return .ended
      }
      // The authority is looked at before anything opens.
      guard row.attempt + 1 == opening.leaseEpoch else {
        try tell(.stale(epoch: opening.leaseEpoch, current: row.attempt), of: row, at: stamp, transaction)
        return .stale
      }
      try abandon(row, at: stamp, transaction)
      row.task.state = .running
      row.attempt += 1
      row.turnID = opening.turnID
      try OrchestratorStore.update(row, transaction)
      try turns.open(opening, under: plan, about: about(row, at: stamp), transaction)
      try AttemptStore.begin(key, row.attempt, opening.performer, turn: row.turnID, stamp.now, transaction)
      let started = AgentTaskStarted(agentSlug: row.task.agentSlug, attempt: UInt32(clamping: row.attempt))
      let progress = Progress(stage: "started", percent: 0, message: row.attempt > 1 ? "Begins again" : "")
      try tell(.progress(progress), started, row, at: stamp, transaction)
      if let worker {
        let claimed = RunClaimed(runID: key.id, workerID: worker, leaseEpoch: row.attempt)
        try append(claimed, row, at: stamp, transaction)
      }
      return .run(row)
    }.value
    wakes.wake(key)
    return begin
  }

  /// The epoch of a task's last run, if that is the run of this turn.
  func epoch(of key: AgentTaskKey, ifItsTurnIs turnID: String) async throws -> UInt64? {
    try await environment.database.read { snapshot in
      try OrchestratorStore.task(snapshot, key).flatMap { $0.turnID == turnID ? $0.attempt : nil }
    }
  }

  /// Ends the runs that the last process left open, so that their turns end once, whether the tasks are taken up or not.
  func abandon(_ rows: [OrchestratorStore.TaskRow]) async throws {
    let stamp = TaskStamp(environment)
    _ = try await environment.database.transaction("ao.abandon") { transaction in
      for row in rows { try abandon(row, at: stamp, transaction) }
    }
  }

  private func abandon(_ row: OrchestratorStore.TaskRow, at stamp: TaskStamp, _ transaction: borrowing Transaction) throws {
    guard row.attempt > 0 else { return }
    let why = "its process ended"
    try AttemptStore.end(row.key, row.attempt, "lost", why, stamp.now, transaction)
    if row.byModel { try ModelCallStore.lose(row.key, at: stamp.now, transaction) }
    try turns.end(row.turnID, .abort(reason: why), about: about(row, at: stamp), transaction)
  }

  /// Tells why a run did not get its turn: not in an answer's transaction, and once.
  func tell(_ refusal: TurnKernel.Refusal, of key: AgentTaskKey) async throws {
    let stamp = TaskStamp(environment)
    _ = try await environment.database.transaction("ao.no_turn") { transaction in
      guard let row = try OrchestratorStore.task(transaction, key) else { return }
      try tell(refusal, of: row, at: stamp, transaction)
    }
  }

  func tell(
    _ refusal: TurnKernel.Refusal, of row: OrchestratorStore.TaskRow, at stamp: TaskStamp, _ transaction: borrowing Transaction
  ) throws {
    try turns.tell(refusal, about: about(row, at: stamp), transaction)
  }

  /// Tells of progress, or sends a piece of the answer ahead. Throws `CancellationError` when that attempt is not the task's present one,
  /// or the task has ended, or is just being cancelled.
  func tell(_ update: AgentTaskUpdate.Update, of key: AgentTaskKey, under epoch: UInt64) async throws {
    let stamp = TaskStamp(environment)
    if isFenced(key, epoch) { throw CancellationError() }
    _ = try await environment.database.transaction("ao.tell") { transaction in
      guard let row = try OrchestratorStore.task(transaction, key), row.task.state == .running, row.attempt == epoch else {
        throw CancellationError()
      }
      switch update {
      case .progress(let progress):
        let payload = AgentTaskProgress(stage: progress.stage, percent: progress.percent, message: progress.message)
        try tell(update, payload, row, at: stamp, transaction)
      case .partial(let partial): try tell(update, AgentTaskPartial(text: partial.text), row, at: stamp, transaction)
      default: preconditionFailure("only progress and parts are told on the way")
      }
    }
    wakes.wake(key)
  }

  /// Ends an attempt that will be followed by another, so that its epoch's late answer finds it over.
  func lose(_ key: AgentTaskKey, under epoch: UInt64, _ outcome: String, _ error: String) async throws {
    let stamp = TaskStamp(environment)
    _ = try await environment.database.transaction("ao.lose") { transaction in
      guard let row = try OrchestratorStore.task(transaction, key), row.attempt == epoch else { return }
      try AttemptStore.end(key, epoch, outcome, error, stamp.now, transaction)
      try turns.end(row.turnID, .abort(reason: "\(outcome): \(error)"), about: about(row, at: stamp), transaction)
    }
  }

  /// Ends a task with an answer: its proposals, those refused among them, and its result, and its turn with them, all at once. Nothing
  /// happens if the task has ended; an answer under an epoch that is over is refused, and the log told. Throws `CancellationError` when it is
  /// just being cancelled.
  func complete(_ key: AgentTaskKey, under epoch: UInt64, text: String, proposals: [Proposal], output: TurnOutput) async throws {
    let stamp = TaskStamp(environment)
    if isFenced(key, epoch) { throw CancellationError() }
    _ = try await environment.database.transaction("ao.complete") { transaction in
      guard var row = try OrchestratorStore.task(transaction, key) else { return }
      guard row.attempt == epoch else { return try tell(.stale(epoch: epoch, current: row.attempt), of: row, at: stamp, transaction) }
      guard AgentTaskStateMachine.allows(row.task.state, to: .completed) else { return }
      for proposal in proposals {
        try ProposalStore.insert(proposal, tenant: key.tenant, transaction)
        if proposal.state == .refused {
          try tellRefusal(of: proposal, row, at: stamp, transaction)
        } else {
          let created = RecommendationCreated(proposalID: proposal.proposalID, kind: proposal.kind?.word ?? "", summary: proposal.summary)
          try tell(.proposal(proposal), created, row, at: stamp, transaction)
        }
      }
      row.task.state = .completed
      row.task.text = text
      row.task.endedAt = .init(nanosecondsSinceEpoch: stamp.now)
      try OrchestratorStore.update(row, transaction)
      try AgentGuard.settle(row, at: stamp, in: transaction)
      try AttemptStore.end(key, epoch, "completed", "", stamp.now, transaction)
      guard try turns.end(row.turnID, .commit([output]), about: about(row, at: stamp), transaction) else {
        throw RPCError.precondition(.turnEnded, "turn \(row.turnID) has ended: its answer does not count")
      }
      let result = AgentTaskResult(
        text: text, proposalIds: proposals.map(\.proposalID), refused: UInt32(proposals.count { $0.state == .refused }))
      var task = row.task
      task.proposals = proposals
      try tell(.result(task), result, row, at: stamp, transaction)
    }
    wakes.wake(key)
  }

  /// How a task ends without an answer.
  enum Ending: Sendable {
    case failed(reason: String, message: String, status: Google_Rpc_Status? = nil)
    case timedOut(milliseconds: Int64)
    case cancelled(reason: String)

    var state: AgentTaskState {
      switch self {
      case .failed: .failed
      case .timedOut: .timedOut
      case .cancelled: .cancelled
      }
    }

    /// The outcome of the attempt that it ends.
    var outcome: String {
      switch self {
      case .failed: "failed"
      case .timedOut: "timed_out"
      case .cancelled: "cancelled"
      }
    }

    /// How it ends the turn of that attempt.
    var turn: TurnKernel.Ending {
      switch self {
      case .failed, .timedOut: .abort(reason: "\(outcome): \(text)")
      case .cancelled(let reason): .cancel(reason: reason)
      }
    }

    var text: String {
      switch self {
      case .failed(let reason, let message, _): message.isEmpty ? reason : "\(reason): \(message)"
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

  /// The same inside a transaction that does more. What nobody cancelled goes to the dead letters.
  func end(
    _ row: OrchestratorStore.TaskRow, _ ending: Ending, at stamp: TaskStamp, _ transaction: borrowing Transaction
  ) throws -> AgentTask {
    var row = row
    row.task.state = ending.state
    row.task.failure = ending.text
    row.task.endedAt = .init(nanosecondsSinceEpoch: stamp.now)
    // An agent's price is for an answer; what its models cost is spent.
    if !row.task.budgetReservationID.isEmpty { row.task.cost = nil }
    if case .failed(_, _, let status) = ending { row.task.status = status }
    try OrchestratorStore.update(row, transaction)
    try AgentGuard.settle(row, at: stamp, in: transaction)
    let key = row.key
    if row.attempt > 0 {
      try AttemptStore.end(key, row.attempt, ending.outcome, ending.text, stamp.now, transaction)
      try turns.end(row.turnID, ending.turn, about: about(row, at: stamp), transaction)
    }
    let result = AgentTaskUpdate.Update.result(row.task)
    switch ending {
    case .failed(let reason, let message, _):
      try tell(result, AgentTaskFailed(reason: reason, message: message), row, at: stamp, transaction)
    case .timedOut(let milliseconds): try tell(result, AgentTaskTimedOut(timeoutMs: milliseconds), row, at: stamp, transaction)
    case .cancelled(let reason): try tell(result, AgentTaskCancelled(reason: reason), row, at: stamp, transaction)
    }
    if case .cancelled = ending { return row.task }
    try bury(row, at: stamp, transaction)
    return row.task
  }

  private func bury(_ row: OrchestratorStore.TaskRow, at stamp: TaskStamp, _ transaction: borrowing Transaction) throws {
    let item = DeadLetter(
      itemID: stamp.deadLetter.text(.deadLetter), task: row.task, failureReason: row.task.failure,
      retryCount: UInt32(clamping: max(row.attempt, 1) - 1), enqueuedAt: .init(nanosecondsSinceEpoch: stamp.now), resolution: .pending)
    try DeadLetterStore.insert(item, transaction)
    let enqueued = DLQEnqueued(itemID: item.itemID, reason: item.failureReason, attempts: UInt32(clamping: row.attempt))
    try append(enqueued, row, at: stamp, transaction)
  }

  // MARK: Events

  /// Appends an event of a task and adds the update that it stands for.
  func tell(
    _ update: AgentTaskUpdate.Update, _ payload: some Message, _ row: OrchestratorStore.TaskRow, at stamp: TaskStamp,
    _ transaction: borrowing Transaction
  ) throws {
    let event = try append(payload, row, at: stamp, transaction)
    try OrchestratorStore.add(AgentTaskUpdate(update: update), event, to: row.key, transaction)
  }

  /// Appends an event of a task that is no part of its answer.
  @discardableResult
  func append(
    _ payload: some Message, _ row: OrchestratorStore.TaskRow, at stamp: TaskStamp, _ transaction: borrowing Transaction
  ) throws -> LogEvent {
    var draft = about(row, at: stamp)
    draft.payload = payload
    return try transaction.append(draft, environment)
  }

  /// The same of a task as its dead letter has it.
  func append(_ payload: some Message, _ task: AgentTask, at stamp: TaskStamp, _ transaction: borrowing Transaction) throws {
    try transaction.append(Self.draft(payload, task, at: stamp), environment)
  }

  /// An event's envelope as far as the task fills it; its payload, a turn's end, is for others to set.
  private func about(_ row: OrchestratorStore.TaskRow, at stamp: TaskStamp) -> EventDraft {
    var draft = Self.draft(TurnClose(), row.task, at: stamp)
    (draft.turn, draft.leaseEpoch) = (row.turnID, row.attempt)
    return draft
  }

  private static func draft(_ payload: any Message, _ task: AgentTask, at stamp: TaskStamp) -> EventDraft {
    EventDraft(
      payload, producer: OrchestratorServer.producer, tenant: task.tenantID, session: task.context?.productRuntimeSessionID ?? "",
      journey: task.context?.journeyInstanceID ?? "", productVersion: task.context?.productVersionID ?? "",
      market: task.context?.marketCode ?? "", agentTask: task.agentTaskID, occurredAt: stamp.now, trace: stamp.trace)
  }

  private func isFenced(_ key: AgentTaskKey, _ epoch: UInt64) -> Bool {
    turns.isFenced(TurnKey(tenant: key.tenant, task: key.id, epoch: epoch))
  }

  /// Appends an event that belongs to no task.
  func append(
    _ payload: some Message, tenant: String, execution: String = "", at stamp: TaskStamp, _ transaction: borrowing Transaction
  ) throws {
    try transaction.append(
      EventDraft(
        payload, producer: OrchestratorServer.producer, tenant: tenant, execution: execution, occurredAt: stamp.now, trace: stamp.trace),
      environment)
  }

  /// Appends an event of a dead letter.
  func append(_ payload: some Message, of item: DeadLetter, at stamp: TaskStamp, _ transaction: borrowing Transaction) throws {
    if let task = item.task {
      try append(payload, task, at: stamp, transaction)
    } else {
      try append(payload, tenant: item.tenant, execution: item.execution?.executionID ?? "", at: stamp, transaction)
    }
  }

  private func tellRefusal(
    of proposal: Proposal, _ row: OrchestratorStore.TaskRow, at stamp: TaskStamp, _ transaction: borrowing Transaction
  ) throws {
    guard case .requestedAction(let wish)? = proposal.kind else { preconditionFailure("only requested actions are refused") }
    let refused = RecommendationRefused(
      proposalID: proposal.proposalID, action: wish.action, rule: proposal.refusedRule, reason: proposal.rationale)
    try tell(.proposal(proposal), refused, row, at: stamp, transaction)
    let audit = AuditRecorded(
      action: wish.action, target: wish.target, actor: row.task.agentSlug, actorKind: "agent", decision: "deny",
      rule: proposal.refusedRule, reason: proposal.rationale, method: AgentOrchestrator.Methods.runTask.path)
    try append(audit, row, at: stamp, transaction)
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
