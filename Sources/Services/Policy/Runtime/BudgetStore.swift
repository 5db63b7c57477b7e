import SpanwireDatabase
import SpanwireSchema

/// One period of one budget, and how much may go into it.
struct BudgetBucket: Sendable, Hashable {
  let policyTenant: String
  let policyID: String
  /// `day:2026-05-04` or `run:{run_id}`.
  let period: String
  let currency: String
  let limit: Int64
}

/// What stands in one bucket.
struct BudgetBalance: Sendable, Hashable {
  var reserved: Int64
  var spent: Int64
}

/// A reservation's row.
struct ReservationRow: Sendable {
  let id: String
  var state: BudgetReservationState
  let micros: Int64
  var spent: Int64
  let currency: String
  let agentSlug: String
  let toolName: String
  let runID: String
  let createdAt: Int64
  let expiresAt: Int64
}

/// Balances, reservations and the append-only ledger they are the sums of.
enum BudgetStore {
  static func balance(of bucket: BudgetBucket, in reader: borrowing some Reader & ~Copyable) throws -> BudgetBalance {
    try reader.first(
      """
      SELECT reserved_micros, spent_micros FROM policy_budget_balances
      WHERE policy_tenant = ?1 AND policy_id = ?2 AND period = ?3 AND currency = ?4
      """, bucket.policyTenant, bucket.policyID, bucket.period, bucket.currency
    ) { BudgetBalance(reserved: $0[0], spent: $0[1]) } ?? BudgetBalance(reserved: 0, spent: 0)
  }

  static func insert(_ row: ReservationRow, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute(
      """
      INSERT INTO policy_reservations (tenant_id, reservation_id, state, micros, spent_micros, currency, agent_slug, tool_name, run_id,
        created_at, expires_at)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
      """, tenant, row.id, row.state.rawValue, row.micros, row.spent, row.currency, row.agentSlug, row.toolName, row.runID,
      row.createdAt, row.expiresAt, expecting: .rows(1))
  }

  /// Ends a reservation that is still held.
  static func end(_ row: ReservationRow, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute(
      "UPDATE policy_reservations SET state = ?3, spent_micros = ?4 WHERE tenant_id = ?1 AND reservation_id = ?2 AND state = 1",
      tenant, row.id, row.state.rawValue, row.spent, expecting: .rows(1))
  }

  /// Appends one line to the ledger and moves its balance.
  static func post(
    _ bucket: BudgetBucket, _ kind: StaticString, entry: String, line: Int, reserved: Int64, spent: Int64, of row: ReservationRow,
    now: Int64, tenant: String, in tx: borrowing Transaction
  ) throws {
    try tx.execute(
      """
      INSERT INTO actp_budget_ledger (tenant_id, entry_id, line, policy_tenant, policy_id, period, currency, reservation_id, kind,
        reserved_micros, spent_micros, agent_slug, tool_name, run_id, created_at)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
      """, tenant, entry, line, bucket.policyTenant, bucket.policyID, bucket.period, bucket.currency, row.id, "\(kind)", reserved, spent,
      row.agentSlug, row.toolName, row.runID, now, expecting: .rows(1))
    if try tx.executeCounting(
      """
      UPDATE policy_budget_balances SET reserved_micros = reserved_micros + ?5, spent_micros = spent_micros + ?6
      WHERE policy_tenant = ?1 AND policy_id = ?2 AND period = ?3 AND currency = ?4
      """, bucket.policyTenant, bucket.policyID, bucket.period, bucket.currency, reserved, spent) == 1
    {
      return
    }
    try tx.execute(
      """
      INSERT INTO policy_budget_balances (policy_tenant, policy_id, period, currency, reserved_micros, spent_micros)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6)
      """, bucket.policyTenant, bucket.policyID, bucket.period, bucket.currency, reserved, spent, expecting: .rows(1))
  }

