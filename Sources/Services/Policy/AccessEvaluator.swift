/// Decides access by eight ordered rules; the first that matches decides.
///
/// `R1-unauthenticated` · `R2-explicit-deny` · `R3-cross-tenant` · `R4-view-as-read-only` · `R5-approval` · `R6-self-view` ·
/// `R7-grant` · `R8-masked-by-default`. Pure and deterministic: the same model, request and instant give the same decision, trace
/// included.
public struct AccessEvaluator: Sendable {
  /// Who wants what of whom. Instants are nanoseconds since 1970.
  public struct Request: Sendable, Hashable {
    /// A passing right that one person was given over another's data.
    public struct Grant: Sendable, Hashable {
      public var id: String
      public var grantedTo: String
      public var targetUserID: String
      public var targetTenantID: String
      public var expiresAt: Int64

      public init(id: String, grantedTo: String, targetUserID: String, targetTenantID: String, expiresAt: Int64) {
        self.id = id
        self.grantedTo = grantedTo
        self.targetUserID = targetUserID
        self.targetTenantID = targetTenantID
        self.expiresAt = expiresAt
      }
    }

    /// An approval as the approval queue holds it; what the caller merely names is none.
    public struct Approval: Sendable, Hashable {
      public var reference: String
      public var approverRole: String
      public var approverUserID: String
      public var category: String
      /// Empty: for any.
      public var targetTenantID: String
      public var expiresAt: Int64?

      public init(
        reference: String, approverRole: String, approverUserID: String, category: String, targetTenantID: String = "",
        expiresAt: Int64? = nil
      ) {
        self.reference = reference
        self.approverRole = approverRole
        self.approverUserID = approverUserID
        self.category = category
        self.targetTenantID = targetTenantID
        self.expiresAt = expiresAt
      }
    }

    public var actorRole: String
    public var actorUserID: String
    /// Empty: unknown; so too the target's.
    public var actorTenantID: String
    public var targetTenantID: String
    public var targetUserID: String
    /// The category of what is asked for; `AccessModel.flagCategory` for a flag.
    public var category: String
    public var kind: AccessKind
    public var approvals: [Approval]
    public var assist: Grant?
    public var viewAs: Grant?
    public var environment: AccessEnvironment
    /// The caller's tier is `anonymous`.
    public var isAnonymous: Bool

    public init(
      actorRole: String, actorUserID: String, actorTenantID: String = "", targetTenantID: String = "", targetUserID: String = "",
      category: String, kind: AccessKind = .read, approvals: [Approval] = [], assist: Grant? = nil, viewAs: Grant? = nil,
      environment: AccessEnvironment = .prod, isAnonymous: Bool = false
    ) {
      self.actorRole = actorRole
      self.actorUserID = actorUserID
      self.actorTenantID = actorTenantID
      self.targetTenantID = targetTenantID
      self.targetUserID = targetUserID
      self.category = category
      self.kind = kind
      self.approvals = approvals
      self.assist = assist
      self.viewAs = viewAs
      self.environment = environment
      self.isAnonymous = isAnonymous
    }
  }

  public enum Effect: String, Sendable, Hashable { case allow, mask, deny }

  public enum TenantRelation: String, Sendable, Hashable {
    case own, cross, unknown
    case platformGlobal = "platform-global"
  }

  public struct Reason: Sendable, Hashable {
    /// Stable; what it is about.
    public var id: String
    public var text: String
    /// The rule, `R1-unauthenticated` to `R8-masked-by-default`.
    public var ruleRef: String
  }

  public struct Outcome: Sendable, Hashable {
    public var effect: Effect
    public var reasons: [Reason]
    /// The roles whose approval is still missing.
    public var requiredApprovers: [String]
    /// The row that applies, where approval does.
    public var approvalRow: String?
    public var approvalsSatisfy: Bool
    public var tenantRelation: TenantRelation
    public var isSelfView: Bool
    public var trace: [String]
  }

  /// Changes whenever a decision could.
  public static let engineVersion = "access-1"

  public var model: AccessModel

  public init(model: AccessModel = .standard) { self.model = model }

  /// - Parameter asSensitive: treats the category as sensitive whatever the model says, and answers allow or deny, never mask.
  public func evaluate(_ request: Request, asSensitive: Bool = false, now: Int64) -> Outcome {
    var evaluation = Evaluation(model: model, request: request, asSensitive: asSensitive, now: now)
    return evaluation.run()
  }
}

/// One decision while it is made.
private struct Evaluation {
  let model: AccessModel
  let request: AccessEvaluator.Request
  let asSensitive: Bool
  let now: Int64
  private let role: AccessModel.Role?
  private let relation: AccessEvaluator.TenantRelation
  private let isSelfView: Bool
  private let missingApprovers: [String]
  private let approvalRow: String?
  private var trace: [String] = []

  init(model: AccessModel, request: AccessEvaluator.Request, asSensitive: Bool, now: Int64) {
    self.model = model
    self.request = request
    self.asSensitive = asSensitive
    self.now = now
    let role = model.role(request.actorRole)
    self.role = role
    let isOwn = !request.actorTenantID.isEmpty && request.actorTenantID == request.targetTenantID
    relation =
      if isOwn { .own } else if role?.isPlatformGlobal == true {
        .platformGlobal
      } else if request.actorTenantID.isEmpty
        || request.targetTenantID.isEmpty
      { .unknown } else { .cross }
    // A user id means something only within its tenant.
    isSelfView = isOwn && !request.actorUserID.isEmpty && request.actorUserID == request.targetUserID
    let category = model.category(request.category)
    if asSensitive || category?.isSensitive == true || category?.requiresApproval == true {
      let id = category.map(\.approvalRow).flatMap { $0.isEmpty ? nil : $0 } ?? AccessModel.sensitiveOverrideRow
      approvalRow = id
      missingApprovers = Self.missing(model.approvalRow(id), request, now)
    } else {
      approvalRow = nil
      missingApprovers = []
    }
  }

