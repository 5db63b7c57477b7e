import SpanwireDatabase
import SpanwireEventLog
import SpanwireProtobuf
import SpanwireSchema

/// What names an execution across tenants.
struct ExecutionKey: Hashable, Sendable {
  var tenant: String
  var id: String
}

/// The rows of executions, what was told of them, their attempts and steps.
enum ExecutionsStore {
  static let migrations = Migrations(
    "executions",
    [
      Migrations.Step(
        "executions with their steps, records, state, artifacts and handlers",
        sqlite: """
          CREATE TABLE exec_execution (
            tenant_id TEXT NOT NULL,
            execution_id TEXT NOT NULL,
            session_id TEXT NOT NULL,
            intent_type TEXT NOT NULL,
            status INTEGER NOT NULL,
            lease_epoch INTEGER NOT NULL,
            execution BLOB NOT NULL,
            metadata BLOB NOT NULL,
            caller TEXT NOT NULL,
            PRIMARY KEY (tenant_id, execution_id)
          ) STRICT, WITHOUT ROWID;
          CREATE INDEX exec_execution_by_session ON exec_execution (tenant_id, session_id, execution_id);
          CREATE INDEX exec_execution_unfinished ON exec_execution (tenant_id, execution_id) WHERE status IN (1, 2);
          CREATE TABLE exec_update (
            tenant_id TEXT NOT NULL,
            execution_id TEXT NOT NULL,
            seq INTEGER NOT NULL,
            content BLOB NOT NULL,
            PRIMARY KEY (tenant_id, execution_id, seq)
          ) STRICT, WITHOUT ROWID;
          CREATE TABLE exec_attempt (
            tenant_id TEXT NOT NULL,
            execution_id TEXT NOT NULL,
            lease_epoch INTEGER NOT NULL,
            handler_name TEXT NOT NULL,
            performer TEXT NOT NULL,
            begun_at INTEGER NOT NULL,
            ended_at INTEGER NOT NULL DEFAULT 0,
            outcome TEXT NOT NULL DEFAULT '',
            error TEXT NOT NULL DEFAULT '',
            PRIMARY KEY (tenant_id, execution_id, lease_epoch)
          ) STRICT, WITHOUT ROWID;
          CREATE TABLE exec_step (
            tenant_id TEXT NOT NULL,
            execution_id TEXT NOT NULL,
            step_id TEXT NOT NULL,
            position INTEGER NOT NULL,
            step BLOB NOT NULL,
            PRIMARY KEY (tenant_id, execution_id, step_id)
          ) STRICT, WITHOUT ROWID;
          CREATE TABLE exec_record (
            tenant_id TEXT NOT NULL,
            execution_id TEXT NOT NULL,
            sequence INTEGER NOT NULL,
            key TEXT NOT NULL,
            record BLOB NOT NULL,
            PRIMARY KEY (tenant_id, execution_id, sequence)
          ) STRICT, WITHOUT ROWID;
          CREATE UNIQUE INDEX exec_record_by_key ON exec_record (tenant_id, execution_id, key);
          CREATE TABLE exec_state (
            tenant_id TEXT NOT NULL,
            key TEXT NOT NULL,
            revision INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            document BLOB NOT NULL,
            PRIMARY KEY (tenant_id, key)
          ) STRICT, WITHOUT ROWID;
          CREATE TABLE exec_artifact (
            tenant_id TEXT NOT NULL,
            artifact_id TEXT NOT NULL,
            artifact_type TEXT NOT NULL,
            session_id TEXT NOT NULL,
            execution_id TEXT NOT NULL,
            state INTEGER NOT NULL,
            sandbox INTEGER NOT NULL,
            artifact BLOB NOT NULL,
            PRIMARY KEY (tenant_id, artifact_id)
          ) STRICT, WITHOUT ROWID;
          CREATE INDEX exec_artifact_by_execution ON exec_artifact (tenant_id, execution_id, artifact_id);
          CREATE TABLE exec_lineage (
            tenant_id TEXT NOT NULL,
            parent_id TEXT NOT NULL,
            artifact_id TEXT NOT NULL,
            PRIMARY KEY (tenant_id, parent_id, artifact_id)
          ) STRICT, WITHOUT ROWID;
          CREATE TABLE exec_content (
            tenant_id TEXT NOT NULL,
            sha256 TEXT NOT NULL,
            size INTEGER NOT NULL,
            uses INTEGER NOT NULL,
            PRIMARY KEY (tenant_id, sha256)
          ) STRICT, WITHOUT ROWID;
          CREATE TABLE exec_piece (
            tenant_id TEXT NOT NULL,
            sha256 TEXT NOT NULL,
            number INTEGER NOT NULL,
            data BLOB NOT NULL,
            PRIMARY KEY (tenant_id, sha256, number)
          ) STRICT;
          CREATE TABLE exec_handler (
            tenant_id TEXT NOT NULL,
            intent_type TEXT NOT NULL,
            handler_name TEXT NOT NULL,
            handler BLOB NOT NULL,
            PRIMARY KEY (tenant_id, intent_type, handler_name)
          ) STRICT, WITHOUT ROWID;
          """)
    ])

