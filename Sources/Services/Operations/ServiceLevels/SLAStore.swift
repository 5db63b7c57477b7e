import SpanwireDatabase
import SpanwireSchema

/// The rows of service levels: what runs, and what was measured.
enum SLAStore {
  static func open(_ reader: borrowing some Reader & ~Copyable) throws -> ServiceLevels {
    let rows = try reader.query(
      """
      SELECT tenant_id, subject_id, is_execution, job_type, received_at, first_update_at, tool_rounds, first_update_told, completion_told
      FROM ops_sla_open LIMIT ?1
      """, SLALimits.open
    ) { row in
      (
        ServiceLevels.Key(tenant: row[0], subject: row[1]),
        ServiceLevels.Open(
          isExecution: row[2], jobType: row[3], receivedAt: row[4], firstUpdateAt: row[5], toolRounds: row[6], firstUpdateTold: row[7],
          completionTold: row[8])
      )
    }
    return ServiceLevels(open: Dictionary(uniqueKeysWithValues: rows))
  }

  /// Brings the rows of what runs to what differs from them.
  static func write(_ levels: ServiceLevels, _ transaction: borrowing Transaction) throws {
    for key in levels.changed {
      guard let work = levels.open[key] else {
        try transaction.execute("DELETE FROM ops_sla_open WHERE tenant_id = ?1 AND subject_id = ?2", key.tenant, key.subject)
        continue
      }
      try transaction.execute(
        """
        INSERT INTO ops_sla_open (tenant_id, subject_id, is_execution, job_type, received_at, first_update_at, tool_rounds,
          first_update_told, completion_told)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
        ON CONFLICT (tenant_id, subject_id) DO UPDATE SET first_update_at = excluded.first_update_at, tool_rounds = excluded.tool_rounds,
          first_update_told = excluded.first_update_told, completion_told = excluded.completion_told
        """, key.tenant, key.subject, work.isExecution, work.jobType, work.receivedAt, work.firstUpdateAt, work.toolRounds,
        work.firstUpdateTold, work.completionTold)
    }
  }

  static func insert(_ measurement: SlaMeasurement, tenant: String, id: String, _ transaction: borrowing Transaction) throws {
    try transaction.execute(
      """
      INSERT INTO actp_sla_measurements (tenant_id, id, job_id, job_type, time_to_first_update_ms, time_to_completion_ms, tool_rounds,
        sla_breached, outcome, created_at)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
      """, tenant, id, measurement.subjectID, measurement.jobType, measurement.timeToFirstUpdateMs, measurement.timeToCompletionMs,
      measurement.toolRounds, measurement.slaBreached, measurement.outcome, measurement.createdAt?.nanosecondsSinceEpoch ?? 0)
  }

  /// A tenant's measurements with their ids, the latest first, before one of them; of one type or of all.
  static func page(
    _ reader: borrowing some Reader & ~Copyable, tenant: String, type: String, breached: Bool, before id: String, limit: Int
  ) throws -> [(id: String, measurement: SlaMeasurement)] {
    if type.isEmpty {
      return try reader.query(
        """
        SELECT id, job_id, job_type, time_to_first_update_ms, time_to_completion_ms, tool_rounds, sla_breached, outcome, created_at
        FROM actp_sla_measurements WHERE tenant_id = ?1 AND (?2 = '' OR id < ?2) AND (?3 = 0 OR sla_breached = 1)
        ORDER BY id DESC LIMIT ?4
        """, tenant, id, breached, limit, row: measured)
    }
    return try reader.query(
      """
      SELECT id, job_id, job_type, time_to_first_update_ms, time_to_completion_ms, tool_rounds, sla_breached, outcome, created_at
      FROM actp_sla_measurements WHERE tenant_id = ?1 AND job_type = ?5 AND (?2 = '' OR id < ?2) AND (?3 = 0 OR sla_breached = 1)
      ORDER BY id DESC LIMIT ?4
      """, tenant, id, breached, limit, type, row: measured)
  }

  private static func measured(_ row: Row) -> (id: String, measurement: SlaMeasurement) {
    (
      row[0],
      SlaMeasurement(
        subjectID: row[1], jobType: row[2], timeToFirstUpdateMs: row[3], timeToCompletionMs: row[4], toolRounds: row[5],
        slaBreached: row[6], outcome: row[7], createdAt: .init(nanosecondsSinceEpoch: row[8]))
    )
  }

  /// The types of which there are measurements.
  static func types(_ reader: borrowing some Reader & ~Copyable, tenant: String) throws -> [String] {
    try reader.query(
      "SELECT DISTINCT job_type FROM actp_sla_measurements WHERE tenant_id = ?1 ORDER BY job_type LIMIT ?2", tenant, SLALimits.types
    ) { $0[0] }
  }

  /// Forgets measurements made before a moment; returns how many.
  static func purge(_ transaction: borrowing Transaction, before: Int64) throws -> Int {
    try transaction.executeCounting(
      """
      DELETE FROM actp_sla_measurements WHERE (tenant_id, id) IN
        (SELECT tenant_id, id FROM actp_sla_measurements WHERE created_at < ?1 LIMIT ?2)
      """, before, SLALimits.purgeBatch)
  }
}
