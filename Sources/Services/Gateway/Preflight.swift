import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// What stands between a wish and a session: the configuration, the policy, the market and segments, the city's coverage.
///
/// Every check only reads (or, of the registry, stores a snapshot that is the same however often it is asked for), so that the
/// session is born in one transaction with what came out, and a crash before it leaves nothing behind.
final class Preflight: Sendable {
  private let clients: GatewayClients
  private let configs: ConfigCache
  private let caller: Caller
  private let request: OpenSessionRequest
  private let userID: String
  private let now: Int64

  /// - Parameter now: when the session is opened.
  init(
    clients: GatewayClients, configs: ConfigCache, caller: Caller, request: OpenSessionRequest, userID: String, now: Int64
  ) {
    self.clients = clients
    self.configs = configs
    self.caller = caller
    self.request = request
    self.userID = userID
    self.now = now
  }

  struct Outcome: Sendable {
    /// Names of the checks that passed, in order.
    var passed: [String] = []
    /// The check that failed, and why.
    var failure: (check: String, reason: String)?
    var resolved: ResolvedConfig?
  }

  private enum Check: String, CaseIterable {
    case config, policy, market, segments, coverage
  }

  func run() async throws -> Outcome {
    var outcome = Outcome()
    for check in Check.allCases {
      let reason =
        switch check {
        case .config: try await resolveConfig(&outcome)
        case .policy: try await askPolicy()
        case .market: admitMarket(outcome.resolved)
        case .segments: admitSegments(outcome.resolved)
        case .coverage: try await checkCoverage(outcome.resolved)
        }
      if let reason {
        outcome.failure = (check.rawValue, reason)
        return outcome
      }
      outcome.passed.append(check.rawValue)
    }
    return outcome
  }

  private func resolveConfig(_ outcome: inout Outcome) async throws -> String? {
    do {
      outcome.resolved = try await configs.config(
        ResolveRuntimeConfigRequest(
          productID: request.productID, productVersionID: request.productVersionID, marketCode: request.marketCode, userID: userID,
          avatarID: request.avatarID, segments: request.segments, experimentKeys: request.experimentKeys), tenant: caller.tenant)
      return nil
    } catch let error as RPCError where error.isVerdict {
      return error.message
    }
  }

  private func askPolicy() async throws -> String? {
    let decision = try await clients.policy.checkAccess(
      CheckAccessRequest(context: caller.access(to: "session_control", .write, as: caller.role, target: userID)))
    guard decision.decision != .allow else { return nil }
    return decision.explanation
  }

  private func admitMarket(_ resolved: ResolvedConfig?) -> String? {
    guard let version = resolved?.config.productVersion else { return "the configuration names no product version" }
    guard resolved?.config.market?.marketCode == request.marketCode, version.marketCodes.contains(request.marketCode) else {
      return "\(version.productVersionID) is not offered in market \(request.marketCode)"
    }
    return nil
  }

  private func admitSegments(_ resolved: ResolvedConfig?) -> String? {
    let admitted = resolved?.config.productVersion?.segments ?? []
    guard !admitted.isEmpty, !request.segments.contains(where: admitted.contains) else { return nil }
    return "the product is for \(admitted.joined(separator: ", ")), the session is of "
      + (request.segments.isEmpty ? "no segment" : request.segments.joined(separator: ", "))
  }

  private func checkCoverage(_ resolved: ResolvedConfig?) async throws -> String? {
    let tags = resolved?.redeemableTags ?? []
    // Coverage is asked for the tags one by one: a market is served when it has a place for each kind of token.
    for tags in tags.isEmpty ? [[]] : tags.map({ [$0] }) {
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
