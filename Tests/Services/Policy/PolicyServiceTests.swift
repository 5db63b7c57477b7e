import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Testing

@testable import SpanwirePolicy

@Suite("The policy service")
struct PolicyServiceTests {
  private let policy: PolicyServer
  private let world: TestPolicy

  init() async throws {
    world = try await TestPolicy()
    policy = world.server
  }

  private func context(_ method: MethodDescriptor) -> ServerContext {
    ServerContext(method: method, peer: .inProcess, principal: .service("prg"))
  }

  private func access(_ access: AccessContext, sensitive: Bool = false) async throws -> AccessDecision {
    let request = CheckAccessRequest(context: access)
    return sensitive
      ? try await policy.checkSensitive(request, context: context(Policy.Methods.checkSensitive))
      : try await policy.checkAccess(request, context: context(Policy.Methods.checkAccess))
  }

  private func operatorContext(_ role: String, _ category: String, _ access: RequestedAccess) -> AccessContext {
    AccessContext(
      actorRole: role, actorUserID: "OPS-1", actorTenantID: "vienna", targetTenantID: "vienna", fieldCategory: category,
      requestedAction: access)
  }

  @Test(
    "operators control, others do not",
    arguments: [
      ("ops_operator", "control_action", Decision.allow, "R7-grant"), ("ops_lead", "control_action", .allow, "R7-grant"),
      ("traveller", "control_action", .deny, "R8-masked-by-default"), ("external_agent", "control_action", .deny, "R2-explicit-deny"),
      ("ops_lead", "registry_definitions", .allow, "R7-grant"), ("ops_operator", "registry_definitions", .deny, "R8-masked-by-default"),
      ("nobody", "control_action", .deny, "R1-unauthenticated"),
    ])
  func control(role: String, category: String, decision: Decision, rule: String) async throws {
    let answer = try await access(operatorContext(role, category, .write))
    #expect(answer.decision == decision)
    #expect(answer.reasons.map(\.ruleRef) == [rule])
    #expect(answer.serviceVersion == PolicyServer.serviceVersion && !answer.trace.isEmpty)
  }

  @Test("the same question gives the same bytes, and reading is masked by default")
  func deterministic() async throws {
    let question = operatorContext("support_agent", "settlement_data", .unspecified)
    let first = try await access(question)
    #expect(first.decision == .mask)
    #expect(try await access(question).encoded() == first.encoded())
    #expect(try await access(question, sensitive: true).decision == .deny)
  }

  @Test("a flag is asked for under its own category, and a named approval is none")
  func flags() async throws {
    var question = operatorContext("platform_admin", "", .read)
    question.flagKey = "new_checkout"
    question.approvalRefs = ["APR-1", "APR-2"]
    let answer = try await access(question)
    #expect(answer.decision == .deny)
    #expect(answer.approvalMatrixRow == "row-sensitive-override")
    #expect(!answer.currentApprovalsSatisfy && !answer.requiredApprovers.isEmpty)
  }

  @Test("all that is wrong with a question is told at once")
  func invalid() async throws {
    var question = operatorContext("ops_lead", "control_action", .unrecognized(9))
    question.flagKey = "both"
    question.nowIso = "yesterday"
    question.env = .unrecognized(7)
    question.assistCtx = GrantContext(expiresAt: "soon")
    let error = await #expect(throws: RPCError.self) { try await access(question) }
    #expect(error?.code == .invalidArgument)
    #expect(error?.reason == .invalidFields)
  }

  @Test(
    "what no agent may do is refused by its rule",
    arguments: [
      ("payment", "AGENT-FORBIDDEN-PAYMENT"), ("issue", "AGENT-FORBIDDEN-ISSUE"), ("redeem", "AGENT-FORBIDDEN-REDEEM"),
      ("registry_change", "AGENT-FORBIDDEN-REGISTRY"), ("lem_mutation", "AGENT-FORBIDDEN-LEM"), ("dance", "ACTION-UNKNOWN"),
    ])
  func forbidden(action: String, rule: String) async throws {
    let request = CheckActionRequest(actionType: action, actorRole: "traveller", sessionStatus: "active", journeyStatus: "running")
    let decision = try await policy.checkAction(request, context: context(Policy.Methods.checkAction))
    #expect(!decision.allowed && decision.rule == rule)
  }

  @Test("a traveller changes the route of a running journey, and of no other")
  func route() async throws {
    var request = CheckActionRequest(actionType: "route_change", actorRole: "traveller", sessionStatus: "active", journeyStatus: "running")
    #expect(try await policy.checkAction(request, context: context(Policy.Methods.checkAction)).allowed)
    request.journeyStatus = "completed"
    let decision = try await policy.checkAction(request, context: context(Policy.Methods.checkAction))
    #expect(decision.rule == "PROPOSAL-JOURNEY-STATUS")
  }
}
