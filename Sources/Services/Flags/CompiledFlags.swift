import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireWellKnown

/// Flags as the registry defines them, in flagd's words: one rule for each, which does what its stage, approval, dependencies, overrides, share and
/// expiry say, in their order. So a client that evaluates by itself comes to the same as one that asks.
///
/// What the tenant decides is decided here, since the flags of a tenant are given to that tenant alone; users, tiers and time are left to
/// the rule. A user is told by `targetingKey`, a tier by the attribute `tier`.
struct CompiledFlags {
  private let rollouts: [String: FlagRollout]
  private let tenant: String
  /// The flags that others depend on.
  private let leanedOn: Set<String>

  init(_ rollouts: [String: FlagRollout], for tenant: String) {
    self.rollouts = rollouts
    self.tenant = tenant
    leanedOn = Self.leanedOn(rollouts)
  }

  /// The flags whose rules stand within others' too, and so must come to the same there as in their own.
  static func leanedOn(_ rollouts: [String: FlagRollout]) -> Set<String> { Set(rollouts.values.flatMap(\.definition.dependsOn)) }

  /// The flags to evaluate.
  func set() throws -> FlagSet {
    do {
      return try FlagSet(members)
    } catch {
      // The registry took every one of them by itself; together they may be too many.
      let problems = error.problems.prefix(3).map(\.description).joined(separator: "; ")
      throw RPCError.failedPrecondition("the flags can't be evaluated: \(problems)")
    }
  }

  /// flagd's JSON.
  func json() throws -> String {
    let text = try FlagValue.object(members).json()
    guard text.utf8.count <= FlagLimits.configurationBytes else {
      throw RPCError.failedPrecondition("the flags take more than \(FlagLimits.configurationBytes) bytes, which fit into no message")
    }
    return text
  }

  private var members: [String: FlagValue] { ["flags": .object(rollouts.mapValues { .object(flag($0)) })] }

  private func flag(_ rollout: FlagRollout) -> [String: FlagValue] {
    let flag = rollout.definition
    var members: [String: FlagValue] = [
      "state": .string(flag.enabled ? "ENABLED" : "DISABLED"),
      "variants": .object(Dictionary(flag.variants.map { ($0.key, FlagValue($0.value)) }) { first, _ in first }),
      "defaultVariant": flag.defaultVariant.isEmpty ? .null : .string(flag.defaultVariant),
    ]
    // What is usual is not said, so that a plain flag has the metadata that its author gave it.
    var metadata = flag.metadata.map(FlagValue.members) ?? [:]
    if rollout.position.stage != .draft { metadata["rollout_stage"] = .string(rollout.position.stage.rawValue) }
    if flag.sensitiveFlag { metadata["sensitive_flag"] = .bool(true) }
    if flag.requiresApproval { metadata["requires_approval"] = .bool(true) }
    if !metadata.isEmpty { members["metadata"] = .object(metadata) }
    var left = FlagLimits.dependencies
    switch rule(of: rollout, &left) {
    case nil: break
    case .string(let variant)?: members["defaultVariant"] = .string(variant)
    case .some(let rule): members["targeting"] = rule
    }
    return members
  }

  /// What yields the variant that a flag serves, or nothing where its default does; nil when that is always so, as it is where a dependency
  /// is not there or they come to no end: the registry takes no such flags, but what the platform shares changes without the tenant's.
  private func rule(of rollout: FlagRollout, _ left: inout Int) -> FlagValue? {
    let (flag, stage) = (rollout.definition, rollout.position.stage)
    guard flag.enabled, stage != .paused, stage != .rolledBack, !rollout.lacksApproval else { return nil }
    var against: [FlagValue] = []
    if let end = flag.expiresAt {
      against.append(.call(">=", .variable("$flagd.timestamp"), .number((Double(end.nanosecondsSinceEpoch) / 1e9).rounded(.up))))
    }
    for key in flag.dependsOn {
      left -= 1
      guard left >= 0, let other = rollouts[key], let rule = rule(of: other, &left) else { return nil }
      against.append(.call("in", rule, .list([.null, .string(other.definition.defaultVariant)])))
    }
    let ways = ways(of: flag, at: stage)
    guard let way = ways.count > 1 ? .object(["or": .list(ways)]) : ways.first else { return nil }
    guard !against.isEmpty else { return way }
    return .call("if", .object(["or": .list(against)]), .null, way)
  }

