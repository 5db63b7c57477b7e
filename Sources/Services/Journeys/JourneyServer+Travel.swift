import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// What the traveller does: start, step by step, and giving up.
extension JourneyServer {
  public func startJourney(_ request: StartJourneyRequest, context: ServerContext) async throws -> JourneyInstance {
    let caller = try Caller(context)
    try caller.admit(tenant: request.tenantID)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.productRuntimeSessionID, "product_runtime_session_id")
    fields.id(request.productVersionID, "product_version_id")
    fields.optionalID(request.journeyDocID, "journey_doc_id")
    fields.optionalID(request.entryPoint, "entry_point")
    fields.id(request.runtimeSnapshotRef, "runtime_snapshot_ref")
    fields.id(request.userID, "user_id")
    fields.ids(request.segments, "segments", max: JourneyLimits.segments)
    fields.id(request.marketCode, "market_code")
    fields.ids(request.entitlementIds, "entitlement_ids", max: JourneyLimits.entitlements)
    try fields.finish()

    let (frozen, isNew) = try await frozen(request.runtimeSnapshotRef, caller.tenant)
    if !request.journeyDocID.isEmpty, request.journeyDocID != frozen.graph.id {
      throw RPCError.precondition(
        .journeyTransitionInvalid, "snapshot \(request.runtimeSnapshotRef) holds the document \(frozen.graph.id)")
    }
    let tokensLeft = try await self.tokensLeft(request, in: frozen.graph)

