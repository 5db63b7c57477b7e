/// The bounds of reading the log over the wire, each with its reason.
enum EventsLimits {
  /// A page of envelopes stays under a message's 4 MiB at a KiB or so each.
  static let pageSize = 1...1_000
  static let defaultPageSize = 100
  /// Bytes of a page's envelopes, for logs of large events.
  static let pageBytes = 3 << 20
  /// Globs of a filter: each is matched against every event.
  static let types = 64
}
