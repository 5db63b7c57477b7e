import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// Grants by which one person helps another for a while: given, taken back, looked at.
///
/// Who is to be helped gives them, or who may write `assist_grants` by the access policy; nobody to themselves. Whether the helper's role
/// may assist at all is judged whenever the grant is used.
extension PolicyServer {
  /// The field category that access policies know grants by.
  private static let category = "assist_grants"

  public func grantHelp(_ request: GrantHelpRequest, context: ServerContext) async throws -> HelpGrant {
    let step = try step(context)
    let evaluator = try await evaluator(for: context)
    let isUser = step.caller.kind == .user
    let target = (
      tenant: request.targetTenantID.isEmpty ? step.tenant : request.targetTenantID,
      user: request.targetUserID.isEmpty && isUser ? step.caller.id : request.targetUserID
    )
    let helper = (
      tenant: request.grantedToTenantID.isEmpty ? target.tenant : request.grantedToTenantID, user: request.grantedTo
    )
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.given(request.kind, "kind")
    fields.id(request.grantedTo, "granted_to")
    fields.optionalID(request.grantedToTenantID, "granted_to_tenant_id")
    fields.id(target.user, "target_user_id")
    fields.optionalID(request.targetTenantID, "target_tenant_id")
    fields.check(helper != target, "granted_to", "nobody helps themselves")
    fields.text(request.reason, "reason", max: PolicyLimits.reasonLetters)
    let limit = Duration.nanoseconds(request.kind == .viewAs ? evaluator.model.viewAsLimit : evaluator.model.assistLimit)
    let ttl = request.ttl.map { Duration.seconds($0.seconds) + .nanoseconds(Int64($0.nanos)) } ?? limit
    fields.check(
      ttl > .zero && ttl <= limit, "ttl", "must be more than nothing and at most the \(limit.components.seconds) s of the access policy")
    try fields.finish()
    // Before the right to give grants: it is no right to help oneself to them.
    if helper == (step.tenant, step.caller.id) {
      throw RPCError.denied(.policyDenied, rule: "GRANT-FOUR-EYES", "nobody gives themselves a grant")
    }
    let rule = try Self.rule(for: step, .write, of: target, by: evaluator)
    let row = HelpRow(
      id: environment.ids.next(.helpGrant), kind: request.kind, target: target, helper: helper, reason: request.reason,
      grantedBy: step.caller.name, createdAt: step.now, expiresAt: step.now + ttl.nanoseconds)
    let key = IdempotencyKey(request.idempotencyKey, request, context)
    return try await environment.database.transaction("policy.grant_help") { tx in
      try tx.once(key, at: step.now) {
        try HelpStore.insert(row, in: tx)
        try step.audit("\(row.kind.word).grant", row.id, reason: row.summary, rule: rule, of: row.target.tenant, in: tx)
        return row.contract(at: step.now)
      }
    }.value
  }

