import SpanwireDatabase
import SpanwireServiceKit

/// The ledger checked against itself and against the rows that stand on it, by the database: nothing of it is held in memory.
enum LedgerAudit {
  /// Every posting sums to zero for each token.
  static func balance(in reader: borrowing some Reader & ~Copyable) throws -> Verification {
    var check = Verification(
      "trutta: every posting balances",
      examined: try count("SELECT count(*) FROM trutta_ledger", in: reader))
    let broken = try reader.query(
      """
      SELECT tenant_id, ledger_transaction_id, token_id, SUM(quantity) FROM trutta_ledger
      GROUP BY tenant_id, ledger_transaction_id, token_id HAVING SUM(quantity) <> 0 LIMIT 1000
      """
    ) { row in
      let (token, sum) = (row.get(2, as: String.self), row.get(3, as: Int64.self))
      return finding(row, "is off by \(sum) of \(token)")
    }
    for (tenant, text) in broken { check.found(text, of: .tenant(tenant)) }
    return check
  }

  /// No account but the issuer's owes anything.
  static func solvency(in reader: borrowing some Reader & ~Copyable) throws -> Verification {
    var check = Verification(
      "trutta: no account but the issuer's is negative",
      examined: try count("SELECT count(*) FROM (SELECT 1 FROM trutta_ledger GROUP BY tenant_id, account, token_id) AS a", in: reader))
    let broken = try reader.query(
      """
      SELECT tenant_id, account, token_id, SUM(quantity) FROM trutta_ledger WHERE account <> 'issuer'
      GROUP BY tenant_id, account, token_id HAVING SUM(quantity) < 0 LIMIT 1000
      """
    ) { row in
      let (token, sum) = (row.get(2, as: String.self), row.get(3, as: Int64.self))
      return finding(row, "holds \(sum) of \(token)")
    }
    for (tenant, text) in broken { check.found(text, of: .tenant(tenant)) }
    return check
  }

  /// What an entitlement has left is what its account holds.
  static func holdings(in reader: borrowing some Reader & ~Copyable) throws -> Verification {
    var check = Verification(
      "trutta: entitlements hold what their accounts hold",
      examined: try count("SELECT count(*) FROM trutta_entitlements", in: reader))
    let broken = try reader.query(
      """
      SELECT e.tenant_id, e.entitlement_id, e.remaining, COALESCE(l.quantity, 0) FROM trutta_entitlements AS e
      LEFT JOIN (
        SELECT tenant_id, account, token_id, SUM(quantity) AS quantity FROM trutta_ledger GROUP BY tenant_id, account, token_id
      ) AS l ON l.tenant_id = e.tenant_id AND l.account = 'holder:' || e.entitlement_id AND l.token_id = e.token_id
      WHERE e.remaining <> COALESCE(l.quantity, 0) LIMIT 1000
      """
    ) { row in
      let (remaining, held) = (row.get(2, as: Int64.self), row.get(3, as: Int64.self))
      return finding(row, "has \(remaining), its account \(held)")
    }
    for (tenant, text) in broken { check.found(text, of: .tenant(tenant)) }
    return check
  }

  /// What a settlement pays is what its redemptions are worth, with its corrections.
  static func settlements(in reader: borrowing some Reader & ~Copyable) throws -> Verification {
    var check = Verification(
      "trutta: settlements pay what was redeemed",
      examined: try count("SELECT count(*) FROM trutta_settlements", in: reader))
    let broken = try reader.query(
      """
      SELECT s.tenant_id, s.settlement_id, s.total_micros, COALESCE(r.micros, 0) + COALESCE(c.micros, 0) FROM trutta_settlements AS s
      LEFT JOIN (
        SELECT tenant_id, settlement_id, SUM(amount_micros) AS micros FROM trutta_redemptions WHERE settlement_id IS NOT NULL
        GROUP BY tenant_id, settlement_id
      ) AS r ON r.tenant_id = s.tenant_id AND r.settlement_id = s.settlement_id
      LEFT JOIN (
        SELECT tenant_id, settlement_id, SUM(micros) AS micros FROM trutta_corrections GROUP BY tenant_id, settlement_id
      ) AS c ON c.tenant_id = s.tenant_id AND c.settlement_id = s.settlement_id
      WHERE s.total_micros <> COALESCE(r.micros, 0) + COALESCE(c.micros, 0) LIMIT 1000
      """
    ) { finding($0, "pays \($0.get(2, as: Int64.self)) for \($0.get(3, as: Int64.self))") }
    for (tenant, text) in broken { check.found(text, of: .tenant(tenant)) }
    return check
  }

