import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Testing

@testable import SpanwirePolicy

@Suite("Approvals")
struct ApprovalTests {
  private let pia = TestPolicy.ops("pia", "platform_admin", "security_auditor")
  private let sven = TestPolicy.ops("sven", "security_auditor")
  private let ada = TestPolicy.ops("ada", "platform_admin", "security_auditor")

  private func ask(_ policy: TestPolicy, _ category: String = "admin_flag_access", target: String = "", key: String = "A") async throws
    -> Approval
  {
    try await policy.server.requestApproval(
      RequestApprovalRequest(idempotencyKey: key, category: category, target: target, reason: "to see the flag"),
      context: policy.context(pia))
  }

  private func decide(_ policy: TestPolicy, _ id: String, _ approved: Bool, by who: Principal, key: String? = nil) async throws -> Approval
  {
    try await policy.server.decideApproval(
      DecideApprovalRequest(idempotencyKey: key ?? "D-\(who.id)", approvalID: id, approved: approved, note: approved ? "" : "not now"),
      context: policy.context(who))
  }

  private func access(
    _ policy: TestPolicy, _ refs: [String], actor: String = "pia", flag: String = "checkout", by caller: Principal = TestPolicy.olga
  )
    async throws -> AccessDecision
  {
    try await policy.server.checkAccess(
      CheckAccessRequest(
        context: AccessContext(
          actorRole: "platform_admin", actorUserID: actor, actorTenantID: "vienna", targetTenantID: "vienna", flagKey: flag,
          approvalRefs: refs)), context: policy.context(caller))
  }

