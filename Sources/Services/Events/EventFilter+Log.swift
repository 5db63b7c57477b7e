import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// A caller's filter as the log takes it, within the caller's own tenant.
func logFilter(_ filter: EventFilter?, for caller: Caller, _ validation: inout Validation) -> LogFilter {
  let filter = filter ?? EventFilter()
  var result = LogFilter(tenant: caller.tenant)
  if filter.types.count > EventsLimits.types {
    validation.add("filter.types", "holds at most \(EventsLimits.types) globs")
  } else {
    for (index, text) in filter.types.enumerated() {
      if let glob = TypeGlob(text) {
        result.types.append(glob)
      } else {
        validation.add("filter.types[\(index)]", "is no glob of type names: lower-case letters, digits, '_', '.' and '*'")
      }
    }
  }
  result.session = filter.productRuntimeSessionID
  result.journey = filter.journeyInstanceID
  if !result.session.isEmpty, !Identifier.isValid(result.session) { validation.add("filter.product_runtime_session_id", "is no id") }
  if !result.journey.isEmpty, !Identifier.isValid(result.journey) { validation.add("filter.journey_instance_id", "is no id") }
  if !filter.traceID.isEmpty, filter.traceID.count != 16 { validation.add("filter.trace_id", "must be 16 bytes") }
  result.trace = filter.traceID
  for (index, lane) in filter.lanes.enumerated() {
    if let lane = EventLane(rawValue: lane.rawValue) {
      result.lanes.insert(lane)
    } else {
      validation.add("filter.lanes[\(index)]", "\(lane.rawValue) is no known lane")
    }
  }
  // Another tenant's log is none of the caller's business, whoever asks: nobody reads across tenants through here.
  if !filter.tenantID.isEmpty, filter.tenantID != caller.tenant { validation.add("filter.tenant_id", "is not the caller's tenant") }
  return result
}

func logCursor(_ text: String, _ validation: inout Validation) -> LogCursor {
  do {
    return try LogCursor(text: text)
  } catch {
    validation.add("cursor", "is not one that the log gave")
    return .beginning
  }
}

/// What the log refused, as callers see it.
func refusal(_ error: EventLogError, cursorField: String) -> any Error {
  switch error {
  case .cursorInvalid(let reason):
    var validation = Validation()
    validation.add(cursorField, reason)
    do { try validation.finish() } catch { return error }
    return error
  case .cursorTooOld(let first):
    return RPCError.refusal(
      .outOfRange, .cursorTooOld, "the log begins at \(first)", metadata: [("first_position", LogCursor.text(first - 1))])
  case .tooManySubscriptions(let limit):
    return RPCError.later(.resourceExhausted, .queueFull, "\(limit) subscriptions are open already", after: .seconds(1))
  case .tooSlow(let cursor):
    return RPCError.refusal(
      .resourceExhausted, .queueFull, "the reader is too slow even for control events",
      metadata: [("cursor", LogCursor.text(cursor))])
  case .ended:
    return RPCError.unavailable("the server is going down")
  }
}

extension EventTypeInfo {
  init(_ type: EventType) {
    self.init(
      type: type.rawValue, messageType: type.messageType, lane: type.lane, retention: type.retention, requires: type.requires,
      schemaVersion: type.schemaVersion, reserved: type.isReserved)
  }
}
