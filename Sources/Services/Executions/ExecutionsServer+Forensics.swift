import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// What became of an execution, the same again, and what is different between two.
extension ExecutionsServer {
  public func getTimeline(_ request: GetTimelineRequest, context: ServerContext) async throws -> Timeline {
    let key = try key(request.executionID, context)
    var validation = Validation()
    let size = pageSize(request.pageSize, &validation)
    try validation.finish()
    let after = try Self.number(request.pageToken)
    return try await environment.database.scan { snapshot -> Timeline in
      guard let execution = try ExecutionsStore.row(snapshot, key)?.execution else { throw Self.unknown(key.id) }
      let began = execution.createdAt?.nanosecondsSinceEpoch ?? 0
      let updates = try ExecutionsStore.updates(snapshot, key, after: after, limit: size + 1)
      let entries = try updates.prefix(size).map { update -> TimelineEntry in
        let event = try ExecutionUpdate(decoding: update.update).event
        return TimelineEntry(event: event, offsetUs: ((event?.occurredAt?.nanosecondsSinceEpoch ?? began) - began) / 1_000)
      }
      return Timeline(entries: entries, nextPageToken: updates.count > size ? PageToken.encode("\(updates[size - 1].seq)") : "")
    }
  }

  // MARK: Again

  public func replayExecution(_ request: ReplayExecutionRequest, context: ServerContext) async throws -> Execution {
    let caller = try Caller(context)
    var validation = Validation()
    validation.idempotencyKey(request.idempotencyKey)
    validation.optionalID(request.fromStep, "from_step")
    validation.optionalID(request.approvalID, "approval_id")
    validation.text(request.reason, "reason", max: ExecutionsLimits.messageLetters)
    try validation.finish()
    let key = try key(request.executionID, context)
    if request.live { try await checkApproval(request.approvalID, for: key.id, caller) }
    let audit = AuditRecorded(
      action: request.live ? "execution.replay_live" : "execution.replay", target: key.id, actor: caller.id, actorKind: "\(caller.kind)",
      decision: "allow", rule: request.live ? request.approvalID : "", reason: request.reason, method: context.method.path)
    let again = try await again(key, as: environment.ids.next(.execution), from: request.fromStep, context) {
      $0.sandbox = !request.live
    }
    return try await stored(
      try await repeated(again, IdempotencyKey(request.idempotencyKey, request, context), from: request.fromStep, audit: audit))
  }

  public func redriveExecution(_ request: RedriveExecutionRequest, context: ServerContext) async throws -> Execution {
    var validation = Validation()
    validation.idempotencyKey(request.idempotencyKey)
    validation.id(request.redrivenAs, "redriven_as")
    validation.id(request.itemID, "item_id")
    try validation.finish()
    let key = try key(request.executionID, context)
    // What was done stays done: it goes on at the first step without a checkpoint.
    let steps = try await environment.database.read { try ExecutionsStore.steps($0, of: key) }
    let from = steps.first { $0.state == .running }?.stepID
    let again = try await again(key, as: request.redrivenAs, from: from ?? "", keepsAll: from == nil, context) {
      $0.redrivenFrom = request.itemID
    }
    return try await stored(
      try await repeated(
        again, IdempotencyKey(request.idempotencyKey, request, context), from: from ?? "", keepsAll: from == nil, audit: nil))
  }

