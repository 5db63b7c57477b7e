import Testing

@testable import SpanwirePolicy

private typealias Request = AccessEvaluator.Request

private let hour: Int64 = 3_600_000_000_000

private func request(
  _ role: String, _ category: String, _ kind: AccessKind = .read, actor: String = "USR-1", tenant: String = "T1",
  target: (tenant: String, user: String) = ("T1", "USR-2"), change: (inout Request) -> Void = { _ in }
) -> Request {
  var request = Request(
    actorRole: role, actorUserID: actor, actorTenantID: tenant, targetTenantID: target.tenant, targetUserID: target.user,
    category: category, kind: kind)
  change(&request)
  return request
}

private func grant(to actor: String = "USR-1", tenant: String = "T2", user: String = "USR-9", until: Int64 = hour) -> Request.Grant {
  Request.Grant(id: "GRT-1", grantedTo: actor, targetUserID: user, targetTenantID: tenant, expiresAt: until)
}

private func approval(_ role: String, by user: String, _ category: String = "personal_data", until: Int64? = nil) -> Request.Approval {
  Request.Approval(
    reference: "APR-" + user, approverRole: role, approverUserID: user, requestedBy: "USR-1", category: category, expiresAt: until)
}

@Suite("Access")
struct AccessEvaluatorTests {
  struct Case: Sendable, CustomTestStringConvertible {
    fileprivate var request: Request
    var effect: AccessEvaluator.Effect
    var rule: String
    var why: String
    var testDescription: String { why }
    fileprivate init(_ request: Request, _ effect: AccessEvaluator.Effect, _ rule: String, _ why: String) {
      (self.request, self.effect, self.rule, self.why) = (request, effect, rule, why)
    }
  }

  static let cases: [Case] = [
    Case(request("traveller", "session_data", actor: ""), .deny, "R1-unauthenticated", "nobody asks"),
    Case(request("king", "session_data"), .deny, "R1-unauthenticated", "an unknown role"),
    Case(request("platform_admin", "session_data") { $0.isAnonymous = true }, .deny, "R1-unauthenticated", "the anonymous tier"),
    Case(request("external_agent", "session_control", .write), .deny, "R2-explicit-deny", "an agent writes"),
    Case(request("platform_admin", "audit_log", .write), .deny, "R2-explicit-deny", "nobody writes the audit"),
    Case(request("platform_admin", "payment_reference", .export), .deny, "R2-explicit-deny", "an export that production denies"),
    Case(
      request("platform_admin", "payment_reference", .export) { $0.environment = .dev }, .deny, "R5-approval", "elsewhere it needs approval"
    ),
    Case(request("ops_lead", "session_data", target: ("T2", "USR-9")), .deny, "R3-cross-tenant", "another tenant"),
    Case(request("ops_lead", "session_data", target: ("", "USR-9")), .deny, "R3-cross-tenant", "an unknown tenant"),
    Case(request("platform_sre", "session_data", target: ("T2", "USR-9")), .allow, "R7-grant", "a role that works across tenants"),
    Case(
      request("support_agent", "session_data", target: ("T2", "USR-9")) { $0.viewAs = grant() }, .allow, "R7-grant",
      "view-as opens another tenant"),
    Case(
      request("support_agent", "session_control", .write, target: ("T2", "USR-9")) { $0.viewAs = grant() }, .deny, "R4-view-as-read-only",
      "view-as only reads"),
    Case(
      request("support_agent", "session_control", .write, target: ("T2", "USR-9")) { $0.assist = grant() }, .allow, "R7-grant",
      "assist acts"),
    Case(
      request("support_agent", "session_control", .write, target: ("T2", "USR-9")) { $0.assist = grant(until: 10) }, .deny,
      "R3-cross-tenant", "an assist that expired"),
    Case(
      request("support_agent", "session_control", .write, target: ("T2", "USR-9")) { $0.assist = grant(until: 9 * hour) }, .deny,
      "R3-cross-tenant", "an assist that runs too long"),
    Case(
      request("support_agent", "session_control", .write, target: ("T2", "USR-9")) { $0.assist = grant(to: "USR-3") }, .deny,
      "R3-cross-tenant", "an assist of somebody else"),
    Case(
      request("support_agent", "session_control", .write, target: ("T2", "USR-8")) { $0.assist = grant() }, .deny, "R3-cross-tenant",
      "an assist for somebody else"),
    Case(
      request("ops_operator", "session_data", target: ("T2", "USR-9")) { $0.assist = grant() }, .deny, "R3-cross-tenant",
      "a role that may not assist"),
    Case(request("platform_admin", "personal_data"), .deny, "R5-approval", "a sensitive category without approval"),
    Case(
      request("platform_admin", "personal_data") { $0.approvals = [approval("security_auditor", by: "USR-5")] }, .deny, "R5-approval",
      "half of the approvals"),
    Case(
      request("platform_admin", "personal_data") {
        $0.approvals = [approval("security_auditor", by: "USR-5"), approval("platform_admin", by: "USR-5")]
      }, .deny, "R5-approval", "one person for two roles"),
    Case(
      request("platform_admin", "personal_data") {
        $0.approvals = [approval("security_auditor", by: "USR-5"), approval("platform_admin", by: "USR-1")]
      }, .deny, "R5-approval", "one's own approval"),
    Case(
      request("platform_admin", "personal_data") {
        $0.approvals = [approval("security_auditor", by: "USR-5"), approval("platform_admin", by: "USR-6", until: 50)]
      }, .deny, "R5-approval", "an approval that expired"),
    Case(
      request("platform_admin", "personal_data") {
        $0.approvals = [approval("security_auditor", by: "USR-5"), approval("platform_admin", by: "USR-6")]
      }, .allow, "R7-grant", "both approvals"),
    Case(request("traveller", "session_data", target: ("T1", "USR-1")), .allow, "R6-self-view", "one's own"),
    Case(request("traveller", "session_data", target: ("T2", "USR-1")), .deny, "R3-cross-tenant", "the same user id elsewhere"),
    Case(request("traveller", "session_control", .write, target: ("T1", "USR-1")), .allow, "R7-grant", "a traveller steers their session"),
    Case(request("traveller", "session_control", .write), .deny, "R8-masked-by-default", "but nobody else's"),
    Case(request("ops_operator", "journey_control", .write), .allow, "R7-grant", "an operator skips a node"),
    Case(request("ops_operator", "settlement_control", .write), .deny, "R8-masked-by-default", "but corrects no settlement"),
    Case(request("finance_settlement", "settlement_control", .write), .allow, "R7-grant", "finance does"),
    Case(request("vendor", "session_data"), .mask, "R8-masked-by-default", "what nothing grants is masked"),
    Case(request("vendor", "session_data", .export), .deny, "R8-masked-by-default", "or denied, when it is not reading"),
  ]

