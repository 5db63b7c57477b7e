import SpanwireRPC
import SpanwireSchema

extension PolicyClient {
  /// Asks whether one of a caller's roles may do something to what is of a category; returns the rule that allows it. Throws
  /// PERMISSION_DENIED with the rule that refused the last of them.
  ///
  /// - Parameters:
  ///   - tenant: whose it is; by default the caller's own. Empty: everybody's, which only roles that work across tenants may touch.
  ///   - approvals: those of the queue that the caller names for it.
  @discardableResult
  public func authorise(
    _ caller: Caller, to action: RequestedAccess, _ category: String, of tenant: String? = nil, approvals: [String] = []
  ) async throws -> String {
    var refusal = DecisionReason(text: "the caller has no role", ruleRef: "R1-unauthenticated")
    for role in caller.roles {
      let decision = try await checkAccess(
        CheckAccessRequest(
          context: AccessContext(
            actorRole: role, actorUserID: caller.id, actorTenantID: caller.tenant, targetTenantID: tenant ?? caller.tenant,
            fieldCategory: category, requestedAction: action, approvalRefs: approvals)))
      guard let reason = decision.reasons.first else { continue }
      if decision.decision == .allow { return reason.ruleRef }
      refusal = reason
    }
    throw RPCError.denied(.policyDenied, rule: refusal.ruleRef, refusal.text)
  }
}

extension ActionDecision {
  /// RESOURCE_EXHAUSTED, of an action that is refused now and not for good; nil for any other answer.
  public var tooOften: RPCError? {
    retryAfter.map { .later(.resourceExhausted, .policyDenied, reason, after: $0.duration, metadata: [("rule", rule)]) }
  }
}
