import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Testing

@testable import SpanwireEntitlements

/// Any interleaving of issue, redeem, expire, withdraw, compensate, settle, correct, retry and crash, against the ledger in memory.
@Suite("Trutta, whatever comes in whatever order")
struct LedgerPropertyTests {
  @Test(
    "The stored ledger does what the ledger in memory does, balances, owes nobody less than nothing, and does nothing twice",
    arguments: 1...24)
  func life(seed: Int) async throws {
    let life = try await LedgerLife(seed: UInt64(seed))
    for step in 1...60 {
      try await life.step()
      if step % 15 == 0 { try await life.check() }
    }
    try await life.check()
    await life.end()
  }
}

/// One life of a ledger. What a command came to is compared at once, what is held from time to time.
private final class LedgerLife: @unchecked Sendable {
  // Sendable: one test uses it, one step after the other.

  private let ledger: TestLedger
  private let store: FlakyDatabase
  private var server: EntitlementsServer
  private var effects: EffectDispatcher
  private var random: SeededNumbers
  private var book = EntitlementBook()
  private var keys = 0
  /// Entitlements by the order of their making.
  private var held: [String] = []
  private var settled: [(id: String, total: Int64)] = []
  /// Calls that were answered, to be made again.
  private var answered: [@Sendable (EntitlementsServer) async throws -> Bool] = []

  init(seed: UInt64) async throws {
    ledger = try await TestLedger.open()
    random = SeededNumbers(seed: seed)
    store = FlakyDatabase(ledger.environment.database)
    (server, effects) = Self.process(store, ledger)
  }

  /// A process of its own on the store: services remember nothing that isn't there.
  private static func process(_ store: FlakyDatabase, _ ledger: TestLedger) -> (EntitlementsServer, EffectDispatcher) {
    let shared = ledger.environment
    let effects = EffectDispatcher(database: store, clock: shared.clock)
    let environment = ServiceEnvironment(database: store, log: shared.log, effects: effects, clock: shared.clock, ids: shared.ids)
    let server = EntitlementsServer(environment: environment) { Vendor(vendorID: $0) }
    effects.onOutcome(of: EntitlementsServer.effectOwner, server.effectOutcome)
    effects.start()
    return (server, effects)
  }

  func end() async {
    await effects.settled()
    effects.stop()
  }

  // MARK: Steps

  func step() async throws {
    store.plan(
      random.below(4) == 0 ? (0..<3).map { _ in FlakyDatabase.Fault.allCases[random.below(FlakyDatabase.Fault.allCases.count)] } : [])
    switch random.below(20) {
    case 0..<4: try await issue()
    case 4..<9: try await redeem()
    case 9..<11: try await race()
    case 11: try await withdraw()
    case 12: try await compensate()
    case 13..<15: try await settle()
    case 15: try await correct()
    case 16: try await repeatOne()
    case 17: await crash()
    default: try await pass()
    }
  }

  private func key() -> String {
    keys += 1
    return "key-\(keys)"
  }

  private func issue() async throws {
    let (key, quantity) = (key(), Int64(random.below(4) + 1))
    let expiresAt = random.below(2) == 0 ? nil : now + Int64(random.below(5_000)) * 1_000_000_000
    let request = IssueRequest(
      idempotencyKey: key, tenantID: "vienna", productRuntimeSessionID: "PRS-1", holder: "anna", tokenID: "TOK-\(random.below(2))",
      quantity: quantity, expiresAt: expiresAt.map { .init(nanosecondsSinceEpoch: $0) },
      settlementValue: Money(micros: Int64(random.below(5_000_000)), currency: random.below(4) == 0 ? "CHF" : "EUR"))
    let context = ledger.context(TestLedger.anna, by: "prg")
    let result = await outcome { try await $0.issue(request, context: context) }
    let told = book.perform(
      .issue(
        id: result.value?.entitlementID ?? "", tokenID: request.tokenID, holder: "anna", sessionID: "PRS-1", quantity: quantity,
        unitValue: Amount(request.settlementValue), expiresAt: expiresAt), key: key, now: now)
    guard let entitlement = same(result, told) else { return }
    held.append(entitlement.entitlementID)
    answered.append { try await $0.issue(request, context: context) == entitlement }
  }