  /// The rows are what the log's events say.
  static func compare(
    _ log: EntitlementProjection, in reader: borrowing some Reader & ~Copyable
  ) throws -> Verification {
    var check = Verification("trutta: entitlements and settlements agree with the log")
    for (tenant, text) in log.contradictions { check.found(text, of: .tenant(tenant)) }
    var missing = Set(log.held.keys)
    let rows = try reader.query("SELECT tenant_id, entitlement_id, issued, remaining, phase FROM trutta_entitlements") {
      (
        key: EntitlementProjection.Key(tenant: $0[0], id: $0[1]),
        held: EntitlementProjection.Held(
          issued: $0[2], remaining: $0[3], isExpired: $0.get(4, as: HeldEntitlement.Phase.self) == .expired)
      )
    }
    for row in rows {
      check.examine()
      missing.remove(row.key)
      if let told = log.held[row.key], told == row.held { continue }
      check.found(
        "\(row.key.tenant) \(row.key.id) is \(row.held), the log says \(log.held[row.key].map { "\($0)" } ?? "nothing")",
        of: .tenant(row.key.tenant))
    }
    for key in missing.sorted() { check.found("\(key.tenant) \(key.id) is in the log alone", of: .tenant(key.tenant)) }
    try compareSettlements(log, in: reader, &check)
    return check
  }

  private static func compareSettlements(
    _ log: EntitlementProjection, in reader: borrowing some Reader & ~Copyable, _ check: inout Verification
  ) throws {
    let settled = try reader.query("SELECT tenant_id, settlement_id, total_micros FROM trutta_settlements") {
      (key: EntitlementProjection.Key(tenant: $0[0], id: $0[1]), micros: $0.get(2, as: Int64.self))
    }
    check.examine(settled.count)
    for row in settled where log.settled[row.key] != row.micros {
      check.found("settlement \(row.key.id) pays \(row.micros), the log says \(log.settled[row.key] ?? 0)", of: .tenant(row.key.tenant))
    }
    let known = Set(settled.map(\.key))
    for key in log.settled.keys.sorted() where !known.contains(key) {
      check.found("settlement \(key.id) is in the log alone", of: .tenant(key.tenant))
    }
    let owed = try reader.query(
      "SELECT tenant_id, vendor_id, SUM(quantity) FROM trutta_redemptions WHERE settlement_id IS NULL GROUP BY tenant_id, vendor_id"
    ) { (key: EntitlementProjection.Key(tenant: $0[0], id: $0[1]), quantity: $0.get(2, as: Int64.self)) }
    let rows = Dictionary(uniqueKeysWithValues: owed.map { ($0.key, $0.quantity) })
    for key in Set(rows.keys).union(log.unsettled.keys).sorted() where rows[key] ?? 0 != log.unsettled[key] ?? 0 {
      check.found("vendor \(key.id) has \(rows[key] ?? 0) unsettled, the log says \(log.unsettled[key] ?? 0)", of: .tenant(key.tenant))
    }
  }

  /// What does not hold of the thing that a row names by its tenant and id.
  private static func finding(_ row: Row, _ fault: String) -> (tenant: String, text: String) {
    let tenant = row.get(0, as: String.self)
    return (tenant, "\(tenant) \(row.get(1, as: String.self)) \(fault)")
  }

  private static func count(_ sql: StaticString, in reader: borrowing some Reader & ~Copyable) throws -> Int {
    try reader.first(sql) { $0[0] } ?? 0
  }
}