  mutating func run() -> AccessEvaluator.Outcome {
    trace.append("tenant_relation=\(relation.rawValue)")
    trace.append("self_view=\(isSelfView)")
    let assist = isValid(request.assist, "assist", limit: model.assistLimitNanoseconds)
    let viewAs = isValid(request.viewAs, "view_as", limit: model.viewAsLimitNanoseconds)

    if matches("R1-unauthenticated", request.isAnonymous || request.actorUserID.isEmpty || role == nil) {
      let isUnknown = !request.isAnonymous && !request.actorUserID.isEmpty
      return decide(
        .deny, "R1-unauthenticated", isUnknown ? "unknown_role" : "no_principal",
        isUnknown ? "the role '\(request.actorRole)' is not known" : "the caller is not authenticated")
    }
    let denial = model.denials.first { denial in
      [request.actorRole, "*"].contains(denial.role) && [request.category, "*"].contains(denial.category)
        && denial.kinds.contains(request.kind) && (denial.environments.isEmpty || denial.environments.contains(request.environment))
    }
    if matches("R2-explicit-deny", denial != nil) {
      return decide(
        .deny, "R2-explicit-deny", denial?.id ?? "", "\(request.kind.rawValue) of \(request.category) is denied to \(request.actorRole)")
    }
    if matches("R3-cross-tenant", (relation == .cross || relation == .unknown) && !assist && !viewAs) {
      return decide(
        .deny, "R3-cross-tenant", "tenant_\(relation.rawValue)",
        relation == .cross ? "the target belongs to another tenant" : "the tenants of actor and target are not both known")
    }
    if matches("R4-view-as-read-only", request.viewAs != nil && request.kind != .read) {
      return decide(.deny, "R4-view-as-read-only", "view_as_read_only", "under view-as nothing but reading is possible")
    }
    if matches("R5-approval", !missingApprovers.isEmpty) {
      return decide(
        .deny, "R5-approval", "approval_missing", "\(request.category) needs approval by \(missingApprovers.joined(separator: ", "))")
    }
    if matches("R6-self-view", isSelfView && request.kind == .read) {
      return decide(.allow, "R6-self-view", "self_view", "the actor reads what is their own")
    }
    let grant = model.grants.first { grant in
      grant.role == request.actorRole && [request.category, "*"].contains(grant.category) && grant.kinds.contains(request.kind)
        && (!grant.onlySelf || isSelfView)
    }
    if matches("R7-grant", grant != nil || assist) {
      return grant.map { grant in
        decide(
          .allow, "R7-grant", "grant", "\(grant.role) may \(request.kind.rawValue) \(grant.category == "*" ? "everything" : grant.category)"
        )
      } ?? decide(.allow, "R7-grant", "assist", "the assist grant \(request.assist?.id ?? "") is valid")
    }
    _ = matches("R8-masked-by-default", true)
    let effect: AccessEvaluator.Effect = request.kind == .read && !asSensitive ? .mask : .deny
    return decide(
      effect, "R8-masked-by-default", "no_grant", "nothing grants \(request.kind.rawValue) of \(request.category) to \(request.actorRole)")
  }

  private mutating func matches(_ rule: String, _ matched: Bool) -> Bool {
    trace.append("\(rule): \(matched ? "matched" : "passed")")
    return matched
  }

  private func decide(_ effect: AccessEvaluator.Effect, _ rule: String, _ id: String, _ text: String) -> AccessEvaluator.Outcome {
    AccessEvaluator.Outcome(
      effect: effect, reasons: [AccessEvaluator.Reason(id: id, text: text, ruleRef: rule)], requiredApprovers: missingApprovers,
      approvalRow: approvalRow, approvalsSatisfy: missingApprovers.isEmpty, tenantRelation: relation, isSelfView: isSelfView,
      trace: trace + ["decision=\(effect.rawValue)"])
  }

  /// An assist or view-as grant counts if it is this actor's, for this target, made by a role that may, and running.
  private mutating func isValid(_ grant: AccessEvaluator.Request.Grant?, _ name: String, limit: Int64) -> Bool {
    guard let grant else { return false }
    let fault: String? =
      if role?.mayAssist != true { "the role may not assist" } else if grant.grantedTo != request.actorUserID {
        "granted to another"
      } else if grant.targetTenantID != request.targetTenantID || grant.targetUserID != request.targetUserID || grant.targetUserID.isEmpty {
        "for another target"
      } else if grant.expiresAt <= now { "expired" } else if grant.expiresAt.subtractingReportingOverflow(now).partialValue > limit {
        "runs longer than a grant may"
      } else {
        nil
      }
    trace.append("\(name)=\(fault ?? "valid")")
    return fault == nil
  }

  /// The required roles for which no approval stands. One person approves for one role; nobody approves their own request.
  private static func missing(_ row: AccessModel.ApprovalRow?, _ request: AccessEvaluator.Request, _ now: Int64) -> [String] {
    guard let row else { return [AccessModel.sensitiveOverrideRow] }  // a row that isn't there can't be satisfied
    var people: Set<String> = [request.actorUserID]
    return row.requiredApprovers.filter { role in
      let approval = request.approvals.first { approval in
        approval.approverRole == role && approval.category == request.category && !people.contains(approval.approverUserID)
          && (approval.targetTenantID.isEmpty || approval.targetTenantID == request.targetTenantID) && (approval.expiresAt ?? .max) > now
      }
      if let approval { people.insert(approval.approverUserID) }
      return approval == nil
    }
  }
}
