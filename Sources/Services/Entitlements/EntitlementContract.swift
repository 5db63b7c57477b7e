import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

extension HeldEntitlement {
  /// The entitlement as callers see it. One whose time is over is expired, whether or not its rest was taken already.
  func contract(tenant: String, at now: Int64) -> Entitlement {
    Entitlement(
      entitlementID: id, tenantID: tenant, productRuntimeSessionID: sessionID, holder: holder, tokenID: tokenID, issued: issued,
      remaining: remaining, state: state(at: now), issuedAt: .init(nanosecondsSinceEpoch: issuedAt),
      expiresAt: expiresAt.map { .init(nanosecondsSinceEpoch: $0) }, compensates: compensates ?? "", revision: revision,
      settlementValue: unitValue.contract)
  }

  /// As it was when it was issued: the answer to the call that issued it, however often that is repeated.
  func contractAsIssued(tenant: String) -> Entitlement {
    var first = self
    first.remaining = issued
    first.phase = .active
    first.revision = 1
    return first.contract(tenant: tenant, at: issuedAt)
  }

  private func state(at now: Int64) -> EntitlementState {
    switch phase {
    case .active: expiresAt.map { $0 <= now } ?? false ? .expired : .active
    case .exhausted: .exhausted
    case .expired: .expired
    }
  }
}

extension Amount {
  /// ISO 4217's code for "no currency": what tokens are worth that nobody is paid for.
  static let worthless = Amount(micros: 0, currency: "XXX")

  init(_ money: Money?) { self = money.map { Amount(micros: $0.micros, currency: $0.currency) } ?? .worthless }

  var contract: Money { Money(micros: micros, currency: currency) }
}

extension RedemptionRow {
  var contract: Redemption {
    Redemption(
      redemptionID: redeemed.id, entitlementID: redeemed.entitlementID, quantity: redeemed.quantity, remaining: remaining,
      servicePointID: redeemed.servicePointID, vendorID: redeemed.vendorID, redeemedAt: .init(nanosecondsSinceEpoch: redeemed.redeemedAt),
      ledgerTransactionID: ledgerTransactionID)
  }
}

extension SettlementRow {
  /// - Parameter redemptions: the vendor's, of this settlement's currency and perhaps of others.
  init(
    _ settlement: VendorSettlement, to payee: Vendor, id: String, ledgerTransactionID: String, from redemptions: [RedeemedTokens],
    until: Int64, at now: Int64
  ) {
    let first = redemptions.lazy.filter { $0.amount.currency == settlement.total.currency }.map(\.redeemedAt).min() ?? until
    let lines = settlement.lines.map {
      SettlementLine(
        tokenID: $0.tokenID, servicePointID: $0.servicePointID, redemptions: $0.redemptions, quantity: $0.quantity,
        amount: $0.amount.contract)
    }
    self.init(
      id: id, vendorID: settlement.vendorID, total: settlement.total, settledAt: now, ledgerTransactionID: ledgerTransactionID,
      frozen: Settlement(
        lines: lines, vendor: payee, periodStart: .init(nanosecondsSinceEpoch: first), periodEnd: .init(nanosecondsSinceEpoch: until)
      ).encoded())
  }

  func contract() throws -> Settlement {
    var settlement = try Settlement(decoding: frozen)
    settlement.settlementID = id
    settlement.vendorID = vendorID
    settlement.total = total.contract
    settlement.settledAt = .init(nanosecondsSinceEpoch: settledAt)
    return settlement
  }
}

extension PostedLine {
  var contract: LedgerEntry {
    LedgerEntry(
      ledgerTransactionID: transactionID, line: UInt32(line), account: account, tokenID: tokenID, quantity: quantity,
      at: .init(nanosecondsSinceEpoch: at), cause: cause)
  }
}

extension EntitlementRefusal: RPCErrorConvertible {
  /// Why the ledger refused, in words that name what it holds.
  public var rpcError: RPCError {
    switch self {
    case .quantityOutOfRange(let quantity, let limit): .invalid("quantity", "\(quantity) is not 1 to \(limit)")
    case .valueOutOfRange(let amount): .invalid("settlement_value", "\(amount.currency) \(Micros.format(amount.micros)) is out of range")
    case .currencyMismatch(let expected): .invalid("amount.currency", "the settlement is in \(expected)")
    case .alreadyExpired(let at):
      .refusal(.failedPrecondition, .entitlementExpired, "its time was over at \(RFC3339.format(at))")
    case .exhausted:
      .refusal(.failedPrecondition, .balanceInsufficient, "nothing is left of it", metadata: [("remaining", "0")])
    case .insufficient(let remaining, let asked):
      .refusal(
        .failedPrecondition, .balanceInsufficient, "\(asked) were asked for, \(remaining) remain",
        metadata: [("remaining", String(remaining))])
    case .notYetExpired(let at):
      .refusal(
        .failedPrecondition, .entitlementExpired, at.map { "its time is not over before \(RFC3339.format($0))" } ?? "it never expires")
    case .nothingToCompensate(let lost):
      .refusal(.failedPrecondition, .balanceInsufficient, "only \(lost) of it were used or ran out and can be made good for")
    case .settlementWouldBeNegative(let settled):
      .refusal(.failedPrecondition, .balanceInsufficient, "the settlement is \(Micros.format(settled)) and can't become negative")
    case .tooManyRedemptions(let limit):
      .refusal(.failedPrecondition, .queueFull, "more than \(limit) redemptions: settle vendor by vendor, or until an earlier time")
    case .foreignRedemption(let id): preconditionFailure("redemption \(id) was read for another vendor")
    }
  }

  /// As the event of a refused redemption names it.
  var reason: Reason {
    switch self {
    case .alreadyExpired: .entitlementExpired
    default: .balanceInsufficient
    }
  }
}

extension RPCError {
  /// INVALID_ARGUMENT for one field whose fault only the ledger knew.
  static func invalid(_ field: String, _ description: String) -> RPCError {
    var fields = Validation()
    fields.add(field, description)
    do { try fields.finish() } catch { return error as? RPCError ?? .internal("a refusal of another kind") }
    preconditionFailure("a violation was added")
  }
}
