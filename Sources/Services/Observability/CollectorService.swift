import Foundation
import SpanwireDatabase
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireTelemetry
import SpanwireWellKnown

/// The collector: takes spans, from this process and by OTLP, and answers for them.
public final class CollectorServer: CollectorService, Sendable {
  let store: SpanStore
  private let recorder: SpanRecorder
  private let events: EventsClient

  /// `database` is the spans' own; `events` finds the events that bear a trace.
  public init(database: any Database, recorder: SpanRecorder, events: EventsClient) {
    store = SpanStore(database: database)
    self.recorder = recorder
    self.events = events
  }

  public static let migrations = SpanStore.migrations

  /// Stores what the process recorded since the last time. Answers flush first, so a span is there once its call has ended.
  public func flush() async throws {
    var left = SpanRecorder.capacity  // what comes meanwhile waits for the next time
    while left > 0 {
      let spans = recorder.drain(atMost: ObservabilityLimits.spansInTransaction)
      if spans.isEmpty { return }
      left -= spans.count
      try await store.insert(spans)
    }
  }

  /// Flushes four times a second and prunes every hour until it is cancelled.
  public func run() async {
    var rounds = 0
    while !Task.isCancelled {
      try? await Task.sleep(for: .milliseconds(250))
      // A failed flush loses its spans and nothing else: telemetry is the first thing to go.
      try? await flush()
      rounds += 1
      if rounds % 14_400 == 1 { try? await store.prune(now: Int64(Date().timeIntervalSince1970 * 1e9)) }
    }
  }

  public func getTrace(_ request: GetTraceRequest, context: ServerContext) async throws -> Trace {
    let id = try traceID(of: request)
    try await flush()
    let tenant = context.principal.subject.tenant
    let spans = try await store.trace(tenant: tenant, id)
    guard let first = spans.first?.span else {
      throw RPCError.missing(.traceNotFound, "no trace \(hex(id)) is known")
    }
    let end = spans.compactMap { $0.span?.endTimeUnixNano }.max() ?? first.startTimeUnixNano
    let linked = try await events.listEvents(
      ListEventsRequest(filter: EventFilter(traceID: id), pageSize: ObservabilityLimits.linkedEvents))
    return Trace(
      traceID: id, spans: spans, startedAt: Google_Protobuf_Timestamp(nanosecondsSinceEpoch: Int64(clamping: first.startTimeUnixNano)),
      duration: Google_Protobuf_Duration(nanoseconds: Int64(clamping: end &- first.startTimeUnixNano)),
      eventIds: linked.events.map(\.eventID))
  }

  public func searchTraces(_ request: SearchTracesRequest, context: ServerContext) async throws -> SearchTracesResponse {
    var validation = Validation()
    let size = validation.pageSize(
      request.pageSize, default: ObservabilityLimits.defaultPageSize, in: ObservabilityLimits.pageSize)
    var search = SpanStore.Search(tenant: context.principal.subject.tenant, limit: size + 1)
    if !request.pageToken.isEmpty {
      let keys = try PageToken.decode(request.pageToken, keys: 2)
      if let start = Int64(keys[0]), let trace = bytes(hex: keys[1][...]), trace.count == 16 {
        search.before = (start, trace)
      } else {
        validation.add("page_token", "is not one that was given out")
      }
    }
    try validation.finish()
    search.service = request.serviceName
    search.namePrefix = request.spanName
    search.from = request.from?.nanosecondsSinceEpoch ?? 0
    search.to = request.to?.nanosecondsSinceEpoch ?? .max
    search.minDuration = request.minDuration?.nanoseconds ?? 0
    search.errorsOnly = request.errorsOnly
    try await flush()
    let found = try await store.search(search)
    var response = SearchTracesResponse()
    response.traces = found.prefix(size).map {
      TraceSummary(
        traceID: $0.trace, rootName: $0.rootName, rootService: $0.rootService,
        startedAt: Google_Protobuf_Timestamp(nanosecondsSinceEpoch: $0.start),
        duration: Google_Protobuf_Duration(nanoseconds: $0.end &- $0.start), spans: UInt32(clamping: $0.spans),
        errors: UInt32(clamping: $0.errors))
    }
    if found.count > size, let last = found.prefix(size).last {
      response.nextPageToken = PageToken.encode("\(last.start)", hex(last.trace))
    }
    return response
  }

  private func traceID(of request: GetTraceRequest) throws -> [UInt8] {
    var validation = Validation()
    var id = request.traceID
    if !request.traceIDHex.isEmpty {
      if let digits = bytes(hex: request.traceIDHex[...]), digits.count == 16 {
        id = digits
      } else {
        validation.add("trace_id_hex", "must be 32 hex digits")
      }
    } else if id.count != 16 {
      validation.add("trace_id", "must be 16 bytes")
    }
    try validation.finish()
    return id
  }
}

func hex(_ bytes: [UInt8]) -> String {
  bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
}

/// Bytes from hex digits; nil when they aren't.
func bytes(hex text: Substring) -> [UInt8]? {
  let digits = text.compactMap(\.hexDigitValue)
  guard digits.count == text.count, digits.count.isMultiple(of: 2) else { return nil }
  return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}
