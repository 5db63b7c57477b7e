import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Synchronization

/// What the registry resolved, kept until it changes.
///
/// The registry pushes its changes, and what they may concern is dropped. While nobody pushes, because the stream broke or never began,
/// nothing is kept and every session asks the registry. So what is used was true when it was asked for, less the time that a push takes;
/// and were a stream ever to stall without ending, `GatewayLimits.configLifetime` bounds how old an answer may be. A change that is made
/// on this very node is seen in its commit, before it is acknowledged to anybody.
final class ConfigCache: Sendable {
  fileprivate struct Key: Hashable {
    var tenant: String
    var request: ResolveRuntimeConfigRequest
  }

  fileprivate struct State {
    var configs: [Key: (config: ResolvedConfig, since: Int64)] = [:]
    /// The keys, the oldest first.
    var order: [Key] = []
    var isFollowing = false
    /// One more with every change: an answer that was asked for before one is not kept after it.
    var changes: UInt64 = 0
  }

  private let state = Mutex(State())
  private let registry: RegistryClient
  private let clock: any WallClock

  init(_ registry: RegistryClient, clock: any WallClock) {
    self.registry = registry
    self.clock = clock
  }

  /// The configuration for a request of the ambient caller's tenant.
  func config(_ request: ResolveRuntimeConfigRequest, tenant: String) async throws -> ResolvedConfig {
    let key = Key(tenant: tenant, request: request.question)
    let now = clock.now
    let (held, changes) = state.withLock { state in
      let held = state.configs[key].flatMap { now - $0.since < GatewayLimits.configLifetime.nanoseconds ? $0.config : nil }
      return (held, state.isFollowing ? state.changes : nil)
    }
    if let held { return held }
    let config = ResolvedConfig(try await registry.resolveRuntimeConfig(key.request))
    if let changes {
      state.withLock { if $0.isFollowing && $0.changes == changes { $0.keep(config, as: key, since: now) } }
    }
    return config
  }

  /// Follows the registry until the task is cancelled. As the gateway itself, for no caller.
  func follow() async {
    var pause = GatewayLimits.firstWatchPause
    while !Task.isCancelled {
      do {
        let changes = try await registry.watch(WatchRequest(everyTenant: true))
        // The headers say that no change will be missed from here on.
        _ = try await changes.metadata
        begin()
        pause = GatewayLimits.firstWatchPause
        for try await change in changes { drop(change.tenantID) }
      } catch {
        // Whatever ended it: it is tried again, and meanwhile nothing is kept.
      }
      end()
      try? await Task.sleep(for: pause)
      pause = min(pause * 2, GatewayLimits.longestWatchPause)
    }
  }

  private func begin() {
    state.withLock { state in
      state.clear { _ in true }
      state.isFollowing = true
    }
  }

  private func end() {
    state.withLock { state in
      state.isFollowing = false
      state.clear { _ in true }
    }
  }

  /// A tenant's registry changed; that of tenant `platform` is part of all.
  private func drop(_ tenant: String) {
    state.withLock { state in state.clear { tenant == Caller.platformTenant || $0.tenant == tenant } }
  }
}

extension ConfigCache: CommitObserver {
  func committed(_ items: [any CommitItem]) {
    for item in items {
      if let tenant = (item as? LogEvent)?.tenantOfChangedRegistry { drop(tenant) }
    }
  }

  /// What was committed last is not known by its events.
  func recovered(_ snapshot: borrowing Snapshot) { state.withLock { $0.clear { _ in true } } }
}

extension ConfigCache.State {
  fileprivate mutating func keep(_ config: ResolvedConfig, as key: ConfigCache.Key, since: Int64) {
    if configs.updateValue((config, since), forKey: key) == nil { order.append(key) }
    if order.count > GatewayLimits.cachedConfigs { configs[order.removeFirst()] = nil }
  }

  fileprivate mutating func clear(_ isStale: (ConfigCache.Key) -> Bool) {
    changes += 1
    configs = configs.filter { !isStale($0.key) }
    order.removeAll(where: isStale)
  }
}

extension ResolveRuntimeConfigRequest {
  /// The request without what cannot change the answer: it is by experiments alone that the answer depends on who asks.
  fileprivate var question: ResolveRuntimeConfigRequest {
    var question = self
    if experimentKeys.isEmpty { (question.userID, question.avatarID, question.segments) = ("", "", []) }
    return question
  }
}