    var origin = request
    origin.tenantID = caller.tenant
    origin.journeyDocID = frozen.graph.id
    let entryPoint = request.entryPoint.isEmpty ? "start" : request.entryPoint
    let id = environment.ids.next(.journeyInstance)
    let step = JourneyStep(caller, environment)
    let journey = try await once(request.idempotencyKey, request, context, step) { [self, origin] tx in
      if isNew {
        try JourneyStore.freeze(frozen.config.encoded(), reference: origin.runtimeSnapshotRef, tenant: origin.tenantID, in: tx)
      }
      // What is blocked and may be come to, so that nobody is led there.
      let blocks = try JourneyBlocks.all(tenant: origin.tenantID, in: tx).filter {
        !$0.isLifting && frozen.graph.visits($0.block.servicePointID)
      }
      let row = JourneyRow(id: id, origin: origin, journey: Journey(frozen.graph))
      try JourneyStore.insert(row, in: tx)
      return try walk(
        row,
        .start(entryPoint: entryPoint, tokensLeft: tokensLeft, segments: origin.segments, blocks: blocks.map(\.block)), step, in: tx)
    }
    if isNew { documents.commit(request.runtimeSnapshotRef, tenant: caller.tenant) }
    return journey
  }

  /// What a journey will run on, and whether it has to be stored yet.
  private func frozen(_ reference: String, _ tenant: String) async throws -> (FrozenConfig, isNew: Bool) {
    if let known = try await documents.committed(reference, tenant: tenant, in: environment.database) { return (known, false) }
    let frozen = FrozenConfig(try await clients.registry.getSnapshot(GetSnapshotRequest(snapshotRef: reference)))
    if let problem = frozen.graph.problems().first {
      throw RPCError.precondition(.journeyTransitionInvalid, "the journey document can't be walked: \(problem)")
    }
    return (frozen, true)
  }

  /// Tokens of all the kinds the document redeems that the session holds; nil when it redeems none.
  private func tokensLeft(_ request: StartJourneyRequest, in graph: JourneyGraph) async throws -> Int64? {
    let kinds = Set(
      graph.nodes.compactMap { node -> String? in
        if case .redeem(let token, _)? = node.kind { token } else { nil }
      })
    guard !kinds.isEmpty else { return nil }
    return try await purse(of: request.productRuntimeSessionID).filter { kinds.contains($0.tokenID) }.reduce(0) { $0 + $1.remaining }
  }

  public func advanceJourney(_ request: AdvanceJourneyRequest, context: ServerContext) async throws -> JourneyInstance {
    let caller = try Caller(context)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.journeyInstanceID, "journey_instance_id")
    // A signal is the journey's, not a node's.
    if case .signal = request.step { fields.optionalID(request.nodeID, "node_id") } else { fields.id(request.nodeID, "node_id") }
    switch request.step {
    case .arrived(let arrived): fields.optionalID(arrived.servicePointID, "arrived.service_point_id")
    case .choose(let choose): fields.optionalText(choose.option, "choose.option", max: JourneyLimits.textBytes)
    case .signal(let signal):
      fields.id(signal.name, "signal.name")
      fields.optionalText(signal.value, "signal.value", max: JourneyLimits.textBytes)
    case .acknowledge, .redeem: break
    case nil: fields.add("step", "must name one step")
    }
    try fields.finish()

    let after = try await take(request, caller, context)
    guard case .redeem = request.step, let record = after.nodes.first(where: { $0.nodeID == request.nodeID }), record.state == .active
    else { return after }
    // The step is done when Trutta's answer is in the journey; a repeated call waits for the same redemption.
    try await settled(Self.workID(request.journeyInstanceID, request.nodeID, Int(record.visitNumber)))
    return try await journey(request.journeyInstanceID, caller.tenant)
  }

  private func take(_ request: AdvanceJourneyRequest, _ caller: Caller, _ context: ServerContext) async throws -> JourneyInstance {
    let id = request.journeyInstanceID
    let node = request.nodeID
    let prepared: (command: JourneyCommand, redemption: PreparedRedemption?)
    do {
      prepared = try await prepare(request, caller)
    } catch {
      // A step that was taken needs nobody's leave again.
      guard let done = try await recall(request.idempotencyKey, request, context, JourneyStep(caller, environment)) else { throw error }
      return done
    }
    let step = JourneyStep(caller, environment, redemption: prepared.redemption)
    return try await once(request.idempotencyKey, request, context, step) { [self, prepared] tx in
      var row = try find(id, caller.tenant, in: tx)
      if let redemption = prepared.redemption {
        // What Trutta says is there now is worth more than what the journey remembers.
        row = try walk(row, .workSucceeded(nodeID: "", visitNumber: 0, tokensLeft: redemption.held), step, in: tx)
      }
      row = try walk(row, prepared.command, step, in: tx)
      guard case .redeem = prepared.command else { return row }
      guard let redemption = prepared.redemption, let record = row.journey.record(node) else {
        throw RPCError.aborted("the journey has just moved; try again")
      }
      if redemption.entitlement == nil {
        row = try walk(row, .workFailed(nodeID: node, visitNumber: record.visitNumber, reason: redemption.objection), step, in: tx)
      }
      return row
    }
  }

  /// The command that a step is, after what must be asked of others first.
  private func prepare(
    _ request: AdvanceJourneyRequest, _ caller: Caller
  ) async throws -> (command: JourneyCommand, redemption: PreparedRedemption?) {
    let node = request.nodeID
    switch request.step {
    case .arrived(let arrived):
      let stay = try await checkDoor(request, caller)
      return (.arrive(nodeID: node, servicePointID: arrived.servicePointID.nonEmpty, stay: stay), nil)
    case .choose(let choose): return (.choose(nodeID: node, option: choose.option), nil)
    case .acknowledge: return (.acknowledge(nodeID: node), nil)
    case .signal(let signal): return (.signal(name: signal.name, value: signal.value), nil)
    case .redeem, nil: return (.redeem(nodeID: node), try await prepareRedemption(request, caller))
    }
  }

  /// Waits until an effect has ended and the journey has made something of it.
  private func settled(_ effect: String) async throws {
    try await withThrowingTaskGroup(of: Void.self) { [environment] group in
      group.addTask { _ = try await environment.effects.outcome(of: effect) }
      group.addTask {
        try await Task.sleep(for: JourneyLimits.effectPatience)
        throw RPCError.unavailable("the redemption is under way: repeat the call with the same key")
      }
      try await group.next()
      group.cancelAll()
    }
  }

  /// She stands before the door: it must not be blocked, nor known to be closed, nor full without room that is kept for her. Unknown
  /// hours are hers to find out. How long she will stay, where the place takes only so many.
  private func checkDoor(_ request: AdvanceJourneyRequest, _ caller: Caller) async throws -> PlannedStay? {
    let row = try await environment.database.read { [self, id = request.journeyInstanceID] reader in
      try find(id, caller.tenant, in: reader)
    }
    guard let place = row.journey.record(request.nodeID)?.servicePointID, row.journey.stands(at: request.nodeID) else { return nil }
    let now = environment.clock.now
    let status = try await clients.city.getServicePoint(
      GetServicePointRequest(servicePointID: place, at: .init(nanosecondsSinceEpoch: now)))
    if status.blocked {
      throw RPCError.precondition(.servicePointBlocked, "\(place) is blocked: \(status.blockedReason)")
    }
    if status.openState == .closed { throw RPCError.precondition(.nodeTransitionInvalid, "\(place) is closed") }
    guard let point = status.servicePoint, point.capacity > 0 else { return nil }
    let isKept = row.journey.rooms.contains { $0.servicePointID == place && $0.startsAt <= now && now < $0.expiresAt }
    guard isKept || status.freeCapacity > 0 else { throw RPCError.precondition(.capacityExceeded, "\(place) is full") }
    return PlannedStay(servicePointID: place, startsAt: now, expiresAt: now + (point.dwell?.nanoseconds ?? JourneyLimits.dwell))
  }

  public func abandonJourney(_ request: AbandonJourneyRequest, context: ServerContext) async throws -> JourneyInstance {
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.journeyInstanceID, "journey_instance_id")
    fields.optionalText(request.reason, "reason", max: JourneyLimits.reasonCharacters)
    try fields.finish()
    return try await command(
      request.journeyInstanceID, .abandon(reason: request.reason), key: request.idempotencyKey, request, context)
  }
}
