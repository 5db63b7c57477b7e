import SpanwireProtobuf
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// Why a flag serves what it serves, in the order in which it is asked. `default` stands for three places in it.
public enum FlagSource: String, Sendable, Hashable, CaseIterable {
  case unknownFlag = "unknown_flag"
  case error
  case rolledBack = "rolled_back"
  case paused
  case approvalMissing = "approval_missing"
  case dependencyUnsatisfied = "dep_unsatisfied"
  case userOverride = "user_override"
  case tenantOverride = "tenant_override"
  case stageInternal = "stage-internal"
  case stagePilot = "stage-pilot"
  case stageFull = "stage-full"
  case targeting
  case rolloutShare = "rollout_pct"
  case `default`
}

/// Who asks for a flag, and when.
package struct FlagAsker: Sendable {
  let userID: String
  let tenantID: String
  let tier: String
  let environment: String
  let attributes: [String: FlagValue]
  /// The flags for which an approval was named that stands in the queue; nil: for all of them.
  let approved: Set<String>?
  /// Nanoseconds since 1970.
  let now: Int64

  package init(
    userID: String = "", tenantID: String = "", tier: String = "staff", environment: String = "prod",
    attributes: [String: FlagValue] = [:], approved: Set<String>? = [], now: Int64 = 0
  ) {
    self.userID = userID
    self.tenantID = tenantID
    self.tier = tier
    self.environment = environment
    self.attributes = attributes
    self.approved = approved
    self.now = now
  }
}

