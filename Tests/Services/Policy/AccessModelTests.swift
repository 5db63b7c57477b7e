import Foundation
import SpanwireRPC
import SpanwireRegistry
import SpanwireSchema
import SpanwireServiceKit
import Testing

@testable import SpanwirePolicy

private func sample(_ name: String) throws -> String {
  let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()
  return try String(contentsOf: root.appending(path: "Samples/\(name)"), encoding: .utf8)
}

private let anything = BundleChecks(
  journeyDocument: { _ in [] }, openingHours: { _ in nil }, timeZone: { _ in true }, targeting: { _ in nil })

@Suite("Access models")
struct AccessModelTests {
  private func samplePolicy() throws -> [Definition.Value] {
    try BundleFile.definitions(yaml: try sample("platform.yaml"), checks: anything)
  }

  private func sampleCases() throws -> AccessCases { try BundleFile.message(AccessCases.self, yaml: try sample("access-cases.yaml")) }

  @Test("what a platform starts with is what the sample says: twelve roles in four categories, eight rules")
  func standard() throws {
    let definitions = try samplePolicy()
    let roles = definitions.compactMap { if case .role(let role) = $0 { role } else { nil } }
    let rows = definitions.compactMap { if case .approvalRow(let row) = $0 { row } else { nil } }
    let policies = definitions.compactMap { if case .accessPolicy(let policy) = $0 { policy } else { nil } }
    #expect(roles == AccessModel.standardRoles)
    #expect(rows == AccessModel.standardApprovalMatrix)
    #expect(policies.count == 1)
    let (policy, standard) = (try #require(policies.first), AccessModel.standardPolicy)
    #expect(policy.precedenceRules == standard.precedenceRules && policy.precedenceRules.count == 8)
    #expect(policy.grants == standard.grants && policy.denials == standard.denials)
    #expect(Set(policy.fieldCategories) == Set(standard.fieldCategories))
    #expect(Set(roles.map(\.category)).count == 4 && roles.count == 12)
  }

  @Test("the sample's cases come out as they say, and everything in the sample decides one of them")
  func cases() throws {
    let report = try AccessTest.run(try sampleCases(), against: AccessDefinitions(try samplePolicy()).model, now: 0)
    #expect(report.failures.isEmpty, "\(report.failures)")
    #expect(report.undecidedRules == [] && report.undecidedDenials == [] && report.undecidedRows == [])
    #expect(report.cases > 20)
  }

  @Test("a case that comes out otherwise is told with the difference, and what nothing decides by name")
  func failing() throws {
    var table = try sampleCases()
    let selfView = try #require(table.cases.first { $0.expect?.rule == "R6-self-view" })
    table.cases = [selfView]
    table.cases[0].expect?.decision = "mask"
    table.cases[0].expect?.selfView = false
    let report = try AccessTest.run(table, against: .standard, now: 0)
    #expect(report.failures.map(\.path) == ["cases[0]"])
    #expect(
      report.failures.first?.differences.map { "\($0.field): \($0.expected) / \($0.actual)" } == [
        "decision: mask / allow", "self_view: false / true",
      ])
    #expect(report.undecidedRules.count == 7 && !report.undecidedRules.contains("R6-self-view"))
    #expect(report.undecidedDenials == ["DENY-AGENT-CONTROL", "DENY-AUDIT-WRITE", "DENY-PAYMENT-EXPORT"])
    #expect(report.undecidedRows == ["row-audit-export", "row-sensitive-override", "row-tool-call", "row-tool-money"])
  }

  @Test("a case that can't be asked is refused with its place")
  func invalid() throws {
    let table = AccessCases(cases: [AccessCase(context: AccessContext(actorRole: "vendor"), expect: ExpectedDecision(decision: "perhaps"))])
    let error = #expect(throws: RPCError.self) { try AccessTest.run(table, against: .standard, now: 0) }
    #expect(error?.message.contains("cases[0].expect.decision") == true, "\(String(describing: error))")
  }

  @Test("the order of the rules is that of their priorities, and their names are the decision's")
  func order() throws {
    var policy = AccessModel.standardPolicy
    // One's own is asked for after what is granted.
    let (own, granted) = (policy.precedenceRules[5], policy.precedenceRules[6])
    policy.precedenceRules[5] = PrecedenceRule(ruleID: "GRANTED", priority: 20, condition: granted.condition)
    policy.precedenceRules[6] = PrecedenceRule(ruleID: "OWN", priority: 21, condition: own.condition)
    policy.precedenceRules[7].priority = 99
    policy.precedenceRules.reverse()
    let model = AccessModel(policy, roles: AccessModel.standardRoles, approvalMatrix: AccessModel.standardApprovalMatrix)
    let mine = AccessEvaluator.Request(
      actorRole: "ops_lead", actorUserID: "U", actorTenantID: "T", targetTenantID: "T", targetUserID: "U", category: "session_data")
    let outcome = AccessEvaluator(model: model).evaluate(mine, now: 0)
    #expect(outcome.reasons.map(\.ruleRef) == ["GRANTED"])
    #expect(AccessEvaluator().evaluate(mine, now: 0).reasons.map(\.ruleRef) == ["R6-self-view"])
  }

  @Test("an access policy decides from the commit that brings it, for its tenant alone, and no longer once it is taken out")
  func applied() async throws {
    let world = try await TestPolicy()
    let (platform, rome) = (TestPolicy.ops("ada", "platform_admin", tenant: "platform"), TestPolicy.ops("rita", "ops_lead", tenant: "rome"))
    func decision(_ who: Principal) async throws -> String {
      let asked = AccessContext(
        actorRole: "ops_operator", actorUserID: "OPS-1", actorTenantID: who.tenant, targetTenantID: who.tenant,
        fieldCategory: "session_data")
      let answer = try await world.server.checkAccess(CheckAccessRequest(context: asked), context: world.context(who))
      return "\(answer.decision) \(answer.reasons.map(\.id).joined())"
    }
    #expect(try await decision(TestPolicy.olga) == "allow grant")
    try await world.apply(
      Bundle(
        bundleID: "BND-SHARED", roles: AccessModel.standardRoles, approvalMatrix: AccessModel.standardApprovalMatrix,
        accessPolicies: [AccessModel.standardPolicy]), key: "shared", by: platform)
    #expect(try await decision(TestPolicy.olga) == "allow grant")
    var strict = AccessModel.standardPolicy
    strict.accessPolicyID = "ACP-VIENNA"
    strict.grants.removeAll { $0.roleKey == "ops_operator" }
    try await world.apply(Bundle(bundleID: "BND-STRICT", accessPolicies: [strict]), key: "strict")
    #expect(try await decision(TestPolicy.olga) == "mask no_grant")
    #expect(try await decision(rome) == "allow grant")
    try await world.apply(
      Bundle(bundleID: "BND-LENIENT", removals: [DefinitionName(kind: .accessPolicy, id: "ACP-VIENNA")]), key: "lenient")
    #expect(try await decision(TestPolicy.olga) == "allow grant")
  }
}
