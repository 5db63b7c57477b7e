import SpanwireDatabase
import SpanwireEventLog
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// Trutta: the double-entry ledger of entitlements and the tokens behind them.
///
/// The machine decides over single rows; this reads them, writes what it decided with its events in one transaction, and answers the
/// same key with the same outcome for ever.
public final class EntitlementsServer: TruttaService {
  /// Who a vendor is, as the registry knows it; nil for one it does not know.
  public typealias VendorDirectory = @Sendable (_ vendorID: String) async throws -> Vendor?

  let environment: ServiceEnvironment
  let vendors: VendorDirectory

  public static let migrations = EntitlementsStore.migrations

  public init(environment: ServiceEnvironment, vendors: @escaping VendorDirectory) {
    self.environment = environment
    self.vendors = vendors
  }

  /// Looks vendors up in the registry.
  public convenience init(environment: ServiceEnvironment, registry: RegistryClient) {
    self.init(environment: environment) { id in
      do {
        guard case .vendor(let vendor)? = try await registry.getDefinition(GetDefinitionRequest(kind: .vendor, id: id)).value else {
          return nil
        }
        return vendor
      } catch let error as RPCError where error.code == .notFound {
        return nil
      }
    }
  }

  // MARK: Issue

  public func issue(_ request: IssueRequest, context: ServerContext) async throws -> Entitlement {
    let step = try step(context)
    try step.caller.admit(tenant: request.tenantID)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.optionalID(request.tenantID, "tenant_id")
    fields.id(request.productRuntimeSessionID, "product_runtime_session_id")
    fields.id(request.holder, "holder")
    fields.id(request.tokenID, "token_id")
    fields.range(request.quantity, "quantity", 1...EntitlementLimits.quantity)
    if let value = request.settlementValue {
      fields.money(value, "settlement_value")
      fields.range(value.micros, "settlement_value.micros", 0...EntitlementLimits.unitValueMicros)
    }
    fields.optionalText(request.paymentReference, "payment_reference", max: EntitlementLimits.nameCharacters)
    try fields.finish()

    let (id, posting) = (environment.ids.next(.entitlement), environment.ids.next(.ledgerTransaction))
    let hash = SHA256.hash(request.encoded())
    return try await environment.database.transaction("trutta.issue") { [self] tx in
      if let known = try known(request.idempotencyKey, hash, step, in: tx) { return known }
      let (held, lines) = try EntitlementStateMachine.issue(
        id: id, tokenID: request.tokenID, holder: request.holder, sessionID: request.productRuntimeSessionID,
        quantity: request.quantity, unitValue: Amount(request.settlementValue), expiresAt: request.expiresAt?.nanosecondsSinceEpoch,
        now: step.now)
      try keep(held, key: request.idempotencyKey, hash, lines, posting, step, in: tx)
      try step.tell(
        EntitlementIssued(
          entitlementID: id, tokenID: held.tokenID, quantity: held.issued, holder: held.holder, expiresAt: request.expiresAt,
          ledgerTransactionID: posting), session: held.sessionID, in: tx)
      return held.contract(tenant: step.tenant, at: step.now)
    }.value
  }

  /// Issues anew what a holder lost through no fault of theirs, until the original's time or, when that is over, as long as it lasted.
  public func compensate(_ request: CompensateRequest, context: ServerContext) async throws -> Entitlement {
    let step = try step(context)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.entitlementID, "entitlement_id")
    fields.range(request.quantity, "quantity", 1...EntitlementLimits.quantity)
    fields.text(request.reason, "reason", max: EntitlementLimits.reasonCharacters)
    fields.text(request.actor, "actor", max: EntitlementLimits.nameCharacters)
    try fields.finish()

