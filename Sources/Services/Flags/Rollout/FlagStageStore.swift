import SpanwireDatabase
import SpanwireSchema
import SpanwireWellKnown

/// Where a tenant's flag was moved to; none for one that is where its definition begins.
struct FlagStageRow: Sendable {
  let key: String
  var position: FlagPosition
  var approvalID: String
  var transitions: UInt64
}

/// The rows of rollouts: where each flag is, and every transition that it went through.
enum FlagStageStore {
  static let migrations = Migrations(
    "flags",
    [
      .init(
        "stages",
        sqlite: """
          CREATE TABLE flag_stages (
            tenant_id TEXT NOT NULL,
            flag_key TEXT NOT NULL,
            stage TEXT NOT NULL,
            paused_stage TEXT NOT NULL,
            approval_id TEXT NOT NULL,
            transitions INTEGER NOT NULL,
            PRIMARY KEY (tenant_id, flag_key)
          ) STRICT, WITHOUT ROWID;

          CREATE TABLE flag_transitions (
            tenant_id TEXT NOT NULL,
            flag_key TEXT NOT NULL,
            number INTEGER NOT NULL,
            move INTEGER NOT NULL,
            from_stage TEXT NOT NULL,
            to_stage TEXT NOT NULL,
            actor TEXT NOT NULL,
            reason TEXT NOT NULL,
            approval_id TEXT NOT NULL,
            occurred_at INTEGER NOT NULL,
            PRIMARY KEY (tenant_id, flag_key, number)
          ) STRICT, WITHOUT ROWID;
          """)
    ])

  static func find(_ key: String, tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> FlagStageRow? {
    try reader.first(
      "SELECT flag_key, stage, paused_stage, approval_id, transitions FROM flag_stages WHERE tenant_id = ?1 AND flag_key = ?2", tenant, key,
      row: row)
  }

  /// Every flag of a tenant's that was ever moved.
  static func all(of tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> [FlagStageRow] {
    try reader.query(
      "SELECT flag_key, stage, paused_stage, approval_id, transitions FROM flag_stages WHERE tenant_id = ?1 ORDER BY flag_key", tenant,
      row: row)
  }

  private static func row(_ row: Row) -> FlagStageRow {
    FlagStageRow(
      key: row[0],
      position: FlagPosition(
        stage: FlagStage(rawValue: row.get(1, as: String.self)) ?? .draft, pausedStage: FlagStage(rawValue: row.get(2, as: String.self))),
      approvalID: row[3], transitions: row[4])
  }

  static func put(_ row: FlagStageRow, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute(
      """
      INSERT INTO flag_stages (tenant_id, flag_key, stage, paused_stage, approval_id, transitions) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
      ON CONFLICT (tenant_id, flag_key) DO UPDATE SET stage = excluded.stage, paused_stage = excluded.paused_stage,
        approval_id = excluded.approval_id, transitions = excluded.transitions
      """, tenant, row.key, row.position.stage.rawValue, row.position.pausedStage?.rawValue ?? "", row.approvalID, row.transitions,
      expecting: .rows(1))
  }

  static func insert(_ transition: FlagTransition, at now: Int64, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute(
      """
      INSERT INTO flag_transitions (tenant_id, flag_key, number, move, from_stage, to_stage, actor, reason, approval_id, occurred_at)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
      """, tenant, transition.flagKey, transition.number, transition.move.rawValue, transition.fromStage, transition.toStage,
      transition.actor, transition.reason, transition.approvalID, now, expecting: .rows(1))
  }

  /// A flag's transitions before one, the latest first.
  static func transitions(
    of key: String, before number: UInt64?, size: Int, tenant: String, in reader: borrowing some Reader & ~Copyable
  ) throws -> [FlagTransition] {
    try reader.query(
      """
      SELECT number, flag_key, from_stage, to_stage, move, actor, reason, approval_id, occurred_at FROM flag_transitions
      WHERE tenant_id = ?1 AND flag_key = ?2 AND number < ?3 ORDER BY number DESC LIMIT ?4
      """, tenant, key, number.map(Int64.init) ?? .max, size
    ) {
      FlagTransition(
        number: $0[0], flagKey: $0[1], fromStage: $0[2], toStage: $0[3], move: FlagMove(rawValue: $0[4]), actor: $0[5], reason: $0[6],
        approvalID: $0[7], occurredAt: .init(nanosecondsSinceEpoch: $0[8]))
    }
  }

  /// How many transitions all flags of a tenant's have gone through.
  static func transitions(of tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> UInt64 {
    try reader.first("SELECT coalesce(sum(transitions), 0) FROM flag_stages WHERE tenant_id = ?1", tenant) { $0[0] } ?? 0
  }

  static func count(in reader: borrowing some Reader & ~Copyable) throws -> Int {
    try reader.first("SELECT count(*) FROM flag_stages") { $0[0] } ?? 0
  }

  /// Flags that are not where their last transition brought them, or did not go through as many as they say.
  static func inconsistent(limit: Int, in reader: borrowing some Reader & ~Copyable) throws -> [String] {
    try reader.query(
      """
      SELECT s.tenant_id || '/' || s.flag_key FROM flag_stages s WHERE NOT EXISTS (
        SELECT 1 FROM flag_transitions t
        WHERE t.tenant_id = s.tenant_id AND t.flag_key = s.flag_key AND t.number = s.transitions AND t.to_stage = s.stage)
        OR s.transitions <> (SELECT count(*) FROM flag_transitions t WHERE t.tenant_id = s.tenant_id AND t.flag_key = s.flag_key)
      ORDER BY 1 LIMIT ?1
      """, limit
    ) { $0[0] }
  }
}