  /// An execution as its row has it.
  struct ExecutionRow: Sendable {
    /// Without its steps and attempts, which have rows of their own.
    var execution: Execution
    /// What its handlers are given besides the intent's own: as a submit request that has nothing else.
    var metadata: SubmitExecutionRequest
    /// Who asked, and in which trace: a run after a restart acts for the same.
    var caller: String

    var key: ExecutionKey { ExecutionKey(tenant: execution.intent?.tenantID ?? "", id: execution.executionID) }
  }

  // MARK: Executions

  /// Adds an execution; false when its id is taken.
  static func insert(_ row: ExecutionRow, _ transaction: borrowing Transaction) throws -> Bool {
    let execution = row.execution
    return try transaction.executeCounting(
      """
      INSERT INTO exec_execution (tenant_id, execution_id, session_id, intent_type, status, lease_epoch, execution, metadata, caller)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING
      """, row.key.tenant, row.key.id, execution.intent?.sessionID ?? "", execution.intent?.intentType ?? "",
      execution.status.rawValue, execution.leaseEpoch, execution.encoded(), row.metadata.encoded(), row.caller) == 1
  }

  static func update(_ execution: Execution, of key: ExecutionKey, _ transaction: borrowing Transaction) throws {
    try transaction.execute(
      "UPDATE exec_execution SET status = ?3, lease_epoch = ?4, execution = ?5 WHERE tenant_id = ?1 AND execution_id = ?2",
      key.tenant, key.id, execution.status.rawValue, execution.leaseEpoch, execution.encoded(), expecting: .rows(1))
  }

  static func row(_ reader: borrowing some Reader & ~Copyable, _ key: ExecutionKey) throws -> ExecutionRow? {
    try reader.first(
      "SELECT execution, metadata, caller FROM exec_execution WHERE tenant_id = ?1 AND execution_id = ?2", key.tenant, key.id,
      row: Self.decoded)
  }

  /// A page of a tenant's executions in the order of their ids.
  static func page(
    _ reader: borrowing some Reader & ~Copyable, tenant: String, session: String, intentType: String, status: ExecutionStatus,
    after id: String, limit: Int
  ) throws -> [Execution] {
    if session.isEmpty {
      return try reader.query(
        """
        SELECT execution FROM exec_execution WHERE tenant_id = ?1 AND execution_id > ?2 AND (?3 = '' OR intent_type = ?3)
        AND (?4 = 0 OR status = ?4) ORDER BY execution_id LIMIT ?5
        """, tenant, id, intentType, status.rawValue, limit, row: { try Execution(decoding: $0.get(0, as: [UInt8].self)) })
    }
    return try reader.query(
      """
      SELECT execution FROM exec_execution WHERE tenant_id = ?1 AND session_id = ?2 AND execution_id > ?3
      AND (?4 = '' OR intent_type = ?4) AND (?5 = 0 OR status = ?5) ORDER BY execution_id LIMIT ?6
      """, tenant, session, id, intentType, status.rawValue, limit, row: { try Execution(decoding: $0.get(0, as: [UInt8].self)) })
  }

  /// Executions of all tenants that no process works on after a start.
  static func unfinished(_ reader: borrowing some Reader & ~Copyable, limit: Int) throws -> [ExecutionRow] {
    try reader.query(
      """
      SELECT execution, metadata, caller FROM exec_execution WHERE status IN (1, 2) ORDER BY tenant_id, execution_id LIMIT ?1
      """, limit, row: Self.decoded)
  }