  /// The ways to a variant, the first that leads to one decides.
  private func ways(of flag: FlagDefinition, at stage: FlagStage) -> [FlagValue] {
    var ways: [FlagValue] = []
    let rollout = FlagValue.string(flag.rolloutVariant)
    for (variant, users) in Dictionary(grouping: flag.userOverrides, by: \.value).sorted(by: { $0.key < $1.key }) {
      ways.append(.when(.variable("targetingKey"), isOneOf: users.map(\.key), .string(variant)))
    }
    if !flag.targetIds.isEmpty { ways.append(.when(.variable("targetingKey"), isOneOf: flag.targetIds, rollout)) }
    if let variant = flag.tenantOverrides[tenant] { return ways + [.string(variant)] }
    switch stage {
    case .internal: ways.append(.when(.variable("tier"), isOneOf: ["staff", "admin"], rollout))
    case .pilot where flag.pilotTenants.contains(tenant), .full: return ways + [rollout]
    default: break
    }
    if let targeting = flag.targeting, !targeting.fields.isEmpty {
      let rule = FlagValue.object(FlagValue.members(targeting))
      ways.append(leanedOn.contains(flag.flagKey) ? rule.pinned(to: flag.flagKey) : rule)
    }
    if flag.rolloutPct > 0 {
      let shares = [
        FlagValue.list([rollout, .number(Double(flag.rolloutPct))]),
        .list([.string(flag.defaultVariant), .number(Double(100 - min(flag.rolloutPct, 100)))]),
      ]
      ways.append(.share(of: flag.flagKey, shares))
    }
    return ways
  }

  /// Why a flag's rule can't be taken; nil when it can.
  static func problem(inTargeting targeting: Google_Protobuf_Struct) -> String? {
    guard !targeting.fields.isEmpty else { return nil }
    do {
      return try Logic(.object(FlagValue.members(targeting))).unknownOperation.map { "'\($0)' is no operation" }
    } catch {
      return error.reason
    }
  }
}

extension FlagValue {
  fileprivate static func call(_ name: String, _ arguments: FlagValue...) -> FlagValue { .object([name: .list(arguments)]) }

  fileprivate static func variable(_ path: String) -> FlagValue { .object(["var": .string(path)]) }

  fileprivate static func when(_ value: FlagValue, isOneOf names: [String], _ then: FlagValue) -> FlagValue {
    .call("if", .call("in", value, .list(names.sorted().map(FlagValue.string))), then)
  }

  /// A share of all users to each variant; nothing to who has no key.
  fileprivate static func share(of flag: String, _ shares: [FlagValue]) -> FlagValue {
    let user = FlagValue.variable("targetingKey")
    return .call("if", user, .object(["fractional": .list([.call("cat", .string(flag), .string("/"), user)] + shares)]))
  }

  /// A flag's rule where it may stand within another flag's: what it says of "this flag" names the flag.
  func pinned(to flag: String) -> FlagValue {
    switch self {
    case .list(let values): return .list(values.map { $0.pinned(to: flag) })
    case .object(let members):
      if members.count == 1, let (name, argument) = members.first {
        if name == "var", argument == .string("$flagd.flagKey") { return .string(flag) }
        if name == "fractional", case .list(let shares) = argument, case .list? = shares.first {
          return .share(of: flag, shares.map { $0.pinned(to: flag) })
        }
      }
      return .object(members.mapValues { $0.pinned(to: flag) })
    default: return self
    }
  }
}
