import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Synchronization

/// The registry's flags by tenant, compiled and in memory: they are asked for all the time, and change rarely.
///
/// A tenant's flags are its own, and of those that tenant `platform` shares the ones it has not defined itself. They are read when they are
/// first asked for, and dropped in the commit that changes the registry, before that change is acknowledged to anybody. What other nodes
/// commit is seen when `FlagLimits.lifetime` is over at the latest.
final class FlagBook: Sendable {
  /// A tenant's flags as they are at a revision of its registry and at one of the platform's.
  struct Snapshot: Sendable {
    var revision: UInt64
    var platformRevision: UInt64
    /// By key, as they were defined.
    var definitions: [String: FlagDefinition]
    /// As they are evaluated.
    var set: FlagSet
    /// The same in flagd's words, for evaluators inside clients.
    var json: String
  }

  private struct State {
    var snapshots: [String: (snapshot: Snapshot, since: Int64)] = [:]
    /// One more with every change: what was read before one is not kept after it.
    var changes: UInt64 = 0
  }

  private let state = Mutex(State())
  private let registry: RegistryClient

  init(_ registry: RegistryClient) { self.registry = registry }

  /// A tenant's flags: from memory, or from the registry.
  func flags(of tenant: String, now: Int64) async throws -> Snapshot {
    let (held, changes) = state.withLock { state in
      (state.snapshots[tenant].flatMap { now - $0.since < FlagLimits.lifetime.nanoseconds ? $0.snapshot : nil }, state.changes)
    }
    if let held { return held }
    let snapshot = try await read(tenant)
    state.withLock { state in
      guard state.changes == changes else { return }
      if state.snapshots.count >= FlagLimits.tenantsInMemory { state.snapshots.removeAll() }
      state.snapshots[tenant] = (snapshot, now)
    }
    return snapshot
  }

  /// The same, but no older than what is committed: who is told of a change by the log may be told before memory is.
  func committedFlags(of tenant: String, now: Int64) async throws -> Snapshot {
    let own = try await page(ListDefinitionsRequest(kind: .flag, pageSize: 1), of: tenant).revision
    let shared = try await page(ListDefinitionsRequest(kind: .flag, pageSize: 1, shared: true), of: tenant).revision
    let held = try await flags(of: tenant, now: now)
    if held.revision >= own, held.platformRevision >= shared { return held }
    drop(tenant)
    return try await flags(of: tenant, now: now)
  }

  private func read(_ tenant: String) async throws -> Snapshot {
    let shared = try await definitions(of: tenant, shared: true)
    let own = tenant == Caller.platformTenant ? shared : try await definitions(of: tenant, shared: false)
    let definitions = shared.flags.merging(own.flags) { _, own in own }
    let compiled = CompiledFlags(definitions, for: tenant)
    return Snapshot(
      revision: own.revision, platformRevision: shared.revision, definitions: definitions, set: try compiled.set(),
      json: try compiled.json())
  }

  private func definitions(of tenant: String, shared: Bool) async throws -> (flags: [String: FlagDefinition], revision: UInt64) {
    var flags: [String: FlagDefinition] = [:]
    var revision: UInt64 = 0
    var request = ListDefinitionsRequest(kind: .flag, pageSize: FlagLimits.page, shared: shared)
    repeat {
      let answer = try await page(request, of: tenant)
      if answer.revision != revision, !request.pageToken.isEmpty {
        // The registry changed between two pages: what was read belongs to no revision.
        (flags, revision, request.pageToken) = ([:], 0, "")
        continue
      }
      revision = answer.revision
      for case .flag(let flag)? in answer.definitions.map(\.value) { flags[flag.flagKey] = flag }
      request.pageToken = answer.nextPageToken
      if request.pageToken.isEmpty { return (flags, revision) }
    } while true
  }

  /// As the service itself, for the tenant whose flags are asked for: who asks may have no credential at all.
  private func page(_ request: ListDefinitionsRequest, of tenant: String) async throws -> ListDefinitionsResponse {
    try await CallContext.with(principal: Principal(kind: .service, id: FlagsServer.producer, tenant: tenant, surface: .internal)) {
      try await registry.listDefinitions(request)
    }
  }

  private func drop(_ tenant: String?) {
    state.withLock { state in
      state.changes += 1
      if let tenant, tenant != Caller.platformTenant { state.snapshots[tenant] = nil } else { state.snapshots.removeAll() }
    }
  }
}

extension FlagBook: CommitObserver {
  func committed(_ items: [any Sendable]) {
    for item in items {
      if let tenant = (item as? LogEvent)?.tenantOfChangedRegistry { drop(tenant) }
    }
  }

  /// What was committed last is not known by its events.
  func recovered(_ snapshot: borrowing SpanwireDatabase.Snapshot) { drop(nil) }
}
