/// A right to redeem tokens, held by a user.
public struct HeldEntitlement: Sendable, Hashable {
  public enum Phase: String, Sendable, Hashable, CaseIterable {
    /// Exits: exhausted, expired.
    case active
    case exhausted, expired
  }

  public var id: String
  public var tokenID: String
  /// The user.
  public var holder: String
  public var sessionID: String
  public var issued: Int64
  public var remaining: Int64
  public var phase: Phase
  /// Nanoseconds since 1970, as all instants here.
  public var issuedAt: Int64
  public var expiresAt: Int64?
  /// The entitlement this one makes good for.
  public var compensates: String?
  /// What a vendor is owed for one token.
  public var unitValue: Amount
  public var revision: UInt64

  public init(
    id: String, tokenID: String, holder: String, sessionID: String, issued: Int64, remaining: Int64, phase: Phase = .active,
    issuedAt: Int64, expiresAt: Int64? = nil, compensates: String? = nil, unitValue: Amount, revision: UInt64 = 1
  ) {
    self.id = id
    self.tokenID = tokenID
    self.holder = holder
    self.sessionID = sessionID
    self.issued = issued
    self.remaining = remaining
    self.phase = phase
    self.issuedAt = issuedAt
    self.expiresAt = expiresAt
    self.compensates = compensates
    self.unitValue = unitValue
    self.revision = revision
  }
}

/// One redemption, as it is kept for the vendor's settlement.
public struct RedeemedTokens: Sendable, Hashable {
  public var id: String
  public var entitlementID: String
  public var tokenID: String
  public var quantity: Int64
  public var servicePointID: String
  public var vendorID: String
  public var redeemedAt: Int64
  public var amount: Amount

  public init(
    id: String, entitlementID: String, tokenID: String, quantity: Int64, servicePointID: String, vendorID: String, redeemedAt: Int64,
    amount: Amount
  ) {
    self.id = id
    self.entitlementID = entitlementID
    self.tokenID = tokenID
    self.quantity = quantity
    self.servicePointID = servicePointID
    self.vendorID = vendorID
    self.redeemedAt = redeemedAt
    self.amount = amount
  }
}

/// What a vendor is paid by, for one currency.
public struct VendorSettlement: Sendable, Hashable {
  public struct Line: Sendable, Hashable {
    public var tokenID: String
    public var servicePointID: String
    public var redemptions: Int64
    public var quantity: Int64
    public var amount: Amount
  }

  public var vendorID: String
  /// By token and service point, in their order.
  public var lines: [Line]
  public var total: Amount
  public var redemptionIDs: [String]
  public var posting: LedgerPosting
}

/// Why the ledger refuses; nothing changed.
public enum EntitlementRefusal: Error, Sendable, Hashable {
  case quantityOutOfRange(Int64, limit: Int64)
  case valueOutOfRange(Amount)
  case alreadyExpired(at: Int64)
  case exhausted
  case insufficient(remaining: Int64, asked: Int64)
  case notYetExpired(at: Int64?)
  case nothingToCompensate(redeemedOrExpired: Int64)
  case foreignRedemption(id: String)
  case tooManyRedemptions(limit: Int)
  case currencyMismatch(expected: String)
  case settlementWouldBeNegative(settled: Int64)
}

/// Issue, redeem, expire, withdraw, compensate, settle, correct: each is a change of one entitlement and one posting that balances.
///
/// Pure, and over single entitlements, so that a store loads one row and appends lines. Exactly once is the caller's: it keeps each
/// outcome under its idempotency key in the same transaction (`EntitlementBook` shows how).
public enum EntitlementStateMachine {
  /// Brings tokens into being.
  public static func issue(
    id: String, tokenID: String, holder: String, sessionID: String, quantity: Int64, unitValue: Amount, expiresAt: Int64?, now: Int64
  ) throws(EntitlementRefusal) -> (entitlement: HeldEntitlement, posting: LedgerPosting) {
    try check(quantity)
    guard (0...EntitlementLimits.unitValueMicros).contains(unitValue.micros) else { throw .valueOutOfRange(unitValue) }
    if let expiresAt, expiresAt <= now { throw .alreadyExpired(at: expiresAt) }
    let entitlement = HeldEntitlement(
      id: id, tokenID: tokenID, holder: holder, sessionID: sessionID, issued: quantity, remaining: quantity, issuedAt: now,
      expiresAt: expiresAt, unitValue: unitValue)
    return (entitlement, LedgerPosting(.issue, LedgerPosting.move(quantity, of: tokenID, from: .issuer, to: .holder(entitlementID: id))))
  }

