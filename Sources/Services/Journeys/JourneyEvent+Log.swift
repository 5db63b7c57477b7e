import SpanwireProtobuf
import SpanwireSchema

extension JourneyEvent {
  /// The payload by which the log tells of it; nil for what the log does not tell.
  ///
  /// - Parameter journey: the journey as this event left it.
  func payload(_ journey: Journey, _ origin: StartJourneyRequest, in graph: JourneyGraph) -> (any Message)? {
    let revision = journey.revision
    switch self {
    case .started(let entryPoint):
      return JourneyStarted(
        journeyDocID: graph.id, entryPoint: entryPoint, snapshotRef: origin.runtimeSnapshotRef, revision: revision)
    case .nodeEntered(let id, let place, let visit, _):
      return JourneyNodeEntered(
        nodeID: id, kind: graph.node(id)?.kind?.name ?? "", servicePointID: place ?? "", visitNumber: UInt32(visit), revision: revision)
    case .nodeCompleted(let id, let outcome, let place, let by):
      return JourneyNodeCompleted(
        nodeID: id, outcome: outcome, servicePointID: place ?? "", forced: by != nil, actor: by?.actor ?? "", reason: by?.reason ?? "",
        revision: revision)
    case .nodeSkipped(let id, let reason, let by):
      return JourneyNodeSkipped(nodeID: id, reason: reason, forced: by != nil, actor: by?.actor ?? "", revision: revision)
    case .nodeFailed(let id, let reason): return JourneyNodeFailed(nodeID: id, reason: reason, revision: revision)
    case .nodeBlocked(let id?, let block):
      return JourneyNodeBlocked(
        nodeID: id, servicePointID: block.servicePointID, reason: block.reason, until: block.until.map { .init(nanosecondsSinceEpoch: $0) },
        revision: revision)
    case .nodeUnblocked(let id?, let place): return JourneyNodeUnblocked(nodeID: id, servicePointID: place, revision: revision)
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
    case .nodeBlocked(nil, _), .nodeUnblocked(nil, _), .workRequested, .tokensCounted: return nil
    }
  }
}
