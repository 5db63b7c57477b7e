import SpanwireDatabase
import SpanwireEventLog
import SpanwireProtobuf
import SpanwireSchema

/// The orchestrator's rows: tasks, what was told of them, and their proposals.
enum OrchestratorStore {
  static let migrations = Migrations(
    "orchestrator",
    [
      Migrations.Step(
        "tasks, their updates and proposals",
        sqlite: """
          CREATE TABLE ao_task (
            tenant_id TEXT NOT NULL,
            agent_task_id TEXT NOT NULL,
            product_runtime_session_id TEXT NOT NULL,
            state INTEGER NOT NULL,
            attempt INTEGER NOT NULL,
            received_at INTEGER NOT NULL,
            task BLOB NOT NULL,
            caller TEXT NOT NULL,
            PRIMARY KEY (tenant_id, agent_task_id)
          ) STRICT, WITHOUT ROWID;
          CREATE INDEX ao_task_by_session ON ao_task (tenant_id, product_runtime_session_id, agent_task_id);
          CREATE INDEX ao_task_unfinished ON ao_task (tenant_id, agent_task_id) WHERE state IN (1, 2);
          CREATE TABLE ao_update (
            tenant_id TEXT NOT NULL,
            agent_task_id TEXT NOT NULL,
            seq INTEGER NOT NULL,
            content BLOB NOT NULL,
            PRIMARY KEY (tenant_id, agent_task_id, seq)
          ) STRICT, WITHOUT ROWID;
          CREATE TABLE ao_proposal (
            tenant_id TEXT NOT NULL,
            proposal_id TEXT NOT NULL,
            agent_task_id TEXT NOT NULL,
            state INTEGER NOT NULL,
            proposal BLOB NOT NULL,
            PRIMARY KEY (tenant_id, proposal_id)
          ) STRICT, WITHOUT ROWID;
          CREATE INDEX ao_proposal_by_task ON ao_proposal (tenant_id, agent_task_id, proposal_id);
          """),
      Migrations.Step(
        "who does a task, its attempts, dead letters, workers, circuits",
        sqlite: """
          ALTER TABLE ao_task ADD COLUMN agent_slug TEXT NOT NULL DEFAULT '';
          ALTER TABLE ao_task ADD COLUMN by_workers INTEGER NOT NULL DEFAULT 0;
          CREATE TABLE ao_attempt (
            tenant_id TEXT NOT NULL,
            agent_task_id TEXT NOT NULL,
            lease_epoch INTEGER NOT NULL,
            performer TEXT NOT NULL,
            begun_at INTEGER NOT NULL,
            ended_at INTEGER NOT NULL DEFAULT 0,
            outcome TEXT NOT NULL DEFAULT '',
            error TEXT NOT NULL DEFAULT '',
            PRIMARY KEY (tenant_id, agent_task_id, lease_epoch)
          ) STRICT, WITHOUT ROWID;
          CREATE TABLE actp_dlq (
            tenant_id TEXT NOT NULL,
            item_id TEXT NOT NULL,
            agent_task_id TEXT NOT NULL,
            agent_slug TEXT NOT NULL,
            resolution INTEGER NOT NULL,
            item BLOB NOT NULL,
            PRIMARY KEY (tenant_id, item_id)
          ) STRICT, WITHOUT ROWID;
          CREATE INDEX actp_dlq_pending ON actp_dlq (tenant_id, item_id) WHERE resolution = 1;
          CREATE TABLE actp_worker_registrations (
            tenant_id TEXT NOT NULL,
            worker_id TEXT NOT NULL,
            state INTEGER NOT NULL,
            worker BLOB NOT NULL,
            PRIMARY KEY (tenant_id, worker_id)
          ) STRICT, WITHOUT ROWID;
          CREATE TABLE actp_circuit_states (
            tenant_id TEXT NOT NULL,
            circuit TEXT NOT NULL,
            version INTEGER NOT NULL,
            breaker BLOB NOT NULL,
            probe_at INTEGER NOT NULL,
            PRIMARY KEY (tenant_id, circuit)
          ) STRICT, WITHOUT ROWID;
          """),
      Migrations.Step(
        "the turns of attempts, and the agent as it was defined when its task came in",
        sqlite: """
          ALTER TABLE ao_task ADD COLUMN agent BLOB NOT NULL DEFAULT x'';
          ALTER TABLE ao_task ADD COLUMN turn_id TEXT NOT NULL DEFAULT '';
          ALTER TABLE ao_attempt ADD COLUMN turn_id TEXT NOT NULL DEFAULT '';
          """),
      Migrations.Step(
        "what is asked of models; tasks and proposals by what they are about",
        sqlite: """
          ALTER TABLE ao_task ADD COLUMN by_model INTEGER NOT NULL DEFAULT 0;
          ALTER TABLE ao_task ADD COLUMN agent_type TEXT NOT NULL DEFAULT '';
          ALTER TABLE ao_task ADD COLUMN intent TEXT NOT NULL DEFAULT '';
          ALTER TABLE ao_proposal ADD COLUMN agent_slug TEXT NOT NULL DEFAULT '';
          ALTER TABLE ao_proposal ADD COLUMN kind TEXT NOT NULL DEFAULT '';
          ALTER TABLE ao_proposal ADD COLUMN product_runtime_session_id TEXT NOT NULL DEFAULT '';
          ALTER TABLE ao_proposal ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0;
          CREATE TABLE ao_model_call (
            tenant_id TEXT NOT NULL,
            agent_task_id TEXT NOT NULL,
            call_id TEXT NOT NULL,
            call BLOB NOT NULL,
            PRIMARY KEY (tenant_id, agent_task_id, call_id)
          ) STRICT, WITHOUT ROWID;
          """),
    ])

