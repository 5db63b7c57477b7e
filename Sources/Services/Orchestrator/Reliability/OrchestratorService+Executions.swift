import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// Dead letters of executions: their own service hands them over, and does them again when an operator wants that.
extension OrchestratorServer {
  public func enqueueDeadLetter(_ request: EnqueueDeadLetterRequest, context: ServerContext) async throws -> EnqueueDeadLetterResponse {
    let tenant = try Caller(context).tenant
    var validation = Validation()
    validation.id(request.itemID, "item_id")
    validation.id(request.execution?.executionID ?? "", "execution.execution_id")
    try validation.finish()
    guard let execution = request.execution else { preconditionFailure("it was validated") }
    try Caller(context).admit(tenant: execution.intent?.tenantID ?? "")
    let (journal, stamp) = (journal, TaskStamp(environment))
    let item = DeadLetter(
      itemID: request.itemID, execution: execution, failureReason: "\(execution.reason): \(execution.error)",
      retryCount: UInt32(clamping: max(execution.leaseEpoch, 1) - 1), enqueuedAt: .init(nanosecondsSinceEpoch: stamp.now),
      resolution: .pending)
    _ = try await environment.database.transaction("ao.enqueue") { transaction in
      // Told twice, it is the same news.
      if try DeadLetterStore.item(transaction, tenant: tenant, id: item.itemID) != nil { return }
      try DeadLetterStore.insert(item, transaction)
      let enqueued = DLQEnqueued(itemID: item.itemID, reason: item.failureReason, attempts: UInt32(clamping: execution.leaseEpoch))
      try journal.append(enqueued, of: item, at: stamp, transaction)
    }
    return EnqueueDeadLetterResponse()
  }

  /// Has an execution done again under an id of its own, which is returned.
  static func redrive(
    _ execution: Execution, of item: DeadLetter, as key: AgentTaskKey, _ caller: Caller, _ stamp: TaskStamp,
    _ transaction: borrowing Transaction
  ) throws -> String {
    // The room that was found for it is a task's; its id is new either way.
    let id = "EXE-" + key.id.drop { $0 != "-" }.dropFirst()
    let request = RedriveExecutionRequest(
      idempotencyKey: item.itemID, executionID: execution.executionID, redrivenAs: id, itemID: item.itemID)
    try transaction.perform(
      Effect(
        id: "\(item.itemID)-redrive", owner: OrchestratorServer.producer, stream: item.itemID,
        method: Executions.Methods.redriveExecution.path, request: request.encoded(), tenant: key.tenant, subject: caller.principal,
        trace: stamp.trace))
    return id
  }
}
