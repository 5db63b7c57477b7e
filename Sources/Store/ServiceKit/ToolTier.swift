/// The tiers of agents' tools, by what a tool may do.
public enum ToolTier {
  public static let all = ["read", "network_read", "network_write", "money", "system_admin"]
  /// Those that need an approval where no policy says otherwise.
  public static let approvedByDefault: Set<String> = ["network_write", "money", "system_admin"]
  /// Those that leave the platform.
  public static let network: Set<String> = ["network_read", "network_write"]
}
