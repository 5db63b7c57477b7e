import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

extension GatewayServer {
  /// Opens a session and takes it through preflight, in one transaction with what preflight found.
  public func openSession(_ request: OpenSessionRequest, context: ServerContext) async throws -> ProductRuntimeSession {
    let caller = try Caller(context)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    if request.productID.isEmpty == request.productVersionID.isEmpty {
      fields.add("product_id", "name the product or one version of it")
    }
    fields.optionalID(request.productID, "product_id")
    fields.optionalID(request.productVersionID, "product_version_id")
    fields.id(request.marketCode, "market_code")
    fields.optionalID(request.userID, "user_id")
    fields.optionalID(request.avatarID, "avatar_id")
    fields.ids(request.segments, "segments", max: GatewayLimits.segments)
    fields.ids(request.experimentKeys, "experiment_keys", max: GatewayLimits.experimentKeys)
    try fields.finish()
    let request = try request.within(caller.segments)

    let userID = request.userID.isEmpty ? caller.id : request.userID
    if caller.kind == .user, userID != caller.id {
      throw RPCError.denied(.policyDenied, rule: "R3-cross-tenant", "a traveller opens sessions for nobody else")
    }
    let step = GatewayStep(caller, environment)
    // A repeated call asks the same questions again, which only read; what is answered is what was stored at first.
    let outcome = try await Preflight(
      clients: clients, configs: configs, caller: caller, request: request, userID: userID, now: step.now
    ).run()
    let draft = newSession(request, userID: userID, caller: caller, resolved: outcome.resolved, now: step.now)
    let session = try await once(request.idempotencyKey, request, context, step) { tx in
      var change = SessionChange(opening: draft, now: step.now)
      try change.handle(.check)
      if let resolved = outcome.resolved {
        change.tell(
          ConfigResolved(
            snapshotRef: resolved.config.snapshotRef, contentHash: resolved.config.contentHash,
            registryRevision: resolved.config.registryRevision))
      }
      if let failure = outcome.failure {
        try change.handle(.failPreflight(check: failure.check, reason: failure.reason))
      } else {
        try change.handle(.passPreflight(checks: outcome.passed))
      }
      try SessionStore.insert(change.session, in: tx)
      try step.tell(change, in: tx)
      return change.session
    }
    if let resolved = outcome.resolved, !resolved.config.snapshotRef.isEmpty { snapshots.keep(resolved, as: resolved.config.snapshotRef) }
    return session
  }

  private func newSession(
    _ request: OpenSessionRequest, userID: String, caller: Caller, resolved: ResolvedConfig?, now: Int64
  ) -> ProductRuntimeSession {
    var session = ProductRuntimeSession()
    session.productRuntimeSessionID = environment.ids.next(.session)
    session.tenantID = caller.tenant
    session.orgID = caller.organization
    session.productID = resolved?.config.productID ?? request.productID
    session.productVersionID = resolved?.config.productVersion?.productVersionID ?? request.productVersionID
    session.marketCode = request.marketCode
    session.userID = userID
    session.avatarID = request.avatarID
    session.segments = request.segments
    session.state = .created
    session.runtimeSnapshotRef = resolved?.config.snapshotRef ?? ""
    session.experimentVariants = resolved?.config.experimentVariants ?? [:]
    session.createdAt = .init(nanosecondsSinceEpoch: now)
    session.updatedAt = .init(nanosecondsSinceEpoch: now)
    return session
  }

  public func getSession(_ request: GetSessionRequest, context: ServerContext) async throws -> ProductRuntimeSession {
    try await session(request.productRuntimeSessionID, try Caller(context))
  }

  public func listSessions(_ request: ListSessionsRequest, context: ServerContext) async throws -> ListSessionsResponse {
    let caller = try Caller(context)
    var fields = Validation()
    fields.known(request.state, "state")
    fields.optionalID(request.userID, "user_id")
    fields.optionalID(request.productID, "product_id")
    fields.optionalID(request.productVersionID, "product_version_id")
    fields.optionalID(request.marketCode, "market_code")
    let size = fields.pageSize(request.pageSize, default: GatewayLimits.defaultPageSize, max: GatewayLimits.pageSize)
    let from = request.createdFrom?.nanosecondsSinceEpoch ?? 0
    let end = request.createdBefore?.nanosecondsSinceEpoch ?? .max
    fields.check(from < end, "created_before", "must be later than created_from")
    try fields.finish()
    // A traveller sees her own sessions, whatever she asks for.
    let userID = caller.kind == .user ? caller.id : request.userID
    if caller.kind == .user, !request.userID.isEmpty, request.userID != caller.id { return ListSessionsResponse() }
    let filter = SessionStore.Filter(
      tenant: caller.tenant, userID: userID, state: request.state, productID: request.productID,
      productVersionID: request.productVersionID, marketCode: request.marketCode, riskFlagged: request.riskFlagged, createdFrom: from,
      createdBefore: end)
    let before = try PageToken.decode(request.pageToken)
    let (page, next) = try await environment.database.scan { try SessionStore.page(filter, before: before, size: size, in: $0) }
    return ListSessionsResponse(sessions: page, nextPageToken: next.map { PageToken.encode($0) } ?? "")
  }
}

extension OpenSessionRequest {
  /// The same with the segments of the caller's credential, if that names any: of these a request may name some, and no others.
  fileprivate func within(_ segments: [String]) throws -> OpenSessionRequest {
    if segments.isEmpty { return self }
    guard self.segments.allSatisfy(segments.contains) else {
      throw RPCError.denied(.policyDenied, rule: "R7-grant", "the credential admits the segments \(segments.joined(separator: ", ")) only")
    }
    var request = self
    if request.segments.isEmpty { request.segments = segments }
    return request
  }
}
