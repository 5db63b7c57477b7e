import SpanwireSchema

extension LogEvent {
  private static let registryChanges: Set<String> = [RegistryApplied.eventType.rawValue, RegistryRolledBack.eventType.rawValue]

  /// The tenant whose registry has changed, if that is what the event says: for who keeps definitions and observes commits.
  public var tenantOfChangedRegistry: String? { Self.registryChanges.contains(header.type) ? header.tenant : nil }
}