  @Test("what was approved by each required role opens what it is for, to who asked for it, while it lasts")
  func approved() async throws {
    let policy = try await TestPolicy()
    let asked = try await ask(policy, target: "checkout")
    #expect(asked.state == .pending && asked.requiredApprovers == ["security_auditor", "platform_admin"])
    #expect(asked.approvalMatrixRow == "row-sensitive-override")
    #expect(try await access(policy, [asked.approvalID]).decision == .deny)
    #expect(try await decide(policy, asked.approvalID, true, by: sven).state == .pending)
    let half = try await access(policy, [asked.approvalID])
    #expect(half.decision == .deny && half.requiredApprovers == ["platform_admin"])
    let approved = try await decide(policy, asked.approvalID, true, by: ada)
    #expect(approved.state == .approved && approved.decisions.map(\.approver) == ["sven", "ada"])
    let open = try await access(policy, [asked.approvalID])
    #expect(open.decision == .allow && open.currentApprovalsSatisfy)
    #expect(try await access(policy, [asked.approvalID]).encoded() == open.encoded())
    #expect(try await access(policy, [asked.approvalID], flag: "other").decision == .deny)
    #expect(try await access(policy, [asked.approvalID], actor: "paul").decision == .deny)
    // Who is of another tenant learns nothing of this one's queue.
    let stranger = TestPolicy.ops("eve", "platform_admin", tenant: "graz")
    #expect(try await access(policy, [asked.approvalID], by: stranger).decision == .deny)
    #expect(try await access(policy, ["APR-NONE"]).decision == .deny)
    policy.clock.advance(by: PolicyLimits.approval)
    #expect(try await access(policy, [asked.approvalID]).decision == .deny)
    #expect(
      try await policy.eventTypes() == ["policy.approval.requested", "audit.recorded", "audit.recorded", "policy.approval.approved"])
  }

  @Test("four eyes: nobody approves their own wish, decides twice, or decides for a role they don't have")
  func fourEyes() async throws {
    let policy = try await TestPolicy()
    let id = try await ask(policy).approvalID
    await policy.expect(.permissionDenied, .approvalNotYours) { _ = try await decide(policy, id, true, by: pia) }
    await policy.expect(.permissionDenied, .approvalNotYours) { _ = try await decide(policy, id, true, by: TestPolicy.olga) }
    _ = try await decide(policy, id, true, by: ada)
    await policy.expect(.permissionDenied, .approvalNotYours) { _ = try await decide(policy, id, true, by: ada, key: "again") }
    await policy.expect(.notFound, .approvalNotFound) {
      _ = try await decide(policy, id, true, by: TestPolicy.ops("eve", "security_auditor", tenant: "graz"))
    }
  }

  @Test("a rejection ends the request, and so does its time")
  func ended() async throws {
    let policy = try await TestPolicy()
    let first = try await ask(policy).approvalID
    #expect(try await decide(policy, first, false, by: sven).state == .rejected)
    await policy.expect(.failedPrecondition, .approvalEnded) { _ = try await decide(policy, first, true, by: ada) }
    let second = try await ask(policy, key: "B").approvalID
    policy.clock.advance(by: PolicyLimits.approval)
    await policy.expect(.failedPrecondition, .approvalEnded) { _ = try await decide(policy, second, true, by: sven, key: "late") }
    try await policy.fire(ApprovalTimer.method, second)
    let listed = try await policy.server.listApprovals(ListApprovalsRequest(state: .expired), context: policy.context())
    #expect(listed.approvals.map(\.approvalID) == [second])
    #expect(try await policy.server.listApprovals(ListApprovalsRequest(pageSize: 1), context: policy.context()).nextPageToken != "")
  }

  @Test("what needs no approval can't be asked for")
  func needless() async throws {
    let policy = try await TestPolicy()
    await policy.expect(.invalidArgument, .invalidFields) { _ = try await ask(policy, "session_data") }
    await policy.expect(.invalidArgument, .invalidFields) { _ = try await ask(policy, "no_such_category") }
  }

  @Test("a flag that names a row of the approval matrix is approved by that row's people, and by no others")
  func rowOfFlag() async throws {
    let policy = try await TestPolicy()
    let flag = FlagDefinition(
      flagKey: "checkout", enabled: true, variants: ["on": .init(kind: .boolValue(true)), "off": .init(kind: .boolValue(false))],
      defaultVariant: "off", rolloutVariant: "on", requiresApproval: true, approvalRowID: "row-checkout")
    try await policy.apply(
      Bundle(
        bundleID: "BND-1", flags: [flag],
        roles: [RoleDefinition(roleKey: "finance_settlement", category: "business", title: "Finance and settlement")],
        approvalMatrix: [ApprovalRow(rowID: "row-checkout", title: "The checkout", requiredApprovers: ["finance_settlement"])]), key: "F")
    let asked = try await ask(policy, target: "checkout")
    #expect(asked.approvalMatrixRow == "row-checkout" && asked.requiredApprovers == ["finance_settlement"])
    #expect(try await ask(policy, target: "other", key: "B").approvalMatrixRow == "row-sensitive-override")
    let refused = try await access(policy, [asked.approvalID])
    #expect(refused.decision == .deny && refused.approvalMatrixRow == "row-checkout" && refused.requiredApprovers == ["finance_settlement"])
    await policy.expect(.permissionDenied, .approvalNotYours) { _ = try await decide(policy, asked.approvalID, true, by: sven) }
    _ = try await decide(policy, asked.approvalID, true, by: TestPolicy.ops("fin", "finance_settlement"))
    #expect(try await access(policy, [asked.approvalID]).decision == .allow)
  }

  @Test("an explanation shows what each rule makes of a question, also behind the one that decides")
  func explained() async throws {
    let policy = try await TestPolicy()
    let answer = try await policy.server.explainAccess(
      CheckAccessRequest(
        context: AccessContext(
          actorRole: "ops_lead", actorUserID: "olga", actorTenantID: "vienna", targetTenantID: "graz", fieldCategory: "session_data")),
      context: policy.context())
    #expect(answer.decision?.decision == .deny)
    #expect(
      answer.rules.map { "\($0.rule.prefix(2)) \($0.outcome) \($0.wouldMatch)" } == [
        "R1 passed false", "R2 passed false", "R3 matched true", "R4 not_reached false", "R5 not_reached false", "R6 not_reached false",
        "R7 not_reached true", "R8 not_reached true",
      ])
  }

  @Test("a batch answers in the order of its questions, and names the one that is wrong")
  func batch() async throws {
    let policy = try await TestPolicy()
    let good = AccessContext(
      actorRole: "ops_lead", actorUserID: "olga", actorTenantID: "vienna", targetTenantID: "vienna", fieldCategory: "session_data")
    var other = good
    other.actorRole = "nobody"
    let answers = try await policy.server.batchCheckAccess(
      BatchCheckAccessRequest(contexts: [good, other, good]), context: policy.context())
    #expect(answers.decisions.map(\.decision) == [.allow, .deny, .allow])
    do {
      _ = try await policy.server.batchCheckAccess(
        BatchCheckAccessRequest(contexts: [good, AccessContext()]), context: policy.context())
      Issue.record("nothing was refused")
    } catch let error as RPCError {
      #expect(error.message.hasPrefix("contexts[1].field_category"))
    }
  }
}
