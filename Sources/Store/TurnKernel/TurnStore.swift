import SpanwireDatabase
import SpanwireProtobuf
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// The kernel's rows: accepted turns, their plans, their evidence. The schema refuses a turn without a plan or without evidence.
public enum TurnStore {
  public static let migrations = Migrations(
    "turns",
    [
      Migrations.Step(
        "turns and their plans",
        sqlite: """
          CREATE TABLE turn_plan (
            tenant_id TEXT NOT NULL,
            plan_hash BLOB NOT NULL CHECK (length(plan_hash) = 32),
            plan BLOB NOT NULL CHECK (length(plan) > 0),
            PRIMARY KEY (tenant_id, plan_hash)
          ) STRICT, WITHOUT ROWID;
          CREATE TABLE turn (
            tenant_id TEXT NOT NULL,
            turn_id TEXT NOT NULL,
            product_runtime_session_id TEXT NOT NULL,
            agent_task_id TEXT NOT NULL,
            state INTEGER NOT NULL CHECK (state IN (1, 2, 3, 4, 5, 6)),
            outcome INTEGER NOT NULL CHECK (outcome IN (0, 1, 2)),
            plan_hash BLOB NOT NULL,
            evidence BLOB NOT NULL CHECK (length(evidence) > 0),
            evidence_hash BLOB CHECK (length(evidence_hash) = 32),
            PRIMARY KEY (tenant_id, turn_id),
            FOREIGN KEY (tenant_id, plan_hash) REFERENCES turn_plan (tenant_id, plan_hash),
            CHECK ((state = 6) = (evidence_hash IS NOT NULL)),
            CHECK ((state = 6) = (outcome <> 0))
          ) STRICT, WITHOUT ROWID;
          CREATE INDEX turn_by_session ON turn (tenant_id, product_runtime_session_id, turn_id);
          """)
    ])

  /// A turn as its row has it.
  public struct Row: Sendable {
    public var state: TurnStateMachine.State
    public var outcome: TurnOutcome
    /// All that is known of it; complete once it is closed.
    public var evidence: TurnEvidence
    public var evidenceHash: [UInt8]
    /// As they are stored: what the hash is of.
    public var evidenceBytes: [UInt8]

    public var key: TurnKey { TurnKey(tenant: evidence.tenantID, task: evidence.agentTaskID, epoch: evidence.leaseEpoch) }

    /// The turn as the contract shows it.
    public var turn: Turn {
      Turn(
        turnID: evidence.turnID, tenantID: evidence.tenantID, productRuntimeSessionID: evidence.productRuntimeSessionID,
        agentTaskID: evidence.agentTaskID, leaseEpoch: evidence.leaseEpoch, performer: evidence.performer,
        state: TurnState(rawValue: Int32(state.rawValue)), outcome: outcome, reason: evidence.reason, planHash: evidence.planHash,
        seed: evidence.seed, openedAt: evidence.openedAt, closedAt: evidence.endedAt, evidenceHash: evidenceHash)
    }
  }

  // MARK: Writing

  static func insert(_ plan: FrozenPlan, _ evidence: TurnEvidence, _ state: TurnStateMachine.State, _ transaction: borrowing Transaction)
    throws
  {
    try transaction.execute(
      "INSERT INTO turn_plan (tenant_id, plan_hash, plan) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING", evidence.tenantID, plan.hash,
      plan.bytes)
    try transaction.execute(
      """
      INSERT INTO turn (tenant_id, turn_id, product_runtime_session_id, agent_task_id, state, outcome, plan_hash, evidence)
      VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7)
      """, evidence.tenantID, evidence.turnID, evidence.productRuntimeSessionID, evidence.agentTaskID, state.rawValue, plan.hash,
      evidence.encoded(), expecting: .rows(1))
  }

  /// Closes a turn that is not closed: exactly once.
  static func close(_ evidence: TurnEvidence, _ bytes: [UInt8], _ hash: [UInt8], _ transaction: borrowing Transaction) throws {
    try transaction.execute(
      """
      UPDATE turn SET state = 6, outcome = ?3, evidence = ?4, evidence_hash = ?5
      WHERE tenant_id = ?1 AND turn_id = ?2 AND state <> 6
      """, evidence.tenantID, evidence.turnID, evidence.outcome.rawValue, bytes, hash, expecting: .rows(1))
  }

