import SpanwireDatabase
import SpanwireProtobuf
import SpanwireSchema
import SpanwireTelemetry

/// Spans in rows, in a database of their own: telemetry never waits behind a session's commit, nor a session behind telemetry.
struct SpanStore: Sendable {
  let database: any Database

  static let migrations = Migrations(
    "observability",
    [
      Migrations.Step(
        "spans",
        sqlite: """
          CREATE TABLE spans (
            tenant_id TEXT NOT NULL, trace_id BLOB NOT NULL, span_id BLOB NOT NULL, is_root INTEGER NOT NULL, service TEXT NOT NULL,
            name TEXT NOT NULL, start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL, is_error INTEGER NOT NULL, span BLOB NOT NULL,
            PRIMARY KEY (tenant_id, trace_id, span_id)
          ) STRICT, WITHOUT ROWID;
          CREATE INDEX spans_by_start ON spans (tenant_id, start_ns);
          CREATE INDEX spans_by_age ON spans (start_ns);
          """)
    ])

  /// Stores spans; one that is there already (an exporter's retry) is left as it is.
  func insert(_ spans: [RecordedSpan]) async throws {
    var rest = spans[...]
    while !rest.isEmpty {
      let part = Array(rest.prefix(ObservabilityLimits.spansInTransaction))
      rest = rest.dropFirst(part.count)
      _ = try await database.transaction("store spans") { transaction in
        for recorded in part {
          let span = recorded.span
          try transaction.execute(
            """
            INSERT INTO spans (tenant_id, trace_id, span_id, is_root, service, name, start_ns, end_ns, is_error, span)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING
            """,
            recorded.tenant, span.traceID, span.spanID, span.parentSpanID.isEmpty, recorded.service, span.name,
            Int64(clamping: span.startTimeUnixNano), Int64(clamping: span.endTimeUnixNano), span.status?.code == .error, span.encoded())
        }
      }
    }
  }

  /// Forgets spans that are too old, and the oldest beyond the number kept.
  func prune(now: Int64) async throws {
    _ = try await database.transaction("prune spans") { transaction in
      try transaction.execute("DELETE FROM spans WHERE start_ns < ?1", now - ObservabilityLimits.retentionNanoseconds)
      try transaction.execute(
        "DELETE FROM spans WHERE start_ns < (SELECT start_ns FROM spans ORDER BY start_ns DESC LIMIT 1 OFFSET ?1)",
        Int64(ObservabilityLimits.storedSpans))
    }
  }

  /// The spans of a trace by start time.
  func trace(tenant: String, _ id: [UInt8]) async throws -> [StoredSpan] {
    let rows = try await database.scan { snapshot in
      try snapshot.query(
        // The sign keeps SQLite from reading all of a tenant's spans in the order of their index rather than sort a trace's.
        "SELECT service, span FROM spans WHERE tenant_id = ?1 AND trace_id = ?2 ORDER BY +start_ns, span_id LIMIT ?3",
        tenant, id, ObservabilityLimits.spansInTrace
      ) { (service: $0[0] as String, bytes: $0[1] as [UInt8]) }
    }
    return try rows.map { StoredSpan(serviceName: $0.service, span: try Opentelemetry_Proto_Trace_V1_Span(decoding: $0.bytes)) }
  }

  struct Search: Sendable {
    var tenant: String
    var service = ""
    var namePrefix = ""
    var from: Int64 = 0
    var to = Int64.max
    var minDuration: Int64 = 0
    var errorsOnly = false
    /// Only traces that began before this one did.
    var before: (start: Int64, trace: [UInt8]) = (.max, [])
    var limit: Int
  }

  struct Found: Sendable {
    var trace: [UInt8]
    var start: Int64
    var end: Int64
    var spans: Int
    var errors: Int
    var rootService: String
    var rootName: String
  }

  /// Traces with a span that matches, newest first.
  func search(_ search: Search) async throws -> [Found] {
    try await database.scan { snapshot in
      let traces = try snapshot.query(
        """
        SELECT trace_id, MIN(start_ns), MAX(end_ns), COUNT(*), SUM(is_error) FROM spans
        WHERE tenant_id = ?1 AND trace_id IN (
          SELECT trace_id FROM spans WHERE tenant_id = ?1 AND start_ns >= ?2 AND start_ns < ?3 AND (?4 = '' OR service = ?4)
            AND (?5 = '' OR substr(name, 1, length(?5)) = ?5) AND (?6 = 0 OR is_error = 1))
        GROUP BY trace_id
        HAVING MAX(end_ns) - MIN(start_ns) >= ?7 AND (MIN(start_ns) < ?8 OR (MIN(start_ns) = ?8 AND trace_id > ?9))
        ORDER BY MIN(start_ns) DESC, trace_id LIMIT ?10
        """,
        search.tenant, search.from, search.to, search.service, search.namePrefix, search.errorsOnly, search.minDuration,
        search.before.start, search.before.trace, search.limit
      ) { Found(trace: $0[0], start: $0[1], end: $0[2], spans: $0[3], errors: $0[4], rootService: "", rootName: "") }
      return try traces.map { found in
        var found = found
        let root = try snapshot.first(
          "SELECT service, name FROM spans WHERE tenant_id = ?1 AND trace_id = ?2 ORDER BY is_root DESC, start_ns LIMIT 1",
          search.tenant, found.trace
        ) { (service: $0[0] as String, name: $0[1] as String) }
        found.rootService = root?.service ?? ""
        found.rootName = root?.name ?? ""
        return found
      }
    }
  }
}
