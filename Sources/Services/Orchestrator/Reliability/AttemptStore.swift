import SpanwireDatabase
import SpanwireSchema

/// The rows of attempts: who ran a task under which epoch, and how it went.
enum AttemptStore {
  static func begin(
    _ key: AgentTaskKey, _ epoch: UInt64, _ performer: String, turn: String, _ now: Int64, _ transaction: borrowing Transaction
  ) throws {
    try transaction.execute(
      "INSERT INTO ao_attempt (tenant_id, agent_task_id, lease_epoch, performer, begun_at, turn_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
      key.tenant, key.id, epoch, performer, now, turn, expecting: .rows(1))
  }

  /// Ends an attempt; one that has ended stays as it is.
  static func end(
    _ key: AgentTaskKey, _ epoch: UInt64, _ outcome: String, _ error: String, _ now: Int64, _ transaction: borrowing Transaction
  ) throws {
    try transaction.execute(
      """
      UPDATE ao_attempt SET ended_at = ?4, outcome = ?5, error = ?6
      WHERE tenant_id = ?1 AND agent_task_id = ?2 AND lease_epoch = ?3 AND ended_at = 0
      """, key.tenant, key.id, epoch, now, outcome, error)
  }

  /// All attempts of a task, the first one first.
  static func attempts(_ reader: borrowing some Reader & ~Copyable, of key: AgentTaskKey) throws -> [TaskAttempt] {
    let calls = Dictionary(grouping: try ModelCallStore.calls(reader, of: key), by: \.leaseEpoch)
    return try reader.query(
      """
      SELECT lease_epoch, performer, begun_at, ended_at, outcome, error, turn_id FROM ao_attempt
      WHERE tenant_id = ?1 AND agent_task_id = ?2 ORDER BY lease_epoch LIMIT ?3
      """, key.tenant, key.id, Int(OrchestratorLimits.runs) + 1
    ) { row in
      let ended = row.get(3, as: Int64.self)
      return TaskAttempt(
        leaseEpoch: row[0], performer: row[1], begunAt: .init(nanosecondsSinceEpoch: row[2]),
        endedAt: ended == 0 ? nil : .init(nanosecondsSinceEpoch: ended), outcome: row[4], error: row[5], turnID: row[6],
        modelCalls: calls[row.get(0, as: UInt64.self)] ?? [])
    }
  }
}
