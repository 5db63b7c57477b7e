import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// The rows of what models were asked.
enum ModelCallStore {
  static func upsert(_ call: ModelCall, _ key: AgentTaskKey, _ transaction: borrowing Transaction) throws {
    try transaction.execute(
      """
      INSERT INTO ao_model_call (tenant_id, agent_task_id, call_id, call) VALUES (?1, ?2, ?3, ?4)
      ON CONFLICT (tenant_id, agent_task_id, call_id) DO UPDATE SET call = excluded.call
      """, key.tenant, key.id, call.callID, call.encoded(), expecting: .rows(1))
  }

  /// All of a task's, the first one first.
  static func calls(_ reader: borrowing some Reader & ~Copyable, of key: AgentTaskKey) throws -> [ModelCall] {
    try reader.query(
      "SELECT call FROM ao_model_call WHERE tenant_id = ?1 AND agent_task_id = ?2 ORDER BY call_id", key.tenant, key.id,
      row: { try ModelCall(decoding: $0.get(0, as: [UInt8].self)) })
  }

  /// Ends those that the process's end cut short.
  static func lose(_ key: AgentTaskKey, at now: Int64, _ transaction: borrowing Transaction) throws {
    for var call in try calls(transaction, of: key) where call.endedAt == nil {
      call.outcome = "lost"
      call.reason = "process_ended"
      call.error = "what was set aside for it comes back by itself"
      call.endedAt = .init(nanosecondsSinceEpoch: now)
      try upsert(call, key, transaction)
    }
  }
}

extension TaskJournal {
  /// The name under which policy and events know the calls of a provider's models.
  static func toolName(of provider: String) -> String { "model.\(provider)" }

  /// Notes that a model is asked. Throws `CancellationError` when the attempt is not the task's present one.
  func begin(_ call: ModelCall, of key: AgentTaskKey) async throws {
    let stamp = TaskStamp(environment)
    _ = try await environment.database.transaction("ao.model_begin") { transaction in
      guard let row = try OrchestratorStore.task(transaction, key), row.task.state == .running, row.attempt == call.leaseEpoch else {
        throw CancellationError()
      }
      try ModelCallStore.upsert(call, key, transaction)
      let started = ToolCallStarted(agentSlug: row.task.agentSlug, toolName: Self.toolName(of: call.provider), callID: call.callID)
      try append(started, row, at: stamp, transaction)
    }
  }

  /// Notes what came of it, whatever became of the task meanwhile: what was spent was spent.
  func end(_ call: ModelCall, of key: AgentTaskKey, _ shares: [ModelBudget.Share]) async throws {
    let stamp = TaskStamp(environment)
    _ = try await environment.database.transaction("ao.model_end") { transaction in
      guard var row = try OrchestratorStore.task(transaction, key) else { return }
      try ModelCallStore.upsert(call, key, transaction)
      let tool = Self.toolName(of: call.provider)
      if call.outcome == "completed" {
        let begun = call.begunAt?.nanosecondsSinceEpoch ?? stamp.now
        let completed = ToolCallCompleted(
          agentSlug: row.task.agentSlug, toolName: tool, callID: call.callID, durationMs: (stamp.now - begun) / 1_000_000,
          costMicros: call.cost?.micros ?? 0, currency: call.cost?.currency ?? "")
        try append(completed, row, at: stamp, transaction)
      } else {
        let failed = ToolCallFailed(agentSlug: row.task.agentSlug, toolName: tool, callID: call.callID, reason: call.reason)
        try append(failed, row, at: stamp, transaction)
      }
      if let cost = call.cost, cost.micros > 0 {
        // One task's models are paid in one currency, or their sum would be none.
        if row.task.cost == nil || row.task.cost?.currency == cost.currency {
          row.task.cost = Money(micros: (row.task.cost?.micros ?? 0) + cost.micros, currency: cost.currency)
        }
        try OrchestratorStore.update(row, transaction)
      }
      for share in shares { try AgentGuard.settle(share, cost: call.cost, row, at: stamp, in: transaction) }
    }
  }
}
