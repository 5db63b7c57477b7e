import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// Judges a tool call by the policies that apply to it, but for the budgets, which are the store's to judge.
///
/// All that apply must pass. Those without a memory are asked first: allowlists, then safety, then rate limits.
struct ToolGate: Sendable {
  struct Refusal: Error, Sendable, Hashable {
    let policyID: String
    let type: String
    let reason: String
    /// Nanoseconds; nil when trying again doesn't help.
    var retryAfter: Int64?
  }

  /// A refusal that no policy needs to be written for.
  static let safetyDefault = "SAFETY-DEFAULT"
  static let hostDefault = "HOST-INVALID"

  let call: ToolCall
  let policies: [PlacedPolicy]
  private(set) var trace: [String] = []

  init(_ call: ToolCall, _ policies: [PlacedPolicy]) {
    self.call = call
    self.policies = policies
  }

  mutating func checkHost() throws(Refusal) {
    let lists = policies.filter { if case .allowlist = $0.policy.config { true } else { false } }
    if call.targetURL.isEmpty {
      guard ToolTier.network.contains(call.tier), let list = lists.first else { return }
      throw refuse(list.policy.policyID, "allowlist", "a call of tier '\(call.tier)' must say which URL it reaches")
    }
    let host: RequestedHost
    do throws(RequestedHost.Fault) {
      host = try RequestedHost(url: call.targetURL)
    } catch {
      throw refuse(lists.first?.policy.policyID ?? Self.hostDefault, "allowlist", error.reason)
    }
    for list in lists {
      guard list.patterns.contains(where: { $0.admits(host, suffixes: list.suffixes) }) else {
        throw refuse(list.policy.policyID, "allowlist", "the host '\(host.name)' is on no pattern of the list")
      }
      trace.append("\(list.policy.policyID): allowlist passed")
    }
  }

  /// - Parameter approved: whether the approvals that the call names stand for its tier and tool.
  mutating func checkSafety(approved: Bool) throws(Refusal) {
    var asked: String? = ToolTier.approvedByDefault.contains(call.tier) ? Self.safetyDefault : nil
    for policy in policies {
      if case .safety(let safety) = policy.policy.config, safety.requireApprovalFor.contains(call.tier) {
        asked = policy.policy.policyID
        break
      }
    }
    guard let asked else { return }
    if !approved { throw refuse(asked, "safety", "a call of tier '\(call.tier)' needs an approval") }
    trace.append("\(asked): safety passed")
  }

  /// Counts the call in every window that applies; in none, when one is full.
  mutating func checkRates(_ rates: RateWindow, now: Int64) throws(Refusal) {
    var counted: [String] = []
    for window in windows {
      if let wait = rates.admit(window.key, limit: window.limit, now: now) {
        for key in counted { rates.takeBack(key, at: now) }
        throw refuse(window.policyID, "rate_limit", "\(window.limit) calls a minute are let through, and they were", retryAfter: wait)
      }
      counted.append(window.key)
      trace.append("\(window.policyID): rate_limit passed")
    }
  }

  /// Takes back what `checkRates` counted, when the call is not made after all.
  func takeBack(_ rates: RateWindow, at now: Int64) {
    for window in windows { rates.takeBack(window.key, at: now) }
  }

  /// The windows that the call is counted in. A window is its policy's; the scope's instance is part of the policy.
  private var windows: [(policyID: String, key: String, limit: Int)] {
    policies.compactMap { placed in
      guard case .rateLimit(let rate) = placed.policy.config, rate.tool.isEmpty || rate.tool == call.toolName else { return nil }
      return (placed.policy.policyID, "\(placed.tenant)/\(placed.policy.policyID)", Int(rate.maxPerMinute))
    }
  }

  /// The periods of every budget that the call falls into, at a moment.
  ///
  /// - Parameter halved: in an incident: half of what a day may cost.
  func buckets(now: Int64, halved: Bool) -> [BudgetBucket] {
    var buckets: [BudgetBucket] = []
    for placed in policies {
      guard case .budget(let budget) = placed.policy.config else { continue }
      func add(_ limit: Money?, _ period: String) {
        guard let limit else { return }
        buckets.append(
          BudgetBucket(
            policyTenant: placed.tenant, policyID: placed.policy.policyID, period: period, currency: limit.currency, limit: limit.micros))
      }
      add(budget.daily(halved: halved), "day:\(RFC3339.format(now).prefix(10))")
      if !call.runID.isEmpty { add(budget.perRun, "run:\(call.runID)") }
    }
    return buckets
  }

  /// How long until the period of a bucket is over; nil for a run, which has no next one.
  static func wait(for bucket: BudgetBucket, now: Int64) -> Int64? {
    let day: Int64 = 86_400_000_000_000
    return bucket.period.hasPrefix("day:") ? day - now % day : nil
  }

  private func refuse(_ policy: String, _ type: String, _ reason: String, retryAfter: Int64? = nil) -> Refusal {
    Refusal(policyID: policy, type: type, reason: reason, retryAfter: retryAfter)
  }
}

extension BudgetPolicy {
  /// What a day may cost, in an incident half of it.
  func daily(halved: Bool) -> Money? {
    guard halved, var limit = daily else { return daily }
    limit.micros /= 2
    return limit
  }
}
