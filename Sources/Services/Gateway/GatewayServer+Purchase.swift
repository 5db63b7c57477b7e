import SpanwireDatabase
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// Purchases: what a variant grants is issued by effects, and the purchase is complete when all of it is.
extension GatewayServer {
  public func purchase(_ request: PurchaseRequest, context: ServerContext) async throws -> PurchaseResponse {
    let step = try step(context)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.productRuntimeSessionID, "product_runtime_session_id")
    fields.optionalID(request.variantID, "variant_id")
    fields.optionalText(request.paymentReference, "payment_reference", max: GatewayLimits.paymentReferenceCharacters)
    if request.paymentReference.isEmpty { fields.add("payment_reference", "must name the payment") }
    try fields.finish()

    let session = try await session(request.productRuntimeSessionID, step.caller)
    let purchaseID = environment.ids.next("PUR")
    let config = try await snapshots.config(session.runtimeSnapshotRef)
    let ticket = try await ticket(IdempotencyKey(request.idempotencyKey, request, context), step) { [self] tx in
      let session = try self.session(request.productRuntimeSessionID, step.caller, in: tx)
      try session.admit(.purchase)
      let chosen = try SessionStore.chosenVariant(session.productRuntimeSessionID, tenant: session.tenantID, in: tx)
      let variant = try Self.variant(request.variantID, chosen, in: config, of: session)
      try PurchaseStore.insert(purchaseID, request, variant, of: session, in: tx)
      for (number, issue) in try Self.issues(of: variant, for: session, purchaseID, request, config, now: step.now).enumerated() {
        try step.cause(
          Trutta.Methods.issue, issue, id: "\(purchaseID)-\(number)", stream: session.productRuntimeSessionID, in: tx)
      }
      return Ticket(id: purchaseID, parts: UInt32(variant.grants.count))
    }
    for number in 0..<ticket.parts { try await settle(effect: "\(ticket.id)-\(number)") }
    let result = try await environment.database.read { tx in try PurchaseStore.result(ticket.id, tenant: step.caller.tenant, in: tx) }
    switch result {
    case .completed(let response): return response
    case .failed(let error): throw error
    case .underWay: throw RPCError.unavailable("the purchase \(ticket.id) is under way: repeat the call with the same key")
    }
  }

  private static func variant(
    _ wanted: String, _ chosen: String, in config: RuntimeConfig, of session: ProductRuntimeSession
  ) throws -> Variant {
    let variants = config.productVersion?.variants ?? []
    if !wanted.isEmpty {
      guard let variant = variants.first(where: { $0.variantID == wanted }) else {
        throw RPCError.missing(.definitionNotFound, "\(wanted) is not a variant of \(session.productVersionID)")
      }
      return variant
    }
    guard let variant = config.defaultVariant(preferring: chosen) else {
      throw RPCError.precondition(.definitionNotFound, "\(session.productVersionID) has nothing to buy")
    }
    return variant
  }

  private static func issues(
    of variant: Variant, for session: ProductRuntimeSession, _ purchaseID: String, _ request: PurchaseRequest, _ config: RuntimeConfig,
    now: Int64
  ) throws -> [IssueRequest] {
    guard !variant.grants.isEmpty, variant.grants.count <= GatewayLimits.grantsPerPurchase,
      session.entitlementIds.count + variant.grants.count <= GatewayLimits.entitlementsPerSession
    else {
      throw RPCError.precondition(.entitlementMissing, "\(variant.variantID) grants nothing, or more than a session can hold")
    }
    return try variant.grants.enumerated().map { number, grant in
      guard let token = config.tokens.first(where: { $0.tokenID == grant.tokenID }) else {
        throw RPCError.precondition(.tokenUnknown, "the session's configuration has no token \(grant.tokenID)")
      }
      return IssueRequest(
        idempotencyKey: "\(purchaseID)-\(number)", tenantID: session.tenantID,
        productRuntimeSessionID: session.productRuntimeSessionID, holder: session.userID, tokenID: grant.tokenID,
        quantity: grant.quantity, expiresAt: grant.validFor.map { .init(nanosecondsSinceEpoch: now + $0.nanoseconds) },
        settlementValue: token.settlementValue, paymentReference: request.paymentReference)
    }
  }

  /// One grant of a purchase was issued, or refused for good. Called with an effect's outcome, in its transaction.
  func granted(
    _ purchaseID: String, _ number: Int, _ result: Result<Entitlement, RPCError>, _ step: GatewayStep, in tx: borrowing Transaction
  ) throws {
    guard let purchase = try PurchaseStore.find(purchaseID, tenant: step.caller.tenant, in: tx),
      let session = try SessionStore.find(purchase.sessionID, tenant: step.caller.tenant, in: tx)
    else { return }
    // Another grant of the purchase was refused before: nothing of it is to be kept.
    guard purchase.isUnderWay else {
      if case .success(let entitlement) = result { try withdraw(entitlement, of: purchaseID, session, step, in: tx) }
      return
    }
    var change = SessionChange(session, now: step.now)
    switch result {
    case .success(let entitlement):
      try PurchaseStore.add(entitlement, number, to: purchaseID, tenant: step.caller.tenant, in: tx)
      let issued = try PurchaseStore.entitlements(of: purchaseID, tenant: step.caller.tenant, in: tx)
      guard issued.count == purchase.grants else { return }
      let response = PurchaseResponse(purchaseID: purchaseID, variantID: purchase.variantID, entitlements: issued)
      try PurchaseStore.complete(response, tenant: step.caller.tenant, in: tx)
      change.purchased(response, price: purchase.price, paymentReference: purchase.paymentReference)
    case .failure(let error):
      try PurchaseStore.fail(purchaseID, error, tenant: step.caller.tenant, in: tx)
      change.tell(PurchaseFailed(purchaseID: purchaseID, variantID: purchase.variantID, reason: error.message))
      for issued in try PurchaseStore.entitlements(of: purchaseID, tenant: step.caller.tenant, in: tx) {
        try withdraw(issued, of: purchaseID, session, step, in: tx)
      }
    }
    try step.write(change, in: tx)
  }

  /// Takes back what was issued for a purchase that failed. What was redeemed of it meanwhile stays redeemed: the vendor is paid.
  private func withdraw(
    _ entitlement: Entitlement, of purchaseID: String, _ session: ProductRuntimeSession, _ step: GatewayStep, in tx: borrowing Transaction
  ) throws {
    let id = "\(entitlement.entitlementID)-withdraw"
    try step.cause(
      Trutta.Methods.withdraw,
      WithdrawRequest(
        idempotencyKey: id, entitlementID: entitlement.entitlementID, reason: "the purchase \(purchaseID) failed",
        actor: GatewayStep.producer), id: id, stream: session.productRuntimeSessionID, in: tx)
  }
}
