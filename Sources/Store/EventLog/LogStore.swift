import SpanwireDatabase

/// The log's rows.
public enum LogStore {
  public static let migrations = Migrations(
    "events",
    [
      .init(
        "the log, its streams and its consumers",
        sqlite: """
          CREATE TABLE event_log (
            position INTEGER NOT NULL PRIMARY KEY,
            stream_key INTEGER NOT NULL,
            stream_sequence INTEGER NOT NULL,
            type TEXT NOT NULL,
            lane INTEGER NOT NULL,
            tenant_id TEXT NOT NULL,
            session_id TEXT NOT NULL,
            journey_instance_id TEXT NOT NULL,
            trace_id BLOB NOT NULL,
            producer TEXT NOT NULL,
            retention INTEGER NOT NULL,
            occurred_at INTEGER NOT NULL,
            envelope BLOB NOT NULL
          ) STRICT;
          CREATE INDEX event_log_stream ON event_log (stream_key, position);
          CREATE TABLE event_page (
            number INTEGER NOT NULL PRIMARY KEY,
            kept INTEGER NOT NULL,
            last_at INTEGER NOT NULL,
            compacted INTEGER NOT NULL,
            summary BLOB NOT NULL
          ) STRICT;
          CREATE TABLE event_stream (
            tenant_id TEXT NOT NULL,
            stream TEXT NOT NULL,
            stream_key INTEGER NOT NULL,
            last_sequence INTEGER NOT NULL,
            PRIMARY KEY (tenant_id, stream)
          ) STRICT, WITHOUT ROWID;
          CREATE TABLE event_consumer (
            name TEXT NOT NULL PRIMARY KEY,
            position INTEGER NOT NULL
          ) STRICT, WITHOUT ROWID;
          """),
      .init(
        "the head of the audit's chain",
        sqlite: """
          CREATE TABLE audit_head (
            id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
            sequence INTEGER NOT NULL,
            position INTEGER NOT NULL,
            hash BLOB NOT NULL
          ) STRICT;
          """),
    ])

  static func head(_ reader: borrowing some Reader & ~Copyable) throws -> Int64 {
    try reader.first("SELECT max(position) FROM event_log") { $0.get(0, as: Int64?.self) }.flatMap { $0 } ?? 0
  }

  /// The first position that is kept; 1 while the log is empty.
  static func first(_ reader: borrowing some Reader & ~Copyable) throws -> Int64 {
    try reader.first("SELECT min(position) FROM event_log") { $0.get(0, as: Int64?.self) }.flatMap { $0 } ?? 1
  }

  /// Events after a position, in order.
  static func page(_ reader: borrowing some Reader & ~Copyable, after: Int64, through: Int64) throws -> [LogEvent] {
    try reader.query(
      """
      SELECT position, stream_sequence, type, lane, tenant_id, session_id, journey_instance_id, trace_id, producer, retention, occurred_at,
        envelope
      FROM event_log WHERE position > ?1 AND position <= ?2 ORDER BY position
      """, after, through, row: event)
  }

  /// A session's events after a position, and how far the log was scanned for them.
  static func page(
    _ reader: borrowing some Reader & ~Copyable, session: String, tenant: String, after: Int64
  ) throws -> (events: [LogEvent], through: Int64) {
    let head = try head(reader)
    guard
      let key = try reader.first(
        "SELECT stream_key FROM event_stream WHERE tenant_id = ?1 AND stream = ?2", tenant, session, row: { $0.get(0, as: Int64.self) })
    else { return ([], head) }
    let events = try reader.query(
      """
      SELECT position, stream_sequence, type, lane, tenant_id, session_id, journey_instance_id, trace_id, producer, retention, occurred_at,
        envelope
      FROM event_log WHERE stream_key = ?1 AND position > ?2 ORDER BY position LIMIT ?3
      """, key, after, EventLogLimits.page, row: event)
    return (events, events.count < Int(EventLogLimits.page) ? max(head, after) : events.last!.position)
  }

