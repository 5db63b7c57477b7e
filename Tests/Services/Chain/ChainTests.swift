import Foundation
import SpanwireProtobuf
import SpanwireRPC
import SpanwireRPCInProcess
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Synchronization
import Testing

@testable import SpanwireChain

/// One line of the decision table: what the two services do, and what the chain must make of it.
struct ChainDecision: Sendable, CustomTestStringConvertible {
  let columns: [String: String]
  subscript(column: String) -> String { columns[column] ?? "" }
  var testDescription: String {
    "sensitive \(self["sensitive"]), approval \(self["requires_approval"]), policy \(self["policy"]), flags \(self["flags"])"
  }

  static let table: [ChainDecision] = {
    let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "decisions.csv")
    let lines = ((try? String(contentsOf: file, encoding: .utf8)) ?? "").split(separator: "\n").map {
      $0.split(separator: ",").map(String.init)
    }
    return lines.dropFirst().map { ChainDecision(columns: Dictionary(uniqueKeysWithValues: zip(lines[0], $0))) }
  }()
}

/// Policy and flags as a line says: their answers, or none.
private final class TwoServices: PolicyService, FlagsService {
  let line: ChainDecision
  let asked = Mutex<[String]>([])

  init(_ line: ChainDecision) { self.line = line }

  private func answer(_ name: String, _ request: CheckAccessRequest) throws -> AccessDecision {
    asked.withLock { $0.append(name) }
    #expect(request.context?.flagKey == "payments" && request.context?.nowIso == "2026-05-04T12:00:00Z")
    switch line["policy"] {
    case "allow": return AccessDecision(decision: .allow, reasons: [DecisionReason(id: "grant")], trace: ["R7: matched", "decision=allow"])
    case "mask": return AccessDecision(decision: .mask, reasons: [DecisionReason(id: "no_grant")], trace: ["decision=mask"])
    case "deny":
      return AccessDecision(
        decision: .deny, requiredApprovers: ["security_auditor"], approvalMatrixRow: "row-sensitive-override", trace: ["decision=deny"])
    default: throw RPCError.unavailable("policy is away")
    }
  }

  func checkAccess(_ request: CheckAccessRequest, context: ServerContext) async throws -> AccessDecision { try answer("access", request) }
  func checkSensitive(_ request: CheckAccessRequest, context: ServerContext) async throws -> AccessDecision {
    try answer("sensitive", request)
  }

  func getFlag(_ request: GetFlagRequest, context: ServerContext) async throws -> FlagStatus {
    switch line["sensitive"] {
    case "unknown": throw RPCError(.notFound, "there is no flag")
    case "unreadable": throw RPCError.unavailable("the registry is away")
    default:
      return FlagStatus(
        definition: FlagDefinition(
          flagKey: request.flagKey, sensitiveFlag: line["sensitive"] == "true", requiresApproval: line["requires_approval"] == "true"),
        stage: "pilot")
    }
  }

  static let value = Google_Protobuf_Value(kind: .stringValue("the secret"))

  func explainFlag(_ request: ExplainFlagRequest, context: ServerContext) async throws -> FlagEvaluation {
    asked.withLock { $0.append("flags") }
    #expect(request.subject?.userID == "USR-1" && request.subject?.nowIso == "2026-05-04T12:00:00Z")
    if line["flags"] == "unreachable" { throw RPCError.unavailable("flags are away") }
    if line["sensitive"] == "unknown" {
      return FlagEvaluation(flagKey: request.flagKey, source: "unknown_flag", trace: ["unknown_flag: matched"])
    }
    return FlagEvaluation(
      flagKey: request.flagKey, value: Self.value, variant: "secret", source: "stage-pilot", stage: "pilot", trace: ["stage-pilot: matched"]
    )
  }

  // What the chain never calls.
  private var never: RPCError { RPCError(.unimplemented, "the chain has no business here") }
  func checkAction(_ request: CheckActionRequest, context: ServerContext) async throws -> ActionDecision { throw never }
  func batchCheckAccess(_ request: BatchCheckAccessRequest, context: ServerContext) async throws -> BatchCheckAccessResponse { throw never }
  func explainAccess(_ request: CheckAccessRequest, context: ServerContext) async throws -> ExplainAccessResponse { throw never }
  func checkTool(_ request: CheckToolRequest, context: ServerContext) async throws -> ToolDecision { throw never }
  func settleReservation(_ request: SettleReservationRequest, context: ServerContext) async throws -> BudgetReservation { throw never }
  func releaseReservation(_ request: ReleaseReservationRequest, context: ServerContext) async throws -> BudgetReservation { throw never }
  func listBudgetReservations(
    _ request: ListBudgetReservationsRequest, context: ServerContext
  ) async throws -> ListBudgetReservationsResponse { throw never }
  func listBudgets(_ request: ListBudgetsRequest, context: ServerContext) async throws -> ListBudgetsResponse { throw never }
  func requestApproval(_ request: RequestApprovalRequest, context: ServerContext) async throws -> Approval { throw never }
  func decideApproval(_ request: DecideApprovalRequest, context: ServerContext) async throws -> Approval { throw never }
  func getApproval(_ request: GetApprovalRequest, context: ServerContext) async throws -> Approval { throw never }
  func listApprovals(_ request: ListApprovalsRequest, context: ServerContext) async throws -> ListApprovalsResponse { throw never }
  func grantHelp(_ request: GrantHelpRequest, context: ServerContext) async throws -> HelpGrant { throw never }
  func revokeHelp(_ request: RevokeHelpRequest, context: ServerContext) async throws -> HelpGrant { throw never }
  func listHelp(_ request: ListHelpRequest, context: ServerContext) async throws -> ListHelpResponse { throw never }
  func getFlags(_ request: GetFlagsRequest, context: ServerContext) async throws -> FlagConfiguration { throw never }
  func evaluateFlag(_ request: EvaluateFlagRequest, context: ServerContext) async throws -> EvaluateFlagResponse { throw never }
  func isEnabled(_ request: IsEnabledRequest, context: ServerContext) async throws -> IsEnabledResponse { throw never }
  func transitionFlag(_ request: TransitionFlagRequest, context: ServerContext) async throws -> FlagStatus { throw never }
  func listFlagTransitions(_ request: ListFlagTransitionsRequest, context: ServerContext) async throws -> ListFlagTransitionsResponse {
    throw never
  }
}

