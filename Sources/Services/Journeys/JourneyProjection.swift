import SpanwireSchema

/// What the log says of a journey: the state its events lead to. The rows must say the same.
struct JourneyProjection: Equatable, Sendable {
  var journeyDocID = ""
  var state: JourneyState = .unspecified
  var revision: UInt64 = 0
  var nodes: [String: NodeState] = [:]
  var route: [String] = []

  init() {}

  init(_ journey: JourneyInstance) {
    journeyDocID = journey.journeyDocID
    state = journey.state
    revision = journey.revision
    route = journey.route
    for node in journey.nodes where node.state != .pending { nodes[node.nodeID] = node.state }
  }

  /// Takes in one event of the journey; false when its payload can't be read.
  mutating func apply(_ envelope: EventEnvelope) -> Bool {
    guard let payload = envelope.payload else { return false }
    do {
      switch envelope.type {
      case "journey.started":
        let event = try payload.unpack(as: JourneyStarted.self)
        journeyDocID = event.journeyDocID
        ended(.running, event.revision)
      case "journey.completed": ended(.completed, try payload.unpack(as: JourneyCompleted.self).revision)
      case "journey.abandoned": ended(.abandoned, try payload.unpack(as: JourneyAbandoned.self).revision)
      case "journey.aborted": ended(.aborted, try payload.unpack(as: JourneyAborted.self).revision)
      case "journey.failed": ended(.failed, try payload.unpack(as: JourneyFailed.self).revision)
      case "journey.node.entered":
        let event = try payload.unpack(as: JourneyNodeEntered.self)
        node(event.nodeID, .active, event.revision)
      case "journey.node.completed":
        let event = try payload.unpack(as: JourneyNodeCompleted.self)
        node(event.nodeID, .completed, event.revision)
      case "journey.node.skipped":
        let event = try payload.unpack(as: JourneyNodeSkipped.self)
        node(event.nodeID, .skipped, event.revision)
      case "journey.node.failed":
        let event = try payload.unpack(as: JourneyNodeFailed.self)
        node(event.nodeID, .failed, event.revision)
      case "journey.node.blocked":
        let event = try payload.unpack(as: JourneyNodeBlocked.self)
        node(event.nodeID, .blocked, event.revision)
      case "journey.node.unblocked":
        let event = try payload.unpack(as: JourneyNodeUnblocked.self)
        node(event.nodeID, .active, event.revision)
      case "journey.route.changed":
        let event = try payload.unpack(as: JourneyRouteChanged.self)
        route = event.servicePointIds
        revision = event.revision
      case "journey.choice.made": revision = try payload.unpack(as: JourneyChoiceMade.self).revision
      case "journey.signal.received": revision = try payload.unpack(as: JourneySignalReceived.self).revision
      case "journey.timer.fired": revision = try payload.unpack(as: JourneyTimerFired.self).revision
      default: break
      }
      return true
    } catch {
      return false
    }
  }

  private mutating func ended(_ state: JourneyState, _ revision: UInt64) {
    self.state = state
    self.revision = revision
  }

  private mutating func node(_ id: String, _ state: NodeState, _ revision: UInt64) {
    nodes[id] = state
    self.revision = revision
  }
}
