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

  func intervention(_ actor: String, _ reason: String, in fields: inout Validation) {
    if actor.isEmpty { fields.add("actor", "must say who intervenes") }
    if reason.isEmpty { fields.add("reason", "must say why") }
    fields.optionalText(actor, "actor", max: JourneyLimits.reasonCharacters)
    fields.optionalText(reason, "reason", max: JourneyLimits.reasonCharacters)
  }
}