  // MARK: Reading

  public static func turn(_ reader: borrowing some Reader & ~Copyable, tenant: String, id: String) throws -> Row? {
    try reader.first(
      "SELECT state, outcome, evidence, evidence_hash FROM turn WHERE tenant_id = ?1 AND turn_id = ?2", tenant, id, row: Self.row)
  }

  public static func plan(_ reader: borrowing some Reader & ~Copyable, tenant: String, hash: [UInt8]) throws -> [UInt8]? {
    try reader.first("SELECT plan FROM turn_plan WHERE tenant_id = ?1 AND plan_hash = ?2", tenant, hash) { $0[0] }
  }

  /// Which turns are listed; what is empty or unspecified says nothing.
  public struct Filter: Sendable {
    public var tenant: String
    public var session: String
    public var task: String
    public var state: TurnState
    public var outcome: TurnOutcome

    public init(tenant: String, session: String, task: String, state: TurnState, outcome: TurnOutcome) {
      self.tenant = tenant
      self.session = session
      self.task = task
      self.state = state
      self.outcome = outcome
    }
  }

  /// A page of a tenant's turns in the order in which they were opened.
  public static func turns(
    _ reader: borrowing some Reader & ~Copyable, _ filter: Filter, after id: String, limit: Int
  ) throws -> [Row] {
    if filter.session.isEmpty {
      return try reader.query(
        """
        SELECT state, outcome, evidence, evidence_hash FROM turn WHERE tenant_id = ?1 AND turn_id > ?2
        AND (?3 = '' OR agent_task_id = ?3) AND (?4 = 0 OR state = ?4) AND (?5 = 0 OR outcome = ?5) ORDER BY turn_id LIMIT ?6
        """, filter.tenant, id, filter.task, filter.state.rawValue, filter.outcome.rawValue, limit, row: Self.row)
    }
    return try reader.query(
      """
      SELECT state, outcome, evidence, evidence_hash FROM turn WHERE tenant_id = ?1 AND product_runtime_session_id = ?2 AND turn_id > ?3
      AND (?4 = '' OR agent_task_id = ?4) AND (?5 = 0 OR state = ?5) AND (?6 = 0 OR outcome = ?6) ORDER BY turn_id LIMIT ?7
      """, filter.tenant, filter.session, id, filter.task, filter.state.rawValue, filter.outcome.rawValue, limit, row: Self.row)
  }

  /// Every turn with its plan, for the check; a turn whose plan is missing comes with none.
  static func all(
    _ reader: borrowing some Reader & ~Copyable, after: (tenant: String, id: String), limit: Int
  ) throws -> [(row: Row, planHash: [UInt8], plan: [UInt8]?)] {
    try reader.query(
      """
      SELECT turn.state, turn.outcome, turn.evidence, turn.evidence_hash, turn.plan_hash, turn_plan.plan
      FROM turn LEFT JOIN turn_plan ON turn_plan.tenant_id = turn.tenant_id AND turn_plan.plan_hash = turn.plan_hash
      WHERE (turn.tenant_id, turn.turn_id) > (?1, ?2) ORDER BY turn.tenant_id, turn.turn_id LIMIT ?3
      """, after.tenant, after.id, limit
    ) { (row: try Self.row($0), planHash: $0.get(4, as: [UInt8].self), plan: $0.get(5, as: [UInt8]?.self)) }
  }

  private static func row(_ row: SpanwireDatabase.Row) throws -> Row {
    let bytes = row.get(2, as: [UInt8].self)
    return Row(
      state: TurnStateMachine.State(rawValue: row[0]) ?? .closed, outcome: TurnOutcome(rawValue: row[1]),
      evidence: try TurnEvidence(decoding: bytes), evidenceHash: row.get(3, as: [UInt8]?.self) ?? [], evidenceBytes: bytes)
  }
}