  /// A task as its row has it.
  struct TaskRow: Sendable {
    /// Without its proposals, which have rows of their own.
    var task: AgentTask
    /// Runs begun so far, and the lease epoch of the last: an answer counts only under it.
    var attempt: UInt64
    /// Who asked, and in which trace: a run after a restart acts for the same.
    var caller: String
    /// Whether attached workers do it, or the platform's own agent.
    var byWorkers: Bool
    /// The agent's definition as Registry had it when the task came in: what its turns' plans are made of.
    var agent: [UInt8]
    /// The turn of the last run; empty before the first.
    var turnID = ""
    /// Whether a language model does it.
    var byModel = false

    var key: AgentTaskKey { AgentTaskKey(tenant: task.tenantID, id: task.agentTaskID) }
  }

  // MARK: Tasks

  /// Adds a task; false when its id is taken.
  static func insert(_ row: TaskRow, _ transaction: borrowing Transaction) throws -> Bool {
    let task = row.task
    return try transaction.executeCounting(
      """
      INSERT INTO ao_task (
        tenant_id, agent_task_id, product_runtime_session_id, state, attempt, received_at, task, caller, agent_slug, by_workers,
        by_model, agent_type, intent, agent)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) ON CONFLICT DO NOTHING
      """, task.tenantID, task.agentTaskID, task.context?.productRuntimeSessionID ?? "", task.state.rawValue, row.attempt,
      task.receivedAt?.nanosecondsSinceEpoch ?? 0, task.encoded(), row.caller, task.agentSlug, row.byWorkers,
      row.byModel, task.task?.agentType ?? "", task.task?.intent ?? "", row.agent) == 1
  }

  static func update(_ row: TaskRow, _ transaction: borrowing Transaction) throws {
    try transaction.execute(
      "UPDATE ao_task SET state = ?3, attempt = ?4, task = ?5, turn_id = ?6 WHERE tenant_id = ?1 AND agent_task_id = ?2",
      row.task.tenantID, row.task.agentTaskID, row.task.state.rawValue, row.attempt, row.task.encoded(), row.turnID, expecting: .rows(1))
  }

  static func task(_ reader: borrowing some Reader & ~Copyable, _ key: AgentTaskKey) throws -> TaskRow? {
    try reader.first(
      "SELECT task, attempt, caller, by_workers, agent, turn_id, by_model FROM ao_task WHERE tenant_id = ?1 AND agent_task_id = ?2",
      key.tenant,
      key.id, row: Self.taskRow)
  }

  /// Which of a tenant's tasks are meant: what is empty or nil does not matter.
  struct TaskFilter: Sendable {
    var session = ""
    var slug = ""
    var type = ""
    var intent = ""
    var state = AgentTaskState.unspecified
    /// Received from this moment on, and before that.
    var from: Int64 = .min
    var before: Int64 = .max
  }

