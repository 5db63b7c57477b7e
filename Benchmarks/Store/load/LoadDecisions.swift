import SpanwireRPC
import SpanwireSchema

/// Questions that change nothing: what an operator's console, a gateway and an orchestrator ask all day.
struct LoadDecisions: Sendable {
  private let policy: PolicyClient
  private let flags: Flagd_Evaluation_V1_ServiceClient

  init(_ channel: any Channel) {
    let channel = channel.intercepted(by: [CallCredentials.bearer("dev:ops:OPS-0001:vienna:ops_lead")])
    policy = PolicyClient(channel)
    flags = Flagd_Evaluation_V1_ServiceClient(channel)
  }

  private static let roles = ["ops_lead", "support_agent", "platform_sre", "traveller", "market_manager", "finance_settlement"]
  private static let categories = ["session_data", "personal_data", "settlement_data", "audit_log", "journey_data", "catalogue"]

  /// The question of that number: over 36 of them every rule but the first is met.
  func ask(_ number: Int) async throws {
    let context = AccessContext(
      actorRole: Self.roles[number % 6], actorUserID: "USR-1", actorTenantID: "vienna",
      targetTenantID: number.isMultiple(of: 7) ? "graz" : "vienna", targetUserID: number.isMultiple(of: 5) ? "USR-1" : "USR-2",
      fieldCategory: Self.categories[number / 6 % 6], requestedAction: number.isMultiple(of: 4) ? .write : .read)
    let decision = try await policy.checkAccess(CheckAccessRequest(context: context))
    guard decision.decision != .unspecified else { throw RPCError.internal("no decision") }
  }

  func flag() async throws {
    let answer = try await flags.resolveBoolean(Flagd_Evaluation_V1_ResolveBooleanRequest(flagKey: "bench-static"))
    guard answer.reason == "STATIC" else { throw RPCError.internal("the flag's reason is \(answer.reason)") }
  }

  func tool(_ number: Int) async throws {
    let answer = try await policy.checkTool(
      CheckToolRequest(agentSlug: "bench-agent-\(number % 100)", toolName: "bench-tool", actionType: "read", runID: "RUN-\(number % 100)"))
    guard answer.allowed else { throw RPCError.internal("refused: \(answer.reason)") }
  }
}
