import SpanwireProtobuf
import SpanwireSchema

extension JourneyEvent {
  /// The payload by which the log tells of it; nil for what the log does not tell.
  ///
  /// - Parameter journey: the journey as this event left it.
  func payload(_ journey: Journey, _ origin: StartJourneyRequest, in graph: JourneyGraph) -> (any Message)? {
    let revision = journey.revision
    switch self {
    case .started(let entryPoint, let segments):
      return JourneyStarted(
        journeyDocID: graph.id, entryPoint: entryPoint, snapshotRef: origin.runtimeSnapshotRef, revision: revision,
        journeyDocVersion: graph.version, segments: segments)
    case .nodeEntered(let id, let from, let place, let visit, let due):
      return JourneyNodeEntered(
        nodeID: id, kind: graph.node(id)?.kind?.name ?? "", servicePointID: place ?? "", visitNumber: UInt32(visit), revision: revision,
        fromNodeID: from ?? "", dueAt: due.map { .init(nanosecondsSinceEpoch: $0) })
    case .nodeCompleted(let id, let outcome, let place, let by):
      return JourneyNodeCompleted(
        nodeID: id, outcome: outcome, servicePointID: place ?? "", forced: by != nil, actor: by?.actor ?? "", reason: by?.reason ?? "",
        revision: revision)
    case .nodeSkipped(let id, let reason, let by):
      return JourneyNodeSkipped(nodeID: id, reason: reason, forced: by != nil, actor: by?.actor ?? "", revision: revision)
    case .nodeFailed(let id, let reason): return JourneyNodeFailed(nodeID: id, reason: reason, revision: revision)
    case .nodeBlocked(let id, let block):
      return JourneyNodeBlocked(
        nodeID: id ?? "", servicePointID: block.servicePointID, reason: block.reason,
        until: block.until.map { .init(nanosecondsSinceEpoch: $0) },
        revision: revision)
    case .nodeUnblocked(let id, let place): return JourneyNodeUnblocked(nodeID: id ?? "", servicePointID: place, revision: revision)
    case .routeChanged(_, let proposal, let reason):
      // The log tells the whole route, behind and ahead: the stops ahead alone would not say where they begin.
      return JourneyRouteChanged(servicePointIds: journey.route, proposalID: proposal ?? "", reason: reason, revision: revision)
    case .choiceMade(let id, let option): return JourneyChoiceMade(nodeID: id, option: option, revision: revision)
    case .signalReceived(let name, let value): return JourneySignalReceived(name: name, value: value, revision: revision)
    case .timerFired(let id, let timer, let due):
      return JourneyTimerFired(nodeID: id, timerID: timer, due: .init(nanosecondsSinceEpoch: due), revision: revision)
    case .completed(let id): return JourneyCompleted(endNodeID: id, revision: revision)
    case .abandoned(let reason): return JourneyAbandoned(reason: reason, revision: revision)
    case .aborted(let by): return JourneyAborted(reason: by.reason, actor: by.actor, revision: revision)
    case .failed(let id, let reason): return JourneyFailed(nodeID: id, reason: reason, revision: revision)
    case .workRequested, .workAnswered, .tokensCounted, .roomAsked, .roomEnded: return nil
    }
  }
}

extension JourneyEvent {
  /// The event that a log's entry tells of; nil for one that is none of a journey's.
  ///
  /// - Parameter journey: the journey as it was before.
  init?(_ envelope: EventEnvelope, of journey: Journey) throws {
    guard let payload = envelope.payload else { return nil }
    func forced(_ isForced: Bool, _ actor: String, _ reason: String) -> Intervention? {
      isForced ? Intervention(actor: actor, reason: reason) : nil
    }
    switch envelope.type {
    case "journey.started":
      let event = try payload.unpack(as: JourneyStarted.self)
      self = .started(entryPoint: event.entryPoint, segments: event.segments)
    case "journey.completed": self = .completed(endNodeID: try payload.unpack(as: JourneyCompleted.self).endNodeID)
    case "journey.abandoned": self = .abandoned(reason: try payload.unpack(as: JourneyAbandoned.self).reason)
    case "journey.aborted":
      let event = try payload.unpack(as: JourneyAborted.self)
      self = .aborted(Intervention(actor: event.actor, reason: event.reason))
    case "journey.failed":
      let event = try payload.unpack(as: JourneyFailed.self)
      self = .failed(nodeID: event.nodeID, reason: event.reason)
    case "journey.node.entered":
      let event = try payload.unpack(as: JourneyNodeEntered.self)
      self = .nodeEntered(
        nodeID: event.nodeID, from: event.fromNodeID.nonEmpty, servicePointID: event.servicePointID.nonEmpty,
        visitNumber: Int(event.visitNumber), dueAt: event.dueAt?.nanosecondsSinceEpoch)
    case "journey.node.completed":
      let event = try payload.unpack(as: JourneyNodeCompleted.self)
      self = .nodeCompleted(
        nodeID: event.nodeID, outcome: event.outcome, servicePointID: event.servicePointID.nonEmpty,
        forced: forced(event.forced, event.actor, event.reason))
    case "journey.node.skipped":
      let event = try payload.unpack(as: JourneyNodeSkipped.self)
      self = .nodeSkipped(nodeID: event.nodeID, reason: event.reason, forced: forced(event.forced, event.actor, event.reason))
    case "journey.node.failed":
      let event = try payload.unpack(as: JourneyNodeFailed.self)
      self = .nodeFailed(nodeID: event.nodeID, reason: event.reason)
    case "journey.node.blocked":
      let event = try payload.unpack(as: JourneyNodeBlocked.self)
      self = .nodeBlocked(
        nodeID: event.nodeID.nonEmpty,
        Journey.Block(servicePointID: event.servicePointID, reason: event.reason, until: event.until?.nanosecondsSinceEpoch))
    case "journey.node.unblocked":
      let event = try payload.unpack(as: JourneyNodeUnblocked.self)
      self = .nodeUnblocked(nodeID: event.nodeID.nonEmpty, servicePointID: event.servicePointID)
    case "journey.route.changed":
      let event = try payload.unpack(as: JourneyRouteChanged.self)
      self = .routeChanged(
        servicePointIDs: Array(event.servicePointIds.dropFirst(journey.nextStop)), proposalID: event.proposalID.nonEmpty,
        reason: event.reason)
    case "journey.choice.made":
      let event = try payload.unpack(as: JourneyChoiceMade.self)
      self = .choiceMade(nodeID: event.nodeID, option: event.option)
    case "journey.signal.received":
      let event = try payload.unpack(as: JourneySignalReceived.self)
      self = .signalReceived(name: event.name, value: event.value)
    case "journey.timer.fired":
      let event = try payload.unpack(as: JourneyTimerFired.self)
      self = .timerFired(nodeID: event.nodeID, timerID: event.timerID, due: event.due?.nanosecondsSinceEpoch ?? 0)
    default: return nil
    }
  }
}

extension String {
  /// Nil for the empty text, by which the contract says that there is none.
  var nonEmpty: String? { isEmpty ? nil : self }
}
