import SpanwireDatabase

/// How long the log keeps what it need not keep for ever. Business events stay, whatever stands here.
public struct RetentionPeriods: Sendable, Hashable {
  /// What operators need: a quarter.
  public var operational: Duration
  /// What subscribers had their chance at: a week, in which a reader that broke down can be mended.
  public var transient: Duration

  /// `transient` counts as no longer than `operational`.
  public init(operational: Duration = .seconds(90 * 86_400), transient: Duration = .seconds(7 * 86_400)) {
    self.operational = operational
    self.transient = min(transient, operational)
  }
}

/// What one run of compaction did.
public struct Compaction: Sendable, Hashable {
  /// Pages that were gone through.
  public var pages: Int64 = 0
  /// Events that were removed.
  public var removed: Int64 = 0
}

extension EventLog {
  /// Removes events whose retention has passed.
  ///
  /// It works by full pages, each as old as its last event, and leaves alone those that a named consumer has not passed. Positions stay
  /// what they are: what is gone leaves a gap, which the page's row accounts for. Readers find what is left; a cursor before the first
  /// event that is kept gets `cursorTooOld`.
  ///
  /// - Parameter tenant: whose events alone are removed; nil for everybody's, and only then does a page count as done.
  public func compact(_ periods: RetentionPeriods, now: Int64, tenant: String? = nil) async throws -> Compaction {
    var done = Compaction()
    for (level, period) in [(CompactionLevel.transient, periods.transient), (.operational, periods.operational)] {
      let before = now - period.nanoseconds
      var from: Int64 = 0
      while true {
        let first = from
        let numbers = try await database.scan { try LogStore.compactable($0, level, from: first, lastBefore: before) }
        guard let last = numbers.last else { break }
        let removed = try await database.transaction("events.compact") { transaction in
          try numbers.reduce(0) { try $0 + transaction.compactPage($1, level, tenant) }
        }.value
        pages.remove(numbers[0]..<last + 1)
        done.pages += Int64(numbers.count)
        done.removed += removed
        from = last + 1
      }
    }
    return done
  }
}

/// What a page has lost.
enum CompactionLevel: Int64, SQLValue {
  case transient = 1
  case operational = 2

  /// Events of this retention and of those with higher numbers go.
  var removes: EventRetention { self == .transient ? .transient : .operational }
}

extension LogStore {
  /// The next pages that are old enough, that every named consumer has passed, and that have not lost as much yet.
  static func compactable(
    _ reader: borrowing some Reader & ~Copyable, _ level: CompactionLevel, from number: Int64, lastBefore moment: Int64
  ) throws -> [Int64] {
    let passed = try reader.first("SELECT min(position) FROM event_consumer") { $0.get(0, as: Int64?.self) }.flatMap { $0 } ?? .max
    // The last event stays, whatever it is: the next position is counted from it.
    let end = min(passed, try head(reader) - 1) / EventLogLimits.page
    return try reader.query(
      """
      SELECT number FROM event_page WHERE number >= ?1 AND number < ?2 AND compacted < ?3 AND last_at < ?4 ORDER BY number LIMIT ?5
      """, number, end, level, moment, EventLogLimits.pagesPerCompaction
    ) { $0[0] }
  }
}

extension Transaction {
  /// Removes what a page need not keep any more; how many events.
  func compactPage(_ number: Int64, _ level: CompactionLevel, _ tenant: String?) throws -> Int64 {
    let first = number * EventLogLimits.page
    if let tenant {
      let removed = Int64(
        try executeCounting(
          "DELETE FROM event_log WHERE position > ?1 AND position <= ?2 AND retention >= ?3 AND tenant_id = ?4", first,
          first + EventLogLimits.page, level.removes, tenant))
      // What the page holds of others' is still to go.
      if removed > 0 { try execute("UPDATE event_page SET kept = kept - ?2 WHERE number = ?1", number, removed, expecting: .rows(1)) }
      return removed
    }
    let removed = Int64(
      try executeCounting(
        "DELETE FROM event_log WHERE position > ?1 AND position <= ?2 AND retention >= ?3", first, first + EventLogLimits.page,
        level.removes))
    try execute(
      "UPDATE event_page SET kept = kept - ?2, compacted = ?3 WHERE number = ?1", number, removed, level, expecting: .rows(1))
    return removed
  }
}
