import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// Recommendations: the one way one changes a route, and how one is declined.
extension JourneyServer {
  /// The four steps, always in this order: policy, profiles and hours, the change itself, its events.
  public func changeRoute(_ request: ChangeRouteRequest, context: ServerContext) async throws -> JourneyInstance {
    let caller = try Caller(context)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.journeyInstanceID, "journey_instance_id")
    fields.ids(request.servicePointIds, "service_point_ids", max: JourneyLimits.changedStops)
    if request.servicePointIds.isEmpty { fields.add("service_point_ids", "a route needs a stop") }
    fields.optionalID(request.proposalID, "proposal_id")
    fields.optionalID(request.agentTaskID, "agent_task_id")
    if request.proposalID.isEmpty != request.agentTaskID.isEmpty {
      fields.add("agent_task_id", "goes with proposal_id")
    }
    fields.optionalText(request.actor, "actor", max: JourneyLimits.reasonCharacters)
    fields.optionalText(request.reason, "reason", max: JourneyLimits.reasonCharacters)
    try fields.finish()

    let step = JourneyStep(caller, environment)
    if let done = try await recall(request.idempotencyKey, request, context, step) { return done }
    let (row, frozen) = try await environment.database.read { [self, id = request.journeyInstanceID] reader in
      let row = try find(id, caller.tenant, in: reader)
      return (row, try config(of: row, in: reader))
    }
    try await askPolicy(row, caller)
    let stays = try await revalidate(request.servicePointIds, row, frozen)

    let id = request.journeyInstanceID
    return try await once(request.idempotencyKey, request, context, step) { [self] tx in
      let row = try find(id, caller.tenant, in: tx)
      let recommendation = request.proposalID.isEmpty ? nil : request
      let blocked = try JourneyBlocks.all(tenant: caller.tenant, in: tx).first { entry in
        !entry.isLifting && request.servicePointIds.contains(entry.block.servicePointID)
      }
      if let block = blocked?.block { throw JourneyRefusal.servicePointBlocked(block.servicePointID, until: block.until).rpcError }
      return try walk(
        row,
        .changeRoute(
          servicePointIDs: request.servicePointIds, proposalID: request.proposalID.isEmpty ? nil : request.proposalID,
          reason: request.reason, stays: stays),
        step, recommended: recommendation, in: tx)
    }
  }

  /// Whether the change is still allowed, without naming a tool: PRG, which alone calls this, has counted it against the rates when it was
  /// accepted, and once is enough.
  private func askPolicy(_ row: JourneyRow, _ caller: Caller) async throws {
    let decision = try await clients.policy.checkAction(
      CheckActionRequest(
        actionType: "route_change", actorRole: caller.role, sessionStatus: "active", journeyStatus: row.journey.status.rawValue))
    guard !decision.allowed else { return }
    throw RPCError.denied(.policyDenied, rule: decision.rule, decision.reason)
  }

  /// Does the route fit the frozen profiles, the blocks, and the hours of its places when she comes there? When she will be at those that
  /// take only so many.
  private func revalidate(_ stops: [String], _ row: JourneyRow, _ frozen: FrozenConfig) async throws -> [PlannedStay] {
    var stays: [PlannedStay] = []
    let now = environment.clock.now
    let check = RouteCheck(
      profiles: frozen.config.profiles, marketCode: row.origin.marketCode, blocked: Set(row.journey.blocks.map(\.servicePointID)),
      latestEnd: frozen.latestEnd(onDayOf: now))
    if let objection = check.objection(to: stops) { throw RPCError.precondition(.proposalInvalid, objection) }
    var walk = RouteCheck.Walk(time: now)
    for stop in stops {
      // Where a place is must be known before it can be said when she would be there, and what LEM says of that time.
      var status = try await clients.city.getServicePoint(
        GetServicePointRequest(servicePointID: stop, at: .init(nanosecondsSinceEpoch: walk.time)))
      let arrival = status.servicePoint.map { check.arrival(at: $0, after: walk) } ?? walk.time
      if arrival > walk.time {
        status = try await clients.city.getServicePoint(
          GetServicePointRequest(servicePointID: stop, at: .init(nanosecondsSinceEpoch: arrival)))
      }
      if let objection = check.visit(status, at: arrival, in: &walk) {
        throw RPCError.precondition(.proposalInvalid, objection)
      }
      if let place = status.servicePoint, place.capacity > 0 {
        stays.append(PlannedStay(servicePointID: place.servicePointID, startsAt: arrival, expiresAt: walk.time))
      }
    }
    return stays
  }

  public func declineRecommendation(
    _ request: DeclineRecommendationRequest, context: ServerContext
  ) async throws -> JourneyInstance {
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.journeyInstanceID, "journey_instance_id")
    fields.id(request.proposalID, "proposal_id")
    fields.optionalText(request.reason, "reason", max: JourneyLimits.reasonCharacters)
    try fields.finish()
    return try await command(
      request.journeyInstanceID, .declineRecommendation(proposalID: request.proposalID, reason: request.reason),
      key: request.idempotencyKey, request, context)
  }
}
