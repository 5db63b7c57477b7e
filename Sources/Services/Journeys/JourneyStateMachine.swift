/// Walks a journey: (document, state, command, now) → (state, events, effects), or a refusal that changes nothing.
///
/// Pure. A node that waits is left only by a command; what doesn't wait is passed in the same transition. All state comes of events
/// through `Journey.apply`.
public enum JourneyStateMachine {
  /// - Parameters:
  ///   - graph: a document without problems, the one the journey was started with.
  ///   - now: nanoseconds since 1970.
  /// - Returns: no events when the command is stale (an outcome or timer of a node that was left) or already true.
  public static func handle(
    _ command: JourneyCommand, _ journey: Journey, in graph: JourneyGraph, now: Int64
  ) throws(JourneyRefusal) -> JourneyTransition {
    var walk = JourneyWalk(graph: graph, journey: journey, now: now)
    try walk.handle(command)
    walk.settleJoins()
    walk.settleRooms()
    return JourneyTransition(journey: walk.journey, events: walk.events, effects: walk.effects)
  }
}

extension JourneyWalk {
  mutating func handle(_ command: JourneyCommand) throws(JourneyRefusal) {
    switch command {
    case .start(let entry, let tokens, let segments, let blocks): return try start(entry, tokens, segments, blocks)
    case .workSucceeded(let id, let visit, let tokens): return try workSucceeded(id, visit, tokens)
    case .workFailed(let id, let visit, let reason): return workFailed(id, visit, reason)
    case .timerFired(let id): return try timerFired(id)
    case .roomRefused(let number, let reason): return roomRefused(number, reason)
    default: break
    }
    guard journey.status == .running else { throw .notInStatus(journey.status, allowed: [.running]) }
    switch command {
    case .arrive(let id, let place, let stay): try arrive(id, place, stay)
    case .redeem(let id): try redeem(id)
    case .choose(let id, let option): try choose(id, option)
    case .acknowledge(let id):
      _ = try current(id, takes: "message")
      try complete(id, "completed")
    case .signal(let name, let value): try signal(name, value)
    case .changeRoute(let places, let proposal, let reason, let stays): try changeRoute(places, proposal, reason, stays)
    case .declineRecommendation(_, _):
      guard let id = awaitedDecision else { throw .noRecommendationAwaited }
      try complete(id, "declined")
    case .forceSkip(let id, let by):
      try intervene(id)
      if case .join? = graph.node(id)?.kind { throw .joinWaits(nodeID: id) }
      try skip(id, reason: by.reason, forced: by)
    case .forceComplete(let id, let by):
      try intervene(id)
      if case .join? = graph.node(id)?.kind { return bringTogether(id, forced: by) }
      try complete(id, graph.node(id)?.kind?.waitsForDecision == true ? "accepted" : "completed", forced: by)
    case .block(let block): self.block(block)
    case .unblock(let place): unblock(place)
    case .abandon(let reason): end(.abandoned(reason: reason))
    case .forceAbort(let by): end(.aborted(by))
    case .start, .workSucceeded, .workFailed, .timerFired, .roomRefused: preconditionFailure("handled above")
    }
  }

  private mutating func start(
    _ entryPoint: String, _ tokens: Int64?, _ segments: [String], _ blocks: [Journey.Block]
  ) throws(JourneyRefusal) {
    guard journey.status == .created else { throw .notInStatus(journey.status, allowed: [.created]) }
    guard let entry = graph.entryPoints.first(where: { $0.name == entryPoint }) else {
      throw .unknownEntryPoint(entryPoint, known: graph.entryPoints.map(\.name))
    }
    emit(.started(entryPoint: entryPoint, segments: segments))
    if let tokens { emit(.tokensCounted(tokens)) }
    for block in blocks { self.block(block) }
    enter(entry.nodeID, from: nil)
  }

  private mutating func arrive(_ id: String, _ place: String?, _ stay: PlannedStay?) throws(JourneyRefusal) {
    let record = try current(id, takes: "visit", blockedAllowed: true)
    if let block = (place ?? record.servicePointID).flatMap(journey.block(of:)) {
      throw .servicePointBlocked(block.servicePointID, until: block.until)
    }
    guard let target = record.servicePointID, record.status == .active, place == nil || place == target else {
      throw .wrongServicePoint(place ?? "", expected: record.servicePointID)
    }
    if let stay, stay.servicePointID == target, !journey.rooms.contains(where: { $0.servicePointID == target && $0.expiresAt > now }) {
      keepRoom([stay])
    }
    try complete(id, "completed")
  }

  private mutating func redeem(_ id: String) throws(JourneyRefusal) {
    var record = try current(id, takes: "redeem", blockedAllowed: true, failedAllowed: true)
    guard case .redeem(let token, let quantity)? = graph.node(id)?.kind, let place = record.servicePointID else {
      throw .stepNotAllowed(nodeID: id, kind: "redeem", status: record.status)
    }
    if let block = journey.block(of: place) { throw .servicePointBlocked(place, until: block.until) }
    if record.awaitsWork { throw .workUnderWay(nodeID: id) }
    if record.status == .failed {
      record.visitNumber += 1
      emit(.nodeEntered(nodeID: id, from: id, servicePointID: place, visitNumber: record.visitNumber, dueAt: nil))
    }
    emit(.workRequested(nodeID: id))
    effects.append(
      .redeem(nodeID: id, visitNumber: record.visitNumber, tokenID: token, quantity: quantity, servicePointID: place))
  }

