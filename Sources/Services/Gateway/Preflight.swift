import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// What stands between a wish and a session: the configuration, the policy, the market and segments, the city's coverage.
///
/// Every check only reads (or, of the registry, stores a snapshot that is the same however often it is asked for), so that the
/// session is born in one transaction with what came out, and a crash before it leaves nothing behind.
struct Preflight: Sendable {
  var clients: GatewayClients
  var configs: ConfigCache
  var caller: Caller
  var request: OpenSessionRequest
  var userID: String
  /// When the session is opened.
  var now: Int64

  struct Outcome: Sendable {
    /// Names of the checks that passed, in order.
    var passed: [String] = []
    /// The check that failed, and why.
    var failure: (check: String, reason: String)?
    var config: RuntimeConfig?
  }

  func run() async throws -> Outcome {
    var outcome = Outcome()
    let steps: [(String, (inout Outcome) async throws -> String?)] = [
      ("config", resolveConfig), ("policy", askPolicy), ("market", admitMarket), ("segments", admitSegments), ("coverage", checkCoverage),
    ]
    for (name, step) in steps {
      if let reason = try await step(&outcome) {
        outcome.failure = (name, reason)
        return outcome
      }
      outcome.passed.append(name)
    }
    return outcome
  }

  private func resolveConfig(_ outcome: inout Outcome) async throws -> String? {
    do {
      outcome.config = try await configs.config(
        ResolveRuntimeConfigRequest(
          productID: request.productID, productVersionID: request.productVersionID, marketCode: request.marketCode, userID: userID,
          avatarID: request.avatarID, segments: request.segments, experimentKeys: request.experimentKeys), tenant: caller.tenant)
      return nil
    } catch let error as RPCError where error.isVerdict {
      return error.message
    }
  }

  private func askPolicy(_ outcome: inout Outcome) async throws -> String? {
    let decision = try await clients.policy.checkAccess(
      CheckAccessRequest(context: caller.access(to: "session_control", .write, as: caller.role, target: userID)))
    guard decision.decision != .allow else { return nil }
    return decision.explanation
  }

  private func admitMarket(_ outcome: inout Outcome) async throws -> String? {
    guard let version = outcome.config?.productVersion else { return "the configuration names no product version" }
    guard outcome.config?.market?.marketCode == request.marketCode, version.marketCodes.contains(request.marketCode) else {
      return "\(version.productVersionID) is not offered in market \(request.marketCode)"
    }
    return nil
  }

  private func admitSegments(_ outcome: inout Outcome) async throws -> String? {
    let admitted = outcome.config?.productVersion?.segments ?? []
    guard !admitted.isEmpty, !request.segments.contains(where: admitted.contains) else { return nil }
    return "the product is for \(admitted.joined(separator: ", ")), the session is of "
      + (request.segments.isEmpty ? "no segment" : request.segments.joined(separator: ", "))
  }

  private func checkCoverage(_ outcome: inout Outcome) async throws -> String? {
    let tags = Set((outcome.config?.tokens ?? []).flatMap(\.redeemableTags))
    // Coverage is asked for the tags one by one: a market is served when it has a place for each kind of token.
    for tags in tags.isEmpty ? [[]] : tags.sorted().map({ [$0] }) {
      let answer = try await clients.city.checkCoverage(
        CheckCoverageRequest(marketCode: request.marketCode, at: .init(nanosecondsSinceEpoch: now), tags: tags))
      guard answer.covered else { return answer.reason.isEmpty ? "market \(request.marketCode) is not covered" : answer.reason }
    }
    return nil
  }
}

extension Caller {
  /// What policy is asked of this caller, within the own tenant.
  func access(to category: String, _ requested: RequestedAccess, as role: String, target userID: String = "") -> AccessContext {
    AccessContext(
      actorRole: role, actorUserID: id, actorTenantID: tenant, targetTenantID: tenant, targetUserID: userID, fieldCategory: category,
      requestedAction: requested)
  }
}

extension AccessDecision {
  /// The rule that decided, "R7-grant".
  var rule: String { reasons.first?.ruleRef ?? "" }

  var explanation: String {
    let text = reasons.map(\.text).filter { !$0.isEmpty }.joined(separator: "; ")
    return text.isEmpty ? "policy decided by \(rule)" : text
  }
}