  @Test("The first rule that matches decides", arguments: cases)
  func decides(_ c: Case) {
    let outcome = AccessEvaluator().evaluate(c.request, now: 100)
    #expect(outcome.effect == c.effect)
    #expect(outcome.reasons.map(\.ruleRef) == [c.rule])
    #expect(outcome.trace.contains("\(c.rule): matched"))
    #expect(AccessEvaluator().evaluate(c.request, now: 100) == outcome)
  }

  @Test("A flag asks for the two approvals of row-sensitive-override")
  func flag() {
    let outcome = AccessEvaluator().evaluate(request("product_owner", AccessModel.flagCategory), asSensitive: true, now: 100)
    #expect(outcome.effect == .deny && outcome.approvalRow == "row-sensitive-override" && !outcome.approvalsSatisfy)
    #expect(outcome.requiredApprovers == ["security_auditor", "platform_admin"])
  }

  @Test("Asked as sensitive, nothing is masked")
  func sensitive() {
    let approvals = [approval("security_auditor", by: "A", "session_data"), approval("platform_admin", by: "B", "session_data")]
    let outcome = AccessEvaluator().evaluate(request("vendor", "session_data") { $0.approvals = approvals }, asSensitive: true, now: 100)
    #expect(outcome.effect == .deny && outcome.approvalsSatisfy)
  }
}

@Suite("Actions")
struct ActionPolicyTests {
  static let cases: [(String, String, String, String, Bool, String)] = [
    ("route_change", "traveller", "active", "running", true, "PROPOSAL-ROUTE"),
    ("route_change", "traveller", "active", "completed", false, "PROPOSAL-JOURNEY-STATUS"),
    ("route_change", "traveller", "ready", "", false, "PROPOSAL-SESSION-STATUS"),
    ("route_change", "vendor", "active", "running", false, "PROPOSAL-ROLE"),
    ("route_change", "external_agent", "active", "running", false, "PROPOSAL-ROLE"),
    ("product", "ops_lead", "active", "running", false, "PROPOSAL-ROLE"),
    ("product", "traveller", "ready", "", true, "PROPOSAL-PRODUCT"),
    ("explanation", "traveller", "post_journey", "completed", true, "PROPOSAL-EXPLANATION"),
    ("payment", "platform_admin", "active", "running", false, "AGENT-FORBIDDEN-PAYMENT"),
    ("issue", "traveller", "active", "running", false, "AGENT-FORBIDDEN-ISSUE"),
    ("redeem", "traveller", "active", "running", false, "AGENT-FORBIDDEN-REDEEM"),
    ("registry_change", "platform_admin", "active", "", false, "AGENT-FORBIDDEN-REGISTRY"),
    ("lem_mutation", "ops_lead", "active", "", false, "AGENT-FORBIDDEN-LEM"),
    ("fly", "traveller", "active", "running", false, "ACTION-UNKNOWN"),
  ]

  @Test("A proposal becomes an action only by its kind, role and state", arguments: cases)
  func checks(_ action: String, _ role: String, _ session: String, _ journey: String, _ allowed: Bool, _ rule: String) {
    let verdict = ActionPolicy.check(.init(actionType: action, actorRole: role, sessionStatus: session, journeyStatus: journey))
    #expect(verdict.isAllowed == allowed)
    #expect(verdict.rule == rule)
  }
}