  /// Hands tokens to a vendor, who is owed their value from then on.
  public static func redeem(
    _ entitlement: HeldEntitlement, quantity: Int64, redemptionID: String, servicePointID: String, vendorID: String, now: Int64
  ) throws(EntitlementRefusal) -> (entitlement: HeldEntitlement, redemption: RedeemedTokens, posting: LedgerPosting) {
    try check(quantity)
    if let expiresAt = entitlement.expiresAt, expiresAt <= now { throw .alreadyExpired(at: expiresAt) }
    switch entitlement.phase {
    case .expired: throw .alreadyExpired(at: entitlement.expiresAt ?? now)
    case .exhausted: throw .exhausted
    case .active: break
    }
    guard quantity <= entitlement.remaining else { throw .insufficient(remaining: entitlement.remaining, asked: quantity) }
    var next = entitlement
    next.remaining -= quantity
    next.phase = next.remaining == 0 ? .exhausted : .active
    next.revision += 1
    let amount = Amount(micros: entitlement.unitValue.micros * quantity, currency: entitlement.unitValue.currency)
    let redemption = RedeemedTokens(
      id: redemptionID, entitlementID: entitlement.id, tokenID: entitlement.tokenID, quantity: quantity, servicePointID: servicePointID,
      vendorID: vendorID, redeemedAt: now, amount: amount)
    let lines =
      LedgerPosting.move(quantity, of: entitlement.tokenID, from: .holder(entitlementID: entitlement.id), to: .vendor(vendorID))
      + LedgerPosting.move(amount.micros, of: LedgerLine.money(amount.currency), from: .issuer, to: .vendor(vendorID))
    return (next, redemption, LedgerPosting(.redeem, lines))
  }

  /// Takes what is left once the time is over. Nil if it is over already or nothing was left to take.
  public static func expire(
    _ entitlement: HeldEntitlement, now: Int64
  ) throws(EntitlementRefusal) -> (entitlement: HeldEntitlement, taken: Int64, posting: LedgerPosting)? {
    guard entitlement.phase == .active else { return nil }
    guard let expiresAt = entitlement.expiresAt, expiresAt <= now else { throw .notYetExpired(at: entitlement.expiresAt) }
    return end(entitlement, .expire, to: .expired)
  }

  /// Takes what is left before its time, back to where it came from. Nil if nothing is left to take.
  public static func withdraw(
    _ entitlement: HeldEntitlement
  ) -> (entitlement: HeldEntitlement, taken: Int64, posting: LedgerPosting)? {
    entitlement.phase == .active ? end(entitlement, .withdraw, to: .issuer) : nil
  }

  private static func end(
    _ entitlement: HeldEntitlement, _ cause: LedgerCause, to account: LedgerAccount
  ) -> (entitlement: HeldEntitlement, taken: Int64, posting: LedgerPosting) {
    var next = entitlement
    next.remaining = 0
    next.phase = .expired
    next.revision += 1
    let lines = LedgerPosting.move(
      entitlement.remaining, of: entitlement.tokenID, from: .holder(entitlementID: entitlement.id), to: account)
    return (next, entitlement.remaining, LedgerPosting(cause, lines))
  }

