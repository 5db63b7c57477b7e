import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// The chain: looks up how sensitive a flag is, asks policy if it must, then asks flags, and makes one answer of theirs.
///
/// It keeps nothing and decides nothing: what it says of a flag, policy or the flags service has said. It fails closed: what can't be
/// looked up is taken for sensitive, and where policy does not answer nothing is evaluated.
public final class ChainServer: ChainService {
  private let policy: PolicyClient
  private let flags: FlagsClient
  private let clock: any WallClock

  public init(policy: PolicyClient, flags: FlagsClient, clock: any WallClock) {
    self.policy = policy
    self.flags = flags
    self.clock = clock
  }

  public func evaluateChain(_ request: EvaluateChainRequest, context: ServerContext) async throws -> EvaluateChainResponse {
    var fields = Validation()
    for (value, field) in [
      (request.actorRole, "actor_role"), (request.actorUserID, "actor_user_id"), (request.flagKey, "flag_key"),
    ] {
      fields.text(value, field, max: ChainLimits.nameLetters)
    }
    fields.ids(request.approvalRefs, "approval_refs", max: ChainLimits.approvals)
    let now = request.nowIso.isEmpty ? clock.now : RFC3339.parse(request.nowIso)
    fields.check(now != nil, "now_iso", "must be an instant of RFC 3339")
    try fields.finish()
    var asked = request
    // Both services answer for the same moment.
    asked.nowIso = RFC3339.format(now ?? clock.now)

    var chain = ChainAnswer(flagKey: asked.flagKey)
    chain.derived(try await Self.outcome { try await self.flags.getFlag(GetFlagRequest(flagKey: asked.flagKey)) })
    if let precheck = chain.precheck {
      let question = CheckAccessRequest(context: Self.access(asked))
      chain.prechecked(
        try await Self.outcome {
          switch precheck {
          case .sensitive: try await self.policy.checkSensitive(question)
          case .access: try await self.policy.checkAccess(question)
          }
        })
    }
    if chain.canProceed {
      let question = ExplainFlagRequest(flagKey: asked.flagKey, subject: Self.subject(asked))
      chain.evaluated(try await Self.outcome { try await self.flags.explainFlag(question) })
    }
    return chain.combined
  }

  /// What a step came to. What is wrong with the request, or not for this caller, is an error of the call; every other failure is a
  /// step's, and is told.
  private static func outcome<Answer>(_ step: () async throws -> Answer) async throws -> Result<Answer, RPCError> {
    do {
      return .success(try await step())
    } catch {
      let error = RPCError.outcome(of: error, in: CallContext.current)
      switch error.code {
      case .invalidArgument, .unauthenticated, .permissionDenied, .cancelled: throw error
      default: return .failure(error)
      }
    }
  }

  private static func access(_ request: EvaluateChainRequest) -> AccessContext {
    AccessContext(
      actorRole: request.actorRole, actorUserID: request.actorUserID, actorTenantID: request.actorTenantID,
      targetTenantID: request.targetTenantID, targetUserID: request.targetUserID, flagKey: request.flagKey,
      requestedAction: request.requestedAction, approvalRefs: request.approvalRefs, assistCtx: request.assistCtx,
      viewAsCtx: request.viewAsCtx, env: request.env, tier: request.tier, nowIso: request.nowIso)
  }

  private static func subject(_ request: EvaluateChainRequest) -> FlagSubject {
    FlagSubject(
      userID: request.actorUserID, tenantID: request.actorTenantID, env: request.env, tier: request.tier,
      approvalRefs: request.approvalRefs, attributes: request.attributes, nowIso: request.nowIso)
  }
}

/// Every bound of the chain, with its reason.
enum ChainLimits {
  /// Roles, users and flags have the length of ids.
  static let nameLetters = 128
  /// What policy takes in one question.
  static let approvals = 32
}
