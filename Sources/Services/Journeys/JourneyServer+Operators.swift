import SpanwireDatabase
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// What operators do, through the gateway: it has asked for the reason and the policy's leave.
extension JourneyServer {
  public func forceAbort(_ request: ForceAbortRequest, context: ServerContext) async throws -> JourneyInstance {
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.journeyInstanceID, "journey_instance_id")
    intervention(request.actor, request.reason, in: &fields)
    try fields.finish()
    return try await command(
      request.journeyInstanceID, .forceAbort(Intervention(actor: request.actor, reason: request.reason)),
      key: request.idempotencyKey, request, context)
  }

  public func forceSkipNode(_ request: ForceNodeRequest, context: ServerContext) async throws -> JourneyInstance {
    try await force(request, context) { .forceSkip(nodeID: request.nodeID, $0) }
  }

  public func forceCompleteNode(_ request: ForceNodeRequest, context: ServerContext) async throws -> JourneyInstance {
    try await force(request, context) { .forceComplete(nodeID: request.nodeID, $0) }
  }

  private func force(
    _ request: ForceNodeRequest, _ context: ServerContext, _ make: (Intervention) -> JourneyCommand
  ) async throws -> JourneyInstance {
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.journeyInstanceID, "journey_instance_id")
    fields.id(request.nodeID, "node_id")
    intervention(request.actor, request.reason, in: &fields)
    try fields.finish()
    return try await command(
      request.journeyInstanceID, make(Intervention(actor: request.actor, reason: request.reason)), key: request.idempotencyKey, request,
      context)
  }

  private func intervention(_ actor: String, _ reason: String, in fields: inout Validation) {
    if actor.isEmpty { fields.add("actor", "must say who intervenes") }
    if reason.isEmpty { fields.add("reason", "must say why") }
    fields.optionalText(actor, "actor", max: JourneyLimits.reasonCharacters)
    fields.optionalText(reason, "reason", max: JourneyLimits.reasonCharacters)
  }

  /// Blocks or unblocks a place for every running journey of the tenant that has it ahead, or stands there.
  public func setServicePointBlock(
    _ request: SetServicePointBlockRequest, context: ServerContext
  ) async throws -> SetServicePointBlockResponse {
    let caller = try Caller(context)
    try caller.admit(tenant: request.tenantID)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.servicePointID, "service_point_id")
    intervention(request.actor, request.reason, in: &fields)
    try fields.finish()

    let step = JourneyStep(caller, environment)
    let until = request.until?.nanosecondsSinceEpoch
    let key = IdempotencyKey(request.idempotencyKey, request, context)
    return try await environment.database.transaction("tjm.block") { [self] tx in
      try tx.once(key, at: step.now) {
        SetServicePointBlockResponse(journeyInstanceIds: try setBlock(request, until, step, in: tx))
      }
    }.value
  }

  private func setBlock(
    _ request: SetServicePointBlockRequest, _ until: Int64?, _ step: JourneyStep, in tx: borrowing Transaction
  ) throws -> [String] {
    let tenant = step.caller.tenant
    let place = request.servicePointID
    var touched: [String] = []
    for id in try JourneyStore.running(tenant: tenant, limit: JourneyLimits.journeysPerBlock, in: tx) {
      let row = try find(id, tenant, in: tx)
      if request.blocked {
        guard row.journey.concerns(place) else { continue }
        _ = try walk(row, .block(Journey.Block(servicePointID: place, reason: request.reason, until: until)), step, in: tx)
      } else {
        guard row.journey.isBlocked(place) else { continue }
        _ = try walk(row, .unblock(servicePointID: place), step, in: tx)
      }
      touched.append(id)
    }
    return touched
  }
}

extension Journey {
  /// Whether a place is ahead on the route, or where the traveller stands.
  func concerns(_ place: String) -> Bool {
    currentNode?.servicePointID == place || route.dropFirst(nextStop).contains(place)
  }
}
