import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// The file that a vendor is paid by, made of a settlement with its corrections.
///
/// The same settlement makes the same bytes, and every file bears the hash of the settlement's encoding, so that a CSV on a desk and a
/// message in an archive can be told to be of one document.
struct SettlementDocument {
  let settlement: Settlement
  /// Of the settlement's encoding, in hex.
  let hash: String

  /// Throws DATA_LOSS for a settlement whose parts don't add up to its total: nobody is paid by such a file.
  init(_ settlement: Settlement) throws {
    let parts = settlement.lines.map { $0.amount } + settlement.corrections.map { $0.amount }
    let currency = settlement.total?.currency ?? ""
    guard parts.allSatisfy({ $0?.currency == currency }),
      parts.reduce(0, { $0 + ($1?.micros ?? 0) }) == settlement.total?.micros ?? 0
    else { throw RPCError(.dataLoss, "the parts of \(settlement.settlementID) don't add up to its total: run spanwire verify") }
    self.settlement = settlement
    hash = SHA256.hex(SHA256.hash(settlement.encoded()))
  }

  func file(_ format: SettlementFormat) -> SettlementFile {
    let content: [UInt8]
    let (ending, type): (String, String)
    switch format {
    case .proto:
      (ending, type) = ("binpb", "application/x-protobuf; messageType=\"\(Settlement.protoTypeName)\"")
      content = settlement.encoded()
    default:
      (ending, type) = ("csv", "text/csv; charset=utf-8; header=present")
      content = Array(csv.utf8)
    }
    return SettlementFile(
      fileName: "\(settlement.vendorID)_\(settlement.settlementID).\(ending)", contentType: type, content: content,
      sha256: SHA256.hex(SHA256.hash(content)), documentSha256: hash)
  }

  // MARK: CSV

  static let columns = [
    "record", "settlement_id", "vendor_id", "vendor_name", "legal_name", "tax_id", "payment_account", "period_start", "period_end",
    "token_id", "service_point_id", "redemptions", "quantity", "amount", "currency", "at", "actor", "reason", "reference",
  ]

  /// RFC 4180: every row tells whose it is, so that rows of many files can be put together.
  private var csv: String {
    var rows = [Self.columns]
    let vendor = settlement.vendor ?? .init()
    let head = [
      settlement.settlementID, settlement.vendorID, vendor.name, vendor.legalName, vendor.taxID, vendor.paymentAccount,
      Self.time(settlement.periodStart?.nanosecondsSinceEpoch), Self.time(settlement.periodEnd?.nanosecondsSinceEpoch),
    ]
    func row(
      _ record: String, token: String = "", place: String = "", redemptions: Int64? = nil, quantity: Int64? = nil, amount: Money?,
      at: Int64?, actor: String = "", reason: String = "", reference: String = ""
    ) {
      rows.append(
        [record] + head + [
          token, place, redemptions.map { "\($0)" } ?? "", quantity.map { "\($0)" } ?? "", Micros.format(amount?.micros ?? 0),
          amount?.currency ?? "", Self.time(at), actor, reason, reference,
        ])
    }
    for line in settlement.lines {
      row(
        "line", token: line.tokenID, place: line.servicePointID, redemptions: line.redemptions, quantity: line.quantity,
        amount: line.amount, at: nil)
    }
    for correction in settlement.corrections {
      row(
        "correction", amount: correction.amount, at: correction.at?.nanosecondsSinceEpoch, actor: correction.actor,
        reason: correction.reason, reference: correction.ledgerTransactionID)
    }
    row(
      "total", redemptions: settlement.lines.reduce(0) { $0 + $1.redemptions }, quantity: settlement.lines.reduce(0) { $0 + $1.quantity },
      amount: settlement.total, at: settlement.settledAt?.nanosecondsSinceEpoch, reference: "sha256:\(hash)")
    return rows.map { $0.map(Self.cell).joined(separator: ",") + "\r\n" }.joined()
  }

  /// Quoted where it must be. What a spreadsheet would take for a formula is made text by an apostrophe; numbers stay what they are.
  static func cell(_ text: String) -> String {
    var text = text
    let isNumber = !text.isEmpty && text.utf8.allSatisfy { (48...57).contains($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") }
    if let first = text.utf8.first, "=+-@\t\r".utf8.contains(first), !isNumber { text = "'" + text }
    guard text.utf8.contains(where: { [UInt8(ascii: ","), UInt8(ascii: "\""), 10, 13].contains($0) }) else { return text }
    return "\"" + text.replacing("\"", with: "\"\"") + "\""
  }

  private static func time(_ moment: Int64?) -> String { moment.map { RFC3339.format($0) } ?? "" }
}

extension EntitlementsServer {
  public func getSettlement(_ request: GetSettlementRequest, context: ServerContext) async throws -> Settlement {
    try await settlement(request.settlementID, context)
  }

  public func exportSettlement(_ request: ExportSettlementRequest, context: ServerContext) async throws -> SettlementFile {
    var fields = Validation()
    fields.id(request.settlementID, "settlement_id")
    fields.known(request.format, "format")
    fields.check(request.format != .unspecified, "format", "must be CSV or PROTO")
    try fields.finish()
    return try SettlementDocument(try await settlement(request.settlementID, context)).file(request.format)
  }

  /// A settlement with its corrections.
  private func settlement(_ id: String, _ context: ServerContext) async throws -> Settlement {
    let step = try step(context)
    var fields = Validation()
    fields.id(id, "settlement_id")
    try fields.finish()
    return try await environment.database.scan { reader in
      let row = try Self.row(id, step, in: reader)
      var settlement = try row.contract()
      settlement.corrections = try RedemptionStore.corrections(of: id, tenant: step.tenant, in: reader).map { correction in
        SettlementCorrection(
          ledgerTransactionID: correction.ledgerTransactionID, amount: Money(micros: correction.micros, currency: row.total.currency),
          reason: correction.reason, actor: correction.actor, at: .init(nanosecondsSinceEpoch: correction.at))
      }
      return settlement
    }
  }
}
