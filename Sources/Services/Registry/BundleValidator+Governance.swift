import SpanwireProtobuf
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// What must hold for the definitions that agents and operators are governed by: model routes, flags, policies, roles, approvals.
extension BundleValidator {
  mutating func check(_ route: ModelRoute) {
    text("task_type", route.taskType, required: true)
    text("provider", route.provider, required: true)
    text("model", route.model, required: true)
    if route.priority < 0 { mistake("priority", "must not be negative; the lowest number goes first") }
    if let cost = route.maxCost { money("max_cost", cost) }
    unique("fallback_route_ids", route.fallbackRouteIds)
  }

  mutating func check(_ target: SlaTarget) {
    if target.timeToFirstUpdateMs == 0, target.timeToCompletionMs == 0 {
      mistake("time_to_completion_ms", "or time_to_first_update_ms must be given: a target of neither is none")
    }
  }

  mutating func check(_ flag: FlagDefinition) {
    text("description", flag.description)
    let kinds = Set(flag.variants.map { Self.kind(of: $0.value) })
    if flag.variants.isEmpty { mistake("variants", "must have at least one variant") }
    if kinds.contains(nil) { mistake("variants", "a variant is a boolean, a text, a number or an object") }
    if kinds.count > 1 { mistake("variants", "must all be of one type") }
    for (name, _) in flag.variants { id("variants[\(name)]", name) }
    func variant(_ field: String, _ name: String) {
      if !flag.variants.contains(where: { $0.key == name }) { mistake(field, "\"\(name)\" is no variant of the flag") }
    }
    if !flag.defaultVariant.isEmpty {
      variant("default_variant", flag.defaultVariant)
    } else if flag.rolloutPct > 0 {
      mistake("default_variant", "must name what is served to those who are not in rollout_pct")
    }
    check(metadata: flag.metadata)
    if !flag.rolloutVariant.isEmpty { variant("rollout_variant", flag.rolloutVariant) }
    for (user, name) in flag.userOverrides { variant("user_overrides[\(user)]", name) }
    for (tenant, name) in flag.tenantOverrides { variant("tenant_overrides[\(tenant)]", name) }
    if case .unrecognized = flag.rolloutStage { mistake("rollout_stage", "must be a known stage") }
    if flag.rolloutPct > 100 { mistake("rollout_pct", "must be from 0 to 100") }
    let rollsOut = flag.rolloutPct > 0 || !flag.targetIds.isEmpty || [.internal, .pilot, .full].contains(flag.rolloutStage)
    if rollsOut, flag.rolloutVariant.isEmpty { mistake("rollout_variant", "must name what is rolled out") }
    for (index, target) in flag.targetIds.enumerated() { id("target_ids[\(index)]", target) }
    for (index, tenant) in flag.pilotTenants.enumerated() { id("pilot_tenants[\(index)]", tenant) }
    if let targeting = flag.targeting, let problem = checks.targeting(targeting) { mistake("targeting", problem) }
    unique("depends_on", flag.dependsOn)
  }

  private mutating func check(metadata: Google_Protobuf_Struct?) {
    guard let fields = metadata?.fields else { return }
    if fields.count > RegistryLimits.flagMetadata { mistake("metadata", "has more than \(RegistryLimits.flagMetadata) entries") }
    for (name, value) in fields.sorted(by: { $0.key < $1.key }).prefix(RegistryLimits.flagMetadata) {
      let isPlain =
        switch value.kind {
        case .boolValue, .stringValue, .numberValue: true
        case .structValue, .listValue, .nullValue, nil: false
        }
      if name.isEmpty || !isPlain { mistake("metadata.\(name)", "must be a named text, number or boolean") }
    }
  }

  /// The type of a variant's value; nil for none that a flag can have.
  private static func kind(of value: Google_Protobuf_Value) -> String? {
    switch value.kind {
    case .boolValue: "boolean"
    case .stringValue: "text"
    case .numberValue: "number"
    case .structValue: "object"
    case .listValue, .nullValue, nil: nil
    }
  }

  mutating func check(_ policy: PolicyDefinition) {
    let scope = policy.scope.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    let named = ["agent", "tool", "session", "user", "org"]
    if scope.count == 2 ? !named.contains(scope[0]) || !Identifier.isValid(scope[1]) : policy.scope != "global" {
      mistake("scope", "must be global, or one of \(named.joined(separator: ", ")) with what it names, such as tool:browser.fetch")
    }
    switch policy.config {
    case .budget(let budget):
      if budget.daily == nil, budget.perRun == nil { mistake("budget", "must limit a day or a run") }
      if let daily = budget.daily { money("budget.daily", daily) }
      if let run = budget.perRun { money("budget.per_run", run) }
      if let daily = budget.daily, let run = budget.perRun, daily.currency != run.currency {
        mistake("budget.per_run.currency", "must be that of the daily budget, \(daily.currency)")
      }
    case .rateLimit(let limit):
      text("rate_limit.tool", limit.tool)
      if limit.maxPerMinute == 0 { mistake("rate_limit.max_per_minute", "must be at least 1") }
    case .allowlist(let list): check(list)
    case .safety(let safety): tiers("safety.require_approval_for", safety.requireApprovalFor)
    case nil: mistake("", "must be one of budget, rate_limit, allowlist, safety")
    }
  }

  private mutating func check(_ list: AllowlistPolicy) {
    unique("allowlist.allowed_domains", list.allowedDomains)
    for (index, domain) in list.allowedDomains.enumerated() {
      let field = "allowlist.allowed_domains[\(index)]"
      if domain.hasSuffix(".*"), list.publicSuffixes.isEmpty {
        mistake(field, "ends with a star, but the policy lists no public_suffixes for it")
      }
      do throws(HostPattern.Fault) {
        _ = try HostPattern(domain)
      } catch {
        mistake(field, "\"\(domain.prefix(60))\" \(error.reason)")
      }
    }
    for (index, suffix) in list.publicSuffixes.enumerated() where !HostPattern.isSuffix(suffix) {
      mistake("allowlist.public_suffixes[\(index)]", "\"\(suffix.prefix(60))\" is no suffix such as com or co.uk")
    }
  }

  mutating func check(_ role: RoleDefinition) {
    text("title", role.title)
    let categories = ["platform", "operations", "business", "external"]
    if !categories.contains(role.category) { mistake("category", "must be one of \(categories.joined(separator: ", "))") }
    if role.category == "external", role.platformGlobal {
      mistake("platform_global", "is not for roles from outside")
    } else if role.platformGlobal, ![Caller.platformTenant, ""].contains(content.tenant) {
      mistake("platform_global", "who works across tenants is for tenant \(Caller.platformTenant) to say")
    }
  }

  mutating func check(_ row: ApprovalRow) {
    text("title", row.title)
    if row.requiredApprovers.isEmpty { mistake("required_approvers", "must name at least one role") }
    unique("required_approvers", row.requiredApprovers)
  }
}
