import Testing

@testable import SpanwireEntitlements

let coffee = Amount(micros: 3_400_000, currency: "EUR")

func issued(_ quantity: Int64 = 3, expiresAt: Int64? = 1000) throws -> HeldEntitlement {
  try EntitlementStateMachine.issue(
    id: "ENT-1", tokenID: "TOK", holder: "USR-1", sessionID: "PRS-1", quantity: quantity, unitValue: coffee, expiresAt: expiresAt, now: 0
  ).entitlement
}

func redeemed(_ id: String, _ place: String, _ quantity: Int64, vendor: String = "VND-1", value: Amount = coffee) -> RedeemedTokens {
  RedeemedTokens(
    id: id, entitlementID: "ENT-1", tokenID: "TOK", quantity: quantity, servicePointID: place, vendorID: vendor, redeemedAt: 0,
    amount: Amount(micros: value.micros * quantity, currency: value.currency))
}

@Suite("Entitlements and their ledger")
struct EntitlementTests {
  @Test("A redemption moves the token to the vendor, with what it is worth")
  func redeem() throws {
    let (next, redemption, posting) = try EntitlementStateMachine.redeem(
      issued(), quantity: 2, redemptionID: "RED-1", servicePointID: "SP-1", vendorID: "VND-1", now: 10)
    #expect(next.remaining == 1 && next.phase == .active && next.revision == 2)
    #expect(redemption.amount == Amount(micros: 6_800_000, currency: "EUR"))
    #expect(
      posting.lines == [
        LedgerLine(.holder(entitlementID: "ENT-1"), "TOK", -2), LedgerLine(.vendor("VND-1"), "TOK", 2),
        LedgerLine(.issuer, "money:EUR", -6_800_000), LedgerLine(.vendor("VND-1"), "money:EUR", 6_800_000),
      ])
  }

  @Test("What can't be redeemed is refused with its reason")
  func refusals() throws {
    func redeem(_ entitlement: HeldEntitlement, _ quantity: Int64, now: Int64 = 10) throws {
      _ = try EntitlementStateMachine.redeem(
        entitlement, quantity: quantity, redemptionID: "R", servicePointID: "S", vendorID: "V", now: now)
    }
    let entitlement = try issued()
    var exhausted = entitlement
    (exhausted.remaining, exhausted.phase) = (0, .exhausted)
    #expect(throws: EntitlementRefusal.insufficient(remaining: 3, asked: 4)) { try redeem(entitlement, 4) }
    #expect(throws: EntitlementRefusal.quantityOutOfRange(0, limit: 1_000_000)) { try redeem(entitlement, 0) }
    #expect(throws: EntitlementRefusal.quantityOutOfRange(-1, limit: 1_000_000)) { try redeem(entitlement, -1) }
    #expect(throws: EntitlementRefusal.alreadyExpired(at: 1000)) { try redeem(entitlement, 1, now: 1000) }
    #expect(throws: EntitlementRefusal.exhausted) { try redeem(exhausted, 1) }
    #expect(throws: EntitlementRefusal.notYetExpired(at: 1000)) { try EntitlementStateMachine.expire(entitlement, now: 999) }
    #expect(throws: EntitlementRefusal.valueOutOfRange(Amount(micros: -1, currency: "EUR"))) {
      try EntitlementStateMachine.issue(
        id: "E", tokenID: "T", holder: "H", sessionID: "S", quantity: 1, unitValue: Amount(micros: -1, currency: "EUR"), expiresAt: nil,
        now: 0)
    }
  }

  @Test("Compensation never gives more than was used up")
  func compensation() throws {
    var entitlement = try issued()
    #expect(throws: EntitlementRefusal.nothingToCompensate(redeemedOrExpired: 0)) {
      try EntitlementStateMachine.compensate(entitlement, quantity: 1, compensatedBefore: 0, newID: "N", expiresAt: nil, now: 5)
    }
    entitlement.remaining = 1
    let (new, posting) = try EntitlementStateMachine.compensate(
      entitlement, quantity: 1, compensatedBefore: 1, newID: "ENT-2", expiresAt: nil, now: 5)
    #expect(new.compensates == "ENT-1" && new.remaining == 1 && new.unitValue == coffee)
    #expect(posting.cause == .compensate)
    #expect(throws: EntitlementRefusal.nothingToCompensate(redeemedOrExpired: 1)) {
      try EntitlementStateMachine.compensate(entitlement, quantity: 2, compensatedBefore: 1, newID: "N", expiresAt: nil, now: 5)
    }
  }

  @Test("A settlement adds up by place, and per currency")
  func settlement() throws {
    let francs = Amount(micros: 5_000_000, currency: "CHF")
    let settlements = try EntitlementStateMachine.settle(
      vendorID: "VND-1",
      [redeemed("R1", "SP-2", 1), redeemed("R2", "SP-1", 2), redeemed("R3", "SP-2", 1), redeemed("R4", "SP-1", 1, value: francs)])
    #expect(settlements.map(\.total) == [Amount(micros: 5_000_000, currency: "CHF"), Amount(micros: 13_600_000, currency: "EUR")])
    #expect(settlements[1].lines.map(\.servicePointID) == ["SP-1", "SP-2"])
    #expect(settlements[1].lines.map(\.redemptions) == [1, 2])
    #expect(settlements[1].lines.reduce(0) { $0 + $1.amount.micros } == settlements[1].total.micros)
    #expect(settlements[1].redemptionIDs == ["R1", "R2", "R3"])
    #expect(throws: EntitlementRefusal.foreignRedemption(id: "R9")) {
      try EntitlementStateMachine.settle(vendorID: "VND-1", [redeemed("R9", "S", 1, vendor: "VND-2")])
    }
    #expect(try EntitlementStateMachine.settle(vendorID: "VND-1", []).isEmpty)
  }

  @Test("A correction is a new posting, and can't take more than was settled")
  func correction() throws {
    let total = Amount(micros: 100, currency: "EUR")
    let (less, posting) = try EntitlementStateMachine.correct(vendorID: "V", total: total, by: Amount(micros: -40, currency: "EUR"))
    #expect(less.micros == 60)
    #expect(posting.lines == [LedgerLine(.issuer, "money:EUR", 40), LedgerLine(.settled("V"), "money:EUR", -40)])
    #expect(throws: EntitlementRefusal.settlementWouldBeNegative(settled: 60)) {
      try EntitlementStateMachine.correct(vendorID: "V", total: less, by: Amount(micros: -61, currency: "EUR"))
    }
    #expect(throws: EntitlementRefusal.currencyMismatch(expected: "EUR")) {
      try EntitlementStateMachine.correct(vendorID: "V", total: less, by: Amount(micros: 1, currency: "CHF"))
    }
  }

  @Test(
    "Accounts survive the way to text and back",
    arguments: [
      LedgerAccount.issuer, .expired, .holder(entitlementID: "ENT-1"), .vendor("VND-1"), .settled("VND-1"),
    ])
  func accounts(_ account: LedgerAccount) { #expect(LedgerAccount(account.description) == account) }

  @Test("The same key is performed once; with another command it is refused")
  func exactlyOnce() {
    var book = EntitlementBook()
    let issue = EntitlementBook.Command.issue(
      id: "E", tokenID: "TOK", holder: "U", sessionID: "S", quantity: 2, unitValue: coffee, expiresAt: nil)
    let redeem = EntitlementBook.Command.redeem(entitlementID: "E", quantity: 1, redemptionID: "R1", servicePointID: "SP", vendorID: "V")
    _ = book.perform(issue, key: "k1", now: 0)
    let first = book.perform(redeem, key: "k2", now: 1)
    #expect(book.perform(redeem, key: "k2", now: 99) == first)
    #expect(book.entitlements["E"]?.remaining == 1)
    #expect(book.perform(issue, key: "k2", now: 2) == .keyReused)
    #expect(book.balances.balance(.vendor("V"), "money:EUR") == 3_400_000)
  }

  @Test("Whatever is done in whatever order, the ledger balances and nothing goes below zero", arguments: 0..<30)
  func simulation(_ seed: UInt64) throws {
    var random = SeededGenerator(state: seed)
    var book = EntitlementBook()
    for step in 0..<200 {
      let id = "ENT-\(Int.random(in: 0..<8, using: &random))"
      let vendor = "VND-\(Int.random(in: 0..<3, using: &random))"
      let quantity = Int64.random(in: 0...4, using: &random)
      let command: EntitlementBook.Command =
        switch Int.random(in: 0..<10, using: &random) {
        case 0, 1:
          .issue(
            id: "ENT-\(book.entitlements.count % 8)-\(step)", tokenID: ["TOK-A", "TOK-B"].randomElement(using: &random)!, holder: "U",
            sessionID: "S", quantity: quantity, unitValue: coffee, expiresAt: Bool.random(using: &random) ? Int64(step + 40) : nil)
        case 2: .expire(entitlementID: book.entitlements.keys.sorted().randomElement(using: &random) ?? id)
        case 3:
          .compensate(
            entitlementID: book.entitlements.keys.sorted().randomElement(using: &random) ?? id, quantity: quantity, newID: "CMP-\(step)",
            expiresAt: nil)
        case 4: .settle(vendorID: vendor)
        default:
          .redeem(
            entitlementID: book.entitlements.keys.sorted().randomElement(using: &random) ?? id, quantity: quantity,
            redemptionID: "R\(step)", servicePointID: "SP", vendorID: vendor)
        }
      let key = "k\(Int.random(in: 0..<150, using: &random))"
      let before = book.postings.count
      let outcome = book.perform(command, key: key, now: Int64(step))
      if book.perform(command, key: key, now: Int64(step + 1)) != outcome, case .redemption = outcome { Issue.record("done twice") }
      #expect(book.postings.count - before <= 1 || command == .settle(vendorID: vendor))
      #expect(book.balances.unbalancedTokens.isEmpty)
      for (key, balance) in book.balances.balances where key.account != .issuer { #expect(balance >= 0) }
      for entitlement in book.entitlements.values {
        #expect(book.balances.balance(.holder(entitlementID: entitlement.id), entitlement.tokenID) == entitlement.remaining)
      }
    }
    // What vendors are owed and were paid is what was redeemed.
    var again = LedgerBalances()
    for posting in book.postings { try again.post(lines: posting.lines) }
    #expect(again == book.balances)
  }
}

/// A generator whose numbers are the same on every run (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
