import SpanwireSchema
import SpanwireServiceKit

/// A question about access as the evaluator takes it, made of the contract's form after every field was checked.
struct AccessQuestion {
  var request: AccessEvaluator.Request
  /// The instant it is asked for: what the caller pinned, or the server's clock.
  var now: Int64

  init(_ context: AccessContext, now clock: Int64) throws {
    var validation = Validation()
    for (field, value) in [
      ("actor_role", context.actorRole), ("actor_user_id", context.actorUserID), ("actor_tenant_id", context.actorTenantID),
      ("target_tenant_id", context.targetTenantID), ("target_user_id", context.targetUserID), ("flag_key", context.flagKey),
      ("field_category", context.fieldCategory),
    ] {
      validation.optionalText(value, "context.\(field)", max: PolicyLimits.nameLetters)
    }
    if context.flagKey.isEmpty == context.fieldCategory.isEmpty {
      validation.add("context.field_category", "exactly one of flag_key and field_category must be given")
    }
    if context.approvalRefs.count > PolicyLimits.approvalReferences {
      validation.add("context.approval_refs", "at most \(PolicyLimits.approvalReferences) references")
    }
    let kind = AccessKind(context.requestedAction)
    if kind == nil { validation.add("context.requested_action", "must be read, write or export") }
    let environment = AccessEnvironment(context.env)
    if environment == nil { validation.add("context.env", "must be prod, staging or dev") }
    if case .unrecognized = context.tier { validation.add("context.tier", "is not a known tier") }
    var now: Int64? = clock
    if !context.nowIso.isEmpty {
      now = RFC3339.parse(context.nowIso)
      if now == nil { validation.add("context.now_iso", "must be an instant of RFC 3339") }
    }
    let assist = Self.grant(context.assistCtx, "context.assist_ctx", &validation)
    let viewAs = Self.grant(context.viewAsCtx, "context.view_as_ctx", &validation)
    try validation.finish()
    self.now = now ?? clock
    // References to approvals prove nothing by themselves, and there is no queue of approvals yet to look them up in: none counts.
    request = AccessEvaluator.Request(
      actorRole: context.actorRole, actorUserID: context.actorUserID, actorTenantID: context.actorTenantID,
      targetTenantID: context.targetTenantID, targetUserID: context.targetUserID,
      category: context.flagKey.isEmpty ? context.fieldCategory : AccessModel.flagCategory, kind: kind ?? .read, approvals: [],
      assist: assist, viewAs: viewAs, environment: environment ?? .prod, isAnonymous: context.tier == .anonymous)
  }

  private static func grant(
    _ grant: GrantContext?, _ field: String, _ validation: inout Validation
  ) -> AccessEvaluator.Request.Grant? {
    guard let grant else { return nil }
    let expiresAt = RFC3339.parse(grant.expiresAt)
    if expiresAt == nil { validation.add("\(field).expires_at", "must be an instant of RFC 3339") }
    for (name, value) in [
      ("grant_id", grant.grantID), ("granted_to", grant.grantedTo), ("target_user_id", grant.targetUserID),
      ("target_tenant_id", grant.targetTenantID),
    ] {
      validation.optionalText(value, "\(field).\(name)", max: PolicyLimits.nameLetters)
    }
    return AccessEvaluator.Request.Grant(
      id: grant.grantID, grantedTo: grant.grantedTo, targetUserID: grant.targetUserID, targetTenantID: grant.targetTenantID,
      expiresAt: expiresAt ?? 0)
  }
}

extension AccessKind {
  init?(_ contract: RequestedAccess) {
    switch contract {
    case .unspecified, .read: self = .read
    case .write: self = .write
    case .export: self = .export
    case .unrecognized: return nil
    }
  }
}

extension AccessEnvironment {
  init?(_ contract: Environment) {
    switch contract {
    case .unspecified, .prod: self = .prod
    case .staging: self = .staging
    case .dev: self = .dev
    case .unrecognized: return nil
    }
  }
}