  /// Issues anew what a holder lost through no fault of theirs: a new entitlement, the old one stays as it is.
  ///
  /// - Parameter compensatedBefore: what earlier compensations of the same entitlement gave; together they never exceed what was
  ///   used up or ran out.
  public static func compensate(
    _ original: HeldEntitlement, quantity: Int64, compensatedBefore: Int64, newID: String, expiresAt: Int64?, now: Int64
  ) throws(EntitlementRefusal) -> (entitlement: HeldEntitlement, posting: LedgerPosting) {
    try check(quantity)
    let lost = original.issued - original.remaining - compensatedBefore
    guard quantity <= lost else { throw .nothingToCompensate(redeemedOrExpired: max(0, lost)) }
    if let expiresAt, expiresAt <= now { throw .alreadyExpired(at: expiresAt) }
    let entitlement = HeldEntitlement(
      id: newID, tokenID: original.tokenID, holder: original.holder, sessionID: original.sessionID, issued: quantity,
      remaining: quantity, issuedAt: now, expiresAt: expiresAt, compensates: original.id, unitValue: original.unitValue)
    let lines = LedgerPosting.move(quantity, of: original.tokenID, from: .issuer, to: .holder(entitlementID: newID))
    return (entitlement, LedgerPosting(.compensate, lines))
  }

  /// Sums up a vendor's redemptions that were not settled yet: one settlement per currency, in the currencies' order.
  public static func settle(
    vendorID: String, _ redemptions: [RedeemedTokens]
  ) throws(EntitlementRefusal) -> [VendorSettlement] {
    guard redemptions.count <= EntitlementLimits.settlementRedemptions else {
      throw .tooManyRedemptions(limit: EntitlementLimits.settlementRedemptions)
    }
    if let foreign = redemptions.first(where: { $0.vendorID != vendorID }) { throw .foreignRedemption(id: foreign.id) }
    var settlements: [VendorSettlement] = []
    for (currency, batch) in Dictionary(grouping: redemptions, by: \.amount.currency).sorted(by: { $0.key < $1.key }) {
      var lines: [VendorSettlement.Line] = []
      var total: Int64 = 0
      let places = Dictionary(grouping: batch) { [$0.tokenID, $0.servicePointID] }
      for (key, group) in places.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
        var line = VendorSettlement.Line(
          tokenID: key[0], servicePointID: key[1], redemptions: Int64(group.count), quantity: 0,
          amount: Amount(micros: 0, currency: currency))
        for redemption in group {
          line.quantity += redemption.quantity
          line.amount.micros = try sum(line.amount.micros, redemption.amount.micros, currency)
        }
        total = try sum(total, line.amount.micros, currency)
        lines.append(line)
      }
      var moves = LedgerPosting.move(total, of: LedgerLine.money(currency), from: .vendor(vendorID), to: .settled(vendorID))
      for (token, group) in Dictionary(grouping: lines, by: \.tokenID).sorted(by: { $0.key < $1.key }) {
        moves += LedgerPosting.move(group.reduce(0) { $0 + $1.quantity }, of: token, from: .vendor(vendorID), to: .settled(vendorID))
      }
      settlements.append(
        VendorSettlement(
          vendorID: vendorID, lines: lines, total: Amount(micros: total, currency: currency), redemptionIDs: batch.map(\.id),
          posting: LedgerPosting(.settle, moves)))
    }
    return settlements
  }

  /// Adds to a settlement, or takes from it, by a new posting; what was settled is never edited.
  ///
  /// - Parameter total: the settlement's, with earlier corrections.
  public static func correct(
    vendorID: String, total: Amount, by amount: Amount
  ) throws(EntitlementRefusal) -> (total: Amount, posting: LedgerPosting) {
    guard amount.currency == total.currency else { throw .currencyMismatch(expected: total.currency) }
    let corrected = try sum(total.micros, amount.micros, total.currency)
    guard corrected >= 0 else { throw .settlementWouldBeNegative(settled: total.micros) }
    let lines = LedgerPosting.move(amount.micros, of: LedgerLine.money(amount.currency), from: .issuer, to: .settled(vendorID))
    return (Amount(micros: corrected, currency: total.currency), LedgerPosting(.correct, lines))
  }

  private static func check(_ quantity: Int64) throws(EntitlementRefusal) {
    guard (1...EntitlementLimits.quantity).contains(quantity) else {
      throw .quantityOutOfRange(quantity, limit: EntitlementLimits.quantity)
    }
  }

  private static func sum(_ a: Int64, _ b: Int64, _ currency: String) throws(EntitlementRefusal) -> Int64 {
    let (sum, overflow) = a.addingReportingOverflow(b)
    guard !overflow else { throw .valueOutOfRange(Amount(micros: .max, currency: currency)) }
    return sum
  }
}
