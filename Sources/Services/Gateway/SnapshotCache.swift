import SpanwireSchema
import Synchronization

/// Resolved configurations by their reference. A snapshot never changes, so what is held can't be stale.
final class SnapshotCache: Sendable {
  private let held = Mutex<(configs: [String: RuntimeConfig], order: [String])>(([:], []))
  private let registry: RegistryClient

  init(_ registry: RegistryClient) { self.registry = registry }

  /// The configuration a session runs on; asks the registry when it is not held.
  func config(_ reference: String) async throws -> RuntimeConfig {
    if let config = held.withLock({ $0.configs[reference] }) { return config }
    let config = try await registry.getSnapshot(GetSnapshotRequest(snapshotRef: reference))
    keep(config, as: reference)
    return config
  }

  func keep(_ config: RuntimeConfig, as reference: String) {
    held.withLock { held in
      guard held.configs.updateValue(config, forKey: reference) == nil else { return }
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
