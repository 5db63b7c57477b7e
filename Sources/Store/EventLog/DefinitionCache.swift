import SpanwireDatabase
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Synchronization

/// What a service makes of a tenant's definitions, in memory: it is asked for with every call, and definitions change rarely.
///
/// A tenant's is made when it is first asked for, and dropped in the commit that changes its registry, before that change is acknowledged
/// to anybody; what tenant `platform` changes drops everybody's. What other nodes commit is seen when the lifetime is over at the latest.
/// A registry that can't be read fails the call that asks: nothing is answered by what may have changed.
public final class DefinitionCache<Value: Sendable>: Sendable {
  private struct State {
    var held: [String: (value: Value, since: Int64)] = [:]
    /// One more with every change: what was read before one is not kept after it.
    var changes: UInt64 = 0
  }

  private let state = Mutex(State())
  private let lifetime: Int64
  private let tenants: Int
  private let types: Set<String>
  private let load: @Sendable (_ tenant: String) async throws -> Value

  /// - Parameters:
  ///   - tenants: how many tenants' are held before all are made anew.
  ///   - types: events that change a tenant's besides those of its registry.
  public init(
    lifetime: Duration, tenants: Int, alsoChangedBy types: Set<String> = [],
    load: @escaping @Sendable (_ tenant: String) async throws -> Value
  ) {
    self.lifetime = lifetime.nanoseconds
    self.tenants = tenants
    self.types = types
    self.load = load
  }

  public func value(of tenant: String, now: Int64) async throws -> Value {
    let (held, changes) = state.withLock { state in
      (state.held[tenant].flatMap { now - $0.since < lifetime ? $0.value : nil }, state.changes)
    }
    if let held { return held }
    let value = try await load(tenant)
    state.withLock { state in
      guard state.changes == changes else { return }
      if state.held.count >= tenants { state.held.removeAll() }
      state.held[tenant] = (value, now)
    }
    return value
  }

  /// The tenant whose value an event changes, if it does.
  public func tenant(changedBy event: LogEvent) -> String? {
    event.tenantOfChangedRegistry ?? (types.contains(event.header.type) ? event.header.tenant : nil)
  }

  /// Forgets what a tenant's was, for who knows that it is no longer so.
  public func drop(_ tenant: String) {
    state.withLock { state in
      state.changes += 1
      if tenant == Caller.platformTenant { state.held.removeAll() } else { state.held[tenant] = nil }
    }
  }
}

extension DefinitionCache: CommitObserver {
  public func committed(_ items: [any CommitItem]) {
    for item in items {
      if let event = item as? LogEvent, let tenant = tenant(changedBy: event) { drop(tenant) }
    }
  }

  /// What was committed last is not known by its events.
  public func recovered(_ snapshot: borrowing Snapshot) { drop(Caller.platformTenant) }
}

extension DefinitionCache where Value == IncidentMode {
  /// The platform's incident mode, for services that restrict themselves in an incident; asked for tenant `platform`. A change that is
  /// committed on this node is seen with its commit.
  public static func incidentMode(_ operations: OperationsClient, as service: String, lifetime: Duration) -> DefinitionCache {
    DefinitionCache(
      lifetime: lifetime, tenants: 1, alsoChangedBy: [IncidentDeclared.eventType.rawValue, IncidentResolved.eventType.rawValue]
    ) { tenant in
      let principal = Principal(kind: .service, id: service, tenant: tenant, surface: .internal)
      return try await CallContext.with(principal: principal) { try await operations.getIncidentMode(GetIncidentModeRequest()).mode }
    }
  }
}

extension RegistryClient {
  /// All definitions of a kind that a tenant itself holds, read by a service for itself: what is kept of them must not depend on who
  /// happened to ask first.
  public func definitions(
    of kind: DefinitionKind, tenant: String, as service: String, trace: TraceContext? = nil
  ) async throws -> [Definition.Value] {
    let principal = Principal(kind: .service, id: service, tenant: tenant, surface: .internal)
    return try await CallContext.with(principal: principal, trace: trace) {
      var found: [Definition.Value] = []
      var request = ListDefinitionsRequest(kind: kind)
      repeat {
        let answer = try await listDefinitions(request)
        found += answer.definitions.compactMap(\.value)
        request.pageToken = answer.nextPageToken
      } while !request.pageToken.isEmpty
      return found
    }
  }
}