  public func revokeHelp(_ request: RevokeHelpRequest, context: ServerContext) async throws -> HelpGrant {
    let step = try step(context)
    let evaluator = try await evaluator(for: context)
    let tenant = request.targetTenantID.isEmpty ? step.tenant : request.targetTenantID
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.grantID, "grant_id")
    fields.optionalID(request.targetTenantID, "target_tenant_id")
    fields.text(request.reason, "reason", max: PolicyLimits.reasonLetters)
    try fields.finish()
    let key = IdempotencyKey(request.idempotencyKey, request, context)
    return try await environment.database.transaction("policy.revoke_help") { tx in
      try tx.once(key, at: step.now) {
        guard var row = try HelpStore.find(request.grantID, tenant: tenant, in: tx), step.maySee(row, evaluator) else {
          throw RPCError.missing(.grantNotFound, "there is no grant \(request.grantID)")
        }
        let isTheirs = row.helper == (step.tenant, step.caller.id) || row.grantedBy == step.caller.name && row.target.tenant == step.tenant
        let rule = isTheirs ? "GRANT-OWN" : try Self.rule(for: step, .write, of: row.target, by: evaluator)
        if row.revokedAt != nil { return row.contract(at: step.now) }
        (row.revokedAt, row.revokedBy) = (step.now, step.caller.name)
        try HelpStore.revoke(row, in: tx)
        try step.audit("\(row.kind.word).revoke", row.id, reason: request.reason, rule: rule, of: row.target.tenant, in: tx)
        return row.contract(at: step.now)
      }
    }.value
  }

  public func listHelp(_ request: ListHelpRequest, context: ServerContext) async throws -> ListHelpResponse {
    let step = try step(context)
    var fields = Validation()
    fields.optionalID(request.targetTenantID, "target_tenant_id")
    fields.optionalID(request.targetUserID, "target_user_id")
    fields.optionalID(request.grantedTo, "granted_to")
    let size = pageSize(request.pageSize, &fields)
    try fields.finish()
    let after = try PageToken.decode(request.pageToken)
    let tenant = request.targetTenantID.isEmpty ? step.tenant : request.targetTenantID
    var wanted = HelpStore.Wanted(
      tenant: tenant, target: request.targetUserID, helper: request.grantedTo, standingAt: request.standing ? step.now : nil)
    if step.caller.kind == .user {
      try step.caller.admit(tenant: request.targetTenantID)
      wanted.person = step.caller.id
    } else {
      _ = try Self.rule(for: step, .read, of: (tenant, ""), by: try await evaluator(for: context))
    }
    let asked = wanted
    let rows = try await environment.database.scan { try HelpStore.page(asked, after: after, size: size + 1, in: $0) }
    return ListHelpResponse(
      grants: rows.prefix(size).map { $0.contract(at: step.now) },
      nextPageToken: rows.count > size ? PageToken.encode(rows[size - 1].id) : "")
  }

  /// The rule by which somebody may do something with the grants over a user: their own affair, or by one of their roles. Throws
  /// PERMISSION_DENIED with the rule that refused the last of them.
  private static func rule(
    for step: PolicyStep, _ kind: AccessKind, of target: (tenant: String, user: String), by evaluator: AccessEvaluator
  ) throws -> String {
    if step.caller.kind == .user {
      guard target == (step.tenant, step.caller.id) else {
        throw RPCError.denied(.policyDenied, rule: "GRANT-OWN", "a user gives and takes back grants over what is theirs alone")
      }
      return "GRANT-OWN"
    }
    var refusal = AccessEvaluator.Reason(id: "", text: "the caller has no role", ruleRef: "R1-unauthenticated")
    for role in step.caller.roles {
      let outcome = evaluator.evaluate(
        AccessEvaluator.Request(
          actorRole: role, actorUserID: step.caller.id, actorTenantID: step.tenant, targetTenantID: target.tenant,
          targetUserID: target.user, category: category, kind: kind), now: step.now)
      guard let reason = outcome.reasons.first else { continue }
      if outcome.effect == .allow { return reason.ruleRef }
      refusal = reason
    }
    throw RPCError.denied(.policyDenied, rule: refusal.ruleRef, refusal.text)
  }
}

extension PolicyStep {
  /// Whether a grant is any of the caller's business: another tenant's, and another traveller's, are as if they were not there.
  fileprivate func maySee(_ row: HelpRow, _ evaluator: AccessEvaluator) -> Bool {
    if row.helper == (tenant, caller.id) { return true }
    if caller.kind == .user { return row.target == (tenant, caller.id) }
    return row.target.tenant == tenant || caller.roles.contains { evaluator.model.role($0)?.isPlatformGlobal ?? false }
  }
}

extension HelpKind {
  /// As contexts and audit call it.
  var word: String { self == .viewAs ? "view_as" : "assist" }
}

extension HelpRow {
  /// For the audit: who may do what to whom, until when, and why.
  fileprivate var summary: String {
    let text = "\(helper.tenant)/\(helper.user) for \(target.user) until \(RFC3339.format(expiresAt)): \(reason)"
    return String(text.prefix(PolicyLimits.reasonLetters))
  }
}
