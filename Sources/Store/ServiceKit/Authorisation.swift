import SpanwireRPC
import SpanwireSchema

extension PolicyClient {
  /// Asks whether one of a caller's roles may change what is of a category, in the caller's own tenant. Throws PERMISSION_DENIED with the
  /// rule that refused the last of them.
  public func authorise(_ caller: Caller, toWrite category: String) async throws {
    var refusal = DecisionReason(text: "the caller has no role", ruleRef: "R1-unauthenticated")
    for role in caller.roles {
      let decision = try await checkAccess(
        CheckAccessRequest(
          context: AccessContext(
            actorRole: role, actorUserID: caller.id, actorTenantID: caller.tenant, targetTenantID: caller.tenant, fieldCategory: category,
            requestedAction: .write)))
      if decision.decision == .allow { return }
      if let reason = decision.reasons.first { refusal = reason }
    }
    throw RPCError.denied(.policyDenied, rule: refusal.ruleRef, refusal.text)
  }
}
