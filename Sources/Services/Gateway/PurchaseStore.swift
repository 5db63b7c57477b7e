import SpanwireDatabase
import SpanwireRPC
import SpanwireSchema
import SpanwireWellKnown

/// One purchase's row.
struct PurchaseRow: Sendable {
  var sessionID: String
  var variantID: String
  var paymentReference: String
  var price: Money?
  var grants: Int
  var isUnderWay: Bool
}

/// What came of a purchase.
enum PurchaseResult: Sendable {
  case underWay
  case completed(PurchaseResponse)
  case failed(RPCError)
}

/// Purchases while and after their entitlements are issued.
enum PurchaseStore {
  static func insert(
    _ id: String, _ request: PurchaseRequest, _ variant: Variant, of session: ProductRuntimeSession, in tx: borrowing Transaction
  ) throws {
    try tx.execute(
      """
      INSERT INTO prg_purchases (tenant_id, purchase_id, session_id, variant_id, payment_reference, price, grants)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
      """, session.tenantID, id, session.productRuntimeSessionID, variant.variantID, request.paymentReference,
      (variant.price ?? Money()).encoded(), variant.grants.count)
  }

  static func find(_ id: String, tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> PurchaseRow? {
    try reader.first(
      """
      SELECT session_id, variant_id, payment_reference, price, grants, response IS NULL AND failure IS NULL
      FROM prg_purchases WHERE tenant_id = ?1 AND purchase_id = ?2
      """, tenant, id
    ) { row in
      let price = try Money(decoding: row.get(3, as: [UInt8].self))
      return PurchaseRow(
        sessionID: row[0], variantID: row[1], paymentReference: row[2], price: price.currency.isEmpty ? nil : price, grants: row[4],
        isUnderWay: row[5])
    }
  }

  /// Each grant counts once, however often its outcome is told.
  static func add(
    _ entitlement: Entitlement, _ number: Int, to purchase: String, tenant: String, in tx: borrowing Transaction
  ) throws {
    try tx.execute(
      """
      INSERT INTO prg_purchase_grants (tenant_id, purchase_id, number, entitlement) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING
      """, tenant, purchase, number, entitlement.encoded())
  }

  static func entitlements(of purchase: String, tenant: String, in tx: borrowing Transaction) throws -> [Entitlement] {
    try tx.query(
      "SELECT entitlement FROM prg_purchase_grants WHERE tenant_id = ?1 AND purchase_id = ?2 ORDER BY number", tenant, purchase
    ) { try Entitlement(decoding: $0.get(0, as: [UInt8].self)) }
  }

  static func complete(_ response: PurchaseResponse, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute(
      "UPDATE prg_purchases SET response = ?3 WHERE tenant_id = ?1 AND purchase_id = ?2", tenant, response.purchaseID,
      response.encoded(), expecting: .rows(1))
  }

  static func fail(_ id: String, _ error: RPCError, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute(
      "UPDATE prg_purchases SET failure = ?3 WHERE tenant_id = ?1 AND purchase_id = ?2", tenant, id, error.stored, expecting: .rows(1))
  }

  static func result(_ id: String, tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> PurchaseResult {
    let found = try reader.first(
      "SELECT response, failure FROM prg_purchases WHERE tenant_id = ?1 AND purchase_id = ?2", tenant, id
    ) { row -> PurchaseResult in
      if let response = row.get(0, as: [UInt8]?.self) { return .completed(try PurchaseResponse(decoding: response)) }
      if let failure = row.get(1, as: [UInt8]?.self) { return .failed(RPCError(stored: failure)) }
      return .underWay
    }
    return found ?? .underWay
  }
}

extension RPCError {
  /// The error as rows keep it: a google.rpc.Status.
  var stored: [UInt8] { Google_Rpc_Status(code: Int32(code.rawValue), message: message, details: details).encoded() }

  /// An error as rows kept it.
  init(stored bytes: [UInt8]) {
    guard let status = try? Google_Rpc_Status(decoding: bytes), let code = Code(rawValue: UInt8(clamping: status.code)) else {
      preconditionFailure("a row holds no status")
    }
    self.init(code, status.message, details: status.details)
  }
}