  /// The buckets a reservation was made on, as its first entry tells; without their limits, which may have changed since.
  static func buckets(of reservation: String, tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> [BudgetBucket] {
    // Asked directly, SQLite walks the tenant's whole ledger by its key, which it takes to be short.
    try reader.query(
      """
      SELECT policy_tenant, policy_id, period, currency FROM actp_budget_ledger WHERE tenant_id = ?1 AND entry_id IN
        (SELECT entry_id FROM actp_budget_ledger WHERE tenant_id = ?1 AND reservation_id = ?2) AND kind = 'reserve' ORDER BY line
      """, tenant, reservation
    ) { BudgetBucket(policyTenant: $0[0], policyID: $0[1], period: $0[2], currency: $0[3], limit: 0) }
  }

  static func reservation(_ id: String, tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> ReservationRow? {
    try reader.first(
      """
      SELECT reservation_id, state, micros, spent_micros, currency, agent_slug, tool_name, run_id, created_at, expires_at
      FROM policy_reservations WHERE tenant_id = ?1 AND reservation_id = ?2
      """, tenant, id, row: reservation)
  }

  static func page(
    state: BudgetReservationState, runID: String, after: String, size: Int, tenant: String, in reader: borrowing some Reader & ~Copyable
  ) throws -> [ReservationRow] {
    if runID.isEmpty {
      return try reader.query(
        """
        SELECT reservation_id, state, micros, spent_micros, currency, agent_slug, tool_name, run_id, created_at, expires_at
        FROM policy_reservations WHERE tenant_id = ?1 AND reservation_id > ?2 AND (?3 = 0 OR state = ?3) ORDER BY reservation_id LIMIT ?4
        """, tenant, after, state.rawValue, size, row: reservation)
    }
    return try reader.query(
      """
      SELECT reservation_id, state, micros, spent_micros, currency, agent_slug, tool_name, run_id, created_at, expires_at
      FROM policy_reservations
      WHERE tenant_id = ?1 AND run_id = ?5 AND reservation_id > ?2 AND (?3 = 0 OR state = ?3) ORDER BY reservation_id LIMIT ?4
      """, tenant, after, state.rawValue, size, runID, row: reservation)
  }

  private static func reservation(_ row: Row) -> ReservationRow {
    ReservationRow(
      id: row[0], state: BudgetReservationState(rawValue: row[1]), micros: row[2], spent: row[3], currency: row[4], agentSlug: row[5],
      toolName: row[6], runID: row[7], createdAt: row[8], expiresAt: row[9])
  }

  struct UsedBucket: Sendable {
    let policyTenant: String
    let policyID: String
    let period: String
    let currency: String
    let balance: BudgetBalance
  }

  /// The buckets of a tenant's own budgets, in the order of their keys, after one of them.
  static func used(
    policy: String, after: (policy: String, period: String, currency: String), size: Int, tenant: String,
    in reader: borrowing some Reader & ~Copyable
  ) throws -> [UsedBucket] {
    try reader.query(
      """
      SELECT policy_tenant, policy_id, period, currency, reserved_micros, spent_micros FROM policy_budget_balances
      WHERE policy_tenant = ?1 AND (?2 = '' OR policy_id = ?2) AND (policy_id, period, currency) > (?3, ?4, ?5)
      ORDER BY policy_id, period, currency LIMIT ?6
      """, tenant, policy, after.policy, after.period, after.currency, size
    ) {
      UsedBucket(
        policyTenant: $0[0], policyID: $0[1], period: $0[2], currency: $0[3], balance: BudgetBalance(reserved: $0[4], spent: $0[5]))
    }
  }

  // MARK: Verification

  /// Balances that are not the sums of their ledger entries.
  static func unbalanced(in reader: borrowing some Reader & ~Copyable, limit: Int) throws -> [String] {
    try reader.query(
      """
      SELECT b.policy_id, b.period FROM policy_budget_balances b LEFT JOIN (
        SELECT policy_tenant, policy_id, period, currency, sum(reserved_micros) AS reserved, sum(spent_micros) AS spent
        FROM actp_budget_ledger GROUP BY policy_tenant, policy_id, period, currency
      ) l ON l.policy_tenant = b.policy_tenant AND l.policy_id = b.policy_id AND l.period = b.period AND l.currency = b.currency
      WHERE COALESCE(l.reserved, 0) <> b.reserved_micros OR COALESCE(l.spent, 0) <> b.spent_micros
      ORDER BY b.policy_id, b.period LIMIT ?1
      """, limit
    ) { "\($0.get(0, as: String.self)) \($0.get(1, as: String.self))" }
  }

  /// Reservations whose entries do not say what their rows say.
  static func inconsistent(in reader: borrowing some Reader & ~Copyable, limit: Int) throws -> [String] {
    try reader.query(
      """
      SELECT r.reservation_id FROM policy_reservations r JOIN (
        SELECT tenant_id, reservation_id, policy_tenant, policy_id, period, sum(reserved_micros) AS reserved, sum(spent_micros) AS spent
        FROM actp_budget_ledger GROUP BY tenant_id, reservation_id, policy_tenant, policy_id, period
      ) l ON l.tenant_id = r.tenant_id AND l.reservation_id = r.reservation_id
      WHERE l.reserved <> (CASE WHEN r.state = 1 THEN r.micros ELSE 0 END) OR l.spent <> r.spent_micros
      ORDER BY r.reservation_id LIMIT ?1
      """, limit
    ) { $0[0] }
  }

  static func count(in reader: borrowing some Reader & ~Copyable) throws -> Int {
    try reader.first("SELECT (SELECT count(*) FROM policy_budget_balances) + (SELECT count(*) FROM policy_reservations)") { $0[0] } ?? 0
  }
}
