import SpanwireSchema
import Synchronization

/// What the registry resolved, and what follows from it. A class: it is large, and every session that opens takes it along.
final class ResolvedConfig: Sendable {
  let config: RuntimeConfig
  /// What the tokens are redeemed for, sorted: a market serves the product when it has a place for each.
  let redeemableTags: [String]

  init(_ config: RuntimeConfig) {
    self.config = config
    redeemableTags = Set(config.tokens.flatMap(\.redeemableTags)).sorted()
  }
}

/// Resolved configurations by their reference. A snapshot never changes, so what is held can't be stale.
final class SnapshotCache: Sendable {
  private let held = Mutex<(configs: [String: ResolvedConfig], order: [String])>(([:], []))
  private let registry: RegistryClient

  init(_ registry: RegistryClient) { self.registry = registry }

  /// The configuration a session runs on; asks the registry when it is not held.
  func config(_ reference: String) async throws -> RuntimeConfig {
    if let known = held.withLock({ $0.configs[reference] }) { return known.config }
    let config = try await registry.getSnapshot(GetSnapshotRequest(snapshotRef: reference))
    keep(ResolvedConfig(config), as: reference)
    return config
  }

  func keep(_ config: ResolvedConfig, as reference: String) {
    held.withLock { held in
      guard held.configs[reference] == nil else { return }
      held.configs[reference] = config
      held.order.append(reference)
      if held.order.count > GatewayLimits.cachedSnapshots { held.configs[held.order.removeFirst()] = nil }
    }
  }
}

extension RuntimeConfig {
  /// What a buyer gets who names nothing: what an experiment assigned, else the first.
  func defaultVariant(preferring preferred: String) -> Variant? {
    let variants = productVersion?.variants ?? []
    let assigned = experimentVariants.map(\.value)
    return variants.first { $0.variantID == preferred } ?? variants.first { assigned.contains($0.variantID) } ?? variants.first
  }
}
