import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// The log as the contract speaks of it.
extension EventLog {
  /// Serves a subscription into a call until the client leaves. `tenant` is whose events it may see; nil for every tenant's.
  public func subscribe(
    _ request: SubscribeRequest, tenant: String?, to responses: ResponseWriter<SubscribeResponse>, _ context: ServerContext
  ) async throws {
    let filter = try LogFilter(request.filter ?? EventFilter(), tenant: tenant, path: "filter.")
    var fields = Validation()
    fields.known(request.mode, "mode")
    fields.check(!request.fromNow || request.cursor.isEmpty, "from_now", "excludes a cursor")
    fields.optionalID(request.consumer, "consumer")
    fields.check(request.consumer.isEmpty || request.cursor.isEmpty && !request.fromNow, "consumer", "excludes a cursor and from_now")
    fields.check(request.consumer.isEmpty || tenant != nil, "consumer", "belongs to a tenant")
    try fields.finish()
    var cursor = request.fromNow ? LogCursor.now : try LogCursor(text: request.cursor)
    if let tenant, !request.consumer.isEmpty {
      let name = request.consumer
      cursor = try await database.read { try EventConsumers.place($0, tenant: tenant, name) }.map { .after($0) } ?? .beginning
    }
    responses.sendMetadata()
    try await deliver(
      filter, from: cursor, mode: request.mode == .live ? .live : .complete, untilEnd: request.untilEnd, to: LogSink(responses))
  }

  /// Events of a filter after a cursor, a page of them.
  public func list(_ request: ListEventsRequest, tenant: String?) async throws -> ListEventsResponse {
    let filter = try LogFilter(request.filter ?? EventFilter(), tenant: tenant, path: "filter.")
    var fields = Validation()
    let size = fields.pageSize(request.pageSize, default: 100, max: 1_000)
    try fields.finish()
    let (events, through, atEnd) = try await list(filter, after: try LogCursor(text: request.cursor), limit: size)
    return ListEventsResponse(events: try events.map { try $0.decoded() }, nextCursor: LogCursor.text(through), atEnd: atEnd)
  }
}

extension LogFilter {
  /// Reads a filter of the contract; throws INVALID_ARGUMENT with the paths of what is wrong.
  public init(_ filter: EventFilter, tenant: String?, path: String = "") throws {
    var fields = Validation()
    fields.check(filter.types.count <= Self.maxTypes, path + "types", "at most \(Self.maxTypes)")
    var globs: [TypeGlob] = []
    for (index, text) in filter.types.prefix(Self.maxTypes).enumerated() {
      if let glob = TypeGlob(text) { globs.append(glob) } else { fields.add("\(path)types[\(index)]", "is no pattern of type names") }
    }
    fields.optionalID(filter.productRuntimeSessionID, path + "product_runtime_session_id")
    fields.optionalID(filter.journeyInstanceID, path + "journey_instance_id")
    fields.check(filter.traceID.isEmpty || filter.traceID.count == 16, path + "trace_id", "must have 16 bytes")
    var lanes: Set<EventLane> = []
    for (index, lane) in filter.lanes.prefix(8).enumerated() {
      if let lane = EventLane(rawValue: lane.rawValue) { lanes.insert(lane) } else { fields.add("\(path)lanes[\(index)]", "is no lane") }
    }
    try fields.finish()
    self.init(
      types: globs, tenant: tenant, session: filter.productRuntimeSessionID, journey: filter.journeyInstanceID, trace: filter.traceID,
      lanes: lanes)
  }
}

extension LogSink {
  /// Into the responses of a subscription. Events go out as the bytes that they were stored as.
  public init(_ responses: ResponseWriter<SubscribeResponse>) {
    self.init(
      take: { delivery in
        switch delivery {
        case .event(let event): return try responses.tryWriteEncoded(event.response)
        case .discontinuity(let lane, let count, let first, let last):
          let lost = Discontinuity(
            lane: Lane(rawValue: lane.rawValue), count: UInt64(count), firstPosition: LogCursor.text(first),
            lastPosition: LogCursor.text(last))
          return try responses.tryWrite(SubscribeResponse(item: .discontinuity(lost)))
        case .heartbeat(let position, let isLive):
          return try responses.tryWrite(SubscribeResponse(item: .heartbeat(Heartbeat(cursor: LogCursor.text(position), live: isLive))))
        }
      }, drained: { try await responses.drained() })
  }
}

extension EventLogError: RPCErrorConvertible {
  public var rpcError: RPCError {
    switch self {
    case .cursorInvalid(let why):
      return .invalidField("cursor", why)
    case .cursorTooOld(let first):
      return .refusal(
        .outOfRange, .cursorTooOld, "the log begins at \(LogCursor.text(first))", metadata: [("first_position", LogCursor.text(first))])
    case .tooManySubscriptions(let limit):
      return .later(.resourceExhausted, .queueFull, "as many subscriptions as are allowed, \(limit), are open", after: .seconds(5))
    case .tooSlow(let cursor):
      return .refusal(
        .resourceExhausted, .queueFull, "the subscriber is too slow for control events; resume after \(LogCursor.text(cursor))",
        metadata: [("cursor", LogCursor.text(cursor))])
    case .channelUnheard(let channel):
      return .precondition(.channelUnheard, "nobody listens to \(channel): subscribe to it first")
    case .channelBusy(let channel):
      return .later(.aborted, .queueFull, "another replay to \(channel) is under way", after: .seconds(1))
    case .ended: return .unavailable("the server is going down")
    }
  }
}
