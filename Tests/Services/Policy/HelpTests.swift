import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Testing

@testable import SpanwirePolicy

@Suite("Assist and view-as grants")
struct HelpTests {
  private static let anna = Principal(kind: .user, id: "anna", tenant: "vienna", roles: ["traveller"], surface: .edge)
  private static let sue = TestPolicy.ops("sue", "support_agent")
  private static let root = TestPolicy.ops("root", "platform_admin", tenant: "platform")

  private func give(
    _ policy: TestPolicy, _ kind: HelpKind = .assist, by who: Principal = TestPolicy.olga, key: String = "G",
    _ change: (inout GrantHelpRequest) -> Void = { _ in }
  ) async throws -> HelpGrant {
    var request = GrantHelpRequest(
      idempotencyKey: key, kind: kind, grantedTo: "sue", targetUserID: "anna", reason: "cannot redeem", ttl: .init(seconds: 1_800))
    change(&request)
    return try await policy.server.grantHelp(request, context: policy.context(who))
  }

  private func revoke(_ policy: TestPolicy, _ id: String, by who: Principal, tenant: String = "") async throws -> HelpGrant {
    try await policy.server.revokeHelp(
      RevokeHelpRequest(idempotencyKey: "R-\(who.id)", grantID: id, targetTenantID: tenant, reason: "done"), context: policy.context(who))
  }

  /// What sue, of support, may do to anna's journey.
  private func decide(
    _ policy: TestPolicy, _ action: RequestedAccess = .write, from tenant: String = "vienna", by who: Principal = TestPolicy.olga,
    sensitive: Bool = false, _ change: (inout AccessContext) -> Void
  ) async throws -> AccessDecision {
    var question = AccessContext(
      actorRole: "support_agent", actorUserID: "sue", actorTenantID: tenant, targetTenantID: "vienna", targetUserID: "anna",
      fieldCategory: "journey_control", requestedAction: action)
    change(&question)
    let request = CheckAccessRequest(context: question)
    return sensitive
      ? try await policy.server.checkSensitive(request, context: policy.context(who))
      : try await policy.server.checkAccess(request, context: policy.context(who))
  }

