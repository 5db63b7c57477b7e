import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// What can be read of the ledger.
extension EntitlementsServer {
  public func getEntitlement(_ request: GetEntitlementRequest, context: ServerContext) async throws -> Entitlement {
    let step = try step(context)
    var fields = Validation()
    fields.id(request.entitlementID, "entitlement_id")
    try fields.finish()
    let held = try await environment.database.read { [self] reader in try entitlement(request.entitlementID, step.caller, in: reader) }
    return held.contract(tenant: step.tenant, at: step.now)
  }

  public func listEntitlements(_ request: ListEntitlementsRequest, context: ServerContext) async throws -> ListEntitlementsResponse {
    let step = try step(context)
    var fields = Validation()
    fields.optionalID(request.productRuntimeSessionID, "product_runtime_session_id")
    fields.optionalID(request.holder, "holder")
    let size = pageSize(request.pageSize, &fields)
    try fields.finish()
    // A traveller sees what she holds, whatever is asked for.
    let holder = step.caller.kind == .user ? step.caller.id : request.holder
    if holder != request.holder, !request.holder.isEmpty { return ListEntitlementsResponse() }
    let filter = EntitlementsStore.Filter(
      tenant: step.tenant, sessionID: request.productRuntimeSessionID, holder: holder, after: try PageToken.decode(request.pageToken))
    let rows = try await environment.database.scan { try EntitlementsStore.page(filter, size: size + 1, in: $0) }
    return ListEntitlementsResponse(
      entitlements: rows.prefix(size).map { $0.contract(tenant: step.tenant, at: step.now) },
      nextPageToken: rows.count > size ? PageToken.encode(rows[size - 1].id) : "")
  }

  public func listSettlements(_ request: ListSettlementsRequest, context: ServerContext) async throws -> ListSettlementsResponse {
    let step = try step(context)
    var fields = Validation()
    fields.optionalID(request.vendorID, "vendor_id")
    let size = pageSize(request.pageSize, &fields)
    try fields.finish()
    let after = try PageToken.decode(request.pageToken)
    let rows = try await environment.database.scan {
      try RedemptionStore.settlements(vendor: request.vendorID, after: after, size: size + 1, tenant: step.tenant, in: $0)
    }
    return ListSettlementsResponse(
      settlements: try rows.prefix(size).map { try $0.contract() },
      nextPageToken: rows.count > size ? PageToken.encode(rows[size - 1].id) : "")
  }

  public func listLedger(_ request: ListLedgerRequest, context: ServerContext) async throws -> ListLedgerResponse {
    let step = try step(context)
    var fields = Validation()
    if !request.tokenID.isEmpty {
      // Money stands under `money:EUR`, which no token's id can be.
      fields.id(request.tokenID.hasPrefix("money:") ? String(request.tokenID.dropFirst(6)) : request.tokenID, "token_id")
    }
    if !request.account.isEmpty { Self.validate(account: request.account, &fields) }
    let size = pageSize(request.pageSize, &fields)
    try fields.finish()
    var filter = EntitlementsStore.LedgerFilter(
      tenant: step.tenant, tokenID: request.tokenID, account: request.account, after: "", afterLine: 0)
    if !request.pageToken.isEmpty {
      let keys = try PageToken.decode(request.pageToken, keys: 2)
      filter.after = keys[0]
      filter.afterLine = Int64(keys[1]) ?? 0
    }
    let rows = try await environment.database.scan { [filter] in try EntitlementsStore.ledger(filter, size: size + 1, in: $0) }
    return ListLedgerResponse(
      entries: rows.prefix(size).map(\.contract),
      nextPageToken: rows.count > size ? PageToken.encode(rows[size - 1].transactionID, String(rows[size - 1].line)) : "")
  }

  private static func validate(account text: String, _ fields: inout Validation) {
    switch LedgerAccount(text) {
    case nil: fields.add("account", "is none of issuer, expired, holder:ENT-…, vendor:VND-…, settled:VND-…")
    case .issuer, .expired: break
    case .holder(let id), .vendor(let id), .settled(let id): fields.id(id, "account")
    }
  }

  private func pageSize(_ asked: UInt32, _ fields: inout Validation) -> Int {
    fields.pageSize(asked, default: EntitlementLimits.defaultPageSize, max: EntitlementLimits.pageSize)
  }
}
