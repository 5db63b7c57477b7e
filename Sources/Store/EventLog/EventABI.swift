import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Synchronization

/// Why an envelope is no event.
public enum EventRejection: Error, Sendable, Hashable {
  case unknownType(String)
  /// The type has a name alone.
  case reservedType(String)
  case schemaVersion(type: String, found: UInt32)
  /// A correlation id that its type requires.
  case missing(field: String, type: String)
  case invalidID(field: String)
  case invalidTrace(field: String)
  case lane(type: String)
  case payload(expected: String, found: String)
  case undecodable(type: String)
  case tooLarge(bytes: Int)
  /// It is a replayed event, which nothing may be made of.
  case replayOnly

  /// The word under which it is counted.
  public var label: String {
    switch self {
    case .unknownType: "unknown_type"
    case .reservedType: "reserved_type"
    case .schemaVersion: "schema_version"
    case .missing: "missing_id"
    case .invalidID: "invalid_id"
    case .invalidTrace: "invalid_trace"
    case .lane: "lane"
    case .payload: "payload_type"
    case .undecodable: "undecodable"
    case .tooLarge: "too_large"
    case .replayOnly: "replay_only"
    }
  }
}

extension EventRejection: CustomStringConvertible {
  public var description: String {
    switch self {
    case .unknownType(let type): "\(type) is no event type"
    case .reservedType(let type): "\(type) is reserved"
    case .schemaVersion(let type, let found): "\(type) has no schema version \(found)"
    case .missing(let field, let type): "\(type) requires \(field)"
    case .invalidID(let field): "\(field) must match [A-Za-z0-9._-]{1,128}"
    case .invalidTrace(let field): "\(field) has the wrong length, or is zero"
    case .lane(let type): "the lane is not that of \(type)"
    case .payload(let expected, let found): "the payload is \(found), not \(expected)"
    case .undecodable(let type): "the payload does not decode as \(type)"
    case .tooLarge(let bytes): "the envelope has \(bytes) bytes; the limit is \(EventLogLimits.envelopeBytes)"
    case .replayOnly: "replay_only events are not stored"
    }
  }
}

extension EventRejection: RPCErrorConvertible {
  public var rpcError: RPCError { .refusal(.internal, .eventRejected, "event rejected: \(self)") }
}

/// The event ABI: what every envelope must be before it is stored, whoever wrote it.
public enum EventABI {
  /// Checks an envelope that came from outside, its payload included.
  public static func check(_ envelope: EventEnvelope) throws(EventRejection) {
    guard let type = EventType(rawValue: envelope.type) else { throw .unknownType(envelope.type) }
    try check(envelope, EventTraits.of(type))
    guard let payload = envelope.payload else { throw .payload(expected: type.messageType, found: "nothing") }
    guard payload.packedTypeName == type.messageType else { throw .payload(expected: type.messageType, found: payload.packedTypeName) }
    do {
      _ = try type.payload.init(decoding: payload.value)
    } catch {
      throw .undecodable(type: type.messageType)
    }
  }

  /// As `check`, for an envelope whose payload is known to be its type's.
  static func check(_ envelope: EventEnvelope, _ type: EventTraits) throws(EventRejection) {
    if type.isReserved { throw .reservedType(type.name) }
    if envelope.replayOnly { throw .replayOnly }
    if envelope.schemaVersion != type.schemaVersion { throw .schemaVersion(type: type.name, found: envelope.schemaVersion) }
    if envelope.lane != type.lane { throw .lane(type: type.name) }
    if envelope.eventID.isEmpty { throw .missing(field: "event_id", type: type.name) }
    if envelope.tenantID.isEmpty { throw .missing(field: "tenant_id", type: type.name) }
    if envelope.producer.isEmpty { throw .missing(field: "producer", type: type.name) }
    for id in type.requires where id.isMissing(in: envelope) { throw .missing(field: id.rawValue, type: type.name) }
    try checkID(envelope.eventID, "event_id")
    try checkID(envelope.tenantID, "tenant_id")
    try checkID(envelope.orgID, "org_id")
    try checkID(envelope.productVersionID, "product_version_id")
    try checkID(envelope.marketCode, "market_code")
    try checkID(envelope.productRuntimeSessionID, "product_runtime_session_id")
    try checkID(envelope.journeyInstanceID, "journey_instance_id")
    try checkID(envelope.turnID, "turn_id")
    try checkID(envelope.executionID, "execution_id")
    try checkID(envelope.agentTaskID, "agent_task_id")
    try checkID(envelope.causationID, "causation_id")
    try checkID(envelope.producer, "producer")
    try check(envelope.traceID, "trace_id", 16)
    try check(envelope.spanID, "span_id", 8)
    try check(envelope.parentSpanID, "parent_span_id", 8)
    if envelope.traceID.isEmpty != envelope.spanID.isEmpty { throw .invalidTrace(field: "span_id") }
  }

  private static func check(_ bytes: [UInt8], _ field: String, _ length: Int) throws(EventRejection) {
    if bytes.isEmpty { return }
    if bytes.count != length || bytes.allSatisfy({ $0 == 0 }) { throw .invalidTrace(field: field) }
  }

  private static func checkID(_ value: String, _ field: StaticString) throws(EventRejection) {
    if !value.isEmpty && !Identifier.isValid(value) { throw .invalidID(field: field.description) }
  }
}

/// How many events were rejected, by reason.
public final class EventRejections: Sendable {
  private let counts = Mutex<[String: Int]>([:])

  func count(_ rejection: EventRejection) { counts.withLock { $0[rejection.label, default: 0] += 1 } }

  public var all: [String: Int] { counts.withLock { $0 } }
}
