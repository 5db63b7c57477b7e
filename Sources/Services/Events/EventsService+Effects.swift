import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// Effects that got no verdict: operators see them, and decide.
extension EventsServer {
  public func listEffects(_ request: ListEffectsRequest, context: ServerContext) async throws -> ListEffectsResponse {
    let tenant = try Caller(context).tenant
    var fields = Validation()
    fields.known(request.state, "state")
    let size = fields.pageSize(request.pageSize, default: EventsLimits.effectsPage, max: EffectLimits.listPage)
    try fields.finish()
    let state: ListedState =
      switch request.state {
      case .pending: .pending
      case .failed: .failed
      default: .givenUp
      }
    let place = try EffectPlace(token: request.pageToken)
    let found = try await environment.database.scan { try EffectStore.list($0, state, tenant: tenant, after: place, limit: size + 1) }
    let page = found.prefix(size)
    return ListEffectsResponse(
      effects: page.map(EffectInfo.init), nextPageToken: found.count > size ? page.last?.place.token ?? "" : "")
  }

  public func redriveEffect(_ request: DecideEffectRequest, context: ServerContext) async throws -> DecideEffectResponse {
    try await decide(request, "redriven", context) { try $0.redriveEffect(request.effectID) }
  }

  public func discardEffect(_ request: DecideEffectRequest, context: ServerContext) async throws -> DecideEffectResponse {
    let tenant = try Caller(context).tenant
    let id = request.effectID
    // Its owner may read and call before it is told; another tenant's effect is none of the caller's.
    let isOwn = try await environment.database.scan { try EffectStore.tenant($0, of: id) } == tenant
    var discard: @Sendable (borrowing Transaction) throws -> Bool = { _ in false }
    if isOwn { discard = try await environment.effects.discarding(id) }
    return try await decide(request, "discarded", context, discard)
  }

  private func decide(
    _ request: DecideEffectRequest, _ verdict: String, _ context: ServerContext,
    _ change: @escaping @Sendable (borrowing Transaction) throws -> Bool
  ) async throws -> DecideEffectResponse {
    let caller = try Caller(context)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.effectID, "effect_id")
    fields.text(request.reason, "reason", max: EventsLimits.reason)
    try fields.finish()
    let key = IdempotencyKey(request.idempotencyKey, request, context)
    let (environment, now, id) = (environment, environment.clock.now, request.effectID)
    let trace = context.trace
    return try await environment.database.transaction("effects.decide") { transaction in
      try transaction.once(key, at: now) {
        guard try EffectStore.tenant(transaction, of: id) == caller.tenant else {
          throw RPCError.missing(.effectNotFound, "there is no effect \(id)")
        }
        guard try change(transaction) else {
          throw RPCError.precondition(.effectNotFound, "effect \(id) is not given up: there is nothing to decide")
        }
        let event = try transaction.append(
          EventDraft(
            DLQReviewed(itemID: id, verdict: verdict, actor: caller.name), producer: Self.producer, tenant: caller.tenant, occurredAt: now,
            trace: trace), environment)
        try transaction.append(
          EventDraft(
            AuditRecorded(
              action: "effect.\(verdict)", target: id, actor: caller.name, actorKind: "\(caller.kind)", decision: "allow",
              reason: request.reason, method: key.method),
            producer: Self.producer, tenant: caller.tenant, occurredAt: now, trace: trace, causation: event.eventID), environment)
        return DecideEffectResponse(effectID: id, eventID: event.eventID)
      }
    }.value
  }
}

extension EffectInfo {
  init(_ listed: ListedEffect) {
    self.init(
      effectID: listed.effect.id, state: listed.state == .pending ? .pending : listed.state == .failed ? .failed : .givenUp,
      owner: listed.effect.owner, stream: listed.effect.stream, method: listed.effect.method,
      attempts: UInt32(clamping: listed.effect.attempts),
      subject: listed.effect.subject.map { "\($0.kind):\($0.id)" } ?? "")
    if listed.effect.dueAt > 0 { dueAt = Google_Protobuf_Timestamp(nanosecondsSinceEpoch: listed.effect.dueAt) }
    if listed.endedAt > 0 { endedAt = Google_Protobuf_Timestamp(nanosecondsSinceEpoch: listed.endedAt) }
    error = listed.error.map { Google_Rpc_Status(code: Int32($0.code.rawValue), message: $0.message, details: $0.details) }
  }
}

extension EffectPlace {
  init(token: String) throws {
    self.init()
    if token.isEmpty { return }
    let keys = try PageToken.decode(token, keys: 3)
    guard let dueAt = Int64(keys[0]), let number = Int64(keys[2]) else {
      throw RPCError.invalidField("page_token", "is not one that was given out", reason: .pageTokenInvalid)
    }
    self.init(dueAt: dueAt, stream: keys[1], number: number)
  }

  var token: String { PageToken.encode("\(dueAt)", stream, "\(number)") }
}
