import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Synchronization

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

/// The registry's runtime policies by tenant and scope, in memory: every tool call asks them several times, and they change rarely.
///
/// A tenant's policies are read when they are first asked for, and dropped in the commit that changes its registry, before that change is
/// acknowledged to anybody. What other nodes commit is seen when `PolicyLimits.policyLifetime` is over at the latest.
final class PolicyBook: Sendable {
  private struct Page {
    var scoped: [String: [PlacedPolicy]]
    var since: Int64
  }

  private struct State {
    var pages: [String: Page] = [:]
    /// One more with every change: what was read before one is not kept after it.
    var changes: UInt64 = 0
  }

  private let state = Mutex(State())
  private let registry: RegistryClient

  init(_ registry: RegistryClient) { self.registry = registry }

  /// The policies that apply to a call of the ambient caller's tenant: the platform's, then its own, each in the order of scopes and ids.
  func policies(for call: ToolCall, tenant: String, now: Int64) async throws -> [PlacedPolicy] {
    let scopes = call.scopes
    var found: [PlacedPolicy] = []
    for owner in tenant == Caller.platformTenant ? [tenant] : [Caller.platformTenant, tenant] {
      let page = try await page(of: owner, now: now)
      for scope in scopes { found += page[scope] ?? [] }
    }
    return found
  }

  /// A tenant's own policies that are enabled, by their ids.
  func policies(of tenant: String, now: Int64) async throws -> [String: PolicyDefinition] {
    let page = try await page(of: tenant, now: now)
    return Dictionary(page.values.joined().map { ($0.policy.policyID, $0.policy) }) { first, _ in first }
  }

  private func page(of tenant: String, now: Int64) async throws -> [String: [PlacedPolicy]] {
    let (held, changes) = state.withLock { state in
      (state.pages[tenant].flatMap { now - $0.since < PolicyLimits.policyLifetime.nanoseconds ? $0.scoped : nil }, state.changes)
    }
    if let held { return held }
    var scoped: [String: [PlacedPolicy]] = [:]
    var request = ListDefinitionsRequest(kind: .policy, shared: tenant == Caller.platformTenant)
    repeat {
      let answer = try await registry.listDefinitions(request)
      for case .policy(let policy)? in answer.definitions.map(\.value) where policy.enabled ?? true {
        scoped[policy.scope, default: []].append(PlacedPolicy(tenant: tenant, policy: policy))
      }
      request.pageToken = answer.nextPageToken
    } while !request.pageToken.isEmpty
    let page = Page(scoped: scoped, since: now)
    state.withLock { state in
      guard state.changes == changes else { return }
      if state.pages.count >= PolicyLimits.tenants { state.pages.removeAll() }
      state.pages[tenant] = page
    }
    return scoped
  }

  private func drop(_ tenant: String?) {
    state.withLock { state in
      state.changes += 1
      if let tenant { state.pages[tenant] = nil } else { state.pages.removeAll() }
    }
  }
}

extension PolicyBook: CommitObserver {
  func committed(_ items: [any Sendable]) {
    for item in items {
      if let tenant = (item as? LogEvent)?.tenantOfChangedRegistry { drop(tenant) }
    }
  }

  /// What was committed last is not known by its events.
  func recovered(_ snapshot: borrowing Snapshot) { drop(nil) }
}