  /// Every execution, for the check against the log.
  static func all(_ reader: borrowing some Reader & ~Copyable, after key: ExecutionKey, limit: Int) throws -> [Execution] {
    try reader.query(
      """
      SELECT execution FROM exec_execution WHERE (tenant_id, execution_id) > (?1, ?2) ORDER BY tenant_id, execution_id LIMIT ?3
      """, key.tenant, key.id, limit, row: { try Execution(decoding: $0.get(0, as: [UInt8].self)) })
  }

  private static func decoded(_ row: Row) throws -> ExecutionRow {
    ExecutionRow(
      execution: try Execution(decoding: row.get(0, as: [UInt8].self)),
      metadata: try SubmitExecutionRequest(decoding: row.get(1, as: [UInt8].self)), caller: row[2])
  }

  /// With its steps and attempts.
  static func full(_ execution: Execution, _ reader: borrowing some Reader & ~Copyable, _ key: ExecutionKey) throws -> Execution {
    var execution = execution
    execution.steps = try steps(reader, of: key)
    execution.attempts = try attempts(reader, of: key)
    return execution
  }

  // MARK: Updates

  /// Adds what was told behind what there is, with the event: encoded once, the bytes that every follower gets.
  static func add(_ event: LogEvent, _ ended: Execution?, to key: ExecutionKey, _ transaction: borrowing Transaction) throws {
    let last = try transaction.first(
      "SELECT COALESCE(MAX(seq), 0) FROM exec_update WHERE tenant_id = ?1 AND execution_id = ?2", key.tenant, key.id,
      row: { $0.get(0, as: Int64.self) })
    // The event is field 1 of an update as it is of a subscription's response.
    try transaction.execute(
      "INSERT INTO exec_update (tenant_id, execution_id, seq, content) VALUES (?1, ?2, ?3, ?4)", key.tenant, key.id, (last ?? 0) + 1,
      event.response + (ended.map { ExecutionUpdate(execution: $0).encoded() } ?? []), expecting: .rows(1))
  }

  static func updates(
    _ reader: borrowing some Reader & ~Copyable, _ key: ExecutionKey, after seq: Int64, limit: Int
  ) throws -> [(seq: Int64, update: [UInt8])] {
    try reader.query(
      "SELECT seq, content FROM exec_update WHERE tenant_id = ?1 AND execution_id = ?2 AND seq > ?3 ORDER BY seq LIMIT ?4",
      key.tenant, key.id, seq, limit, row: { (seq: $0[0], update: $0[1]) })
  }

  /// How much was told of an execution.
  static func told(_ reader: borrowing some Reader & ~Copyable, _ key: ExecutionKey) throws -> Int64 {
    try reader.first(
      "SELECT COALESCE(MAX(seq), 0) FROM exec_update WHERE tenant_id = ?1 AND execution_id = ?2", key.tenant, key.id, row: { $0[0] }) ?? 0
  }

  static func hasEnded(_ reader: borrowing some Reader & ~Copyable, _ key: ExecutionKey) throws -> Bool {
    let status = try reader.first(
      "SELECT status FROM exec_execution WHERE tenant_id = ?1 AND execution_id = ?2", key.tenant, key.id, row: { $0.get(0, as: Int32.self) }
    )
    return status.map { ExecutionStateMachine.isTerminal(ExecutionStatus(rawValue: $0)) } ?? true
  }

  // MARK: Attempts

  static func begin(
    _ key: ExecutionKey, _ epoch: UInt64, _ handler: String, _ performer: String, _ now: Int64, _ transaction: borrowing Transaction
  ) throws {
    try transaction.execute(
      """
      INSERT INTO exec_attempt (tenant_id, execution_id, lease_epoch, handler_name, performer, begun_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
      """, key.tenant, key.id, epoch, handler, performer, now, expecting: .rows(1))
  }

  static func name(_ performer: String, of key: ExecutionKey, _ epoch: UInt64, _ transaction: borrowing Transaction) throws {
    try transaction.execute(
      "UPDATE exec_attempt SET performer = ?4 WHERE tenant_id = ?1 AND execution_id = ?2 AND lease_epoch = ?3", key.tenant, key.id, epoch,
      performer)
  }

