import SpanwireDatabase
import SpanwireSchema

/// The rows of schedules and of what became of their times.
enum ScheduleStore {
  struct ScheduleRow: Sendable {
    var schedule: Schedule
    /// The principal in whose name its work is done, as it is stored.
    var subject: String
    /// The effect that fires it.
    var timer: String

    var nextDue: Int64 { schedule.nextDue?.nanosecondsSinceEpoch ?? 0 }
  }

  /// Adds a schedule; false when its id is taken.
  static func insert(_ row: ScheduleRow, _ transaction: borrowing Transaction) throws -> Bool {
    try transaction.executeCounting(
      """
      INSERT INTO ops_schedule (tenant_id, schedule_id, schedule, subject, next_due, timer) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
      ON CONFLICT DO NOTHING
      """, row.schedule.tenantID, row.schedule.scheduleID, row.schedule.encoded(), row.subject, row.nextDue, row.timer) == 1
  }

  static func update(_ row: ScheduleRow, _ transaction: borrowing Transaction) throws {
    try transaction.execute(
      "UPDATE ops_schedule SET schedule = ?3, next_due = ?4, timer = ?5 WHERE tenant_id = ?1 AND schedule_id = ?2",
      row.schedule.tenantID, row.schedule.scheduleID, row.schedule.encoded(), row.nextDue, row.timer, expecting: .rows(1))
  }

  static func delete(tenant: String, id: String, _ transaction: borrowing Transaction) throws {
    try transaction.execute("DELETE FROM ops_schedule WHERE tenant_id = ?1 AND schedule_id = ?2", tenant, id, expecting: .rows(1))
    try transaction.execute("DELETE FROM ops_schedule_run WHERE tenant_id = ?1 AND schedule_id = ?2", tenant, id)
  }

  static func schedule(_ reader: borrowing some Reader & ~Copyable, tenant: String, id: String) throws -> ScheduleRow? {
    try reader.first(
      "SELECT schedule, subject, timer FROM ops_schedule WHERE tenant_id = ?1 AND schedule_id = ?2", tenant, id, row: schedule)
  }

  static func page(_ reader: borrowing some Reader & ~Copyable, tenant: String, after id: String, limit: Int) throws -> [ScheduleRow] {
    try reader.query(
      "SELECT schedule, subject, timer FROM ops_schedule WHERE tenant_id = ?1 AND schedule_id > ?2 ORDER BY schedule_id LIMIT ?3", tenant,
      id, limit, row: schedule)
  }

  static func count(_ reader: borrowing some Reader & ~Copyable, tenant: String) throws -> Int {
    try reader.first("SELECT count(*) FROM ops_schedule WHERE tenant_id = ?1", tenant) { $0[0] } ?? 0
  }

  private static func schedule(_ row: Row) throws -> ScheduleRow {
    ScheduleRow(schedule: try Schedule(decoding: row.get(0, as: [UInt8].self)), subject: row[1], timer: row[2])
  }

  // MARK: Runs

  /// Adds a run, and forgets those that are too many.
  static func insert(_ run: ScheduleRun, tenant: String, id: String, _ transaction: borrowing Transaction) throws {
    try transaction.execute(
      """
      INSERT INTO ops_schedule_run (tenant_id, schedule_id, run_id, due, outcome, subject_id, reason, firings, decided_at)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
      """, tenant, run.scheduleID, id, run.due?.nanosecondsSinceEpoch ?? 0, run.outcome.rawValue, run.subjectID, run.reason, run.firings,
      run.decidedAt?.nanosecondsSinceEpoch ?? 0, expecting: .rows(1))
    try transaction.execute(
      """
      DELETE FROM ops_schedule_run WHERE tenant_id = ?1 AND schedule_id = ?2 AND run_id <= (SELECT run_id FROM ops_schedule_run
        WHERE tenant_id = ?1 AND schedule_id = ?2 ORDER BY run_id DESC LIMIT 1 OFFSET ?3)
      """, tenant, run.scheduleID, ScheduleLimits.runs)
  }

  /// The latest first, with their ids, before one of them.
  static func runs(
    _ reader: borrowing some Reader & ~Copyable, tenant: String, schedule: String, before id: String, limit: Int
  ) throws -> [(id: String, run: ScheduleRun)] {
    try reader.query(
      """
      SELECT run_id, schedule_id, due, outcome, subject_id, reason, firings, decided_at FROM ops_schedule_run
      WHERE tenant_id = ?1 AND schedule_id = ?2 AND (?3 = '' OR run_id < ?3) ORDER BY run_id DESC LIMIT ?4
      """, tenant, schedule, id, limit, row: run)
  }

  /// What it began last; nil when it has begun nothing yet.
  static func lastBegun(_ reader: borrowing some Reader & ~Copyable, tenant: String, schedule: String) throws -> ScheduleRun? {
    try reader.first(
      """
      SELECT run_id, schedule_id, due, outcome, subject_id, reason, firings, decided_at FROM ops_schedule_run
      WHERE tenant_id = ?1 AND schedule_id = ?2 AND subject_id <> '' ORDER BY run_id DESC LIMIT 1
      """, tenant, schedule, row: run)?.run
  }

  /// Whoever was to do the work refused it.
  static func refuse(
    tenant: String, schedule: String, run id: String, _ reason: String, _ transaction: borrowing Transaction
  ) throws {
    try transaction.execute(
      "UPDATE ops_schedule_run SET outcome = ?4, reason = ?5 WHERE tenant_id = ?1 AND schedule_id = ?2 AND run_id = ?3",
      tenant, schedule, id, ScheduleRun.Outcome.refused.rawValue, reason)
  }

  private static func run(_ row: Row) -> (id: String, run: ScheduleRun) {
    (
      row[0],
      ScheduleRun(
        scheduleID: row[1], due: .init(nanosecondsSinceEpoch: row[2]), outcome: ScheduleRun.Outcome(rawValue: row[3]), subjectID: row[4],
        reason: row[5], firings: row[6], decidedAt: .init(nanosecondsSinceEpoch: row[7]))
    )
  }

  // MARK: Verification

  /// Schedules, and those that no pending timer will fire.
  static func untimed(_ reader: borrowing some Reader & ~Copyable, limit: Int) throws -> (examined: Int, found: [String]) {
    let count = try reader.first("SELECT count(*) FROM ops_schedule") { $0.get(0, as: Int.self) } ?? 0
    let found = try reader.query(
      """
      SELECT tenant_id, schedule_id FROM ops_schedule WHERE next_due > 0 AND NOT EXISTS
        (SELECT 1 FROM effect WHERE effect.id = ops_schedule.timer AND effect.state = 0)
      ORDER BY tenant_id, schedule_id LIMIT ?1
      """, limit
    ) { "\($0.get(0, as: String.self))/\($0.get(1, as: String.self))" }
    return (count, found)
  }
}
