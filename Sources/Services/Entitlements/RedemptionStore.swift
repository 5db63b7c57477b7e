import SpanwireDatabase

/// A redemption's row: what the vendor is settled for, and the answer to its key for ever.
struct RedemptionRow: Sendable, Hashable {
  var redeemed: RedeemedTokens
  var remaining: Int64
  var journeyInstanceID: String
  var ledgerTransactionID: String
}

/// Redemptions, settlements and corrections.
enum RedemptionStore {
  static func insert(
    _ row: RedemptionRow, tenant: String, key: String, hash: [UInt8], in tx: borrowing Transaction
  ) throws {
    let redeemed = row.redeemed
    try tx.execute(
      """
      INSERT INTO trutta_redemptions (tenant_id, redemption_id, entitlement_id, token_id, quantity, remaining, service_point_id,
        vendor_id, journey_instance_id, redeemed_at, amount_micros, currency, ledger_transaction_id, idempotency_key, request_hash)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
      """, tenant, redeemed.id, redeemed.entitlementID, redeemed.tokenID, redeemed.quantity, row.remaining, redeemed.servicePointID,
      redeemed.vendorID, row.journeyInstanceID, redeemed.redeemedAt, redeemed.amount.micros, redeemed.amount.currency,
      row.ledgerTransactionID, key, hash, expecting: .rows(1))
  }

  static func redemption(
    key: String, tenant: String, in reader: borrowing some Reader & ~Copyable
  ) throws -> (row: RedemptionRow, hash: [UInt8])? {
    try reader.first(
      """
      SELECT redemption_id, entitlement_id, token_id, quantity, service_point_id, vendor_id, redeemed_at, amount_micros, currency,
        remaining, journey_instance_id, ledger_transaction_id, request_hash
      FROM trutta_redemptions WHERE tenant_id = ?1 AND idempotency_key = ?2
      """, tenant, key
    ) { row in
      (
        RedemptionRow(redeemed: redeemed(row), remaining: row[9], journeyInstanceID: row[10], ledgerTransactionID: row[11]),
        row.get(12)
      )
    }
  }

  /// What vendors redeemed until then and were not settled for, by vendor; of one vendor if one is named.
  static func unsettled(
    vendor: String, until: Int64, tenant: String, limit: Int, in reader: borrowing some Reader & ~Copyable
  ) throws -> [RedeemedTokens] {
    if vendor.isEmpty {
      return try reader.query(
        """
        SELECT redemption_id, entitlement_id, token_id, quantity, service_point_id, vendor_id, redeemed_at, amount_micros, currency
        FROM trutta_redemptions WHERE tenant_id = ?1 AND settlement_id IS NULL AND redeemed_at <= ?2
        ORDER BY vendor_id, redemption_id LIMIT ?3
        """, tenant, until, limit, row: redeemed)
    }
    return try reader.query(
      """
      SELECT redemption_id, entitlement_id, token_id, quantity, service_point_id, vendor_id, redeemed_at, amount_micros, currency
      FROM trutta_redemptions WHERE tenant_id = ?1 AND vendor_id = ?2 AND settlement_id IS NULL AND redeemed_at <= ?3
      ORDER BY redemption_id LIMIT ?4
      """, tenant, vendor, until, limit, row: redeemed)
  }

  /// The vendors who redeemed something until then that they were not settled for.
  static func unsettledVendors(
    until: Int64, tenant: String, limit: Int, in reader: borrowing some Reader & ~Copyable
  ) throws -> [String] {
    try reader.query(
      """
      SELECT DISTINCT vendor_id FROM trutta_redemptions WHERE tenant_id = ?1 AND settlement_id IS NULL AND redeemed_at <= ?2
      ORDER BY vendor_id LIMIT ?3
      """, tenant, until, limit
    ) { $0[0] }
  }

  /// Marks a vendor's redemptions of one currency as settled: exactly those that were summed up.
  static func settle(
    _ settlement: VendorSettlement, as id: String, until: Int64, tenant: String, in tx: borrowing Transaction
  ) throws {
    try tx.execute(
      """
      UPDATE trutta_redemptions SET settlement_id = ?1
      WHERE tenant_id = ?2 AND vendor_id = ?3 AND settlement_id IS NULL AND redeemed_at <= ?4 AND currency = ?5
      """, id, tenant, settlement.vendorID, until, settlement.total.currency, expecting: .rows(settlement.redemptionIDs.count))
  }

  private static func redeemed(_ row: Row) -> RedeemedTokens {
    RedeemedTokens(
      id: row[0], entitlementID: row[1], tokenID: row[2], quantity: row[3], servicePointID: row[4], vendorID: row[5], redeemedAt: row[6],
      amount: Amount(micros: row[7], currency: row[8]))
  }