  private static func event(_ row: Row) -> LogEvent {
    LogEvent(
      position: row[0], sequence: row[1],
      header: EventHeader(
        type: row[2], tenant: row[4], session: row[5], journey: row[6], trace: row[7], lane: row[3], producer: row[8],
        retention: row[9], occurredAt: row[10]),
      envelope: row[11])
  }
}

extension EventLane: SQLValue {}
extension EventRetention: SQLValue {}

extension Transaction {
  /// Stores an event in this transaction under the log's next position and its stream's next sequence, with which `encode` makes the
  /// envelope. It reaches subscribers if and when the transaction commits.
  func append(_ header: EventHeader, encode: (_ position: Int64, _ sequence: Int64) throws -> [UInt8]) throws -> LogEvent {
    try append([header]) { try encode($1, $2) }[0]
  }

  /// Stores events one after the other. Neighbours in one stream count it up together.
  ///
  /// - Parameter page: where the log keeps the headers of its last page.
  func append(
    _ headers: [EventHeader], _ page: OpenPage? = nil, encode: (_ index: Int, _ position: Int64, _ sequence: Int64) throws -> [UInt8]
  ) throws -> [LogEvent] {
    var position = try knownPosition ?? LogStore.head(self)
    var events: [LogEvent] = []
    events.reserveCapacity(headers.count)
    while events.count < headers.count {
      let first = headers[events.count]
      let name = first.stream
      let neighbours = headers[events.count...].prefix { $0.tenant == first.tenant && $0.stream == name }
      var stream = try advance(name, tenant: first.tenant, by: neighbours.count, newKey: position + 1)
      for (index, header) in zip(neighbours.indices, neighbours) {
        position += 1
        stream.sequence += 1
        events.append(try store(header, position, stream, page, envelope: try encode(index, position, stream.sequence)))
      }
    }
    return events
  }

  /// Counts a stream up; returns its key and its sequence before. A stream that is new is known by the position of its first event.
  private func advance(_ stream: String, tenant: String, by count: Int, newKey: Int64) throws -> (key: Int64, sequence: Int64) {
    let known = try first("SELECT stream_key, last_sequence FROM event_stream WHERE tenant_id = ?1 AND stream = ?2", tenant, stream) {
      (key: $0.get(0, as: Int64.self), sequence: $0.get(1, as: Int64.self))
    }
    guard let known else {
      try execute(
        "INSERT INTO event_stream (tenant_id, stream, stream_key, last_sequence) VALUES (?1, ?2, ?3, ?4)", tenant, stream, newKey, count)
      return (newKey, 0)
    }
    // Not RETURNING, for which SQLite makes a table that lives for the statement.
    try execute(
      "UPDATE event_stream SET last_sequence = ?3 WHERE tenant_id = ?1 AND stream = ?2 AND last_sequence = ?4", tenant, stream,
      known.sequence + Int64(count), known.sequence, expecting: .rows(1))
    return known
  }

  private func store(
    _ header: EventHeader, _ position: Int64, _ stream: (key: Int64, sequence: Int64), _ page: OpenPage?, envelope: [UInt8]
  ) throws -> LogEvent {
    try execute(
      """
      INSERT INTO event_log (position, stream_key, stream_sequence, type, lane, tenant_id, session_id, journey_instance_id, trace_id,
        producer, retention, occurred_at, envelope)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
      """, position, stream.key, stream.sequence, header.type, header.lane, header.tenant, header.session, header.journey, header.trace,
      header.producer, header.retention, header.occurredAt, envelope)
    let full = page?.take(header, at: position)
    if position.isMultiple(of: EventLogLimits.page) { try sealPage(endingAt: position, header.occurredAt, full) }
    let event = LogEvent(position: position, sequence: stream.sequence, header: header, envelope: envelope)
    publish(event)
    reached(position: position)
    return event
  }
}
