import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// Checks what workers say, field by field.
enum WorkerValidation {
  /// A registration with its defaults in place. A worker serves only agents that its credential names: its roles are their slugs.
  static func registration(_ message: AttachRequest, _ caller: Caller) throws -> WorkerRegistration {
    guard case .registration(var registration)? = message.kind else {
      throw RPCError.invalidField("registration", "must be the first message")
    }
    if registration.concurrency == 0 { registration.concurrency = 1 }
    if registration.maxClaimMs == 0 { registration.maxClaimMs = OrchestratorLimits.claimMilliseconds }
    if registration.maxResidentBytes == 0 { registration.maxResidentBytes = OrchestratorLimits.residentBytes }
    var validation = Validation()
    validation.id(registration.workerID, "registration.worker_id")
    validation.ids(registration.agentSlugs, "registration.agent_slugs", max: OrchestratorLimits.workerSlugs)
    validation.check(
      !registration.agentSlugs.isEmpty || !registration.handlers.isEmpty, "registration.agent_slugs",
      "must name an agent, unless handlers are offered")
    validation.check(
      registration.handlers.count <= OrchestratorLimits.workerSlugs, "registration.handlers", "at most \(OrchestratorLimits.workerSlugs)")
    for (index, offer) in registration.handlers.prefix(OrchestratorLimits.workerSlugs).enumerated() {
      validation.id(offer.intentType, "registration.handlers[\(index)].intent_type")
      validation.id(offer.handlerName, "registration.handlers[\(index)].handler_name")
    }
    validation.range(registration.concurrency, "registration.concurrency", 1...OrchestratorLimits.workerConcurrency)
    validation.range(registration.maxClaimMs, "registration.max_claim_ms", 1...OrchestratorLimits.maxClaimMilliseconds)
    validation.optionalText(registration.version, "registration.version", max: 100)
    try validation.finish()
    for slug in registration.agentSlugs where !caller.roles.contains(slug) {
      throw RPCError.denied(.agentForbidden, rule: "WORKER-AGENT", "the credential does not name the agent \(slug)")
    }
    for offer in registration.handlers where !caller.roles.contains(offer.handlerName) {
      throw RPCError.denied(.agentForbidden, rule: "WORKER-HANDLER", "the credential does not name the handler \(offer.handlerName)")
    }
    return registration
  }

  static func progress(_ progress: Progress) throws {
    var validation = Validation()
    validation.text(progress.stage, "progress.progress.stage", max: 100)
    validation.range(progress.percent, "progress.progress.percent", 0...100)
    validation.optionalText(progress.message, "progress.progress.message", max: OrchestratorLimits.reasonLetters)
    try validation.finish()
  }

  static func partial(_ partial: Partial) throws {
    var validation = Validation()
    validation.text(partial.text, "partial.partial.text", max: OrchestratorLimits.answerLetters)
    try validation.finish()
  }

  /// The answer of a result, in the form that the platform's own agents give theirs.
  static func answer(_ result: WorkResult) throws -> AgentAnswer {
    // The runtime of executions checks what its handlers return.
    if result.claim?.executionID.isEmpty == false { return AgentAnswer(text: "", execution: result.execution ?? HandlerResult()) }
    var validation = Validation()
    validation.optionalText(result.text, "result.text", max: OrchestratorLimits.answerLetters)
    if result.proposals.count > OrchestratorLimits.maxSuggestions {
      validation.add("result.proposals", "at most \(OrchestratorLimits.maxSuggestions)")
    }
    var drafts: [AgentAnswer.Draft] = []
    for (index, proposal) in result.proposals.prefix(Int(OrchestratorLimits.maxSuggestions)).enumerated() {
      let path = "result.proposals[\(index)]"
      validation.text(proposal.summary, "\(path).summary", max: OrchestratorLimits.reasonLetters)
      validation.optionalText(proposal.rationale, "\(path).rationale", max: OrchestratorLimits.messageLetters)
      validation.check((0...1).contains(proposal.confidence), "\(path).confidence", "must be from 0 to 1")
      check(proposal.kind, path, &validation)
      guard let kind = proposal.kind else { continue }
      drafts.append(
        AgentAnswer.Draft(summary: proposal.summary, rationale: proposal.rationale, confidence: proposal.confidence, kind: kind))
    }
    try validation.finish()
    return AgentAnswer(text: result.text, drafts: drafts)
  }

  private static func check(_ kind: Proposal.Kind?, _ path: String, _ validation: inout Validation) {
    switch kind {
    case .route(let route):
      validation.check(!route.servicePointIds.isEmpty, "\(path).route.service_point_ids", "must name a stop")
      validation.ids(route.servicePointIds, "\(path).route.service_point_ids", max: OrchestratorLimits.proposedStops)
    case .product(let product):
      validation.id(product.productID, "\(path).product.product_id")
      validation.optionalID(product.variantID, "\(path).product.variant_id")
    case .recommendation(let recommendation):
      validation.optionalID(recommendation.servicePointID, "\(path).recommendation.service_point_id")
      validation.optionalID(recommendation.vendorID, "\(path).recommendation.vendor_id")
    case .explanation(let explanation):
      validation.text(explanation.text, "\(path).explanation.text", max: OrchestratorLimits.messageLetters)
    case .requestedAction(let wish):
      validation.id(wish.action, "\(path).requested_action.action")
      validation.optionalID(wish.target, "\(path).requested_action.target")
    case nil: validation.add("\(path).kind", "must be given")
    }
  }
}