  /// An execution that does another one again: for the one who asked then, under the roof of whoever asks now.
  private func again(
    _ key: ExecutionKey, as id: String, from step: String, keepsAll: Bool = false, _ context: ServerContext,
    _ change: (inout Execution) -> Void
  ) async throws -> ExecutionsStore.ExecutionRow {
    guard var row = try await environment.database.read({ try ExecutionsStore.row($0, key) }) else { throw Self.unknown(key.id) }
    let old = row.execution
    guard ExecutionStateMachine.isTerminal(old.status) else {
      throw RPCError.precondition(
        .executionTransitionInvalid, "the execution is \(old.status.word); only one that has ended can be done again")
    }
    if !step.isEmpty, try await environment.database.read({ try ExecutionsStore.step($0, step, of: key) }) == nil {
      throw RPCError.precondition(.stepInvalid, "the execution has no step \(step)")
    }
    row.execution = Execution(
      executionID: id, intent: old.intent, status: .created, timeoutMs: old.timeoutMs, maxRetries: old.maxRetries,
      createdAt: .init(nanosecondsSinceEpoch: environment.clock.now), replayOf: old.executionID, fromStep: step)
    row.caller = CallerRecord(principal: CallerRecord(text: row.caller)?.principal ?? context.principal.subject, trace: context.trace).text
    change(&row.execution)
    return row
  }

  /// Stores such an execution with the steps that it takes over, and starts it.
  private func repeated(
    _ row: ExecutionsStore.ExecutionRow, _ once: IdempotencyKey, from step: String, keepsAll: Bool = false, audit: AuditRecorded?
  ) async throws -> ExecutionKey {
    let execution = row.execution
    let old = ExecutionKey(tenant: row.key.tenant, id: execution.replayOf)
    return try await submit(row, once) { journal, stamp, transaction in
      let steps = try ExecutionsStore.steps(transaction, of: old)
      let end = steps.first { $0.stepID == step }?.position ?? (keepsAll ? .max : 0)
      for var step in steps where step.position < end && step.state != .running {
        step.state = .reused
        step.attempts = 0
        try ExecutionsStore.put(step, of: row.key, transaction)
      }
      try journal.tell(JobReceived(intentType: execution.intent?.intentType ?? ""), execution, at: stamp, transaction)
      let replayed = JobReplayed(originalExecutionID: execution.replayOf, fromStep: execution.fromStep, sandbox: execution.sandbox)
      try journal.tell(replayed, execution, at: stamp, transaction)
      if let audit { try journal.append(audit, tenant: row.key.tenant, execution: execution.executionID, at: stamp, transaction) }
    }
  }

  /// The category under which the approval matrix knows what changes the platform's own course.
  private static let approvalCategory = "system_admin"

  /// What counts outside is done again only with the approval of others.
  private func checkApproval(_ id: String, for execution: String, _ caller: Caller) async throws {
    func refuse(_ why: String) -> RPCError { .denied(.replayApprovalMissing, rule: "REPLAY-APPROVAL", why) }
    guard !id.isEmpty else {
      throw refuse(
        "a live replay takes an approval of category \(Self.approvalCategory) for \(execution); without one it runs in a sandbox")
    }
    let approval: Approval
    do {
      approval = try await policy.getApproval(GetApprovalRequest(approvalID: id))
    } catch let error as RPCError where error.code == .notFound {
      throw refuse("there is no approval \(id)")
    }
    guard approval.state == .approved else { throw refuse("approval \(id) is \(approval.state)") }
    guard approval.category == Self.approvalCategory, (approval.expiresAt?.nanosecondsSinceEpoch ?? 0) > environment.clock.now else {
      throw refuse("approval \(id) has expired, or is for \(approval.category)")
    }
    // One for any execution would be one for all of them.
    guard approval.target == execution else {
      throw refuse("approval \(id) is for \(approval.target.isEmpty ? "nothing in particular" : approval.target)")
    }
    guard approval.requestedBy == caller.id else { throw refuse("approval \(id) was given to \(approval.requestedBy)") }
  }

  // MARK: Differences

  public func diffExecutions(_ request: DiffExecutionsRequest, context: ServerContext) async throws -> ExecutionDiff {
    let keys = (
      try key(request.executionIDA, context, field: "execution_id_a"), try key(request.executionIDB, context, field: "execution_id_b")
    )
    return ExecutionDiffer.diff(try await stored(keys.0), try await stored(keys.1))
  }
}