  /// Ends an attempt; one that has ended stays as it is.
  static func end(
    _ key: ExecutionKey, _ epoch: UInt64, _ outcome: String, _ error: String, _ now: Int64, _ transaction: borrowing Transaction
  ) throws {
    try transaction.execute(
      """
      UPDATE exec_attempt SET ended_at = ?4, outcome = ?5, error = ?6
      WHERE tenant_id = ?1 AND execution_id = ?2 AND lease_epoch = ?3 AND ended_at = 0
      """, key.tenant, key.id, epoch, now, outcome, error)
  }

  static func attempts(_ reader: borrowing some Reader & ~Copyable, of key: ExecutionKey) throws -> [ExecutionAttempt] {
    try reader.query(
      """
      SELECT lease_epoch, handler_name, performer, begun_at, ended_at, outcome, error FROM exec_attempt
      WHERE tenant_id = ?1 AND execution_id = ?2 ORDER BY lease_epoch LIMIT ?3
      """, key.tenant, key.id, Int(ExecutionsLimits.runs) + 1
    ) { row in
      let ended = row.get(4, as: Int64.self)
      return ExecutionAttempt(
        leaseEpoch: row[0], handlerName: row[1], performer: row[2], begunAt: .init(nanosecondsSinceEpoch: row[3]),
        endedAt: ended == 0 ? nil : .init(nanosecondsSinceEpoch: ended), outcome: row[5], error: row[6])
    }
  }

  // MARK: Steps

  static func put(_ step: ExecutionStep, of key: ExecutionKey, _ transaction: borrowing Transaction) throws {
    try transaction.execute(
      """
      INSERT INTO exec_step (tenant_id, execution_id, step_id, position, step) VALUES (?1, ?2, ?3, ?4, ?5)
      ON CONFLICT (tenant_id, execution_id, step_id) DO UPDATE SET step = excluded.step
      """, key.tenant, key.id, step.stepID, step.position, step.encoded(), expecting: .rows(1))
  }

  static func step(_ reader: borrowing some Reader & ~Copyable, _ id: String, of key: ExecutionKey) throws -> ExecutionStep? {
    try reader.first(
      "SELECT step FROM exec_step WHERE tenant_id = ?1 AND execution_id = ?2 AND step_id = ?3", key.tenant, key.id, id,
      row: { try ExecutionStep(decoding: $0.get(0, as: [UInt8].self)) })
  }

  static func steps(_ reader: borrowing some Reader & ~Copyable, of key: ExecutionKey) throws -> [ExecutionStep] {
    try reader.query(
      "SELECT step FROM exec_step WHERE tenant_id = ?1 AND execution_id = ?2 ORDER BY position LIMIT ?3", key.tenant, key.id,
      ExecutionsLimits.steps, row: { try ExecutionStep(decoding: $0.get(0, as: [UInt8].self)) })
  }

  static func stepCount(_ reader: borrowing some Reader & ~Copyable, of key: ExecutionKey) throws -> Int {
    try reader.first(
      "SELECT COUNT(*) FROM exec_step WHERE tenant_id = ?1 AND execution_id = ?2", key.tenant, key.id, row: { $0.get(0, as: Int.self) })
      ?? 0
  }

  // MARK: Records

  static func insert(_ record: WalRecord, _ recordKey: String, of key: ExecutionKey, _ transaction: borrowing Transaction) throws {
    try transaction.execute(
      "INSERT INTO exec_record (tenant_id, execution_id, sequence, key, record) VALUES (?1, ?2, ?3, ?4, ?5)", key.tenant, key.id,
      record.sequence, recordKey, record.encoded(), expecting: .rows(1))
  }

  static func record(_ reader: borrowing some Reader & ~Copyable, under recordKey: String, of key: ExecutionKey) throws -> WalRecord? {
    try reader.first(
      "SELECT record FROM exec_record WHERE tenant_id = ?1 AND execution_id = ?2 AND key = ?3", key.tenant, key.id, recordKey,
      row: { try WalRecord(decoding: $0.get(0, as: [UInt8].self)) })
  }

  static func records(
    _ reader: borrowing some Reader & ~Copyable, of key: ExecutionKey, after sequence: Int64, limit: Int
  ) throws -> [WalRecord] {
    try reader.query(
      "SELECT record FROM exec_record WHERE tenant_id = ?1 AND execution_id = ?2 AND sequence > ?3 ORDER BY sequence LIMIT ?4",
      key.tenant, key.id, sequence, limit, row: { try WalRecord(decoding: $0.get(0, as: [UInt8].self)) })
  }
}
