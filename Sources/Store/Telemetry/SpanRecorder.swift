import Foundation
import SpanwireRPC
import SpanwireSchema
import Synchronization

/// Makes a span of every call, for the collector to take. What it costs a call is a lock nobody waits for and a copy of the record.
public final class SpanRecorder: CallObserver {
  /// Records kept until the collector takes them. At 100,000 calls a second and four drains a second this is where shedding begins:
  /// telemetry is the first thing to go.
  public static let capacity = 32_768

  private struct Buffer {
    var records: [CallRecord] = []
    var dropped = 0
  }

  private let buffer = Mutex(Buffer())
  private let names: [String: String]
  private let silent: Set<String>
  /// What turns the monotonic clock of records into Unix time.
  private let epochOffset: Int64

  /// `names` gives each service's short name by its full one; calls of `silent` services make no spans: the collector's own, health.
  public init(names: [String: String], silent: Set<String>) {
    self.names = names
    self.silent = silent
    let now = Date().timeIntervalSince1970
    epochOffset = Int64(now * 1_000_000_000) - Int64(Deadline.now().nanoseconds)
  }

  public func callStarted(_ call: CallStart) {}

  public func callEnded(_ call: CallRecord) {
    guard let trace = call.trace, trace.isSampled, !silent.contains(call.method.service) else { return }
    buffer.withLock { buffer in
      if buffer.records.count < Self.capacity { buffer.records.append(call) } else { buffer.dropped += 1 }
    }
  }

  /// What was recorded and not yet taken, as spans, at most so many of them, the latest first: a span is larger than its record, so they
  /// are made in portions.
  public func drain(atMost limit: Int) -> [RecordedSpan] {
    let taken = buffer.withLock { buffer in
      let taken = Array(buffer.records.suffix(limit))
      if taken.count == buffer.records.count { buffer.records = [] } else { buffer.records.removeLast(taken.count) }
      return taken
    }
    return taken.compactMap(span)
  }

  /// Records that were shed.
  public var dropped: Int { buffer.withLock { $0.dropped } }

  private func span(of record: CallRecord) -> RecordedSpan? {
    guard let trace = record.trace else { return nil }
    var span = Opentelemetry_Proto_Trace_V1_Span()
    span.traceID = bytes(trace.traceHigh) + bytes(trace.traceLow)
    span.spanID = bytes(trace.spanID)
    span.parentSpanID = trace.parentSpanID == 0 ? [] : bytes(trace.parentSpanID)
    span.name = String(record.method.path.dropFirst())
    span.kind = record.side == .server ? .server : .client
    span.startTimeUnixNano = UInt64(clamping: Int64(record.start.nanoseconds) &+ epochOffset)
    span.endTimeUnixNano = UInt64(clamping: Int64(record.end.nanoseconds) &+ epochOffset)
    span.attributes = [
      attribute("rpc.system", "grpc"), attribute("rpc.service", record.method.service), attribute("rpc.method", record.method.name),
      attribute("rpc.grpc.status_code", Int64(record.error?.code.rawValue ?? 0)), attribute("network.peer.address", record.peer),
      attribute("enduser.id", record.principal.subject.id),
    ]
    if let error = record.error {
      span.status = Opentelemetry_Proto_Trace_V1_Status(message: "\(error.code.name): \(error.message)", code: .error)
    }
    return RecordedSpan(
      tenant: record.principal.subject.tenant, service: names[record.method.service] ?? record.method.service, span: span)
  }

  private func bytes(_ value: UInt64) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: value >> UInt64(56 - 8 * $0)) }
  }
}

/// A finished span, with the tenant that may see it and the service that made it.
public struct RecordedSpan: Sendable {
  public var tenant: String
  public var service: String
  public var span: Opentelemetry_Proto_Trace_V1_Span

  public init(tenant: String, service: String, span: Opentelemetry_Proto_Trace_V1_Span) {
    self.tenant = tenant
    self.service = service
    self.span = span
  }
}

private func attribute(_ key: String, _ value: String) -> Opentelemetry_Proto_Common_V1_KeyValue {
  Opentelemetry_Proto_Common_V1_KeyValue(key: key, value: Opentelemetry_Proto_Common_V1_AnyValue(value: .stringValue(value)))
}

private func attribute(_ key: String, _ value: Int64) -> Opentelemetry_Proto_Common_V1_KeyValue {
  Opentelemetry_Proto_Common_V1_KeyValue(key: key, value: Opentelemetry_Proto_Common_V1_AnyValue(value: .intValue(value)))
}
