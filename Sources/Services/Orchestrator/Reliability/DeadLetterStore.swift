import SpanwireDatabase
import SpanwireSchema

/// The rows of tasks and executions that ended without an answer.
enum DeadLetterStore {
  static func insert(_ item: DeadLetter, _ transaction: borrowing Transaction) throws {
    try transaction.execute(
      "INSERT INTO actp_dlq (tenant_id, item_id, agent_task_id, agent_slug, resolution, item) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
      item.tenant, item.itemID, item.task?.agentTaskID ?? "", item.performer, item.resolution.rawValue, item.encoded(),
      expecting: .rows(1))
  }

  static func update(_ item: DeadLetter, _ transaction: borrowing Transaction) throws {
    try transaction.execute(
      "UPDATE actp_dlq SET resolution = ?3, item = ?4 WHERE tenant_id = ?1 AND item_id = ?2", item.tenant, item.itemID,
      item.resolution.rawValue, item.encoded(), expecting: .rows(1))
  }

  static func item(_ reader: borrowing some Reader & ~Copyable, tenant: String, id: String) throws -> DeadLetter? {
    try reader.first("SELECT item FROM actp_dlq WHERE tenant_id = ?1 AND item_id = ?2", tenant, id, row: Self.decoded)
  }

  /// A page of a tenant's items in the order in which they came, of one agent or of all, with one resolution or any.
  static func items(
    _ reader: borrowing some Reader & ~Copyable, tenant: String, slug: String, resolution: DeadLetter.Resolution, after id: String,
    limit: Int
  ) throws -> [DeadLetter] {
    if resolution == .pending {
      return try reader.query(
        """
        SELECT item FROM actp_dlq WHERE tenant_id = ?1 AND item_id > ?2 AND resolution = 1 AND (?3 = '' OR agent_slug = ?3)
        ORDER BY item_id LIMIT ?4
        """, tenant, id, slug, limit, row: Self.decoded)
    }
    return try reader.query(
      """
      SELECT item FROM actp_dlq WHERE tenant_id = ?1 AND item_id > ?2 AND (?3 = 0 OR resolution = ?3) AND (?4 = '' OR agent_slug = ?4)
      ORDER BY item_id LIMIT ?5
      """, tenant, id, resolution.rawValue, slug, limit, row: Self.decoded)
  }

  /// How many wait for somebody.
  static func pending(_ reader: borrowing some Reader & ~Copyable, tenant: String, slug: String) throws -> Int64 {
    try reader.first(
      "SELECT COUNT(*) FROM actp_dlq WHERE tenant_id = ?1 AND resolution = 1 AND (?2 = '' OR agent_slug = ?2)", tenant, slug,
      row: { $0[0] }) ?? 0
  }

  /// With every attempt of its task.
  static func full(_ item: DeadLetter, _ reader: borrowing some Reader & ~Copyable) throws -> DeadLetter {
    guard item.task != nil else { return item }
    var item = item
    let key = AgentTaskKey(tenant: item.task?.tenantID ?? "", id: item.task?.agentTaskID ?? "")
    item.task?.attempts = try AttemptStore.attempts(reader, of: key)
    return item
  }

  private static func decoded(_ row: Row) throws -> DeadLetter { try DeadLetter(decoding: row.get(0, as: [UInt8].self)) }
}

extension DeadLetter {
  var tenant: String { task?.tenantID ?? execution?.intent?.tenantID ?? "" }
  /// The agent or the handler that had it.
  var performer: String { task?.agentSlug ?? execution?.handlerName ?? "" }
}