  // MARK: Settlements

  static func insert(_ row: SettlementRow, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute(
      """
      INSERT INTO trutta_settlements (tenant_id, settlement_id, vendor_id, currency, total_micros, settled_at, ledger_transaction_id, lines)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
      """, tenant, row.id, row.vendorID, row.total.currency, row.total.micros, row.settledAt, row.ledgerTransactionID, row.frozen,
      expecting: .rows(1))
  }

  static func settlement(
    _ id: String, tenant: String, in reader: borrowing some Reader & ~Copyable
  ) throws -> SettlementRow? {
    try reader.first(
      """
      SELECT settlement_id, vendor_id, total_micros, currency, settled_at, ledger_transaction_id, lines
      FROM trutta_settlements WHERE tenant_id = ?1 AND settlement_id = ?2
      """, tenant, id, row: SettlementRow.init)
  }

  static func settlements(
    vendor: String, after: String, size: Int, tenant: String, in reader: borrowing some Reader & ~Copyable
  ) throws -> [SettlementRow] {
    if vendor.isEmpty {
      return try reader.query(
        """
        SELECT settlement_id, vendor_id, total_micros, currency, settled_at, ledger_transaction_id, lines
        FROM trutta_settlements WHERE tenant_id = ?1 AND settlement_id > ?2 ORDER BY settlement_id LIMIT ?3
        """, tenant, after, size, row: SettlementRow.init)
    }
    return try reader.query(
      """
      SELECT settlement_id, vendor_id, total_micros, currency, settled_at, ledger_transaction_id, lines
      FROM trutta_settlements WHERE tenant_id = ?1 AND vendor_id = ?2 AND settlement_id > ?3 ORDER BY settlement_id LIMIT ?4
      """, tenant, vendor, after, size, row: SettlementRow.init)
  }

  // MARK: Corrections

  struct Correction: Sendable {
    var ledgerTransactionID: String
    var settlementID: String
    var micros: Int64
    var total: Amount
    var reason: String
    var actor: String
    var at: Int64
  }

  static func correct(
    _ correction: Correction, tenant: String, key: String, hash: [UInt8], in tx: borrowing Transaction
  ) throws {
    try tx.execute(
      """
      INSERT INTO trutta_corrections (tenant_id, ledger_transaction_id, settlement_id, micros, total_micros, reason, actor, at,
        idempotency_key, request_hash)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
      """, tenant, correction.ledgerTransactionID, correction.settlementID, correction.micros, correction.total.micros,
      correction.reason, correction.actor, correction.at, key, hash, expecting: .rows(1))
    try tx.execute(
      "UPDATE trutta_settlements SET total_micros = ?3 WHERE tenant_id = ?1 AND settlement_id = ?2 AND total_micros + ?4 = ?3", tenant,
      correction.settlementID, correction.total.micros, correction.micros, expecting: .rows(1))
  }

  /// The corrections of a settlement, in their order.
  static func corrections(
    of settlement: String, tenant: String, in reader: borrowing some Reader & ~Copyable
  ) throws -> [Correction] {
    try reader.query(
      """
      SELECT ledger_transaction_id, settlement_id, micros, total_micros, reason, actor, at FROM trutta_corrections
      WHERE tenant_id = ?1 AND settlement_id = ?2 ORDER BY ledger_transaction_id
      """, tenant, settlement
    ) { row in
      Correction(
        ledgerTransactionID: row[0], settlementID: row[1], micros: row[2], total: Amount(micros: row[3], currency: ""), reason: row[4],
        actor: row[5], at: row[6])
    }
  }

  /// The settlement that a correction's key concerned and its total right after, with the hash of what was asked.
  static func correction(
    key: String, tenant: String, in reader: borrowing some Reader & ~Copyable
  ) throws -> (settlementID: String, totalMicros: Int64, hash: [UInt8])? {
    try reader.first(
      "SELECT settlement_id, total_micros, request_hash FROM trutta_corrections WHERE tenant_id = ?1 AND idempotency_key = ?2", tenant, key
    ) { ($0.get(0), $0.get(1), $0.get(2)) }
  }
}

/// A settlement's row; `frozen` is a contract message with the parts that never change: lines, vendor, period.
struct SettlementRow: Sendable, Hashable {
  var id: String
  var vendorID: String
  var total: Amount
  var settledAt: Int64
  var ledgerTransactionID: String
  var frozen: [UInt8]
}

extension SettlementRow {
  init(_ row: Row) {
    self.init(
      id: row[0], vendorID: row[1], total: Amount(micros: row[2], currency: row[3]), settledAt: row[4], ledgerTransactionID: row[5],
      frozen: row[6])
  }
}
