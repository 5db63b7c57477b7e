import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// Named consumers and compaction.
extension EventsServer {
  public func acknowledgeEvents(_ request: AcknowledgeEventsRequest, context: ServerContext) async throws -> EventConsumer {
    let tenant = try Caller(context).tenant
    var fields = Validation()
    fields.id(request.consumer, "consumer")
    fields.check(!request.cursor.isEmpty, "cursor", "must be given")
    try fields.finish()
    guard case .after(let position) = try LogCursor(text: request.cursor) else { preconditionFailure("a text is a position") }
    let name = request.consumer
    let place = try await environment.database.transaction("events.acknowledge") {
      try EventConsumers.acknowledge($0, tenant: tenant, name, through: position)
    }.value
    return consumer(EventConsumers.Place(name: name, position: place), head: try await log.head())
  }

  public func listEventConsumers(_ request: ListEventConsumersRequest, context: ServerContext) async throws -> ListEventConsumersResponse {
    let tenant = try Caller(context).tenant
    let head = try await log.head()
    let places = try await environment.database.scan { try EventConsumers.all($0, tenant: tenant) }
    return ListEventConsumersResponse(consumers: places.map { consumer($0, head: head) })
  }

  public func deleteEventConsumer(_ request: DeleteEventConsumerRequest, context: ServerContext) async throws -> DeleteEventConsumerResponse
  {
    let tenant = try Caller(context).tenant
    var fields = Validation()
    fields.id(request.consumer, "consumer")
    try fields.finish()
    let name = request.consumer
    // One that is gone already is gone as wished.
    _ = try await environment.database.transaction("events.forget") { try EventConsumers.delete($0, tenant: tenant, name) }
    return DeleteEventConsumerResponse()
  }

  private func consumer(_ place: EventConsumers.Place, head: Int64) -> EventConsumer {
    EventConsumer(
      name: place.name, cursor: LogCursor.text(place.position), behind: UInt64(max(0, head - place.position)), internal: place.isInternal)
  }

  public func compactEvents(_ request: CompactEventsRequest, context: ServerContext) async throws -> CompactEventsResponse {
    let caller = try Caller(context)
    let done = try await log.compact(retention, now: environment.clock.now, tenant: caller.isOfPlatform ? nil : caller.tenant)
    return CompactEventsResponse(pages: UInt64(done.pages), removed: UInt64(done.removed))
  }
}
