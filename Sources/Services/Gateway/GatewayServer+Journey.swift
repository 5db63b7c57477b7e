import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// The session's journey: started by an effect, walked by calls that are forwarded, and taken in when it ends.
extension GatewayServer {
  public func startJourney(_ request: StartSessionJourneyRequest, context: ServerContext) async throws -> JourneyInstance {
    let step = try step(context)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.productRuntimeSessionID, "product_runtime_session_id")
    fields.optionalID(request.entryPoint, "entry_point")
    try fields.finish()

    let sessionID = request.productRuntimeSessionID
    let effectID = environment.ids.next("START")
    let ticket = try await ticket(IdempotencyKey(request.idempotencyKey, request, context), step) { [self] tx in
      let session = try session(sessionID, step.caller, in: tx)
      try session.admit(.startJourney(journeyInstanceID: ""))
      let starting = try SessionStore.startingEffect(sessionID, tenant: session.tenantID, in: tx)
      guard starting.isEmpty else {
        throw RPCError.precondition(.sessionTransitionInvalid, "a journey of the session is being started")
      }
      try SessionStore.setStarting(effect: effectID, session: sessionID, tenant: session.tenantID, in: tx)
      try step.cause(
        JourneyRuntime.Methods.startJourney,
        StartJourneyRequest(
          idempotencyKey: effectID, tenantID: session.tenantID, productRuntimeSessionID: sessionID,
          productVersionID: session.productVersionID, entryPoint: request.entryPoint, runtimeSnapshotRef: session.runtimeSnapshotRef,
          userID: session.userID, segments: session.segments, marketCode: session.marketCode, entitlementIds: session.entitlementIds),
        id: effectID, stream: sessionID, in: tx)
      return Ticket(id: sessionID, effect: effectID)
    }
    return try await outcome(of: ticket.effect, as: JourneyInstance.self)
  }

  /// The journey runtime has answered. Called with the effect's outcome, in its transaction.
  func journeyStarted(
    _ effect: Effect, _ result: Result<[UInt8], RPCError>, _ step: GatewayStep, in tx: borrowing Transaction
  ) throws {
    let sessionID = effect.stream
    guard let session = try SessionStore.find(sessionID, tenant: effect.tenant, in: tx) else { return }
    if try SessionStore.startingEffect(sessionID, tenant: effect.tenant, in: tx) == effect.id {
      try SessionStore.setStarting(effect: "", session: sessionID, tenant: effect.tenant, in: tx)
    }
    guard case .success(let bytes) = result else { return }
    let journey = try JourneyInstance(decoding: bytes)
    let journeyID = journey.journeyInstanceID
    var change = SessionChange(session, now: step.now)
    guard session.state != .completed, session.state != .cancelled, session.state != .failed else {
      // The session ended while its journey was being started: the journey ends with it.
      let id = "\(effect.id)-abort"
      return try step.cause(
        JourneyRuntime.Methods.forceAbort,
        ForceAbortRequest(
          idempotencyKey: id, journeyInstanceID: journeyID, reason: "the session is \(session.state.phase.rawValue)",
          actor: step.caller.name),
        id: id, stream: sessionID, in: tx)
    }
    try change.handle(.startJourney(journeyInstanceID: journeyID))
    // One that ended at once may have told so before the session knew of it.
    if let end = journey.state.end { try change.handle(.endJourney(journeyInstanceID: journeyID, end, reason: "")) }
    try step.write(change, in: tx)
  }

  public func getJourney(_ request: GetSessionJourneyRequest, context: ServerContext) async throws -> JourneyInstance {
    let session = try await session(request.productRuntimeSessionID, try Caller(context))
    return try await clients.journeys.getJourney(GetJourneyRequest(journeyInstanceID: try session.journeyID))
  }

  /// Hands the step on under the caller's own key: the journey runtime is the one that knows whether it was taken.
  public func advanceJourney(_ request: AdvanceSessionJourneyRequest, context: ServerContext) async throws -> JourneyInstance {
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.productRuntimeSessionID, "product_runtime_session_id")
    // A signal is the journey's, not a node's.
    if case .signal = request.step { fields.optionalID(request.nodeID, "node_id") } else { fields.id(request.nodeID, "node_id") }
    if request.step == nil { fields.add("step", "must name one step") }
    try fields.finish()
    let session = try await session(request.productRuntimeSessionID, try Caller(context))
    let journeyID = try await journeyUnderWay(session)
    var advance = AdvanceJourneyRequest(idempotencyKey: request.idempotencyKey, journeyInstanceID: journeyID, nodeID: request.nodeID)
    switch request.step {
    case .arrived(let it): advance.step = .arrived(it)
    case .choose(let it): advance.step = .choose(it)
    case .acknowledge(let it): advance.step = .acknowledge(it)
    case .signal(let it): advance.step = .signal(it)
    case .redeem(let it): advance.step = .redeem(it)
    case nil: break
    }
    do {
      return try await clients.journeys.advanceJourney(advance)
    } catch let error as RPCError where error.reason == .idempotencyKeyReused {
      return try await firstOutcome(of: advance, session: session.productRuntimeSessionID, otherwise: error)
    }
  }

  /// The answer to a step that was taken when an earlier journey of the session ran, and is sent again now that another does. The key is
  /// known, so asking takes no step.
  private func firstOutcome(
    of advance: AdvanceJourneyRequest, session: String, otherwise refusal: RPCError
  ) async throws -> JourneyInstance {
    var list = ListJourneysRequest(productRuntimeSessionID: session)
    repeat {
      let page = try await clients.journeys.listJourneys(list)
      for journey in page.journeys where journey.journeyInstanceID != advance.journeyInstanceID {
        var earlier = advance
        earlier.journeyInstanceID = journey.journeyInstanceID
        do {
          return try await clients.journeys.advanceJourney(earlier)
        } catch let error as RPCError where error.reason == .idempotencyKeyReused {
          continue
        }
      }
      list.pageToken = page.nextPageToken
    } while !list.pageToken.isEmpty
    throw refusal
  }

  /// Handed on as a step is; the session follows when the log tells of the end.
  public func abandonJourney(_ request: AbandonSessionJourneyRequest, context: ServerContext) async throws -> JourneyInstance {
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.productRuntimeSessionID, "product_runtime_session_id")
    fields.optionalText(request.reason, "reason", max: GatewayLimits.reasonCharacters)
    try fields.finish()
    let session = try await session(request.productRuntimeSessionID, try Caller(context))
    let journeyID = try await journeyUnderWay(session)
    return try await clients.journeys.abandonJourney(
      AbandonJourneyRequest(idempotencyKey: request.idempotencyKey, journeyInstanceID: journeyID, reason: request.reason))
  }

  /// The journey that a step may be handed on to.
  ///
  /// A session whose journey has ended is not active any more, and a step repeated after a lost answer still has its outcome: the journey
  /// runtime knows it, and takes no other. Where the session ended under its journey, that ends first, lest it be walked on.
  private func journeyUnderWay(_ session: ProductRuntimeSession) async throws -> String {
    let journeyID = session.journeyInstanceID
    guard !journeyID.isEmpty else { throw session.refusal(of: .advanceJourney) }
    if session.state.phase.isTerminal {
      let journey = try await clients.journeys.getJourney(GetJourneyRequest(journeyInstanceID: journeyID))
      if journey.state.end == nil { try await settle(effect: GatewayStep.abortEffect(of: journeyID)) }
    }
    return journeyID
  }

  public func closeSession(_ request: CloseSessionRequest, context: ServerContext) async throws -> ProductRuntimeSession {
    let step = try step(context)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.productRuntimeSessionID, "product_runtime_session_id")
    fields.optionalText(request.reason, "reason", max: GatewayLimits.reasonCharacters)
    try fields.finish()

    let sessionID = request.productRuntimeSessionID
    let before = try await session(sessionID, step.caller)
    // The log brings the journey's end too; asking spares her the wait for it.
    var ended: JourneyInstance?
    if before.state == .active, !before.journeyInstanceID.isEmpty {
      ended = try await clients.journeys.getJourney(GetJourneyRequest(journeyInstanceID: before.journeyInstanceID))
    }
    return try await once(request.idempotencyKey, request, context, step) { [self, ended] tx in
      var change = SessionChange(try session(sessionID, step.caller, in: tx), now: step.now)
      if let ended, let end = ended.state.end {
        try change.handle(.endJourney(journeyInstanceID: ended.journeyInstanceID, end, reason: ""))
      }
      try change.handle(.close(reason: request.reason))
      try step.write(change, in: tx)
      return change.session
    }
  }

  /// A journey has ended, as the log tells: the session moves on. Called by the consumer, in its transaction.
  func journeyEnded(_ envelope: EventEnvelope, _ step: GatewayStep, in tx: borrowing Transaction) throws {
    guard let end = JourneyState(ending: envelope.type)?.end,
      let session = try SessionStore.find(envelope.productRuntimeSessionID, tenant: envelope.tenantID, in: tx)
    else { return }
    var change = SessionChange(session, now: step.now)
    try change.handle(.endJourney(journeyInstanceID: envelope.journeyInstanceID, end, reason: envelope.journeyEndReason))
    guard !change.events.isEmpty else { return }
    if end == .failed {
      change.tell(
        RuntimeErrorEvent(
          component: "tjm", message: "journey \(envelope.journeyInstanceID) failed", detail: envelope.journeyEndReason, critical: true))
    }
    try step.write(change, in: tx)
  }
}

