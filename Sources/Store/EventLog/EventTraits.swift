import SpanwireProtobuf
import SpanwireSchema

/// What the log must know of an event's type, made once for each and found by the Swift type of its payload: asking a payload whether it is
/// an event's, and the type for one property after the other, took longer than writing the envelope.
final class EventTraits: Sendable {
  let type: EventType
  let name: String
  /// Of the packed payload.
  let typeURL: String
  let schemaVersion: UInt32
  let lane: Lane
  let retention: EventRetention
  let requires: [RequiredID]
  let isReserved: Bool

  private init(_ type: EventType) {
    self.type = type
    name = type.rawValue
    typeURL = "type.googleapis.com/" + type.messageType
    schemaVersion = type.schemaVersion
    lane = type.lane
    retention = EventRetention(rawValue: type.retention.rawValue) ?? .business
    requires = type.requires.map { field in
      guard let id = RequiredID(rawValue: field) else { preconditionFailure("\(type.rawValue) requires \(field), which no envelope has") }
      return id
    }
    isReserved = type.isReserved
  }

  private static let all = EventType.allCases.map(EventTraits.init)
  private static let byPayload = Dictionary(uniqueKeysWithValues: all.map { (ObjectIdentifier($0.type.payload), $0) })
  private static let byType = Dictionary(uniqueKeysWithValues: all.map { ($0.type, $0) })

  /// Nil for a message that is no event's payload.
  static func of(payload: any Message) -> EventTraits? { byPayload[ObjectIdentifier(Swift.type(of: payload))] }

  static func of(_ type: EventType) -> EventTraits {
    guard let traits = byType[type] else { preconditionFailure("every type is among all of them") }
    return traits
  }
}

/// Ids of an envelope that a type may require beyond those that all have.
enum RequiredID: String, Sendable {
  case session = "product_runtime_session_id"
  case journey = "journey_instance_id"
  case agentTask = "agent_task_id"
  case execution = "execution_id"
  case turn = "turn_id"
  case productVersion = "product_version_id"
  case market = "market_code"
  case org = "org_id"
  case causation = "causation_id"

  func isMissing(in envelope: borrowing EventEnvelope) -> Bool {
    switch self {
    case .session: envelope.productRuntimeSessionID.isEmpty
    case .journey: envelope.journeyInstanceID.isEmpty
    case .agentTask: envelope.agentTaskID.isEmpty
    case .execution: envelope.executionID.isEmpty
    case .turn: envelope.turnID.isEmpty
    case .productVersion: envelope.productVersionID.isEmpty
    case .market: envelope.marketCode.isEmpty
    case .org: envelope.orgID.isEmpty
    case .causation: envelope.causationID.isEmpty
    }
  }
}
