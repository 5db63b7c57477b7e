/// Decides access by the model's eight ordered rules; the first that matches decides.
///
/// Pure and deterministic: the same model, request and instant give the same decision, trace included.
public struct AccessEvaluator: Sendable {
  /// Who wants what of whom. Instants are nanoseconds since 1970.
  public struct Request: Sendable, Hashable {
    /// A passing right that one person was given over another's data, as the store of grants holds it; what the caller merely says is none.
    public struct Grant: Sendable, Hashable {
      public var id: String
      /// Why the store does not stand by the grant that the caller names; nil where it does.
      public var fault: String?
      public var grantedTo: String
      /// Empty: of whichever tenant.
      public var grantedToTenantID: String
      public var targetUserID: String
      public var targetTenantID: String
      public var madeAt: Int64
      public var expiresAt: Int64

      public init(
        id: String, grantedTo: String, grantedToTenantID: String = "", targetUserID: String, targetTenantID: String, madeAt: Int64 = .min,
        expiresAt: Int64
      ) {
        self.id = id
        self.grantedTo = grantedTo
        self.grantedToTenantID = grantedToTenantID
        self.madeAt = madeAt
        self.targetUserID = targetUserID
        self.targetTenantID = targetTenantID
        self.expiresAt = expiresAt
      }

      /// One that nobody may use, and why.
      public init(id: String, fault: String) {
        self.init(id: id, grantedTo: "", targetUserID: "", targetTenantID: "", expiresAt: .min)
        self.fault = fault
      }
    }

    /// An approval as the approval queue holds it; what the caller merely names is none.
    public struct Approval: Sendable, Hashable {
      public var reference: String
      public var approverRole: String
      public var approverUserID: String
      /// Who asked for it: it counts for nobody else.
      public var requestedBy: String
      public var category: String
      /// Empty: for any.
      public var targetTenantID: String
      public var expiresAt: Int64?

