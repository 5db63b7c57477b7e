/// The bounds of the collector, each with its reason.
enum ObservabilityLimits {
  /// Spans of one trace in an answer: a waterfall beyond it helps nobody, and the answer stays under a message's 4 MiB.
  static let spansInTrace = 2_000
  /// Spans in one export: what stock exporters send at once is 512; this leaves room and bounds a transaction.
  static let spansInExport = 20_000
  /// Bytes of one stored span: attributes can be long, a page of them can't.
  static let spanBytes = 64 * 1024
  /// Spans written in one transaction, so that a burst does not hold the writer for long.
  static let spansInTransaction = 1_000
  /// How long spans are kept: a week of looking back.
  static let retentionNanoseconds: Int64 = 7 * 24 * 3_600 * 1_000_000_000
  /// How many spans are kept whatever their age: about 1 GiB.
  static let storedSpans = 2_000_000
  /// How many event ids an answer links.
  static let linkedEvents: UInt32 = 200
  static let pageSize = 1...200
  static let defaultPageSize = 20
}
