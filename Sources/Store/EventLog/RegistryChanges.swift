import SpanwireSchema

extension LogEvent {
  /// The tenant whose registry has changed, if that is what the event says: for who keeps definitions and observes commits.
  public var tenantOfChangedRegistry: String? {
    let type = header.type
    return type == RegistryApplied.eventType.rawValue || type == RegistryRolledBack.eventType.rawValue ? header.tenant : nil
  }
}