extension ProductRuntimeSession {
  /// The journey that runs, or the last; throws when there was none.
  var journeyID: String {
    get throws {
      guard !journeyInstanceID.isEmpty else {
        throw RPCError.precondition(.sessionTransitionInvalid, "the session has no journey: it is \(state.phase.rawValue)")
      }
      return journeyInstanceID
    }
  }
}

extension JourneyState {
  /// How it ended; nil while it has not.
  var end: SessionCommand.JourneyEnd? {
    switch self {
    case .completed: .completed
    case .abandoned: .abandoned
    case .aborted: .aborted
    case .failed: .failed
    default: nil
    }
  }

  init?(ending type: String) {
    switch type {
    case "journey.completed": self = .completed
    case "journey.abandoned": self = .abandoned
    case "journey.aborted": self = .aborted
    case "journey.failed": self = .failed
    default: return nil
    }
  }
}

extension EventEnvelope {
  /// What the payload of a journey's end says of its reason.
  var journeyEndReason: String {
    guard let payload else { return "" }
    switch type {
    case "journey.abandoned": return (try? payload.unpack(as: JourneyAbandoned.self).reason) ?? ""
    case "journey.aborted": return (try? payload.unpack(as: JourneyAborted.self).reason) ?? ""
    case "journey.failed": return (try? payload.unpack(as: JourneyFailed.self).reason) ?? ""
    default: return ""
    }
  }
}