      public init(
        reference: String, approverRole: String, approverUserID: String, requestedBy: String, category: String,
        targetTenantID: String = "", expiresAt: Int64? = nil
      ) {
        self.reference = reference
        self.approverRole = approverRole
        self.approverUserID = approverUserID
        self.requestedBy = requestedBy
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
    /// What of the category: a flag, a session; empty for no one thing.
    public var target: String
    public var kind: AccessKind
    public var approvals: [Approval]
    public var assist: Grant?
    public var viewAs: Grant?
    public var environment: AccessEnvironment
    /// The caller's tier is `anonymous`.
    public var isAnonymous: Bool

    public init(
      actorRole: String, actorUserID: String, actorTenantID: String = "", targetTenantID: String = "", targetUserID: String = "",
      category: String, target: String = "", kind: AccessKind = .read, approvals: [Approval] = [], assist: Grant? = nil,
      viewAs: Grant? = nil,
      environment: AccessEnvironment = .prod, isAnonymous: Bool = false
    ) {
      self.actorRole = actorRole
      self.actorUserID = actorUserID
      self.actorTenantID = actorTenantID
      self.targetTenantID = targetTenantID
      self.targetUserID = targetUserID
      self.category = category
      self.target = target
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
  public static let engineVersion = "access-3"

  public var model: AccessModel

  public init(model: AccessModel = .standard) { self.model = model }

  /// - Parameter asSensitive: treats the category as sensitive whatever the model says, and answers allow or deny, never mask.
  public func evaluate(_ request: Request, asSensitive: Bool = false, now: Int64) -> Outcome {
    var evaluation = Evaluation(model: model, request: request, asSensitive: asSensitive, now: now)
    return evaluation.run()
  }

  /// What each rule, in order, makes of a request.
  public func explain(_ request: Request, asSensitive: Bool = false, now: Int64) -> [RuleOutcome] {
    var evaluation = Evaluation(model: model, request: request, asSensitive: asSensitive, now: now)
    return evaluation.explain()
  }

  /// One rule's part in a decision.
  public struct RuleOutcome: Sendable, Hashable {
    public enum Outcome: String, Sendable, Hashable {
      case passed, matched
      case notReached = "not_reached"
    }

    public var rule: String
    public var outcome: Outcome
    /// Whether it would decide if the rules before it did not.
    public var wouldMatch: Bool
    public var text: String
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
  private var assist = false
  private var viewAs = false

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
    approvalRow =
      model.row(of: request.category, target: request.target, for: request.kind) ?? (asSensitive ? AccessModel.sensitiveOverrideRow : nil)
    missingApprovers = approvalRow.map { Self.missing(model.approvers($0) ?? [$0], request, now) } ?? []
  }

  mutating func run() -> AccessEvaluator.Outcome {
    noteFacts()
    for rule in model.rules {
      let verdict = verdict(of: rule.condition)
      trace.append(verdict == nil ? rule.passedLine : rule.matchedLine)
      if let verdict { return outcome(verdict, of: rule.id) }
    }
    // A policy that the registry took has a rule that always matches.
    return outcome(Verdict(effect: .deny, id: "no_rule", text: "no rule of the access policy decides"), of: "")
  }

  /// What every rule makes of the request, those behind the deciding one too.
  mutating func explain() -> [AccessEvaluator.RuleOutcome] {
    noteFacts()
    var isDecided = false
    return model.rules.map { rule in
      let verdict = verdict(of: rule.condition)
      defer { isDecided = isDecided || verdict != nil }
      return AccessEvaluator.RuleOutcome(
        rule: rule.id, outcome: isDecided ? .notReached : verdict == nil ? .passed : .matched, wouldMatch: verdict != nil,
        text: verdict?.text ?? "")
    }
  }

  private struct Verdict {
    var effect: AccessEvaluator.Effect
    var id: String
    var text: String
  }

  private mutating func noteFacts() {
    trace.append("tenant_relation=\(relation.rawValue)")
    trace.append("self_view=\(isSelfView)")
    assist = isValid(request.assist, "assist", limit: model.assistLimit)
    viewAs = isValid(request.viewAs, "view_as", limit: model.viewAsLimit)
  }

  /// What a rule decides; nil where it does not match.
  private func verdict(of condition: AccessCondition) -> Verdict? {
    switch condition {
    case .unauthenticated:
      if request.isAnonymous || request.actorUserID.isEmpty {
        return Verdict(effect: .deny, id: "no_principal", text: "the caller is not authenticated")
      }
      return role == nil ? Verdict(effect: .deny, id: "unknown_role", text: "the role '\(request.actorRole)' is not known") : nil
    case .explicitDeny:
      let denial = model.denials.first { denial in
        (denial.role == nil || denial.role == request.actorRole) && denial.scope.contains(request.category, request.kind)
          && (denial.environments.isEmpty || denial.environments.contains(request.environment))
      }
      return denial.map {
        Verdict(effect: .deny, id: $0.id, text: "\(request.kind.rawValue) of \(request.category) is denied to \(request.actorRole)")
      }
    case .crossTenant:
      guard relation == .cross || relation == .unknown, !assist, !viewAs else { return nil }
      return Verdict(
        effect: .deny, id: "tenant_\(relation.rawValue)",
        text: relation == .cross ? "the target belongs to another tenant" : "the tenants of actor and target are not both known")
    case .viewAsWrite:
      guard request.viewAs != nil, request.kind != .read else { return nil }
      return Verdict(effect: .deny, id: "view_as_read_only", text: "under view-as nothing but reading is possible")
    case .approvalMissing:
      guard !missingApprovers.isEmpty else { return nil }
      return Verdict(
        effect: .deny, id: "approval_missing", text: "\(request.category) needs approval by \(missingApprovers.joined(separator: ", "))")
    case .selfView:
      guard isSelfView, request.kind == .read else { return nil }
      return Verdict(effect: .allow, id: "self_view", text: "the actor reads what is their own")
    case .grant:
      let grant = model.grants(of: request.actorRole).first {
        $0.scope.contains(request.category, request.kind) && (!$0.onlySelf || isSelfView)
      }
      if let grant {
        return Verdict(
          effect: .allow, id: "grant", text: "\(request.actorRole) may \(request.kind.rawValue) \(grant.scope.text(request.category))")
      }
      return assist ? Verdict(effect: .allow, id: "assist", text: "the assist grant \(request.assist?.id ?? "") is valid") : nil
    case .always:
      return Verdict(
        effect: request.kind == .read && !asSensitive ? .mask : .deny, id: "no_grant",
        text: "nothing grants \(request.kind.rawValue) of \(request.category) to \(request.actorRole)")
    }
  }

  private func outcome(_ verdict: Verdict, of rule: String) -> AccessEvaluator.Outcome {
    AccessEvaluator.Outcome(
      effect: verdict.effect, reasons: [AccessEvaluator.Reason(id: verdict.id, text: verdict.text, ruleRef: rule)],
      requiredApprovers: missingApprovers, approvalRow: approvalRow, approvalsSatisfy: missingApprovers.isEmpty, tenantRelation: relation,
      isSelfView: isSelfView, trace: trace + ["decision=\(verdict.effect.rawValue)"])
  }

  /// An assist or view-as grant counts if it is kept as such, is this actor's, in a role that may, for this target, and running.
  private mutating func isValid(_ grant: AccessEvaluator.Request.Grant?, _ name: String, limit: Int64) -> Bool {
    guard let grant else { return false }
    let fault: String? =
      if let fault = grant.fault { fault } else if role?.mayAssist != true {
        "the role may not assist"
      } else if grant.grantedTo != request.actorUserID
        || !grant.grantedToTenantID.isEmpty && grant.grantedToTenantID != request.actorTenantID
      {
        "granted to another"
      } else if grant.targetTenantID != request.targetTenantID || grant.targetUserID != request.targetUserID || grant.targetUserID.isEmpty {
        "for another target"
      } else if grant.madeAt > now { "not made yet" } else if grant.expiresAt <= now {
        "expired"
      } else if grant.expiresAt.subtractingReportingOverflow(now).partialValue > limit {
        "runs longer than a grant may"
      } else {
        nil
      }
    trace.append("\(name)=\(fault ?? "valid")")
    return fault == nil
  }

  /// The required roles for which no approval stands. One person approves for one role; nobody approves their own request.
  ///
  /// A row that isn't there comes as its own name, which is no role, and so can't be satisfied.
  private static func missing(_ approvers: [String], _ request: AccessEvaluator.Request, _ now: Int64) -> [String] {
    var people: Set<String> = [request.actorUserID]
    return approvers.filter { role in
      let approval = request.approvals.first { approval in
        approval.approverRole == role && approval.requestedBy == request.actorUserID && approval.category == request.category
          && !people.contains(approval.approverUserID)
          && (approval.targetTenantID.isEmpty || approval.targetTenantID == request.targetTenantID) && (approval.expiresAt ?? .max) > now
      }
      if let approval { people.insert(approval.approverUserID) }
      return approval == nil
    }
  }
}
