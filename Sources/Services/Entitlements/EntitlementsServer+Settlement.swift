import SpanwireDatabase
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// What vendors are paid by.
extension EntitlementsServer {
  /// Settles everything that vendors redeemed and were not settled for. A vendor with nothing to settle yields no settlement.
  public func settle(_ request: SettleRequest, context: ServerContext) async throws -> SettleResponse {
    let step = try step(context)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.optionalID(request.vendorID, "vendor_id")
    if let until = request.until { fields.check(until.nanosecondsSinceEpoch <= step.now, "until", "must not lie ahead") }
    try fields.finish()

    let key = IdempotencyKey(request.idempotencyKey, request, context)
    let until = request.until?.nanosecondsSinceEpoch ?? step.now
    // A vendor who redeems for the first time from here on is settled the next time.
    let payees = try await payees(vendor: request.vendorID, until: until, step)
    // How many settlements there will be only the transaction knows; this one has room for more than it may hold.
    let first = environment.ids.ulid()
    return try await environment.database.transaction("trutta.settle") { tx in
      try tx.once(key, at: step.now) {
        let limit = EntitlementLimits.settlementRedemptions
        let unsettled = try RedemptionStore.unsettled(
          vendor: request.vendorID, until: until, tenant: step.tenant, limit: limit + 1, in: tx)
        guard unsettled.count <= limit else { throw EntitlementRefusal.tooManyRedemptions(limit: limit) }
        var response = SettleResponse()
        for (vendor, batch) in Dictionary(grouping: unsettled, by: \.vendorID).sorted(by: { $0.key < $1.key }) {
          guard let payee = payees[vendor] else { continue }
          for settlement in try EntitlementStateMachine.settle(vendorID: vendor, batch) {
            let number = first.advanced(by: UInt64(response.settlements.count))
            let row = SettlementRow(
              settlement, to: payee, id: number.text(.settlement), ledgerTransactionID: number.text(.ledgerTransaction), from: batch,
              until: until, at: step.now)
            try RedemptionStore.insert(row, tenant: step.tenant, in: tx)
            try RedemptionStore.settle(settlement, as: row.id, until: until, tenant: step.tenant, in: tx)
            try EntitlementsStore.post(settlement.posting, id: row.ledgerTransactionID, at: step.now, tenant: step.tenant, in: tx)
            try Self.tell(settlement, row, step, in: tx)
            response.settlements.append(try row.contract())
          }
        }
        return response
      }
    }.value
  }

  /// Who is to be paid: the vendors with something to settle, as the registry knows them at this time.
  private func payees(vendor: String, until: Int64, _ step: LedgerStep) async throws -> [String: Vendor] {
    let found = try await environment.database.scan { reader in
      try RedemptionStore.unsettledVendors(until: until, tenant: step.tenant, limit: EntitlementLimits.settlementRedemptions, in: reader)
    }
    var payees: [String: Vendor] = [:]
    for id in found where vendor.isEmpty || id == vendor { payees[id] = try await vendors(id) ?? Vendor(vendorID: id) }
    return payees
  }

  /// One event for each token of a settlement.
  private static func tell(
    _ settlement: VendorSettlement, _ row: SettlementRow, _ step: LedgerStep, in tx: borrowing Transaction
  ) throws {
    for (token, lines) in Dictionary(grouping: settlement.lines, by: \.tokenID).sorted(by: { $0.key < $1.key }) {
      let amount = Amount(micros: lines.reduce(0) { $0 + $1.amount.micros }, currency: settlement.total.currency)
      try step.tell(
        EntitlementSettled(
          settlementID: row.id, vendorID: row.vendorID, tokenID: token, redemptions: lines.reduce(0) { $0 + $1.redemptions },
          quantity: lines.reduce(0) { $0 + $1.quantity }, amount: amount.contract, ledgerTransactionID: row.ledgerTransactionID), in: tx)
    }
  }

  /// Adds to a settlement, or takes from it, by a posting of its own.
  public func correctSettlement(_ request: CorrectSettlementRequest, context: ServerContext) async throws -> Settlement {
    let step = try step(context)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.settlementID, "settlement_id")
    fields.money(request.amount, "amount", allowsNegative: true)
    fields.check(request.amount?.micros != 0, "amount.micros", "must change something")
    fields.text(request.reason, "reason", max: EntitlementLimits.reasonCharacters)
    fields.text(request.actor, "actor", max: EntitlementLimits.nameCharacters)
    try fields.finish()

    let posting = environment.ids.next(.ledgerTransaction)
    let hash = SHA256.hash(request.encoded())
    let amount = Amount(request.amount)
    return try await environment.database.transaction("trutta.correct") { tx in
      let key = request.idempotencyKey
      if let (id, total, first) = try RedemptionStore.correction(key: key, tenant: step.tenant, in: tx) {
        try Self.admit(hash, first, key)
        var settlement = try Self.row(id, step, in: tx)
        settlement.total.micros = total
        return try settlement.contract()
      }
      var row = try Self.row(request.settlementID, step, in: tx)
      let corrected = try EntitlementStateMachine.correct(vendorID: row.vendorID, total: row.total, by: amount)
      let correction = RedemptionStore.Correction(
        ledgerTransactionID: posting, settlementID: row.id, micros: amount.micros, total: corrected.total, reason: request.reason,
        actor: request.actor, at: step.now)
      try RedemptionStore.correct(correction, tenant: step.tenant, key: key, hash: hash, in: tx)
      try EntitlementsStore.post(corrected.posting, id: posting, at: step.now, tenant: step.tenant, in: tx)
      try step.tell(
        SettlementCorrected(
          settlementID: row.id, vendorID: row.vendorID, amount: amount.contract, reason: request.reason, actor: request.actor,
          ledgerTransactionID: posting), in: tx)
      row.total = corrected.total
      return try row.contract()
    }.value
  }

  static func row(_ id: String, _ step: LedgerStep, in reader: borrowing some Reader & ~Copyable) throws -> SettlementRow {
    guard let row = try RedemptionStore.settlement(id, tenant: step.tenant, in: reader) else {
      throw RPCError.missing(.settlementNotFound, "there is no settlement \(id)")
    }
    return row
  }
}
