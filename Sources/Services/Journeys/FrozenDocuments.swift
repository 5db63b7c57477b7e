import SpanwireDatabase
import SpanwireSchema
import SpanwireServiceKit
import Synchronization

/// What a journey runs on, as it was when the journey started: its document ready to be walked, and the profiles.
final class FrozenConfig: Sendable {
  let graph: JourneyGraph
  let config: RuntimeConfig

  init(_ config: RuntimeConfig) {
    self.config = config
    graph = JourneyGraph(config.journeyDocument ?? JourneyDocument())
  }

  /// When the safety profile wants the day to be over that is under way; nil when it doesn't say.
  func latestEnd(onDayOf now: Int64) -> Int64? {
    for case .safety(let safety) in config.profiles.compactMap(\.kind) {
      return TimeOfDay(safety.latestEndLocal)?.moment(onDayOf: now, in: config.market?.timeZone ?? "UTC")
    }
    return nil
  }
}

/// Frozen configurations in memory, by tenant and snapshot. They never change, so none can be stale, and a transaction may fill the
/// cache though it may yet roll back.
final class FrozenDocuments: Sendable {
  private struct Key: Hashable {
    var tenant: String
    var reference: String
  }

  private struct State {
    var configs: [Key: FrozenConfig] = [:]
    var order: [Key] = []
    /// Those whose rows are known to have been committed.
    var committed: Set<Key> = []
  }

  private let state = Mutex(State())

  /// The configuration of a journey, which its start has stored.
  func config(_ reference: String, tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> FrozenConfig {
    if let found = state.withLock({ $0.configs[Key(tenant: tenant, reference: reference)] }) { return found }
    guard let found = try stored(reference, tenant: tenant, in: reader) else {
      preconditionFailure("a journey's frozen configuration \(reference) is gone")
    }
    return found
  }

  /// A configuration that an earlier journey has stored; nil when none has.
  func committed(_ reference: String, tenant: String, in database: any Database) async throws -> FrozenConfig? {
    let key = Key(tenant: tenant, reference: reference)
    if let found = state.withLock({ $0.committed.contains(key) ? $0.configs[key] : nil }) { return found }
    let found = try await database.read { [self] reader in try stored(reference, tenant: tenant, in: reader) }
    if found != nil { commit(reference, tenant: tenant) }
    return found
  }

  /// Says that a configuration's row has been committed.
  func commit(_ reference: String, tenant: String) {
    state.withLock { state in
      let key = Key(tenant: tenant, reference: reference)
      if state.configs[key] != nil { state.committed.insert(key) }
    }
  }

  private func stored(_ reference: String, tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> FrozenConfig? {
    guard let bytes = try JourneyStore.frozen(reference, tenant: tenant, in: reader) else { return nil }
    let config = FrozenConfig(try RuntimeConfig(decoding: bytes))
    state.withLock { state in
      let key = Key(tenant: tenant, reference: reference)
      guard state.configs.updateValue(config, forKey: key) == nil else { return }
      state.order.append(key)
      guard state.order.count > JourneyLimits.heldDocuments else { return }
      let oldest = state.order.removeFirst()
      state.configs[oldest] = nil
      state.committed.remove(oldest)
    }
    return config
  }
}
