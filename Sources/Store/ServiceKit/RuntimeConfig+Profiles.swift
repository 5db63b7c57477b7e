import SpanwireSchema

extension RuntimeConfig {
  /// The ids of the profiles, by kind, as an agent is told them.
  public var agentProfiles: AgentProfiles {
    var ids = AgentProfiles()
    for profile in profiles {
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