  /// A page of a tenant's tasks in the order of their ids.
  static func tasks(
    _ reader: borrowing some Reader & ~Copyable, tenant: String, _ filter: TaskFilter, after id: String, limit: Int
  ) throws -> [AgentTask] {
    if filter.session.isEmpty {
      return try reader.query(
        """
        SELECT task FROM ao_task WHERE tenant_id = ?1 AND agent_task_id > ?2 AND (?3 = 0 OR state = ?3)
        AND (?4 = '' OR agent_slug = ?4) AND (?5 = '' OR agent_type = ?5) AND (?6 = '' OR intent = ?6)
        AND received_at >= ?7 AND received_at < ?8 ORDER BY agent_task_id LIMIT ?9
        """, tenant, id, filter.state.rawValue, filter.slug, filter.type, filter.intent, filter.from, filter.before, limit,
        row: { try AgentTask(decoding: $0.get(0, as: [UInt8].self)) })
    }
    return try reader.query(
      """
      SELECT task FROM ao_task WHERE tenant_id = ?1 AND product_runtime_session_id = ?10 AND agent_task_id > ?2
      AND (?3 = 0 OR state = ?3) AND (?4 = '' OR agent_slug = ?4) AND (?5 = '' OR agent_type = ?5) AND (?6 = '' OR intent = ?6)
      AND received_at >= ?7 AND received_at < ?8 ORDER BY agent_task_id LIMIT ?9
      """, tenant, id, filter.state.rawValue, filter.slug, filter.type, filter.intent, filter.from, filter.before, limit, filter.session,
      row: { try AgentTask(decoding: $0.get(0, as: [UInt8].self)) })
  }

  /// Tasks of all tenants that no process works on after a start.
  static func unfinished(_ reader: borrowing some Reader & ~Copyable, limit: Int) throws -> [TaskRow] {
    try reader.query(
      """
      SELECT task, attempt, caller, by_workers, agent, turn_id, by_model FROM ao_task WHERE state IN (1, 2)
      ORDER BY tenant_id, agent_task_id LIMIT ?1
      """, limit, row: Self.taskRow)
  }

  /// Every task, for the check against the log.
  static func allTasks(_ reader: borrowing some Reader & ~Copyable, after key: AgentTaskKey, limit: Int) throws -> [AgentTask] {
    try reader.query(
      """
      SELECT task FROM ao_task WHERE (tenant_id, agent_task_id) > (?1, ?2) ORDER BY tenant_id, agent_task_id LIMIT ?3
      """, key.tenant, key.id, limit, row: { try AgentTask(decoding: $0.get(0, as: [UInt8].self)) })
  }

  private static func taskRow(_ row: Row) throws -> TaskRow {
    TaskRow(
      task: try AgentTask(decoding: row.get(0, as: [UInt8].self)), attempt: row[1], caller: row[2], byWorkers: row[3], agent: row[4],
      turnID: row[5], byModel: row[6])
  }

  // MARK: Updates

  /// Adds an update behind those there are, with the event that tells of it: encoded once, the bytes that every follower gets.
  static func add(_ update: AgentTaskUpdate, _ event: LogEvent, to key: AgentTaskKey, _ transaction: borrowing Transaction) throws {
    let last = try transaction.first(
      "SELECT COALESCE(MAX(seq), 0) FROM ao_update WHERE tenant_id = ?1 AND agent_task_id = ?2", key.tenant, key.id,
      row: { $0.get(0, as: Int64.self) })
    // The event is field 1 of an update as it is of a subscription's response.
    try transaction.execute(
      "INSERT INTO ao_update (tenant_id, agent_task_id, seq, content) VALUES (?1, ?2, ?3, ?4)", key.tenant, key.id, (last ?? 0) + 1,
      event.response + update.encoded(), expecting: .rows(1))
  }

  /// Updates after one, as encoded `AgentTaskUpdate`s.
  static func updates(
    _ reader: borrowing some Reader & ~Copyable, _ key: AgentTaskKey, after seq: Int64, limit: Int
  ) throws -> [(seq: Int64, update: [UInt8])] {
    try reader.query(
      "SELECT seq, content FROM ao_update WHERE tenant_id = ?1 AND agent_task_id = ?2 AND seq > ?3 ORDER BY seq LIMIT ?4",
      key.tenant, key.id, seq, limit, row: { (seq: $0[0], update: $0[1]) })
  }

  /// Whether a task has ended, so that no update follows those there are.
  static func hasEnded(_ reader: borrowing some Reader & ~Copyable, _ key: AgentTaskKey) throws -> Bool {
    let state = try reader.first(
      "SELECT state FROM ao_task WHERE tenant_id = ?1 AND agent_task_id = ?2", key.tenant, key.id, row: { $0.get(0, as: Int32.self) })
    return state.map { AgentTaskStateMachine.isTerminal(AgentTaskState(rawValue: $0)) } ?? true
  }
}

/// What names a task across tenants.
struct AgentTaskKey: Hashable, Sendable {
  var tenant: String
  var id: String
}
