import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// What operators ask of models: which there are, and which a task would be put to.
extension OrchestratorServer {
  public func listModelProviders(_ request: ListModelProvidersRequest, context: ServerContext) async throws -> ListModelProvidersResponse {
    _ = try Caller(context)
    return ListModelProvidersResponse(providers: models.providers.contract)
  }

  public func explainModelRoute(_ request: ExplainModelRouteRequest, context: ServerContext) async throws -> ExplainModelRouteResponse {
    let tenant = try Caller(context).tenant
    var validation = Validation()
    validation.id(request.agentSlug, "agent_slug")
    validation.id(request.intent, "intent")
    try validation.finish()
    let agent = try await models.definition(of: request.agentSlug)
    guard agent.intents.contains(request.intent) else {
      throw RPCError.precondition(.agentIntentUnknown, "\(agent.agentSlug) does not do \(request.intent)")
    }
    let chain = try await models.chain(for: AgentTaskSpec(agentType: agent.agentType, intent: request.intent), agent: agent)
    return ExplainModelRouteResponse(
      choices: chain.map { binding in
        let objection = models.objection(to: binding, tokens: Int(request.contextLength), tenant: tenant)
        return ModelChoice(
          routeID: binding.routeID, provider: binding.provider, model: binding.model, priority: binding.priority, maxCost: binding.maxCost,
          passedOver: objection.map { "\($0.reason.rawValue): \($0.text)" } ?? "")
      })
  }
}
