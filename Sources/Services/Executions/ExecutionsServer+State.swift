import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// The state surface: the only way to the state of sessions and executions.
///
/// A document has a revision, which grows with every write and goes on where it was when the document expires or is deleted, so that who
/// read an older one never overwrites a newer. In a sandbox a session's state is a copy from the first write on.
extension ExecutionsServer {
  /// Which documents a request is about: where it is written, and where it is read from as long as nothing was.
  private struct StatePlace: Sendable {
    var tenant: String
    var key: String
    /// Of what a sandbox has not written yet.
    var origin: String?
    var session = ""
    var execution = ""
  }

  public func getState(_ request: GetStateRequest, context: ServerContext) async throws -> StateDocument {
    var validation = Validation()
    let place = try await place(request.key, request.claim, context, &validation)
    let now = environment.clock.now
    return try await environment.database.read { try Self.document($0, at: place, now).document }
  }

  public func setState(_ request: SetStateRequest, context: ServerContext) async throws -> StateDocument {
    var validation = Validation()
    validation.check(request.state != nil, "state", "is required")
    ExecutionValidation.object(request.state, "state", &validation)
    validation.check(
      (request.state?.fields.pairs.count ?? 0) <= ExecutionsLimits.stateKeys, "state", "has at most \(ExecutionsLimits.stateKeys) members")
    validation.range(request.ttlMs, "ttl_ms", 0...ExecutionsLimits.ttlMilliseconds)
    let place = try await place(request.key, request.claim, context, &validation)
    let (journal, stamp) = (journal, ExecutionStamp(environment))
    let hash = SHA256.hash(Array(try (request.state ?? [:]).canonicalJSON().utf8))
    let expiresAt = request.ttlMs == 0 ? 0 : stamp.now + request.ttlMs * 1_000_000
    return try await environment.database.transaction("exec.state") { transaction -> StateDocument in
      if let claim = request.claim { _ = try journal.claimed(claim, transaction) }
      let (known, revision) = try Self.document(transaction, at: place, stamp.now)
      try Self.check(request.expectedRevision, against: known.revision, place.key)
      let document = StateDocument(
        key: place.key, state: request.state, revision: revision + 1, updatedAt: .init(nanosecondsSinceEpoch: stamp.now),
        expiresAt: expiresAt == 0 ? nil : .init(nanosecondsSinceEpoch: expiresAt))
      try StateStore.put(document, tenant: place.tenant, expiresAt: expiresAt, transaction)
      let changed = StateChanged(key: place.key, revision: document.revision, contentHash: hash)
      try journal.append(
        changed, tenant: place.tenant, session: place.session, execution: place.execution, at: stamp, transaction)
      return document
    }.value
  }

  public func deleteState(_ request: DeleteStateRequest, context: ServerContext) async throws -> DeleteStateResponse {
    let caller = try Caller(context)
    var validation = Validation()
    let place = try await place(request.key, nil, context, &validation)
    let (journal, stamp) = (journal, ExecutionStamp(environment))
    let audit = AuditRecorded(
      action: "state.delete", target: place.key, actor: caller.id, actorKind: "\(caller.kind)", decision: "allow",
      method: context.method.path)
    _ = try await environment.database.transaction("exec.state.delete") { transaction in
      let (known, revision) = try Self.document(transaction, at: place, stamp.now)
      try Self.check(request.expectedRevision, against: known.revision, place.key)
      if known.revision == 0 { return }
      // It stays as one that has expired: its revision is not used again.
      let gone = StateDocument(key: place.key, revision: revision + 1)
      try StateStore.put(gone, tenant: place.tenant, expiresAt: stamp.now, transaction)
      try journal.append(
        StateChanged(key: place.key, revision: gone.revision), tenant: place.tenant, session: place.session, execution: place.execution,
        at: stamp, transaction)
      try journal.append(audit, tenant: place.tenant, at: stamp, transaction)
    }
    return DeleteStateResponse()
  }

  public func listStates(_ request: ListStatesRequest, context: ServerContext) async throws -> ListStatesResponse {
    let tenant = try Caller(context).tenant
    var validation = Validation()
    let size = pageSize(request.pageSize, &validation)
    try validation.finish()
    let (after, now) = (try PageToken.decode(request.pageToken), environment.clock.now)
    let page = try await environment.database.scan { snapshot in
      try StateStore.page(snapshot, tenant: tenant, at: now, after: after, limit: size + 1)
    }
    return ListStatesResponse(
      states: page.prefix(size).map { document in
        var document = document
        document.state = nil
        return document
      }, nextPageToken: page.count > size ? PageToken.encode(page[size - 1].key) : "")
  }

  // MARK: Inside

  private func place(
    _ key: StateKey?, _ claim: ExecutionClaim?, _ context: ServerContext, _ validation: inout Validation
  ) async throws -> StatePlace {
    switch key?.scope {
    case .sessionID(let id)?: validation.id(id, "key.session_id")
    case .executionID(let id)?: validation.id(id, "key.execution_id")
    case nil: validation.add("key", "is required")
    }
    var execution: Execution?
    let caller = try Caller(context)
    if claim != nil || caller.kind == .worker && Caller.service(of: context) == nil {
      execution = try await admit(claim, context, &validation)
    }
    try validation.finish()
    let tenant = execution?.intent?.tenantID ?? caller.tenant
    guard let scope = key?.scope else { preconditionFailure("it was validated") }
    switch scope {
    case .sessionID(let id):
      var place = StatePlace(tenant: tenant, key: "session:\(tenant):\(id)", session: id)
      guard let execution else { return place }
      guard execution.intent?.sessionID == id else { throw Self.foreign("session \(id)") }
      if execution.sandbox {
        place.origin = place.key
        place.key = "sandbox:\(execution.executionID):\(place.key)"
        place.session = ""
      }
      place.execution = execution.executionID
      return place
    case .executionID(let id):
      if let execution, execution.executionID != id { throw Self.foreign("execution \(id)") }
      if execution == nil {
        let key = ExecutionKey(tenant: tenant, id: id)
        guard try await environment.database.read({ try ExecutionsStore.row($0, key) }) != nil else { throw Self.unknown(id) }
      }
      return StatePlace(tenant: tenant, key: "execution:\(tenant):\(id)", execution: id)
    }
  }

  private static func foreign(_ what: String) -> RPCError {
    .denied(.policyDenied, rule: "CLAIM-SCOPE", "the claim is not of \(what)")
  }

  /// What is there, as a reader sees it, and the revision that the next write follows.
  private static func document(
    _ reader: borrowing some Reader & ~Copyable, at place: StatePlace, _ now: Int64
  ) throws -> (document: StateDocument, revision: UInt64) {
    if let row = try StateStore.row(reader, tenant: place.tenant, key: place.key) {
      return (row.isThere(at: now) ? row.document : StateDocument(key: place.key), row.revision)
    }
    if let origin = place.origin, let row = try StateStore.row(reader, tenant: place.tenant, key: origin), row.isThere(at: now) {
      var copy = row.document
      copy.key = place.key
      return (copy, row.revision)
    }
    return (StateDocument(key: place.key), 0)
  }

  private static func check(_ expected: UInt64?, against revision: UInt64, _ key: String) throws {
    guard let expected, expected != revision else { return }
    throw RPCError.refusal(
      .aborted, .stateChanged, "\(key) is at revision \(revision), not \(expected)", metadata: [("revision", "\(revision)")])
  }
}