    let (id, posting) = (environment.ids.next(.entitlement), environment.ids.next(.ledgerTransaction))
    let hash = SHA256.hash(request.encoded())
    return try await environment.database.transaction("trutta.compensate") { [self] tx in
      if let known = try known(request.idempotencyKey, hash, step, in: tx) { return known }
      let original = try entitlement(request.entitlementID, step.caller, in: tx)
      let (held, lines) = try EntitlementStateMachine.compensate(
        original, quantity: request.quantity,
        compensatedBefore: try EntitlementsStore.compensated(original.id, tenant: step.tenant, in: tx), newID: id,
        expiresAt: Self.compensationEnd(of: original, now: step.now), now: step.now)
      try keep(held, key: request.idempotencyKey, hash, lines, posting, step, in: tx)
      try step.tell(
        EntitlementCompensated(
          entitlementID: id, originalEntitlementID: original.id, tokenID: held.tokenID, quantity: held.issued, reason: request.reason,
          actor: request.actor, ledgerTransactionID: posting), session: held.sessionID, in: tx)
      return held.contract(tenant: step.tenant, at: step.now)
    }.value
  }

  /// What makes good for something that ran out must not have run out as well.
  static func compensationEnd(of original: HeldEntitlement, now: Int64) -> Int64? {
    guard let end = original.expiresAt else { return nil }
    return end > now ? end : now + (end - original.issuedAt)
  }

  private func known(_ key: String, _ hash: [UInt8], _ step: LedgerStep, in tx: borrowing Transaction) throws -> Entitlement? {
    guard let (held, first) = try EntitlementsStore.issued(key: key, tenant: step.tenant, in: tx) else { return nil }
    try Self.admit(hash, first, key)
    return held.contractAsIssued(tenant: step.tenant)
  }

  static func admit(_ hash: [UInt8], _ first: [UInt8], _ key: String) throws {
    guard hash == first else {
      throw RPCError.refusal(.alreadyExists, .idempotencyKeyReused, "idempotency_key \(key) was used for another request")
    }
  }

  private func keep(
    _ held: HeldEntitlement, key: String, _ hash: [UInt8], _ lines: LedgerPosting, _ posting: String, _ step: LedgerStep,
    in tx: borrowing Transaction
  ) throws {
    try EntitlementsStore.insert(held, tenant: step.tenant, key: key, hash: hash, in: tx)
    try EntitlementsStore.post(lines, id: posting, at: step.now, tenant: step.tenant, in: tx)
    if let expiresAt = held.expiresAt { try ExpiryTimer.set(for: held.id, at: expiresAt, tenant: step.tenant, in: tx) }
  }

  // MARK: Redeem

  public func redeem(_ request: RedeemRequest, context: ServerContext) async throws -> Redemption {
    let step = try step(context)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.entitlementID, "entitlement_id")
    fields.range(request.quantity, "quantity", 0...EntitlementLimits.quantity)
    fields.id(request.servicePointID, "service_point_id")
    fields.id(request.vendorID, "vendor_id")
    fields.optionalID(request.journeyInstanceID, "journey_instance_id")
    try fields.finish()

    let ids = (
      redemption: environment.ids.next(.redemption), posting: environment.ids.next(.ledgerTransaction),
      expiry: environment.ids.next(.ledgerTransaction)
    )
    let hash = SHA256.hash(request.encoded())
    let result = try await environment.database.transaction("trutta.redeem") { [self] tx -> Result<Redemption, EntitlementRefusal> in
      let key = request.idempotencyKey
      if let (row, first) = try RedemptionStore.redemption(key: key, tenant: step.tenant, in: tx) {
        try Self.admit(hash, first, key)
        return .success(row.contract)
      }
      let held = try entitlement(request.entitlementID, step.caller, in: tx)
      let outcome = Result { () throws(EntitlementRefusal) in
        try EntitlementStateMachine.redeem(
          held, quantity: max(1, request.quantity), redemptionID: ids.redemption, servicePointID: request.servicePointID,
          vendorID: request.vendorID, now: step.now)
      }
      switch outcome {
      case .success(let redeemed):
        let row = RedemptionRow(
          redeemed: redeemed.redemption, remaining: redeemed.entitlement.remaining, journeyInstanceID: request.journeyInstanceID,
          ledgerTransactionID: ids.posting)
        return .success(try keep(row, redeemed.entitlement, redeemed.posting, key: key, hash, step, in: tx))
      case .failure(let refusal):
        // The refusal itself is worth an event, so this transaction commits; a repeated call is judged anew.
        if case .alreadyExpired = refusal, held.phase == .active {
          try expire(held, posting: ids.expiry, step, in: tx)
          try ExpiryTimer.cancel(for: held.id, at: step.now, in: tx)
        }
        try step.tell(
          EntitlementRedeemRefused(entitlementID: held.id, servicePointID: request.servicePointID, reason: refusal.reason.wireName),
          session: held.sessionID, journey: request.journeyInstanceID, in: tx)
        return .failure(refusal)
      }
    }.value
    return try result.mapError(\.rpcError).get()
  }

  private func keep(
    _ row: RedemptionRow, _ held: HeldEntitlement, _ lines: LedgerPosting, key: String, _ hash: [UInt8], _ step: LedgerStep,
    in tx: borrowing Transaction
  ) throws -> Redemption {
    let redeemed = row.redeemed
    try EntitlementsStore.update(held, tenant: step.tenant, in: tx)
    try RedemptionStore.insert(row, tenant: step.tenant, key: key, hash: hash, in: tx)
    try EntitlementsStore.post(lines, id: row.ledgerTransactionID, at: step.now, tenant: step.tenant, in: tx)
    if held.phase == .exhausted { try ExpiryTimer.cancel(for: held.id, at: step.now, in: tx) }
    try step.tell(
      EntitlementRedeemed(
        entitlementID: held.id, tokenID: held.tokenID, quantity: redeemed.quantity, servicePointID: redeemed.servicePointID,
        vendorID: redeemed.vendorID, redemptionID: redeemed.id, ledgerTransactionID: row.ledgerTransactionID, remaining: held.remaining),
      session: held.sessionID, journey: row.journeyInstanceID, in: tx)
    return row.contract
  }

  // MARK: Inside

  func step(_ context: ServerContext) throws -> LedgerStep {
    LedgerStep(caller: try Caller(context), now: environment.clock.now, trace: context.trace, environment: environment)
  }

  /// An entitlement of the caller's tenant; a traveller's own.
  func entitlement(_ id: String, _ caller: Caller, in reader: borrowing some Reader & ~Copyable) throws -> HeldEntitlement {
    guard let held = try EntitlementsStore.entitlement(id, tenant: caller.tenant, in: reader), caller.maySee(held.holder) else {
      throw RPCError.missing(.entitlementNotFound, "there is no entitlement \(id)")
    }
    return held
  }
}

extension Caller {
  /// A traveller sees what she holds and nobody else's, whichever service asks for her.
  func maySee(_ holder: String) -> Bool { kind != .user || holder == id }
}

extension IDPrefix {
  static let ledgerTransaction: IDPrefix = "LTX"
  static let redemption: IDPrefix = "RED"
  static let settlement: IDPrefix = "STL"
}
