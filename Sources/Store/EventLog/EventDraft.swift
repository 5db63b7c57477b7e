import SpanwireDatabase
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// An event as a service writes it down: its payload, what it is about, when and as part of which trace. The rest of the envelope is the
/// log's to fill in.
public struct EventDraft: Sendable {
  public var payload: any Message
  /// The service that writes it: `prg`.
  public var producer: String
  public var tenant: String
  public var org: String
  /// The product runtime session. Events of a session make its stream; others that of their producer.
  public var session: String
  public var journey: String
  public var productVersion: String
  public var market: String
  public var turn: String
  public var execution: String
  public var agentTask: String
  /// Nanoseconds since 1970.
  public var occurredAt: Int64
  public var trace: TraceContext?
  /// The event that led to this one.
  public var causation: String
  public var leaseEpoch: UInt64

  /// `payload` is a message that bears the event option; any other is refused when it is appended.
  public init(
    _ payload: any Message, producer: String, tenant: String, org: String = "", session: String = "", journey: String = "",
    productVersion: String = "", market: String = "", turn: String = "", execution: String = "", agentTask: String = "",
    occurredAt: Int64, trace: TraceContext? = nil, causation: String = "", leaseEpoch: UInt64 = 0
  ) {
    self.payload = payload
    self.producer = producer
    self.tenant = tenant
    self.org = org
    self.session = session
    self.journey = journey
    self.productVersion = productVersion
    self.market = market
    self.turn = turn
    self.execution = execution
    self.agentTask = agentTask
    self.occurredAt = occurredAt
    self.trace = trace
    self.causation = causation
    self.leaseEpoch = leaseEpoch
  }

  /// The envelope without its place in the log; its payload is encoded by `writer`.
  func envelope(id: String, _ type: EventTraits, _ writer: inout MessageWriter) -> EventEnvelope {
    var envelope = EventEnvelope()
    envelope.eventID = id
    envelope.type = type.name
    envelope.schemaVersion = type.schemaVersion
    envelope.occurredAt = Google_Protobuf_Timestamp(nanosecondsSinceEpoch: occurredAt)
    envelope.tenantID = tenant
    envelope.orgID = org
    envelope.productVersionID = productVersion
    envelope.marketCode = market
    envelope.productRuntimeSessionID = session
    envelope.journeyInstanceID = journey
    envelope.turnID = turn
    envelope.executionID = execution
    envelope.agentTaskID = agentTask
    envelope.lane = type.lane
    envelope.leaseEpoch = leaseEpoch
    if let trace {
      envelope.traceID = Self.bytes(trace.traceHigh) + Self.bytes(trace.traceLow)
      envelope.spanID = Self.bytes(trace.spanID)
      if trace.parentSpanID != 0 { envelope.parentSpanID = Self.bytes(trace.parentSpanID) }
    }
    envelope.causationID = causation
    envelope.producer = producer
    payload.encode(into: &writer)
    envelope.payload = Google_Protobuf_Any(typeURL: type.typeURL, value: writer.bytes())
    return envelope
  }

  private static func bytes(_ value: UInt64) -> [UInt8] {
    withUnsafeBytes(of: value.bigEndian) { [UInt8]($0) }
  }
}

extension Transaction {
  /// Stores an event in this transaction; subscribers see it if and when the transaction commits.
  ///
  /// An audit record becomes the next of the log's chain (`AuditChain`). Checked as every event is: one that lacks what its type requires
  /// throws `EventRejection`, is counted, and nothing is stored. Each run of a transaction draws new event ids, of which only those of the
  /// run that commits are ever seen.
  @discardableResult
  public func append(_ draft: EventDraft, _ environment: ServiceEnvironment) throws -> LogEvent {
    try append([draft], environment)[0]
  }

  /// Stores events in their order, as one by one, for less: those of one change mostly belong to one stream.
  @discardableResult
  public func append(_ drafts: [EventDraft], _ environment: ServiceEnvironment) throws -> [LogEvent] {
    do {
      var writer = MessageWriter(capacity: EventLogLimits.writerBytes)
      var types: [EventTraits] = []
      var envelopes: [EventEnvelope] = []
      var headers: [EventHeader] = []
      types.reserveCapacity(drafts.count)
      envelopes.reserveCapacity(drafts.count)
      headers.reserveCapacity(drafts.count)
      for draft in drafts {
        guard let type = EventTraits.of(payload: draft.payload) else {
          throw EventRejection.unknownType(Swift.type(of: draft.payload).protoTypeName)
        }
        let envelope = draft.envelope(id: environment.ids.next(.event), type, &writer)
        try EventABI.check(envelope, type)
        headers.append(EventHeader(envelope, type))
        envelopes.append(envelope)
        types.append(type)
      }
      return try append(headers, environment.log.lastPage) { index, position, sequence in
        envelopes[index].logPosition = LogCursor.text(position)
        envelopes[index].streamSequence = UInt64(sequence)
        var link: [UInt8]?
        if types[index].type == .auditRecorded, let record = drafts[index].payload as? AuditRecorded {
          link = AuditChain.link(&envelopes[index], record, after: try AuditChain.head(self))
        }
        envelopes[index].encode(into: &writer)
        let bytes = writer.bytes()
        if bytes.count > EventLogLimits.envelopeBytes { throw EventRejection.tooLarge(bytes: bytes.count) }
        if let link { try advanceAudit(to: link, at: position) }
        return bytes
      }
    } catch let rejection as EventRejection {
      environment.log.rejections.count(rejection)
      throw rejection
    }
  }
}

extension EventHeader {
  init(_ envelope: EventEnvelope, _ type: EventTraits) {
    self.init(
      type: type.name, tenant: envelope.tenantID, session: envelope.productRuntimeSessionID, journey: envelope.journeyInstanceID,
      trace: envelope.traceID, lane: EventLane(rawValue: type.lane.rawValue) ?? .data, producer: envelope.producer,
      retention: type.retention,
      occurredAt: envelope.occurredAt?.nanosecondsSinceEpoch ?? 0)
  }
}

extension LogEvent {
  /// The envelope's `event_id`, read without decoding the rest.
  public var eventID: String {
    // The first field of the encoding; ids are shorter than 128 bytes.
    let head = envelope.prefix(2)
    guard let tag = head.first, let length = head.last, tag == 0x0A, length < 0x80, envelope.count >= 2 + Int(length) else { return "" }
    return String(decoding: envelope.dropFirst(2).prefix(Int(length)), as: UTF8.self)
  }

  /// The envelope, decoded. The log holds only what decodes.
  public func decoded() throws -> EventEnvelope { try envelope.withUnsafeBytes { try EventEnvelope(decoding: $0) } }

  /// The payload, if it is of this type; nil for another.
  public func payload<Payload: EventPayload>(_ type: Payload.Type = Payload.self) throws -> Payload? {
    guard header.type == type.eventType.rawValue else { return nil }
    return try decoded().payload?.unpack(as: Payload.self)
  }
}

extension TraceContext {
  /// A new span below the one that wrote an event; nil when nobody traced it.
  public init?(below envelope: EventEnvelope) {
    guard envelope.traceID.count == 16, envelope.spanID.count == 8 else { return nil }
    func number(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
    self = TraceContext(
      traceHigh: number(envelope.traceID[0..<8]), traceLow: number(envelope.traceID[8..<16]), spanID: number(envelope.spanID[0..<8])
    ).child()
  }
}