@Suite("The chain")
struct ChainTests {
  private let request = EvaluateChainRequest(
    actorRole: "ops_lead", actorUserID: "USR-1", flagKey: "payments", nowIso: "2026-05-04T12:00:00Z")

  private func evaluate(_ request: EvaluateChainRequest, _ services: TwoServices) async throws -> EvaluateChainResponse {
    let channel = InProcessChannel(ServerRouter([Policy.routes(services), Flags.routes(services)]), service: "chain")
    let chain = ChainServer(policy: PolicyClient(channel), flags: FlagsClient(channel), clock: ManualClock())
    return try await chain.evaluateChain(
      request, context: ServerContext(method: Chain.Methods.evaluateChain, peer: .inProcess, principal: .service("console")))
  }

  @Test("the decision table is whole: every combination once")
  func whole() {
    let inputs = ChainDecision.table.map { [$0["sensitive"], $0["requires_approval"], $0["policy"], $0["flags"]] }
    #expect(inputs.count == 48 && Set(inputs).count == 48)
  }

  @Test("every combination comes out as the table says", arguments: ChainDecision.table)
  func decides(_ line: ChainDecision) async throws {
    let services = TwoServices(line)
    let answer = try await evaluate(request, services)
    let profile = try #require(answer.sensitivityProfile)
    #expect(answer.flagKey == "payments" && profile.policyPrecheckRequired == (line["precheck_required"] == "true"))
    let isKnown = ["true", "false"].contains(line["sensitive"])
    #expect(profile.sensitiveFlag == (isKnown ? line["sensitive"] == "true" : nil))
    #expect(profile.requiresApproval == (isKnown ? line["requires_approval"] == "true" : nil))
    #expect(profile.rolloutStage == (isKnown ? "pilot" : ""))
    #expect(answer.policyGateStatus == line["policy_gate_status"])
    #expect("\(answer.canProceedToEval)" == line["can_proceed_to_eval"])
    #expect(answer.flagEvalStatus == line["flag_eval_status"])
    let decisions: [String: Decision] = ["allow": .allow, "mask": .mask, "deny": .deny]
    #expect(answer.policyResult?.decision == decisions[line["policy_result"]])
    switch line["flag_result"] {
    case "none": #expect(answer.flagResult == nil)
    case "value": #expect(answer.flagResult?.value == TwoServices.value && answer.flagResult?.variant == "secret")
    case "masked":
      #expect(answer.flagResult?.value == nil && answer.flagResult?.variant == "" && answer.flagResult?.source == "stage-pilot")
      #expect(!"\(try answer.jsonString())".contains("secret"))
    default: #expect(answer.flagResult?.source == line["flag_result"])
    }
    #expect(answer.errors.map(\.mode).joined(separator: "+") == (line["errors"] == "none" ? "" : line["errors"]))
    let calls = services.asked.withLock { $0 }
    let evaluates = ["evaluated", "error"].contains(line["flag_eval_status"])
    #expect(calls == (line["asked"] == "none" ? [] : [line["asked"]]) + (evaluates ? ["flags"] : []))
    #expect(answer.combinedTrace.allSatisfy { $0.hasPrefix("POLICY/") || $0.hasPrefix("FLAGS/") } && !answer.honestLimits.isEmpty)
    if line["policy_result"] != "none" { #expect(answer.combinedTrace.contains("POLICY/decision=\(line["policy_result"])")) }
    for error in answer.errors { #expect(answer.combinedTrace.contains { $0.contains("\(error.code): \(error.message)") }) }
    // The same question gives the same bytes.
    #expect(try await evaluate(request, TwoServices(line)).encoded() == answer.encoded())
  }

  @Test("a request without its required fields is refused, and asks nobody")
  func invalid() async throws {
    let services = TwoServices(ChainDecision.table[0])
    for change: (inout EvaluateChainRequest) -> Void in [
      { $0.actorRole = "" }, { $0.actorUserID = "" }, { $0.flagKey = "" }, { $0.nowIso = "noon" },
    ] {
      var wrong = request
      change(&wrong)
      let error = await #expect(throws: RPCError.self) { try await evaluate(wrong, services) }
      #expect(error?.code == .invalidArgument)
    }
    #expect(services.asked.withLock { $0 }.isEmpty)
  }
}
