import SpanwireEventLog
import SpanwireSchema
import SpanwireServiceKit

/// A runtime policy with whose it is, as calls are judged by it.
struct PlacedPolicy: Sendable {
  let tenant: String
  let policy: PolicyDefinition
  /// Of an allowlist, parsed once.
  let patterns: [HostPattern]
  let suffixes: Set<String>

  init(tenant: String, policy: PolicyDefinition) {
    self.tenant = tenant
    self.policy = policy
    guard case .allowlist(let list) = policy.config else {
      patterns = []
      suffixes = []
      return
    }
    // The registry checked them; a pattern that no longer parses admits nothing.
    patterns = list.allowedDomains.compactMap { try? HostPattern($0) }
    suffixes = Set(list.publicSuffixes.map { $0.lowercased() })
  }
}

/// The registry's runtime policies by tenant and scope, in memory: every tool call asks them several times.
struct PolicyBook: Sendable {
  /// By scope, a tenant's own; each in the order of ids.
  let pages: DefinitionCache<[String: [PlacedPolicy]]>

  init(_ registry: RegistryClient) {
    pages = DefinitionCache(lifetime: PolicyLimits.policyLifetime, tenants: PolicyLimits.tenants) { tenant in
      var scoped: [String: [PlacedPolicy]] = [:]
      for case .policy(let policy) in try await registry.definitions(of: .policy, tenant: tenant, as: PolicyServer.producer)
      where policy.enabled ?? true {
        scoped[policy.scope, default: []].append(PlacedPolicy(tenant: tenant, policy: policy))
      }
      return scoped
    }
  }

  /// The policies that apply to a call of a tenant's: the platform's, then its own, each in the order of scopes and ids.
  func policies(for call: ToolCall, tenant: String, now: Int64) async throws -> [PlacedPolicy] {
    let scopes = call.scopes
    var found: [PlacedPolicy] = []
    for owner in tenant == Caller.platformTenant ? [tenant] : [Caller.platformTenant, tenant] {
      let page = try await pages.value(of: owner, now: now)
      for scope in scopes { found += page[scope] ?? [] }
    }
    return found
  }

  /// A tenant's own policies that are enabled, by their ids.
  func policies(of tenant: String, now: Int64) async throws -> [String: PolicyDefinition] {
    let page = try await pages.value(of: tenant, now: now)
    return Dictionary(page.values.joined().map { ($0.policy.policyID, $0.policy) }) { first, _ in first }
  }
}
