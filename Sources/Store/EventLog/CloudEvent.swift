import SpanwireProtobuf
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

extension EventEnvelope {
  /// The event in CloudEvents' JSON format, version 1.0, as one line: every field of the envelope is an attribute, the payload is `data`.
  ///
  /// `id`, `type`, `time` and `datacontenttype` are CloudEvents' own; `source` is `/spanwire/TENANT/PRODUCER` and `subject` the session, or
  /// else the journey. `sequence` and `traceparent` are its documented extensions; what remains stands under the field's name without
  /// underscores, numbers of 64 bits as text. A field that is empty is left out. Throws `JSONError` for a payload that this program does not know.
  public func cloudEvent(pool: DescriptorPool = .generated) throws -> String {
    var event = Google_Protobuf_Struct()
    func put(_ name: String, _ value: Google_Protobuf_Value.Kind) { event.fields[name] = Google_Protobuf_Value(kind: value) }
    func put(_ name: String, _ text: String) { if !text.isEmpty { put(name, .stringValue(text)) } }
    put("specversion", "1.0")
    put("id", eventID)
    put("source", "/spanwire/\(tenantID)/\(producer)")
    put("type", type)
    put("subject", productRuntimeSessionID.isEmpty ? journeyInstanceID : productRuntimeSessionID)
    if let occurredAt { put("time", RFC3339.format(occurredAt.nanosecondsSinceEpoch)) }
    put("sequence", "\(streamSequence)")
    put("logposition", logPosition)
    put("schemaversion", .numberValue(Double(schemaVersion)))
    let lane = EventLane(rawValue: lane.rawValue).map { "\($0)" } ?? ""
    put("lane", lane)
    for (name, value) in [
      ("tenantid", tenantID), ("orgid", orgID), ("productversionid", productVersionID), ("marketcode", marketCode),
      ("productruntimesessionid", productRuntimeSessionID), ("journeyinstanceid", journeyInstanceID), ("turnid", turnID),
      ("executionid", executionID), ("agenttaskid", agentTaskID), ("causationid", causationID), ("producer", producer),
    ] { put(name, value) }
    if leaseEpoch > 0 { put("leaseepoch", "\(leaseEpoch)") }
    if !traceID.isEmpty { put("traceparent", "00-\(Self.hex(traceID))-\(Self.hex(spanID))-01") }
    if !parentSpanID.isEmpty { put("parentspanid", Self.hex(parentSpanID)) }
    if replayOnly { put("replayonly", .boolValue(true)) }
    if let payload {
      put("datacontenttype", "application/json")
      put("payloadtype", payload.packedTypeName)
      event.fields["data"] = try Google_Protobuf_Value(jsonString: try pool.json(from: payload.value, type: payload.packedTypeName))
    }
    return try event.jsonString()
  }

  private static func hex(_ bytes: [UInt8]) -> String {
    bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
  }
}
