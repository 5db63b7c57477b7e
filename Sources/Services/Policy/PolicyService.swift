import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// The policy service: contract in, pure evaluators asked, contract out. It holds no rows: the same question gives the same bytes.
public struct PolicyServer: PolicyService {
  private let clock: any WallClock
  private let evaluator: AccessEvaluator

  /// Changes when what the service makes of a question could.
  public static let serviceVersion = "policy-1"

  public init(clock: any WallClock, model: AccessModel = .standard) {
    self.clock = clock
    evaluator = AccessEvaluator(model: model)
  }

  public func checkAccess(_ request: CheckAccessRequest, context: ServerContext) async throws -> AccessDecision {
    try decide(request.context ?? AccessContext(), asSensitive: false)
  }

  public func checkSensitive(_ request: CheckAccessRequest, context: ServerContext) async throws -> AccessDecision {
    try decide(request.context ?? AccessContext(), asSensitive: true)
  }

  public func checkAction(_ request: CheckActionRequest, context: ServerContext) async throws -> ActionDecision {
    var validation = Validation()
    validation.text(request.actionType, "action_type", max: PolicyLimits.nameLetters)
    validation.optionalText(request.agentSlug, "agent_slug", max: PolicyLimits.nameLetters)
    validation.optionalText(request.toolName, "tool_name", max: PolicyLimits.nameLetters)
    validation.optionalText(request.actorRole, "actor_role", max: PolicyLimits.nameLetters)
    validation.optionalText(request.sessionStatus, "session_status", max: PolicyLimits.nameLetters)
    validation.optionalText(request.journeyStatus, "journey_status", max: PolicyLimits.nameLetters)
    try validation.finish()
    let verdict = ActionPolicy.check(
      ActionPolicy.Request(
        agentSlug: request.agentSlug, toolName: request.toolName, actionType: request.actionType, actorRole: request.actorRole,
        sessionStatus: request.sessionStatus, journeyStatus: request.journeyStatus))
    return ActionDecision(allowed: verdict.isAllowed, rule: verdict.rule, reason: verdict.reason, trace: verdict.trace)
  }

  private func decide(_ context: AccessContext, asSensitive: Bool) throws -> AccessDecision {
    let question = try AccessQuestion(context, now: clock.now)
    let outcome = evaluator.evaluate(question.request, asSensitive: asSensitive, now: question.now)
    return AccessDecision(
      decision: outcome.effect.contract,
      reasons: outcome.reasons.map { DecisionReason(id: $0.id, text: $0.text, ruleRef: $0.ruleRef) },
      requiredApprovers: outcome.requiredApprovers, approvalMatrixRow: outcome.approvalRow ?? "",
      currentApprovalsSatisfy: outcome.approvalsSatisfy, tenantRelation: outcome.tenantRelation.rawValue, selfView: outcome.isSelfView,
      trace: outcome.trace, serviceVersion: Self.serviceVersion, engineVersion: AccessEvaluator.engineVersion)
  }
}

extension AccessEvaluator.Effect {
  var contract: Decision {
    switch self {
    case .allow: .allow
    case .mask: .mask
    case .deny: .deny
    }
  }
}
