import SpanwireDatabase
import SpanwireSchema
import Synchronization

/// What a journey runs on, as it was when the journey started: its document ready to be walked, and the profiles.
final class FrozenConfig: Sendable {
  let graph: JourneyGraph
  let config: RuntimeConfig

  init(_ config: RuntimeConfig) {
    self.config = config
    graph = JourneyGraph(config.journeyDocument ?? JourneyDocument())
  }

  /// The ids of the profiles, by kind, as an agent is told them.
  var agentProfiles: AgentProfiles {
    var ids = AgentProfiles()
    for profile in config.profiles {
      switch profile.kind {
      case .token: ids.tokenProfileID = profile.profileID
      case .loyalty: ids.loyaltyProfileID = profile.profileID
      case .pricing: ids.pricingProfileID = profile.profileID
      case .safety: ids.safetyProfileID = profile.profileID
      case .ui: ids.uiProfileID = profile.profileID
      case .ops: ids.opsProfileID = profile.profileID
      case .quality: ids.qualityProfileID = profile.profileID
      case nil: break
      }
    }
    return ids
  }
}

/// Frozen configurations in memory, by tenant and snapshot. They never change, so none can be stale, and a transaction may fill the
/// cache though it may yet roll back.
final class FrozenDocuments: Sendable {
  private struct Key: Hashable {
    var tenant: String
    var reference: String
  }

  private let held = Mutex<(configs: [Key: FrozenConfig], order: [Key])>(([:], []))

  func config(_ origin: StartJourneyRequest, in reader: borrowing some Reader & ~Copyable) throws -> FrozenConfig {
    let key = Key(tenant: origin.tenantID, reference: origin.runtimeSnapshotRef)
    if let found = held.withLock({ $0.configs[key] }) { return found }
    guard let bytes = try JourneyStore.frozen(key.reference, tenant: key.tenant, in: reader) else {
      preconditionFailure("a journey's frozen configuration \(key.reference) is gone")
    }
    let config = FrozenConfig(try RuntimeConfig(decoding: bytes))
    held.withLock { held in
      guard held.configs.updateValue(config, forKey: key) == nil else { return }
      held.order.append(key)
      if held.order.count > JourneyLimits.heldDocuments { held.configs[held.order.removeFirst()] = nil }
    }
    return config
  }
}
