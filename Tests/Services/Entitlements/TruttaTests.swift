import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Testing

@testable import SpanwireEntitlements

@Suite("Trutta, the service")
struct TruttaTests {
  @Test("Bought, redeemed, settled: the vendor gets what the tokens are worth, and once")
  func day() async throws {
    let ledger = try await TestLedger.open()
    let pass = try await ledger.issue(3, holder: "anna")
    #expect(pass.state == .active && pass.remaining == 3 && pass.revision == 1)
    let first = try await ledger.redeem(pass.entitlementID, key: "JRN-1-coffee-1", at: "SP-1", vendor: "VND-A")
    #expect(first.remaining == 2 && !first.ledgerTransactionID.isEmpty)
    _ = try await ledger.redeem(pass.entitlementID, key: "JRN-1-coffee-2", at: "SP-2", vendor: "VND-B", quantity: 2)
    #expect(try await ledger.get(pass.entitlementID).state == .exhausted)

    let settled = try await ledger.settle(key: "settle-1").settlements
    #expect(settled.map(\.vendorID) == ["VND-A", "VND-B"])
    #expect(settled.map { $0.total?.micros } == [3_400_000, 6_800_000])
    #expect(settled[1].lines.map(\.quantity) == [2] && settled[1].lines.map(\.servicePointID) == ["SP-2"])
    #expect(try await ledger.settle(key: "settle-1").settlements == settled)
    #expect(try await ledger.settle(key: "settle-2").settlements.isEmpty)
    #expect(try await ledger.server.listSettlements(.init(vendorID: "VND-B"), context: ledger.ops()).settlements == [settled[1]])

    #expect(
      try await ledger.eventTypes() == [
        "entitlement.issued", "entitlement.redeemed", "entitlement.redeemed", "entitlement.settled", "entitlement.settled",
      ])
    try await ledger.expectSound()
  }

  @Test("The same key answers with the same outcome, days later too, and never does it again")
  func sameKey() async throws {
    let ledger = try await TestLedger.open()
    let pass = try await ledger.issue(3, holder: "anna", key: "PUR-1-0")
    let redemption = try await ledger.redeem(pass.entitlementID, key: "JRN-1-coffee-1")
    ledger.clock.advance(by: .seconds(3 * 24 * 60 * 60))
    #expect(try await ledger.redeem(pass.entitlementID, key: "JRN-1-coffee-1") == redemption)
    #expect(try await ledger.issue(3, holder: "anna", key: "PUR-1-0") == pass)
    #expect(try await ledger.get(pass.entitlementID).remaining == 2)
    let rows = try await ledger.rows()
    await ledger.expect(.alreadyExists, .idempotencyKeyReused) {
      _ = try await ledger.redeem(pass.entitlementID, key: "JRN-1-coffee-1", quantity: 2)
    }
    await ledger.expect(.alreadyExists, .idempotencyKeyReused) { _ = try await ledger.issue(4, holder: "anna", key: "PUR-1-0") }
    #expect(try await ledger.rows() == rows)
    try await ledger.expectSound()
  }

  @Test("A refused redemption changes no balance and tells why", arguments: Refusal.all)
  func refused(_ refusal: Refusal) async throws {
    let ledger = try await TestLedger.open()
    let pass = try await ledger.issue(2, holder: "anna", lasting: .seconds(3600))
    if refusal.isUsedUp { _ = try await ledger.redeem(pass.entitlementID, key: "used-up", quantity: 2) }
    if refusal.isLate { ledger.clock.advance(by: .seconds(3600)) }
    let (rows, events) = (try await ledger.rows(), try await ledger.eventTypes().count)
    await ledger.expect(refusal.code, refusal.reason) {
      _ = try await ledger.redeem(
        refusal.entitlement ?? pass.entitlementID, key: "k", quantity: refusal.quantity, by: refusal.caller)
    }
    let told = try await ledger.eventTypes().dropFirst(events)
    #expect(Array(told) == refusal.events)
    // What ran out is taken with the refusal; nothing else is.
    if !refusal.isLate { #expect(try await ledger.rows() == rows) }
    try await ledger.expectSound()
  }

  struct Refusal: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var entitlement: String?
    var quantity: Int64 = 1
    var caller: Principal = TestLedger.anna
    var isUsedUp = false
    var isLate = false
    var code: RPCError.Code
    var reason: Reason
    var events: [String] = ["entitlement.redeem_refused"]

    static let all = [
      Refusal(testDescription: "more than is left", quantity: 3, code: .failedPrecondition, reason: .balanceInsufficient),
      Refusal(testDescription: "nothing is left", isUsedUp: true, code: .failedPrecondition, reason: .balanceInsufficient),
      Refusal(
        testDescription: "its time is over", isLate: true, code: .failedPrecondition, reason: .entitlementExpired,
        events: ["entitlement.expired", "entitlement.redeem_refused"]),
      Refusal(testDescription: "there is none", entitlement: "ENT-NONE", code: .notFound, reason: .entitlementNotFound, events: []),
      Refusal(
        testDescription: "another traveller's", caller: Principal(kind: .user, id: "eve", tenant: "vienna", surface: .edge),
        code: .notFound, reason: .entitlementNotFound, events: []),
      Refusal(
        testDescription: "another tenant's", caller: Principal(kind: .user, id: "anna", tenant: "graz", surface: .edge), code: .notFound,
        reason: .entitlementNotFound, events: []),
      Refusal(testDescription: "less than nothing", quantity: -1, code: .invalidArgument, reason: .invalidFields, events: []),
    ]
  }

  @Test("A hundred wishes at once never redeem more than there is")
  func concurrent() async throws {
    let ledger = try await TestLedger.open()
    let pass = try await ledger.issue(40, holder: "anna")
    let redeemed = await withTaskGroup(of: Bool.self) { group in
      for number in 0..<100 {
        group.addTask { (try? await ledger.redeem(pass.entitlementID, key: "wish-\(number)")) != nil }
      }
      return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
    }
    #expect(redeemed == 40)
    #expect(try await ledger.get(pass.entitlementID).remaining == 0)
    try await ledger.expectSound()
  }

  @Test("An entitlement's end takes what is left, once, and tells of it")
  func expiry() async throws {
    let ledger = try await TestLedger.open()
    let pass = try await ledger.issue(3, holder: "anna", lasting: .seconds(3600))
    _ = try await ledger.redeem(pass.entitlementID, key: "k")
    ledger.clock.advance(by: .seconds(3600))
    #expect(try await ledger.get(pass.entitlementID).state == .expired)
    let timer = Effect(
      id: "EXPIRY-" + pass.entitlementID, owner: EntitlementsServer.effectOwner, stream: pass.entitlementID, method: ExpiryTimer.method,
      request: Array(pass.entitlementID.utf8), dueAt: ledger.clock.now, tenant: "vienna")
    for _ in 0..<2 {
      let write = try #require(try await ledger.server.effectOutcome(timer, .succeeded([])))
      _ = try await ledger.environment.database.transaction("test.timer") { try write($0) }
    }
    let expired = try await ledger.get(pass.entitlementID)
    #expect(expired.state == .expired && expired.remaining == 0)
    #expect(try await ledger.eventTypes() == ["entitlement.issued", "entitlement.redeemed", "entitlement.expired"])
    let lines = try await ledger.server.listLedger(.init(account: "expired"), context: ledger.ops()).entries
    #expect(lines.map(\.quantity) == [2] && lines.map(\.cause) == ["expire"])
    try await ledger.expectSound()
  }

  @Test("What was used up can be made good for, no more of it, and by a new entitlement")
  func compensation() async throws {
    let ledger = try await TestLedger.open()
    let pass = try await ledger.issue(3, holder: "anna", lasting: .seconds(3600))
    _ = try await ledger.redeem(pass.entitlementID, key: "k", quantity: 2)
    func compensate(_ quantity: Int64, key: String) async throws -> Entitlement {
      try await ledger.server.compensate(
        .init(idempotencyKey: key, entitlementID: pass.entitlementID, quantity: quantity, reason: "cold coffee", actor: "ops:olga"),
        context: ledger.context(TestLedger.olga, by: "prg"))
    }
    await ledger.expect(.failedPrecondition, .balanceInsufficient) { _ = try await compensate(3, key: "c0") }
    let again = try await compensate(2, key: "c1")
    #expect(again.compensates == pass.entitlementID && again.remaining == 2 && again.holder == "anna" && again.tokenID == pass.tokenID)
    #expect(again.settlementValue == pass.settlementValue && again.expiresAt == pass.expiresAt)
    #expect(try await compensate(2, key: "c1") == again)
    await ledger.expect(.failedPrecondition, .balanceInsufficient) { _ = try await compensate(1, key: "c2") }
    #expect(try await ledger.get(pass.entitlementID).remaining == 1)
    try await ledger.expectSound()
  }

  @Test("What is withdrawn goes back to where it came from, once, and what was redeemed of it stays redeemed")
  func withdrawal() async throws {
    let ledger = try await TestLedger.open()
    let pass = try await ledger.issue(3, holder: "anna", lasting: .seconds(3600))
    _ = try await ledger.redeem(pass.entitlementID, key: "k")
    let request = WithdrawRequest(
      idempotencyKey: "w", entitlementID: pass.entitlementID, reason: "the purchase failed", actor: "prg")
    let context = ledger.context(TestLedger.anna, by: "prg")
    let withdrawn = try await ledger.server.withdraw(request, context: context)
    #expect(withdrawn.state == .expired && withdrawn.remaining == 0)
    #expect(try await ledger.server.withdraw(request, context: context) == withdrawn)
    let lines = try await ledger.server.listLedger(.init(account: "issuer", pageSize: 100), context: ledger.ops()).entries
    #expect(lines.filter { $0.cause == "withdraw" }.map(\.quantity) == [2])
    await ledger.expect(.failedPrecondition, .entitlementExpired) { _ = try await ledger.redeem(pass.entitlementID, key: "late") }
    #expect(try await ledger.settle(key: "s").settlements.map { $0.total?.micros } == [3_400_000])
    let told = try await ledger.eventTypes()
    #expect(told.filter { $0 == "entitlement.expired" }.count == 1)
    try await ledger.expectSound()
  }

  @Test("A settlement's file tells whom to pay, for what and when, adds up, and is the same whenever it is made")
  func settlementFile() async throws {
    let ledger = try await TestLedger.open()
    let pass = try await ledger.issue(5, holder: "anna")
    _ = try await ledger.redeem(pass.entitlementID, key: "k1", at: "SP-1", vendor: "VND-1")
    ledger.clock.advance(by: .seconds(60))
    _ = try await ledger.redeem(pass.entitlementID, key: "k2", at: "SP-2", vendor: "VND-1", quantity: 2)
    _ = try await ledger.redeem(pass.entitlementID, key: "k3", vendor: "VND-NONE")
    let settled = try await ledger.settle(key: "s").settlements
    let settlement = try #require(settled.first)
    #expect(settlement.vendor?.legalName == "VND-1 GmbH")
    #expect(settled.last?.vendor == Vendor(vendorID: "VND-NONE"))
    for (key, micros) in [("c1", -400_000), ("c2", 100_000)] as [(String, Int64)] {
      _ = try await ledger.server.correctSettlement(
        .init(
          idempotencyKey: key, settlementID: settlement.settlementID, amount: .init(micros: micros, currency: "EUR"),
          reason: "=broken, \"machine\"", actor: "ops:olga"), context: ledger.context(TestLedger.olga, by: "prg"))
    }
    let whole = try await ledger.server.getSettlement(.init(settlementID: settlement.settlementID), context: ledger.ops())
    #expect(whole.lines == settlement.lines && whole.corrections.map { $0.amount?.micros } == [-400_000, 100_000])
    #expect(whole.total?.micros == 9_900_000)

    func export(_ format: SettlementFormat) async throws -> SettlementFile {
      try await ledger.server.exportSettlement(
        .init(settlementID: settlement.settlementID, format: format), context: ledger.ops())
    }
    let (csv, proto) = (try await export(.csv), try await export(.proto))
    #expect(try await export(.csv) == csv)
    #expect(try Settlement(decoding: proto.content) == whole)
    #expect(csv.documentSha256 == proto.documentSha256 && proto.sha256 == proto.documentSha256)
    #expect(csv.fileName == "VND-1_\(settlement.settlementID).csv")
    let id = settlement.settlementID
    let head = "\(id),VND-1,Café VND-1,VND-1 GmbH,,AT61 1904 3002 3457 3201,2026-05-04T09:00:00Z,2026-05-04T09:01:00Z"
    let entries = whole.corrections.map(\.ledgerTransactionID)
    let reason = "\"'=broken, \"\"machine\"\"\""
    #expect(
      String(decoding: csv.content, as: UTF8.self)
        == [
          SettlementDocument.columns.joined(separator: ","),
          "line,\(head),TOK-COFFEE,SP-1,1,1,3.4,EUR,,,,",
          "line,\(head),TOK-COFFEE,SP-2,1,2,6.8,EUR,,,,",
          "correction,\(head),,,,,-0.4,EUR,2026-05-04T09:01:00Z,ops:olga,\(reason),\(entries[0])",
          "correction,\(head),,,,,0.1,EUR,2026-05-04T09:01:00Z,ops:olga,\(reason),\(entries[1])",
          "total,\(head),,,2,3,9.9,EUR,2026-05-04T09:01:00Z,,,sha256:\(csv.documentSha256)",
          "",
        ].joined(separator: "\r\n"))
  }

  @Test("A settlement that does not add up makes no file")
  func noFile() throws {
    let sound = Settlement(
      settlementID: "STL-1", lines: [.init(tokenID: "T", quantity: 1, amount: .init(micros: 5, currency: "EUR"))],
      total: .init(micros: 5, currency: "EUR"))
    #expect(throws: Never.self) { _ = try SettlementDocument(sound) }
    for (micros, currency) in [(4, "EUR"), (5, "CHF")] as [(Int64, String)] {
      var broken = sound
      broken.total = .init(micros: micros, currency: currency)
      let code = { () -> RPCError.Code? in
        do { _ = try SettlementDocument(broken) } catch { return (error as? RPCError)?.code }
        return nil
      }()
      #expect(code == .dataLoss)
    }
  }

  @Test("A correction is a posting of its own, and the settlement's total follows")
  func correction() async throws {
    let ledger = try await TestLedger.open()
    let pass = try await ledger.issue(1, holder: "anna")
    _ = try await ledger.redeem(pass.entitlementID, key: "k")
    let settlement = try #require(try await ledger.settle(key: "s").settlements.first)
    func correct(_ micros: Int64, key: String, currency: String = "EUR", of id: String? = nil) async throws -> Settlement {
      try await ledger.server.correctSettlement(
        .init(
          idempotencyKey: key, settlementID: id ?? settlement.settlementID, amount: .init(micros: micros, currency: currency),
          reason: "broken machine", actor: "ops:olga"), context: ledger.context(TestLedger.olga, by: "prg"))
    }
    let lower = try await correct(-400_000, key: "c1")
    #expect(lower.total?.micros == 3_000_000 && lower.lines == settlement.lines)
    #expect(try await correct(100_000, key: "c2").total?.micros == 3_100_000)
    #expect(try await correct(-400_000, key: "c1") == lower)
    let rows = try await ledger.rows()
    await ledger.expect(.failedPrecondition, .balanceInsufficient) { _ = try await correct(-9_000_000, key: "c3") }
    await ledger.expect(.invalidArgument, .invalidFields) { _ = try await correct(1, key: "c4", currency: "USD") }
    await ledger.expect(.invalidArgument, .invalidFields) { _ = try await correct(0, key: "c5") }
    await ledger.expect(.notFound, .settlementNotFound) { _ = try await correct(1, key: "c6", of: "STL-NONE") }
    #expect(try await ledger.rows() == rows)
    try await ledger.expectSound()
  }

  @Test("All that is wrong with a request is told at once, by its fields")
  func validation() async throws {
    let ledger = try await TestLedger.open()
    let rows = try await ledger.rows()
    let error = await #expect(throws: RPCError.self) {
      _ = try await ledger.server.issue(
        .init(
          tenantID: "vienna", productRuntimeSessionID: "a b", holder: "", tokenID: "TOK", quantity: 0,
          settlementValue: .init(micros: -1, currency: "euro")), context: ledger.context(TestLedger.anna, by: "prg"))
    }
    #expect(
      error?.violatedFields == [
        "idempotency_key", "product_runtime_session_id", "holder", "quantity", "settlement_value.currency", "settlement_value.micros",
        "settlement_value.micros",
      ])
    await ledger.expect(.permissionDenied, .tenantMismatch) {
      _ = try await ledger.server.issue(
        .init(idempotencyKey: "k", tenantID: "graz", productRuntimeSessionID: "PRS-1", holder: "anna", tokenID: "TOK", quantity: 1),
        context: ledger.context(TestLedger.anna, by: "prg"))
    }
    #expect(try await ledger.rows() == rows)
  }

  @Test("Pages go through everything once, and a traveller sees her own only")
  func pages() async throws {
    let ledger = try await TestLedger.open()
    for number in 0..<7 {
      let pass = try await ledger.issue(1, holder: number < 5 ? "anna" : "eve", key: "i\(number)")
      _ = try await ledger.redeem(pass.entitlementID, key: "r\(number)", by: TestLedger.olga)
    }
    var lines: [LedgerEntry] = []
    var token = ""
    repeat {
      let page = try await ledger.server.listLedger(.init(pageSize: 4, pageToken: token), context: ledger.ops())
      lines += page.entries
      token = page.nextPageToken
    } while !token.isEmpty
    #expect(lines.count == 7 * 6)
    #expect(Set(lines.map { "\($0.ledgerTransactionID) \($0.line)" }).count == lines.count)
    let everybody = try await ledger.server.listEntitlements(.init(pageSize: 5), context: ledger.ops())
    #expect(everybody.entitlements.count == 5 && !everybody.nextPageToken.isEmpty)
    let rest = try await ledger.server.listEntitlements(.init(pageSize: 5, pageToken: everybody.nextPageToken), context: ledger.ops())
    #expect(rest.entitlements.count == 2 && rest.nextPageToken.isEmpty)
    let own = try await ledger.server.listEntitlements(.init(), context: ledger.context(TestLedger.anna, by: "prg"))
    #expect(own.entitlements.count == 5 && own.entitlements.allSatisfy { $0.holder == "anna" })
    let others = try await ledger.server.listEntitlements(.init(holder: "eve"), context: ledger.context(TestLedger.anna, by: "prg"))
    #expect(others.entitlements.isEmpty)
    await ledger.expect(.invalidArgument, .pageTokenInvalid) {
      _ = try await ledger.server.listLedger(.init(pageToken: "nonsense"), context: ledger.ops())
    }
  }

  @Test("A row that was tampered with is found")
  func tampering() async throws {
    let ledger = try await TestLedger.open()
    let pass = try await ledger.issue(3, holder: "anna")
    _ = try await ledger.redeem(pass.entitlementID, key: "k")
    try await ledger.expectSound()
    _ = try await ledger.environment.database.transaction("test.tamper") { tx in
      try tx.execute("UPDATE trutta_entitlements SET remaining = 3 WHERE entitlement_id = ?1", pass.entitlementID)
    }
    let failed = try await ledger.server.verify().filter { !$0.isSound }
    #expect(failed.count == 2)
  }
}