  private func redeem() async throws {
    guard let id = any(held) else { return }
    let key = key()
    let request = redemption(of: id, key: key, quantity: Int64(random.below(3) + 1))
    let context = ledger.context(TestLedger.anna, by: "tjm")
    let result = await outcome { try await $0.redeem(request, context: context) }
    let told = book.perform(command(request, result.value?.redemptionID ?? ""), key: key, now: now)
    guard let redemption = same(result, told) else { return }
    if case .redemption(_, let remaining) = told { #expect(remaining == redemption.remaining) }
    answered.append { try await $0.redeem(request, context: context) == redemption }
  }

  /// Many at once for the same tokens, some of them twice: as many succeed as there are tokens.
  private func race() async throws {
    guard let id = any(held) else { return }
    let requests = (0..<6).map { _ in redemption(of: id, key: key(), quantity: 1) }
    let context = ledger.context(TestLedger.anna, by: "tjm")
    let server = server
    let store = store
    let done = await withTaskGroup(of: (Int, Redemption?).self) { group in
      for (number, request) in (requests + requests.prefix(3)).enumerated() {
        group.addTask {
          (number % requests.count, await Self.attempt(server, store) { try await $0.redeem(request, context: context) }.value)
        }
      }
      return await group.reduce(into: [:]) { done, one in done[one.0, default: []].append(one.1) }
    }
    for (number, request) in requests.enumerated() {
      // Both of a pair may come before and after the last token went: the one that succeeded counts.
      let answers = Set((done[number] ?? []).compactMap { $0 })
      #expect(answers.count <= 1, "one wish, two redemptions")
      guard let redemption = answers.first else { continue }
      let told = book.perform(command(request, redemption.redemptionID), key: request.idempotencyKey, now: now)
      guard case .redemption = told else { Issue.record("\(redemption) was too much"); continue }
    }
    #expect(try await ledger.get(id).remaining == book.entitlements[id]?.remaining)
  }

  private func withdraw() async throws {
    guard let id = any(held) else { return }
    let key = key()
    let request = WithdrawRequest(idempotencyKey: key, entitlementID: id, reason: "mistake", actor: "prg")
    let context = ledger.context(TestLedger.anna, by: "prg")
    let result = await outcome { try await $0.withdraw(request, context: context) }
    _ = same(result, book.perform(.withdraw(entitlementID: id), key: key, now: now))
  }

  private func compensate() async throws {
    guard let id = any(held) else { return }
    let (key, quantity) = (key(), Int64(random.below(3) + 1))
    let request = CompensateRequest(idempotencyKey: key, entitlementID: id, quantity: quantity, reason: "cold", actor: "ops:olga")
    let context = ledger.context(TestLedger.olga, by: "prg")
    let result = await outcome { try await $0.compensate(request, context: context) }
    let end = EntitlementsServer.compensationEnd(of: try #require(book.entitlements[id]), now: now)
    let told = book.perform(
      .compensate(entitlementID: id, quantity: quantity, newID: result.value?.entitlementID ?? "", expiresAt: end), key: key, now: now)
    guard let entitlement = same(result, told) else { return }
    held.append(entitlement.entitlementID)
    answered.append { try await $0.compensate(request, context: context) == entitlement }
  }

  private func settle() async throws {
    let key = key()
    let vendor = "VND-\(random.below(2))"
    let request = SettleRequest(idempotencyKey: key, vendorID: vendor)
    let context = ledger.ops()
    let result = await outcome { try await $0.settle(request, context: context) }
    let told = book.perform(.settle(vendorID: vendor), key: key, now: now)
    guard let response = result.value, case .settlements(let settlements) = told else { Issue.record("\(result), \(told)"); return }
    #expect(response.settlements.map { $0.total?.micros } == settlements.map(\.total.micros))
    #expect(response.settlements.map { $0.total?.currency } == settlements.map(\.total.currency))
    settled += response.settlements.map { ($0.settlementID, $0.total?.micros ?? 0) }
    answered.append { try await $0.settle(request, context: context) == response }
  }

  private func correct() async throws {
    guard !settled.isEmpty else { return }
    let number = random.below(settled.count)
    let micros = Int64(random.below(4_000_000)) - 2_000_000
    let whole = try await server.getSettlement(.init(settlementID: settled[number].id), context: ledger.ops())
    let request = CorrectSettlementRequest(
      idempotencyKey: key(), settlementID: settled[number].id, amount: Money(micros: micros, currency: whole.total?.currency ?? ""),
      reason: "counted again", actor: "ops:olga")
    let context = ledger.context(TestLedger.olga, by: "prg")
    let result = await outcome { try await $0.correctSettlement(request, context: context) }
    if settled[number].total + micros < 0 || micros == 0 {
      #expect(result.value == nil)
    } else {
      settled[number].total += micros
      #expect(result.value?.total?.micros == settled[number].total)
    }
  }

  private func repeatOne() async throws {
    guard let again = any(answered) else { return }
    let server = server
    let isSame = await Self.attempt(server, store) { try await again($0) }.value
    #expect(isSame == true, "a call made again was answered otherwise")
  }

  /// The process is gone with all it had in memory.
  private func crash() async {
    effects.stop()
    (server, effects) = Self.process(store, ledger)
  }

  /// Time passes, and what ends in it ends.
  private func pass() async throws {
    ledger.clock.advance(by: .seconds(random.below(1_500)))
    store.plan([])
    effects.poll()
    await effects.settled()
    for id in held where book.entitlements[id]?.expiresAt.map({ $0 <= now }) ?? false {
      _ = book.perform(.expire(entitlementID: id), key: "expiry-\(id)-\(now)", now: now)
    }
  }

  // MARK: What must hold

  func check() async throws {
    try await pass()
    for id in held {
      let (stored, told) = (try await ledger.get(id), try #require(book.entitlements[id]))
      #expect(stored == told.contract(tenant: "vienna", at: now), "\(id)")
    }
    for (id, total) in settled {
      let file = try await server.exportSettlement(.init(settlementID: id, format: .proto), context: ledger.ops())
      #expect(try Settlement(decoding: file.content).total?.micros == total)
    }
    try await ledger.expectSound()
  }

  // MARK: Inside

  private var now: Int64 { ledger.clock.now }

  private func any<Element>(_ elements: [Element]) -> Element? { elements.isEmpty ? nil : elements[random.below(elements.count)] }

  private func redemption(of id: String, key: String, quantity: Int64) -> RedeemRequest {
    let place = random.below(2)
    return RedeemRequest(
      idempotencyKey: key, entitlementID: id, quantity: quantity, servicePointID: "SP-\(place)", vendorID: "VND-\(place)")
  }

  private func command(_ request: RedeemRequest, _ id: String) -> EntitlementBook.Command {
    .redeem(
      entitlementID: request.entitlementID, quantity: request.quantity, redemptionID: id, servicePointID: request.servicePointID,
      vendorID: request.vendorID)
  }

  private struct Outcome<Value: Sendable>: Sendable {
    var value: Value?
    var error: RPCError?
  }

  private func outcome<Value: Sendable>(_ call: @Sendable (EntitlementsServer) async throws -> Value) async -> Outcome<Value> {
    await Self.attempt(server, store, call)
  }

  /// As a client does: what is not known, or was not begun, is asked again under the same key.
  private static func attempt<Value: Sendable>(
    _ server: EntitlementsServer, _ store: FlakyDatabase, _ call: @Sendable (EntitlementsServer) async throws -> Value
  ) async -> Outcome<Value> {
    while true {
      do {
        return Outcome(value: try await call(server))
      } catch let error as RPCError {
        return Outcome(error: error)
      } catch let error as DatabaseError {
        guard error == .busy(limit: 0) || error == .outcomeUnknown("planned") else { return Outcome(error: error.rpcError) }
      } catch {
        return Outcome(error: RPCError.outcome(of: error, in: nil))
      }
    }
  }

  /// Both did it, or both refused for the same reason; what the service answered.
  private func same<Value>(_ result: Outcome<Value>, _ told: EntitlementBook.Outcome) -> Value? {
    switch (result.value, result.error, told) {
    case (let value?, _, .entitlement), (let value?, _, .redemption): return value
    case (nil, let error?, .refused(let refusal)):
      #expect(error.code == refusal.rpcError.code && error.message == refusal.rpcError.message)
    default: Issue.record("the service: \(result), the book: \(told)")
    }
    return nil
  }
}
