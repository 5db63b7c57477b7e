import SpanwireEventLog
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// Reads the event log for callers: history, live, and the proof that it is whole.
public final class EventsServer: EventsService, Sendable {
  /// One check of `Verify`: a name, and what finds out whether it holds.
  public typealias Check = @Sendable () async throws -> Verification

  private let log: EventLog
  private let checks: [Check]

  /// `checks` are the log's own and those of every service that keeps rows.
  public init(log: EventLog, checks: [Check]) {
    self.log = log
    self.checks = checks
  }

  public func subscribe(
    _ request: SubscribeRequest, responses: ResponseWriter<SubscribeResponse>, context: ServerContext
  ) async throws {
    var validation = Validation()
    let filter = logFilter(request.filter, for: try Caller(context), &validation)
    validation.known(request.mode, "mode")
    let cursor = logCursor(request.cursor, &validation)
    if request.fromNow, !request.cursor.isEmpty { validation.add("from_now", "goes without a cursor") }
    try validation.finish()
    responses.sendMetadata()
    do {
      try await log.deliver(
        filter, from: request.fromNow ? .now : cursor, mode: request.mode == .live ? .live : .complete, untilEnd: request.untilEnd,
        to: LogSink(
          take: { try responses.tryWriteEncoded(encoded($0)) },
          drained: { try await responses.drained() }))
    } catch let error as EventLogError {
      throw refusal(error, cursorField: "cursor")
    }
  }

  public func listEvents(_ request: ListEventsRequest, context: ServerContext) async throws -> ListEventsResponse {
    var validation = Validation()
    let filter = logFilter(request.filter, for: try Caller(context), &validation)
    let cursor = logCursor(request.cursor, &validation)
    let size = validation.pageSize(request.pageSize, default: EventsLimits.defaultPageSize, in: EventsLimits.pageSize)
    try validation.finish()
    do {
      let page = try await log.list(filter, after: cursor, limit: size)
      var response = ListEventsResponse(nextCursor: LogCursor.text(page.through), atEnd: page.atEnd)
      var bytes = 0
      for event in page.events {
        bytes += event.envelope.count
        if bytes > EventsLimits.pageBytes, let last = response.events.last {
          response.nextCursor = last.logPosition
          response.atEnd = false
          break
        }
        response.events.append(try EventEnvelope(decoding: event.envelope))
      }
      return response
    } catch let error as EventLogError {
      throw refusal(error, cursorField: "cursor")
    }
  }

  public func listEventTypes(_ request: ListEventTypesRequest, context: ServerContext) async throws -> ListEventTypesResponse {
    ListEventTypesResponse(types: EventType.allCases.map(EventTypeInfo.init))
  }

  public func verify(_ request: VerifyRequest, responses: ResponseWriter<VerifyResponse>, context: ServerContext) async throws {
    for check in checks {
      let found = try await check()
      try await responses.write(
        VerifyResponse(
          check: found.name, ok: found.findings.isEmpty, examined: UInt64(clamping: found.examined),
          findings: Array(found.findings.prefix(EventLogLimits.findings)), findingsTotal: UInt64(clamping: found.findings.count)))
    }
  }
}

/// A delivery as the bytes of a `SubscribeResponse`; an event's were made once, for everybody.
private func encoded(_ delivery: LogDelivery) -> [UInt8] {
  switch delivery {
  case .event(let event):
    event.response
  case .discontinuity(let lane, let count, let first, let last):
    SubscribeResponse(
      item: .discontinuity(
        Discontinuity(
          lane: Lane(rawValue: lane.rawValue), count: UInt64(clamping: count), firstPosition: LogCursor.text(first),
          lastPosition: LogCursor.text(last)))
    ).encoded()
  case .heartbeat(let position, let isLive):
    SubscribeResponse(item: .heartbeat(Heartbeat(cursor: LogCursor.text(position), live: isLive))).encoded()
  }
}
