import SpanwireDatabase
import SpanwireSchema

/// The rows of workers: as they were when they came, went or were given up. What they hold at the moment is in the pool.
enum WorkerStore {
  static func upsert(_ worker: WorkerInfo, _ transaction: borrowing Transaction) throws {
    try transaction.execute(
      """
      INSERT INTO actp_worker_registrations (tenant_id, worker_id, state, worker) VALUES (?1, ?2, ?3, ?4)
      ON CONFLICT (tenant_id, worker_id) DO UPDATE SET state = excluded.state, worker = excluded.worker
      """, worker.tenantID, worker.workerID, worker.state.rawValue, worker.encoded(), expecting: .rows(1))
  }

  static func workers(_ reader: borrowing some Reader & ~Copyable, tenant: String, after id: String, limit: Int) throws -> [WorkerInfo] {
    try reader.query(
      "SELECT worker FROM actp_worker_registrations WHERE tenant_id = ?1 AND worker_id > ?2 ORDER BY worker_id LIMIT ?3", tenant, id, limit,
      row: { try WorkerInfo(decoding: $0.get(0, as: [UInt8].self)) })
  }

  /// Those whose stream ended with their process: nobody is attached when the platform starts.
  static func detachAll(_ transaction: borrowing Transaction) throws {
    let workers = try transaction.query(
      "SELECT worker FROM actp_worker_registrations WHERE state NOT IN (?1, ?2)", WorkerState.detached.rawValue,
      WorkerState.dead.rawValue, row: { try WorkerInfo(decoding: $0.get(0, as: [UInt8].self)) })
    for var worker in workers {
      (worker.state, worker.reason) = (.detached, "the platform started anew")
      try upsert(worker, transaction)
    }
  }
}
