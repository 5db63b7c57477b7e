import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// Executions that workers do: they wait for the same places as tasks, in the same order, and stand under the same supervision.
extension AgentWorkerServer {
  public func getHandlerCapacity(_ request: HandlerOffer, context: ServerContext) async throws -> HandlerCapacity {
    HandlerCapacity(workers: UInt32(clamping: pool.workers(for: request.lane, of: try Caller(context).tenant)))
  }

  public func performExecution(
    _ request: PerformExecutionRequest, responses: ResponseWriter<PerformExecutionResponse>, context: ServerContext
  ) async throws {
    let tenant = try Caller(context).tenant
    let execution = request.execution ?? ExecutionContext()
    var validation = Validation()
    validation.id(execution.executionID, "execution.execution_id")
    validation.id(execution.intent?.intentType ?? "", "execution.intent.intent_type")
    validation.id(request.handlerName, "handler_name")
    try validation.finish()
    try Caller(context).admit(tenant: execution.tenantID)
    let lane = HandlerOffer(intentType: execution.intent?.intentType ?? "", handlerName: request.handlerName).lane
    guard pool.workers(for: lane, of: tenant) > 0 else {
      throw RPCError.refusal(.unavailable, .workerNotFound, "no worker that is attached serves \(lane)")
    }
    guard places.admit(tenant) else {
      throw RPCError.later(
        .resourceExhausted, .queueFull, "as many tasks and executions of workers are open as may be",
        after: .milliseconds(OrchestratorLimits.retryAfterMilliseconds))
    }
    defer { places.dismiss(tenant) }
    let taken = try await places.take(tenant: tenant, agentSlug: lane, session: execution.sessionID, byWorkers: true)
    defer { places.give(back: taken) }
    guard case .worker(let id) = taken.place else { preconditionFailure("a worker was asked for") }
    try await responses.write(PerformExecutionResponse(kind: .workerID(pool.name(of: id) ?? "")))
    let work = Work(
      claim: WorkClaim(tenantID: tenant, leaseEpoch: execution.claim?.leaseEpoch ?? 0, executionID: execution.executionID),
      timeoutMs: request.timeoutMs, traceparent: context.trace?.traceparent ?? "", execution: execution, handlerName: request.handlerName)
    do {
      let answer = try await pool.perform(work, on: id, at: environment.clock.now)
      try await responses.write(PerformExecutionResponse(kind: .result(answer.execution ?? HandlerResult())))
    } catch let lost as AttemptLost {
      // What is not known to have been answered is asked of another; what the worker said went wrong is tried again.
      throw lost.outcome == "lost" ? RPCError.unavailable(lost.text) : RPCError.aborted(lost.text)
    }
  }
}

extension HandlerOffer {
  /// As agents' slugs name what workers do: no slug has a colon.
  var lane: String { "\(intentType):\(handlerName)" }
}

extension WorkClaim {
  /// What it is a claim of. An execution's key has a colon, which no task's has.
  var key: AgentTaskKey {
    AgentTaskKey(tenant: tenantID, id: executionID.isEmpty ? agentTaskID : AgentTaskKey.executionPrefix + executionID)
  }

  init(_ key: AgentTaskKey, _ epoch: UInt64) {
    self.init(
      tenantID: key.tenant, agentTaskID: key.isExecution ? "" : key.id, leaseEpoch: epoch,
      executionID: key.isExecution ? String(key.id.dropFirst(AgentTaskKey.executionPrefix.count)) : "")
  }
}

extension AgentTaskKey {
  static let executionPrefix = "execution:"
  var isExecution: Bool { id.hasPrefix(Self.executionPrefix) }
}
