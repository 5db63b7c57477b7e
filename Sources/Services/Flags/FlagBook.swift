import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// The registry's flags by tenant, with the stages they were moved to, compiled and in memory.
///
/// A tenant's flags are its own, and of those that tenant `platform` shares the ones it has not defined itself; the stages are the tenant's
/// own in either case.
struct FlagBook: Sendable {
  /// A tenant's flags as they are at a revision of its registry and at one of the platform's, and after so many transitions.
  struct Snapshot: Sendable {
    var revision: UInt64
    var platformRevision: UInt64
    var transitions: UInt64
    /// Says what a flag serves, and why.
    var evaluator: FlagEvaluator
    /// As clients evaluate them.
    var set: FlagSet
    /// The same in flagd's words, for evaluators inside clients.
    var json: String
  }

  let cache: DefinitionCache<Snapshot>
  private let registry: RegistryClient
  private let database: any Database

  init(_ registry: RegistryClient, _ database: any Database) {
    self.registry = registry
    self.database = database
    cache = DefinitionCache(
      lifetime: FlagLimits.lifetime, tenants: FlagLimits.tenantsInMemory, alsoChangedBy: [FlagTransitioned.eventType.rawValue]
    ) { try await Self.read($0, registry, database) }
  }

  /// A tenant's flags: from memory, or from the registry.
  func flags(of tenant: String, now: Int64) async throws -> Snapshot { try await cache.value(of: tenant, now: now) }

  /// The same, but no older than what is committed: who is told of a change by the log may be told before memory is.
  func committedFlags(of tenant: String, now: Int64) async throws -> Snapshot {
    let own = try await Self.page(ListDefinitionsRequest(kind: .flag, pageSize: 1), of: tenant, registry).revision
    let shared = try await Self.page(ListDefinitionsRequest(kind: .flag, pageSize: 1, shared: true), of: tenant, registry).revision
    let held = try await flags(of: tenant, now: now)
    let transitions = try await database.read { try FlagStageStore.transitions(of: tenant, in: $0) }
    if held.revision >= own, held.platformRevision >= shared, held.transitions >= transitions { return held }
    cache.drop(tenant)
    return try await flags(of: tenant, now: now)
  }

  private static func read(_ tenant: String, _ registry: RegistryClient, _ database: any Database) async throws -> Snapshot {
    let shared = try await definitions(of: tenant, shared: true, registry)
    let own = tenant == Caller.platformTenant ? shared : try await definitions(of: tenant, shared: false, registry)
    let moved = try await database.scan { try FlagStageStore.all(of: tenant, in: $0) }
    let stages = Dictionary(moved.map { ($0.key, $0) }) { first, _ in first }
    let rollouts = shared.flags.merging(own.flags) { _, own in own }.mapValues { FlagRollout($0, moved: stages[$0.flagKey]) }
    let compiled = CompiledFlags(rollouts, for: tenant)
    return Snapshot(
      revision: own.revision, platformRevision: shared.revision, transitions: moved.reduce(0) { $0 + $1.transitions },
      evaluator: FlagEvaluator(rollouts), set: try compiled.set(), json: try compiled.json())
  }

  private static func definitions(
    of tenant: String, shared: Bool, _ registry: RegistryClient
  ) async throws -> (flags: [String: FlagDefinition], revision: UInt64) {
    var flags: [String: FlagDefinition] = [:]
    var revision: UInt64 = 0
    var request = ListDefinitionsRequest(kind: .flag, pageSize: FlagLimits.page, shared: shared)
    repeat {
      let answer = try await page(request, of: tenant, registry)
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
  private static func page(
    _ request: ListDefinitionsRequest, of tenant: String, _ registry: RegistryClient
  ) async throws -> ListDefinitionsResponse {
    try await CallContext.with(principal: Principal(kind: .service, id: FlagsServer.producer, tenant: tenant, surface: .internal)) {
      try await registry.listDefinitions(request)
    }
  }
}