/// Decides what a flag serves to somebody, and says by which of its sources.
///
/// Pure and deterministic: the same flags, asker and instant give the same evaluation, trace included. It comes to the values to which
/// `CompiledFlags` brings every client that evaluates by itself.
package struct FlagEvaluator: Sendable {
  /// Changes whenever an evaluation could.
  static let version = "flags-3"

  /// A flag with its rule read.
  private struct Entry: Sendable {
    let rollout: FlagRollout
    let rule: Logic?
    /// The rule can't be read: the registry takes no such one.
    let isUnreadable: Bool
    /// The flags on a way from it back to itself.
    let circle: [String]
  }

  private let entries: [String: Entry]

  init(_ rollouts: [String: FlagRollout]) {
    let leanedOn = CompiledFlags.leanedOn(rollouts)
    entries = rollouts.mapValues { rollout in
      var targeting = rollout.definition.targeting.flatMap { $0.fields.isEmpty ? nil : FlagValue.object(FlagValue.members($0)) }
      if leanedOn.contains(rollout.definition.flagKey) { targeting = targeting?.pinned(to: rollout.definition.flagKey) }
      let rule = targeting.flatMap { try? Logic($0) }
      return Entry(
        rollout: rollout, rule: rule, isUnreadable: targeting != nil && rule == nil,
        circle: Self.circle(from: rollout.definition.flagKey, rollouts))
    }
  }

  /// Flags that are where their definitions begin.
  package init(definitions: [FlagDefinition]) {
    self.init(Dictionary(definitions.map { ($0.flagKey, FlagRollout($0)) }) { _, last in last })
  }

  var rollouts: [FlagRollout] { entries.values.map(\.rollout) }
  func rollout(of key: String) -> FlagRollout? { entries[key]?.rollout }

  package func evaluate(_ key: String, for asker: FlagAsker) -> FlagEvaluation {
    var left = FlagLimits.dependencies
    let outcome = outcome(of: key, asker, &left)
    let definition = entries[key]?.rollout.definition
    return FlagEvaluation(
      flagKey: key, value: outcome.variant.flatMap { definition?.variants[$0] }, variant: outcome.variant ?? "",
      source: outcome.source.rawValue, stage: outcome.stage, bucket: outcome.bucket, cached: false, depsEvaluated: outcome.dependencies,
      trace: outcome.trace, evaluatedAt: .init(nanosecondsSinceEpoch: asker.now), evaluatorVersion: Self.version)
  }

  /// Whether a flag serves true, or where it serves no booleans, other than its default.
  func isEnabled(_ evaluation: FlagEvaluation) -> Bool {
    switch evaluation.value?.kind {
    case nil: false
    case .boolValue(let value)?: value
    default: evaluation.variant != entries[evaluation.flagKey]?.rollout.definition.defaultVariant
    }
  }

  private struct Outcome {
    var source: FlagSource = .default
    /// Nil for an unknown flag, and for one whose rule can't be evaluated.
    var variant: String?
    var stage = ""
    var bucket: UInt32?
    var dependencies: [FlagDependency] = []
    var trace: [String] = []
  }

  private func outcome(of key: String, _ asker: FlagAsker, _ left: inout Int) -> Outcome {
    guard let entry = entries[key] else { return Outcome(source: .unknownFlag, trace: ["unknown_flag: matched"]) }
    let (flag, rollout) = (entry.rollout.definition, entry.rollout)
    var outcome = Outcome(stage: rollout.position.stage.rawValue, trace: ["unknown_flag: passed"])

    /// Notes what came of asking for a source; true if it decides, which the note explains.
    func decides(_ source: FlagSource, _ variant: String?, if matches: Bool, _ note: String = "") -> Bool {
      let why = note.isEmpty || !matches ? "" : " (\(note))"
      outcome.trace.append("\(source.rawValue): \(matches ? "matched" : "passed")\(why)")
      if matches { (outcome.source, outcome.variant) = (source, variant) }
      return matches
    }

    let idle = flag.defaultVariant
    let circle = entry.circle.isEmpty ? "" : "flags depend on each other in a circle: \(entry.circle.joined(separator: " → "))"
    if decides(.error, idle, if: !circle.isEmpty, circle) { return outcome }
    if decides(.default, idle, if: !flag.enabled, "not enabled") { return outcome }
    if decides(.rolledBack, idle, if: rollout.position.stage == .rolledBack) { return outcome }
    if decides(.paused, idle, if: rollout.position.stage == .paused) { return outcome }
    let hasExpired = flag.expiresAt.map { $0.nanosecondsSinceEpoch <= asker.now } ?? false
    if decides(.default, idle, if: hasExpired, "expired") { return outcome }
    let isApproved = !rollout.lacksApproval || asker.approved?.contains(key) ?? true
    if decides(.approvalMissing, idle, if: !isApproved) { return outcome }

    var unsatisfied: [String] = []
    for other in flag.dependsOn {
      left -= 1
      guard left >= 0 else {
        _ = decides(.error, idle, if: true, "depends on more than \(FlagLimits.dependencies) flags, counting one by each way to it")
        return outcome
      }
      let found = self.outcome(of: other, asker, &left)
      let isSatisfied = found.variant != nil && found.variant != entries[other]?.rollout.definition.defaultVariant
      if !isSatisfied { unsatisfied.append(other) }
      outcome.dependencies.append(
        FlagDependency(
          flagKey: other, source: found.source.rawValue, stage: found.stage, satisfied: isSatisfied, depsEvaluated: found.dependencies))
    }
    if decides(.dependencyUnsatisfied, idle, if: !unsatisfied.isEmpty, unsatisfied.joined(separator: ", ")) { return outcome }

    let override = flag.userOverrides[asker.userID] ?? (flag.targetIds.contains(asker.userID) ? flag.rolloutVariant : nil)
    if decides(.userOverride, override, if: override != nil && !asker.userID.isEmpty) { return outcome }
    let ofTenant = flag.tenantOverrides[asker.tenantID]
    if decides(.tenantOverride, ofTenant, if: ofTenant != nil && !asker.tenantID.isEmpty) { return outcome }
    let (stage, rolledOut) = (rollout.position.stage, flag.rolloutVariant)
    if decides(.stageInternal, rolledOut, if: stage == .internal && ["staff", "admin"].contains(asker.tier)) { return outcome }
    if decides(.stagePilot, rolledOut, if: stage == .pilot && flag.pilotTenants.contains(asker.tenantID)) { return outcome }
    if decides(.stageFull, rolledOut, if: stage == .full) { return outcome }

    if let rule = entry.rule {
      do throws(LogicError) {
        let chosen = try variant(by: rule, of: key, asker)
        let isVariant = chosen.map { name in flag.variants.contains { $0.key == name } } ?? true
        if !isVariant { throw LogicError(message: "the rule yields what is no variant") }
        if decides(.targeting, chosen, if: chosen != nil) { return outcome }
      } catch {
        _ = decides(.error, nil, if: true, error.message)
        return outcome
      }
    } else if entry.isUnreadable {
      _ = decides(.error, nil, if: true, "the rule can't be read")
      return outcome
    } else {
      _ = decides(.targeting, nil, if: false)
    }

    if flag.rolloutPct > 0, !asker.userID.isEmpty {
      let bucket = Self.bucket(of: asker.userID, in: key)
      if decides(.rolloutShare, rolledOut, if: bucket < flag.rolloutPct, "bucket \(bucket) of \(flag.rolloutPct) %") {
        outcome.bucket = bucket
        return outcome
      }
    } else {
      _ = decides(.rolloutShare, nil, if: false)
    }
    _ = decides(.default, idle, if: true)
    return outcome
  }

  private func variant(by rule: Logic, of key: String, _ asker: FlagAsker) throws(LogicError) -> String? {
    var attributes = asker.attributes
    attributes["tier"] = .string(asker.tier)
    attributes["env"] = .string(asker.environment)
    attributes["tenant_id"] = .string(asker.tenantID)
    let context = FlagContext(
      attributes, targetingKey: asker.userID.isEmpty ? nil : asker.userID, now: asker.now / 1_000_000_000)
    var evaluation = LogicEvaluation(context, flagKey: key)
    let value = try evaluation.evaluate(rule)
    return value.isTrue ? value.asText : nil
  }

  /// The hundredth of all users that somebody falls into: for each flag another one, and always the same. It is that of flagd's `fractional`
  /// over `flag/user`.
  static func bucket(of user: String, in key: String) -> UInt32 {
    UInt32((UInt64(Murmur3.hash(CanonicalCBOR.encode(.string("\(key)/\(user)")))) * 100) >> 32)
  }

  /// A circle that dependencies lead into; empty where they come to an end. Looked for to a depth at which no registry's flags go.
  private static func circle(from key: String, _ rollouts: [String: FlagRollout]) -> [String] {
    var left = FlagLimits.dependencies
    func search(_ path: [String]) -> [String] {
      for next in rollouts[path[path.count - 1]]?.definition.dependsOn ?? [] {
        if let start = path.firstIndex(of: next) { return path[start...] + [next] }
        left -= 1
        guard left >= 0 else { return [] }
        let found = search(path + [next])
        if !found.isEmpty { return found }
      }
      return []
    }
    return search([key])
  }
}
