import SpanwireSchema
import SpanwireServiceKit

/// A question about access as the evaluator takes it, made of the contract's form after every field was checked.
///
/// What a context says of approvals proves nothing, so there are none yet; the grants are as it claims them to be, and count once the store
/// has been asked (`HelpStore.standing`).
struct AccessQuestion {
  var request: AccessEvaluator.Request
  /// The instant it is asked for: what the caller pinned, or the server's clock.
  var now: Int64

  /// - Parameter path: where the context stands in the request.
  init(_ context: AccessContext, at path: String = "context", now clock: Int64) throws {
    var validation = Validation()
    for (field, value) in [
      ("actor_role", context.actorRole), ("actor_user_id", context.actorUserID), ("actor_tenant_id", context.actorTenantID),
      ("target_tenant_id", context.targetTenantID), ("target_user_id", context.targetUserID), ("flag_key", context.flagKey),
      ("field_category", context.fieldCategory), ("target", context.target),
    ] {
      validation.optionalText(value, "\(path).\(field)", max: PolicyLimits.nameLetters)
    }
    if context.flagKey.isEmpty == context.fieldCategory.isEmpty {
      validation.add("\(path).field_category", "exactly one of flag_key and field_category must be given")
    }
    if context.approvalRefs.count > PolicyLimits.approvalReferences {
      validation.add("\(path).approval_refs", "at most \(PolicyLimits.approvalReferences) references")
    }
    let kind = AccessKind(context.requestedAction)
    if kind == nil { validation.add("\(path).requested_action", "must be read, write or export") }
    let environment = AccessEnvironment(context.env)
    if environment == nil { validation.add("\(path).env", "must be prod, staging or dev") }
    if case .unrecognized = context.tier { validation.add("\(path).tier", "is not a known tier") }
    var now: Int64? = clock
    if !context.nowIso.isEmpty {
      now = RFC3339.parse(context.nowIso)
      if now == nil { validation.add("\(path).now_iso", "must be an instant of RFC 3339") }
    }
    let assist = Self.grant(context.assistCtx, "\(path).assist_ctx", &validation)
    let viewAs = Self.grant(context.viewAsCtx, "\(path).view_as_ctx", &validation)
    try validation.finish()
    self.now = now ?? clock
    request = AccessEvaluator.Request(
      actorRole: context.actorRole, actorUserID: context.actorUserID, actorTenantID: context.actorTenantID,
      targetTenantID: context.targetTenantID, targetUserID: context.targetUserID,
      category: context.flagKey.isEmpty ? context.fieldCategory : AccessModel.flagCategory,
      target: [context.flagKey, context.target, context.targetUserID].first { !$0.isEmpty } ?? "", kind: kind ?? .read, assist: assist,
      viewAs: viewAs, environment: environment ?? .prod, isAnonymous: context.tier == .anonymous)
  }

  private static func grant(
    _ grant: GrantContext?, _ field: String, _ validation: inout Validation
  ) -> AccessEvaluator.Request.Grant? {
    guard let grant else { return nil }
    let expiresAt = RFC3339.parse(grant.expiresAt)
    if expiresAt == nil, !grant.expiresAt.isEmpty { validation.add("\(field).expires_at", "must be an instant of RFC 3339") }
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