  private mutating func choose(_ id: String, _ option: String) throws(JourneyRefusal) {
    _ = try current(id, takes: "choice")
    guard case .choice(_, let options)? = graph.node(id)?.kind else { throw .unknownNode(id) }
    guard options.contains(option) else { throw .unknownOption(option, options: options) }
    emit(.choiceMade(nodeID: id, option: option))
    try complete(id, option)
  }

  /// Recorded whoever waits for it; every node with an edge for it ends by it.
  private mutating func signal(_ name: String, _ value: String) throws(JourneyRefusal) {
    guard name.utf8.count + value.utf8.count <= JourneyLimits.textBytes else {
      throw .limitExceeded("signal", limit: JourneyLimits.textBytes)
    }
    guard journey.signals.count < JourneyLimits.signals || journey.signals.contains(where: { $0.name == name }) else {
      throw .limitExceeded("signals of different names", limit: JourneyLimits.signals)
    }
    emit(.signalReceived(name: name, value: value))
    for record in journey.standingRecords where record.status == .active && journey.status == .running && journey.stands(at: record.nodeID)
    {
      // What was asked of Trutta is a fact to come: its node waits for it.
      if case .redeem? = graph.node(record.nodeID)?.kind, record.awaitsWork { continue }
      if graph.edges(from: record.nodeID).contains(where: { $0.on == "signal:" + name && holds($0) }) {
        try complete(record.nodeID, "signal:" + name)
      }
    }
  }

  // MARK: Outcomes of effects

  private mutating func workSucceeded(_ id: String, _ visit: Int, _ tokens: Int64?) throws(JourneyRefusal) {
    // Even a late answer tells how many tokens are left.
    if let tokens, tokens != journey.tokensLeft, !journey.status.isTerminal { emit(.tokensCounted(tokens)) }
    guard let record = awaiting(id, visit) else { return }
    switch graph.node(id)?.kind {
    case .redeem?: try complete(record.nodeID, "completed")
    case .agent(_, _, let waits)? where !waits: try complete(record.nodeID, "completed")
    default: emit(.workAnswered(nodeID: id))  // a recommendation waits for its decision
    }
  }

  private mutating func workFailed(_ id: String, _ visit: Int, _ reason: String) {
    guard awaiting(id, visit) != nil, let kind = graph.node(id)?.kind else { return }
    // While a recommendation is awaited she may ask an agent herself: that this one failed ends nothing, unless the document says so.
    let edge = kind.waitsForDecision ? graph.edges(from: id).first { $0.on == "failed" && holds($0) } : way(from: id, "failed")
    if kind.waitsForDecision && edge == nil { return emit(.workAnswered(nodeID: id)) }
    emit(.nodeFailed(nodeID: id, reason: reason))
    if let edge {
      enter(edge.to, from: id)
    } else if case .agent = kind {
      end(.failed(nodeID: id, reason: reason))
    }  // a redemption may be tried again
  }

  private mutating func timerFired(_ timerID: String) throws(JourneyRefusal) {
    guard journey.status == .running, let record = journey.standingRecords.first(where: { $0.timerID == timerID }),
      let due = record.dueAt, due <= now, record.status == .active
    else { return }
    emit(.timerFired(nodeID: record.nodeID, timerID: timerID, due: due))
    try complete(record.nodeID, "completed")
  }

  /// The record of a node that stands and awaits work of that visit.
  private func awaiting(_ id: String, _ visit: Int) -> Journey.NodeRecord? {
    guard journey.status == .running, journey.stands(at: id), let record = journey.record(id), record.visitNumber == visit,
      record.awaitsWork
    else { return nil }
    return record
  }

  // MARK: Who may

  private func current(
    _ id: String, takes kind: String, blockedAllowed: Bool = false, failedAllowed: Bool = false
  ) throws(JourneyRefusal) -> Journey.NodeRecord {
    guard let node = graph.node(id), let record = journey.record(id) else { throw .unknownNode(id) }
    guard journey.stands(at: id) else { throw .nodeNotCurrent(id, current: journey.standing) }
    let isFit = record.status == .active || (blockedAllowed && record.status == .blocked) || (failedAllowed && record.status == .failed)
    guard node.kind?.name == kind, isFit else {
      throw .stepNotAllowed(nodeID: id, kind: node.kind?.name ?? "", status: record.status)
    }
    return record
  }

  /// Operators reach the nodes where the traveller stands, in whatever state they are.
  private func intervene(_ id: String) throws(JourneyRefusal) {
    guard graph.node(id) != nil else { throw .unknownNode(id) }
    guard journey.stands(at: id) else { throw .nodeNotCurrent(id, current: journey.standing) }
  }
}

extension Journey.NodeRecord {
  /// The timer of this entry into the node.
  public var timerID: String { "\(nodeID)#\(visitNumber)" }
}
