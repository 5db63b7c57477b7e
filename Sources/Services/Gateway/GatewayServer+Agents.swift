import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// Agents: asked on the session's behalf; what they propose is decided here.
extension GatewayServer {
  public func askAgent(
    _ request: AskAgentRequest, responses: ResponseWriter<AgentTaskUpdate>, context: ServerContext
  ) async throws {
    let caller = try Caller(context)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.productRuntimeSessionID, "product_runtime_session_id")
    if let task = request.task {
      fields.id(task.agentType, "task.agent_type")
      fields.id(task.intent, "task.intent")
      fields.optionalText(task.message, "task.message", max: GatewayLimits.messageCharacters)
      fields.optionalID(task.subjectID, "task.subject_id")
      let limits = task.constraints ?? AgentConstraints()
      if limits.maxSuggestions > GatewayLimits.suggestions {
        fields.add("task.constraints.max_suggestions", "at most \(GatewayLimits.suggestions)")
      }
      if limits.maxTokens > GatewayLimits.agentTokens { fields.add("task.constraints.max_tokens", "at most \(GatewayLimits.agentTokens)") }
      if limits.timeoutMs > GatewayLimits.agentTimeoutMilliseconds {
        fields.add("task.constraints.timeout_ms", "at most \(GatewayLimits.agentTimeoutMilliseconds)")
      }
    } else {
      fields.add("task", "must say what is asked")
    }
    if let position = request.position {
      if !(-90...90).contains(position.latitude) { fields.add("position.latitude", "is -90 to 90") }
      if !(-180...180).contains(position.longitude) { fields.add("position.longitude", "is -180 to 180") }
    }
    try fields.finish()

    let session = try await session(request.productRuntimeSessionID, caller)
    try session.admit(.askAgent)
    let config = try await snapshots.config(session.runtimeSnapshotRef)
    let run = RunTaskRequest(
      idempotencyKey: request.idempotencyKey, tenantID: session.tenantID, invoker: "prg",
      context: AgentContext(
        productRuntimeSessionID: session.productRuntimeSessionID, productVersionID: session.productVersionID,
        journeyInstanceID: session.journeyInstanceID, userID: session.userID, avatarID: session.avatarID,
        marketCode: session.marketCode, cityCode: config.market?.cityCode ?? "", profiles: config.agentProfiles,
        runtimeSnapshotRef: session.runtimeSnapshotRef, position: request.position, finishBy: request.finishBy),
      task: request.task)
    for try await update in try await clients.agents.runTask(run) { try await responses.write(update) }
  }
}
