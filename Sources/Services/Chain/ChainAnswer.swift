import SpanwireRPC
import SpanwireSchema

/// The combined answer while it is made, step by step. Pure: outcomes of the steps in, the answer out.
struct ChainAnswer {
  /// What policy is asked before the flag is.
  enum Precheck: Sendable, Hashable {
    /// A flag that is sensitive, or of which it is not known that it isn't.
    case sensitive
    /// One that only requires approval.
    case access
  }

  private var answer: EvaluateChainResponse
  private(set) var precheck: Precheck?

  init(flagKey: String) {
    answer = EvaluateChainResponse(
      flagKey: flagKey, sensitivityProfile: SensitivityProfile(policyPrecheckRequired: true), policyGateStatus: "error",
      flagEvalStatus: "not_run", honestLimits: Self.honestLimits)
    precheck = .sensitive
  }

  /// Whether the flag may be evaluated.
  var canProceed: Bool { answer.canProceedToEval }

  var combined: EvaluateChainResponse { answer }

  /// Step 1, derive_sensitivity.
  mutating func derived(_ outcome: Result<FlagStatus, RPCError>) {
    switch outcome {
    case .success(let status):
      let flag = status.definition ?? FlagDefinition()
      precheck = flag.sensitiveFlag ? .sensitive : flag.requiresApproval ? .access : nil
      answer.sensitivityProfile = SensitivityProfile(
        sensitiveFlag: flag.sensitiveFlag, requiresApproval: flag.requiresApproval, rolloutStage: status.stage,
        policyPrecheckRequired: precheck != nil)
      trace("FLAGS", ["sensitive_flag=\(flag.sensitiveFlag)", "requires_approval=\(flag.requiresApproval)", "stage=\(status.stage)"])
      if precheck == nil {
        answer.policyGateStatus = "skipped"
        answer.canProceedToEval = true
      }
    case .failure(let error):
      failed("derive_sensitivity", error.code == .notFound ? "unknown_flag_key" : "registry_load_failure", "FLAGS", error)
    }
  }

  /// Step 2, policy_precheck.
  mutating func prechecked(_ outcome: Result<AccessDecision, RPCError>) {
    switch outcome {
    case .success(let decision):
      answer.policyResult = decision
      trace("POLICY", decision.trace)
      switch decision.decision {
      case .allow, .mask:
        answer.policyGateStatus = "allow"
        answer.canProceedToEval = true
      case .deny:
        answer.policyGateStatus = "deny"
        answer.flagEvalStatus = "short_circuited_by_policy"
      // A decision that we don't know admits nobody.
      case .unspecified, .unrecognized: break
      }
    case .failure(let error): failed("policy_precheck", "policy_service_unreachable", "POLICY", error)
    }
  }

  /// Step 3, flag_eval, of which a mask takes away what the flag serves.
  mutating func evaluated(_ outcome: Result<FlagEvaluation, RPCError>) {
    switch outcome {
    case .success(var evaluation):
      if answer.policyResult?.decision == .mask {
        evaluation.value = nil
        evaluation.variant = ""
      }
      answer.flagResult = evaluation
      answer.flagEvalStatus = "evaluated"
      trace("FLAGS", evaluation.trace)
    case .failure(let error):
      answer.flagEvalStatus = "error"
      failed("flag_eval", "flags_service_unreachable", "FLAGS", error)
    }
  }

  private mutating func failed(_ step: String, _ mode: String, _ service: String, _ error: RPCError) {
    answer.errors.append(ChainError(mode: mode, step: step, code: error.code.name, message: error.message))
    trace(service, ["\(error.code.name): \(error.message)"])
  }

  private mutating func trace(_ service: String, _ lines: [String]) { answer.combinedTrace += lines.map { "\(service)/\($0)" } }

  /// What the answer does not say, so that nobody takes it for more than it is.
  static let honestLimits = [
    "The chain adds no capability beyond what the two services already offer individually",
    "No writes · neither policy nor flag state is mutated",
    "No cross-tenant escalation paths beyond what assist_model + access_policy already define",
    "assist_ctx and view_as_ctx count as the store of grants has them at now_iso",
    "approval_refs count as the approval queue has them at now_iso",
    "The actor is the one the request names · the answer is about them, and gives the caller nothing",
    "The two services are asked one after the other · what changes in between is seen by the second alone",
  ]
}