  @Test("a grant that is kept opens what it is for, to whom it was given, while it runs; a context that names none is none")
  func assist() async throws {
    let policy = try await TestPolicy()
    let grant = try await give(policy)
    #expect(
      grant.grantID.hasPrefix("GRT-") && grant.state == .standing && grant.targetTenantID == "vienna" && grant.grantedBy == "ops:olga")
    let named = GrantContext(grantID: grant.grantID)
    let open = try await decide(policy) { $0.assistCtx = named }
    #expect(open.decision == .allow && open.reasons.map(\.ruleRef) == ["R7-grant"] && open.trace.contains("assist=valid"))
    #expect(try await decide(policy, sensitive: true) { $0.assistCtx = named }.decision == .deny, "the matrix holds for helpers too")
    let cases: [(String, (inout AccessContext) -> Void, String)] = [
      ("no grant", { $0.assistCtx = nil }, ""),
      ("one that nobody gave", { $0.assistCtx = GrantContext(grantID: "GRT-0") }, "assist=there is no such grant"),
      (
        "a caller's own word",
        {
          $0.assistCtx = GrantContext(
            grantID: "", grantedTo: "sue", targetUserID: "anna", targetTenantID: "vienna", expiresAt: "2026-05-04T09:10:00Z")
        }, "assist=there is no such grant"
      ),
      ("one given to another", { ($0.actorUserID, $0.assistCtx) = ("tom", named) }, "assist=granted to another"),
      ("one over another", { ($0.targetUserID, $0.assistCtx) = ("bert", named) }, "assist=for another target"),
      ("one in another tenant", { ($0.targetTenantID, $0.assistCtx) = ("graz", named) }, "assist=there is no such grant"),
      ("a role that may not assist", { ($0.actorRole, $0.assistCtx) = ("vendor", named) }, "assist=the role may not assist"),
      ("a kind that it is not", { $0.viewAsCtx = named }, "view_as=there is no such grant"),
      (
        "more than it says", { $0.assistCtx = GrantContext(grantID: grant.grantID, expiresAt: "2026-05-05T09:00:00Z") },
        "assist=the grant \(grant.grantID) is not what is said of it"
      ),
      ("a time before it was made", { ($0.nowIso, $0.assistCtx) = ("2026-05-04T08:59:59Z", named) }, "assist=not made yet"),
      ("a time after its end", { ($0.nowIso, $0.assistCtx) = ("2026-05-04T09:30:00Z", named) }, "assist=expired"),
    ]
    for (name, change, trace) in cases {
      let refused = try await decide(policy) { change(&$0) }
      #expect(refused.decision == .deny && (trace.isEmpty || refused.trace.contains(trace)), "\(name): \(refused.trace)")
    }
    policy.clock.advance(by: .seconds(1_800))
    #expect(try await decide(policy) { $0.assistCtx = named }.decision == .deny)
    let listed = try await policy.server.listHelp(ListHelpRequest(), context: policy.context())
    #expect(listed.grants.map(\.state) == [.expired])
  }

  @Test("a helper of another tenant gets in by a grant alone, may only see under view-as, and is masked where the role shows nothing")
  func crossTenant() async throws {
    let policy = try await TestPolicy()
    let view = try await give(policy, .viewAs) { $0.grantedToTenantID = "graz" }
    let assist = try await give(policy, key: "G2") { $0.grantedToTenantID = "graz" }
    let (viewing, assisting) = (GrantContext(grantID: view.grantID), GrantContext(grantID: assist.grantID))
    func rule(_ decision: AccessDecision) -> String { "\(decision.decision) \(decision.reasons.first?.ruleRef ?? "")" }
    #expect(rule(try await decide(policy, .read, from: "graz") { _ in }) == "deny R3-cross-tenant")
    #expect(rule(try await decide(policy, .read, from: "graz") { $0.viewAsCtx = viewing }) == "mask R8-masked-by-default")
    #expect(
      rule(try await decide(policy, .read, from: "graz") { ($0.fieldCategory, $0.viewAsCtx) = ("journey_data", viewing) })
        == "allow R7-grant")
    #expect(rule(try await decide(policy, from: "graz") { $0.viewAsCtx = viewing }) == "deny R4-view-as-read-only")
    #expect(rule(try await decide(policy, from: "graz") { $0.assistCtx = assisting }) == "allow R7-grant")
    // Who sees as another changes nothing, whatever else was granted.
    #expect(
      rule(try await decide(policy, from: "graz") { ($0.assistCtx, $0.viewAsCtx) = (assisting, viewing) }) == "deny R4-view-as-read-only")
    // The one of the same name in the grant's tenant, whom nobody meant.
    #expect(rule(try await decide(policy) { $0.assistCtx = assisting }) == "deny R8-masked-by-default")
    // Nobody looks into a third tenant's grants.
    let stranger = TestPolicy.ops("eve", "ops_lead", tenant: "linz")
    #expect(rule(try await decide(policy, from: "graz", by: stranger) { $0.assistCtx = assisting }) == "deny R3-cross-tenant")
  }

  @Test("a revocation counts from its moment on, and answers about moments before it stay the same bytes")
  func revoked() async throws {
    let policy = try await TestPolicy()
    let named = GrantContext(grantID: try await give(policy).grantID)
    policy.clock.advance(by: .seconds(60))
    let pinned: (inout AccessContext) -> Void = { ($0.nowIso, $0.assistCtx) = ("2026-05-04T09:00:30Z", named) }
    let before = try await decide(policy) { pinned(&$0) }
    let ended = try await revoke(policy, named.grantID, by: Self.anna)
    #expect(ended.state == .revoked && ended.revokedBy == "user:anna")
    #expect(try await revoke(policy, named.grantID, by: TestPolicy.olga) == ended)
    let now = try await decide(policy) { $0.assistCtx = named }
    #expect(now.decision == .deny && now.trace.contains("assist=revoked"))
    let after = try await decide(policy) { pinned(&$0) }
    #expect(before.decision == .allow && before.encoded() == after.encoded())
    #expect(try await policy.eventTypes() == ["audit.recorded", "audit.recorded"])
  }

  @Test("a person gives grants over themselves, who may write assist_grants over others of the tenant, nobody to themselves")
  func givers() async throws {
    let policy = try await TestPolicy()
    let own = try await give(policy, by: Self.anna) { $0.targetUserID = "" }
    #expect(own.targetUserID == "anna" && own.grantedBy == "user:anna")
    #expect(try await give(policy, by: Self.root, key: "P") { $0.targetTenantID = "vienna" }.targetTenantID == "vienna")
    func denied(_ who: Principal, _ rule: String, _ change: @escaping (inout GrantHelpRequest) -> Void = { _ in }) async {
      do {
        _ = try await give(policy, by: who, key: "D", change)
        Issue.record("\(who) gave a grant")
      } catch {
        let refusal = RPCError.outcome(of: error, in: nil)
        #expect(refusal.code == .permissionDenied && refusal.reasonMetadata("rule") == rule, "\(who): \(refusal)")
      }
    }
    await denied(Self.sue, "R8-masked-by-default") { $0.grantedTo = "tom" }
    await denied(Self.sue, "GRANT-FOUR-EYES")
    await denied(TestPolicy.olga, "GRANT-FOUR-EYES") { $0.grantedTo = "olga" }
    await denied(TestPolicy.olga, "R3-cross-tenant") { $0.targetTenantID = "graz" }
    await denied(Self.anna, "GRANT-OWN") { $0.targetUserID = "bert" }
    await policy.expect(.invalidArgument, .invalidFields) {
      _ = try await give(policy, .viewAs, key: "L") { $0.ttl = .init(seconds: 3_601) }
    }
    await policy.expect(.invalidArgument, .invalidFields) { _ = try await give(policy, key: "S") { $0.grantedTo = "anna" } }
    // Of others' affairs a traveller learns nothing, of another tenant's nobody does.
    let bert = Principal(kind: .user, id: "bert", tenant: "vienna", roles: ["traveller"], surface: .edge)
    await policy.expect(.notFound, .grantNotFound) { _ = try await revoke(policy, own.grantID, by: bert) }
    await policy.expect(.notFound, .grantNotFound) {
      _ = try await revoke(policy, own.grantID, by: TestPolicy.ops("eve", "ops_lead", tenant: "graz"), tenant: "vienna")
    }
    await policy.expect(.permissionDenied, .policyDenied) {
      _ = try await revoke(policy, own.grantID, by: TestPolicy.ops("paul", "product_owner"))
    }
    func listed(_ who: Principal) async throws -> [String] {
      try await policy.server.listHelp(ListHelpRequest(), context: policy.context(who)).grants.map(\.grantedBy)
    }
    #expect(try await listed(Self.anna) == ["user:anna", "ops:root"])
    #expect(try await listed(bert) == [])
    #expect(try await listed(Self.sue) == ["user:anna", "ops:root"])
    await policy.expect(.permissionDenied, .policyDenied) { _ = try await listed(TestPolicy.ops("paul", "product_owner")) }
    // Who helps may give it up.
    #expect(try await revoke(policy, own.grantID, by: Self.sue).state == .revoked)
  }
}
