import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// What a session's owner sees of it, and of the places it leads to.
extension GatewayServer {
  public func watchSession(
    _ request: WatchSessionRequest, responses: ResponseWriter<SubscribeResponse>, context: ServerContext
  ) async throws {
    let caller = try Caller(context)
    var fields = Validation()
    fields.id(request.productRuntimeSessionID, "product_runtime_session_id")
    try fields.finish()
    let session = try await session(request.productRuntimeSessionID, caller)
    let subscribe = SubscribeRequest(
      filter: EventFilter(types: request.types, productRuntimeSessionID: session.productRuntimeSessionID), cursor: request.cursor,
      untilEnd: request.untilEnd)
    try await environment.log.subscribe(subscribe, tenant: session.tenantID, to: responses, context)
  }

  public func getServicePoint(_ request: GetServicePointRequest, context: ServerContext) async throws -> ServicePointStatus {
    _ = try Caller(context)
    return try await clients.city.getServicePoint(request)
  }
}
