import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// What runs out unredeemed. An entitlement's end is a timer written with it, so that no restart forgets one.
extension EntitlementsServer {
  /// Under which name this service's effects are told their outcomes.
  public static let effectOwner = "trutta"

  /// A timer fired: takes what is left of its entitlement, in the transaction that ends the timer.
  public func effectOutcome(
    _ effect: Effect, _ outcome: EffectOutcome
  ) async throws -> (@Sendable (borrowing Transaction) throws -> Void)? {
    guard effect.method == ExpiryTimer.method, case .succeeded = outcome else { return nil }
    let id = String(decoding: effect.request, as: UTF8.self)
    let posting = environment.ids.next(.ledgerTransaction)
    let principal = Principal(kind: .service, id: Self.effectOwner, tenant: effect.tenant, surface: .internal)
    // The dispatcher saw the moment come, whatever the clock says now.
    let step = LedgerStep(
      caller: Caller(principal), now: max(environment.clock.now, effect.dueAt), trace: effect.trace, environment: environment)
    return { [self] tx in
      guard let held = try EntitlementsStore.entitlement(id, tenant: effect.tenant, in: tx) else { return }
      try expire(held, posting: posting, step, in: tx)
    }
  }

  /// Takes what is left before its time, as whoever issued it wishes.
  public func withdraw(_ request: WithdrawRequest, context: ServerContext) async throws -> Entitlement {
    let step = try step(context)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.entitlementID, "entitlement_id")
    fields.text(request.reason, "reason", max: EntitlementLimits.reasonCharacters)
    fields.text(request.actor, "actor", max: EntitlementLimits.nameCharacters)
    try fields.finish()

    let key = IdempotencyKey(request.idempotencyKey, request, context)
    let posting = environment.ids.next(.ledgerTransaction)
    return try await environment.database.transaction("trutta.withdraw") { [self] tx in
      try tx.once(key, at: step.now) {
        let held = try entitlement(request.entitlementID, step.caller, in: tx)
        guard let (next, withdrawn, lines) = EntitlementStateMachine.withdraw(held) else {
          return held.contract(tenant: step.tenant, at: step.now)
        }
        let told = EntitlementExpired(
          entitlementID: held.id, tokenID: held.tokenID, quantity: withdrawn, ledgerTransactionID: posting, reason: request.reason,
          actor: request.actor)
        try end(next, lines, posting, told, step, in: tx)
        try ExpiryTimer.cancel(for: held.id, at: step.now, in: tx)
        return next.contract(tenant: step.tenant, at: step.now)
      }
    }.value
  }

  /// Takes what is left, if it was not taken before.
  func expire(_ held: HeldEntitlement, posting: String, _ step: LedgerStep, in tx: borrowing Transaction) throws {
    guard let (next, expired, lines) = try EntitlementStateMachine.expire(held, now: step.now) else { return }
    let told = EntitlementExpired(entitlementID: held.id, tokenID: held.tokenID, quantity: expired, ledgerTransactionID: posting)
    try end(next, lines, posting, told, step, in: tx)
  }

  private func end(
    _ next: HeldEntitlement, _ lines: LedgerPosting, _ posting: String, _ told: EntitlementExpired, _ step: LedgerStep,
    in tx: borrowing Transaction
  ) throws {
    try EntitlementsStore.update(next, tenant: step.tenant, in: tx)
    try EntitlementsStore.post(lines, id: posting, at: step.now, tenant: step.tenant, in: tx)
    try step.tell(told, session: next.sessionID, in: tx)
  }
}

/// The effect that ends an entitlement at its time.
enum ExpiryTimer {
  /// Calls nobody: the owner is told when it is due.
  static let method = "entitlement-expiry"

  private static func id(_ entitlement: String) -> String { "EXPIRY-" + entitlement }

  static func set(for entitlement: String, at moment: Int64, tenant: String, in tx: borrowing Transaction) throws {
    try tx.perform(
      Effect(
        id: id(entitlement), owner: EntitlementsServer.effectOwner, stream: entitlement, method: method,
        request: Array(entitlement.utf8), dueAt: moment, tenant: tenant))
  }

  /// Nothing is left that could run out.
  static func cancel(for entitlement: String, at now: Int64, in tx: borrowing Transaction) throws {
    try tx.cancelEffect(id(entitlement), at: now)
  }
}
