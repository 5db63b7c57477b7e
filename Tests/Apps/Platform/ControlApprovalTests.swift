import Foundation
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Testing

@testable import SpanwirePlatform

/// Control actions that the approval matrix leaves to more than one: the real policy, queue and gateway.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct ControlApprovalTests {
  private static let root = Principal(kind: .ops, id: "root", tenant: Caller.platformTenant, roles: ["platform_admin"], surface: .ops)
  private static let lead = Principal(kind: .ops, id: "lena", tenant: TwoTenants.owner, roles: ["ops_lead"], surface: .ops)

  /// The sample's access policy, by which steering a session takes another lead's word.
  private static func bundle() throws -> String {
    var folder = URL(fileURLWithPath: #filePath)
    for _ in 0..<4 { folder.deleteLastPathComponent() }
    let sample = try String(contentsOf: folder.appending(path: "Samples/platform.yaml"), encoding: .utf8)
    return sample.replacing(
      "{category: session_control}", with: "{category: session_control, requires_approval: true, approval_row_id: row-tool-call}")
  }

  @Test("An action that needs an approval is refused without one, with one for something else, and done under one that stands")
  func approved() async throws {
    let platform = try await TwoTenants()
    let session = try await Belongings(in: platform).session
    let bundle = try Self.bundle()
    try await platform.as(Self.root) {
      _ = try await RegistryClient($0).apply(
        ApplyRequest(idempotencyKey: "A", source: .bundleYaml(bundle), reason: "two leads for a session"))
    }
    let otto = TwoTenants.principal(.ops, of: TwoTenants.owner)
    func flag(_ key: String, _ approvals: [String] = []) async throws -> ApplyControlResponse {
      try await platform.as(otto) {
        try await ProductRuntimeGatewayClient($0).applyControl(
          ApplyControlRequest(
            idempotencyKey: key, reason: "odd payments", approvalRefs: approvals,
            action: .flagSessionRisk(FlagSessionRisk(productRuntimeSessionID: session, flagged: true))))
      }
    }
    func approval(for target: String) async throws -> String {
      let id = try await platform.as(otto) {
        try await PolicyClient($0).requestApproval(
          RequestApprovalRequest(
            idempotencyKey: "Q-\(target)", category: "session_control", target: target, reason: "odd payments"))
      }.approvalID
      let decided = try await platform.as(Self.lead) {
        try await PolicyClient($0).decideApproval(DecideApprovalRequest(idempotencyKey: "D-\(target)", approvalID: id, approved: true))
      }
      #expect(decided.state == .approved)
      return id
    }
    for (key, approvals) in [("C1", []), ("C2", [try await approval(for: "PRS-ANOTHER")]), ("C3", ["APR-NONE"])] {
      let refusal = await #expect(throws: RPCError.self) { try await flag(key, approvals) }
      #expect(
        refusal?.code == .permissionDenied && refusal?.reasonMetadata("rule") == "R5-approval", "\(key): \(String(describing: refusal))")
    }
    let mine = try await approval(for: session)
    #expect(try await flag("C4", [mine]).session?.riskFlagged == true)
    #expect(try await flag("C5", [try await approval(for: "")]).policyRule == "R7-grant", "an approval for any session")
    await platform.stop()
  }
}
