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
    return JourneyTransition(journey: walk.journey, events: walk.events, effects: walk.effects)
  }

  /// The timer that lifts a block.
  public static func unblockTimerID(_ servicePointID: String) -> String { "unblock:" + servicePointID }
}

/// One transition while it is made.
private struct JourneyWalk {
  let graph: JourneyGraph
  var journey: Journey
  let now: Int64
  var events: [JourneyEvent] = []
  var effects: [JourneyEffect] = []
  private var steps = 0

  init(graph: JourneyGraph, journey: Journey, now: Int64) {
    self.graph = graph
    self.journey = journey
    self.now = now
  }

  // MARK: Commands

  mutating func handle(_ command: JourneyCommand) throws(JourneyRefusal) {
    switch command {
    case .start(let entry, let tokens, let blocks): return try start(entry, tokens, blocks)
    case .workSucceeded(let id, let visit, let tokens): return try workSucceeded(id, visit, tokens)
    case .workFailed(let id, let visit, let reason): return try workFailed(id, visit, reason)
    case .timerFired(let id): return try timerFired(id)
    default: break
    }
    guard journey.status == .running else { throw .notInStatus(journey.status, allowed: [.running]) }
    switch command {
    case .arrive(let id, let place): try arrive(id, place)
    case .redeem(let id): try redeem(id)
    case .choose(let id, let option): try choose(id, option)
    case .acknowledge(let id):
      _ = try current(id, takes: "message")
      try complete(id, "completed")
    case .signal(let name, let value): try signal(name, value)
    case .changeRoute(let places, let proposal, let reason): try changeRoute(places, proposal, reason)
    case .declineRecommendation(_, _):
      guard let id = awaitedDecision else { throw .noRecommendationAwaited }
      try complete(id, "declined")
    case .forceSkip(let id, let by):
      try intervene(id)
      try skip(id, reason: by.reason, forced: by)
    case .forceComplete(let id, let by):
      try intervene(id)
      try complete(id, graph.node(id)?.kind?.waitsForDecision == true ? "accepted" : "completed", forced: by)
    case .block(let block): try self.block(block)
    case .unblock(let place): unblock(place)
    case .abandon(let reason): end(.abandoned(reason: reason))
    case .forceAbort(let by): end(.aborted(by))
    case .start, .workSucceeded, .workFailed, .timerFired: preconditionFailure("handled above")
    }
  }

  private mutating func start(_ entryPoint: String, _ tokens: Int64?, _ blocks: [Journey.Block]) throws(JourneyRefusal) {
    guard journey.status == .created else { throw .notInStatus(journey.status, allowed: [.created]) }
    guard let entry = graph.entryPoints.first(where: { $0.name == entryPoint }) else {
      throw .unknownEntryPoint(entryPoint, known: graph.entryPoints.map(\.name))
    }
    emit(.started(entryPoint: entryPoint))
    if let tokens { emit(.tokensCounted(tokens)) }
    for block in blocks { try self.block(block) }
    enter(entry.nodeID)
  }

  private mutating func arrive(_ id: String, _ place: String?) throws(JourneyRefusal) {
    let record = try current(id, takes: "visit", blockedAllowed: true)
    if let block = journey.blocks.first(where: { $0.servicePointID == place ?? record.servicePointID }) {
      throw .servicePointBlocked(block.servicePointID, until: block.until)
    }
    guard let target = record.servicePointID, record.status == .active, place == nil || place == target else {
      throw .wrongServicePoint(place ?? "", expected: record.servicePointID)
    }
    try complete(id, "completed")
  }

  private mutating func redeem(_ id: String) throws(JourneyRefusal) {
    var record = try current(id, takes: "redeem", blockedAllowed: true, failedAllowed: true)
    guard case .redeem(let token, let quantity)? = graph.node(id)?.kind, let place = record.servicePointID else {
      throw .stepNotAllowed(nodeID: id, kind: "redeem", status: record.status)
    }
    if let block = journey.blocks.first(where: { $0.servicePointID == place }) {
      throw .servicePointBlocked(place, until: block.until)
    }
    if record.awaitsWork { throw .workUnderWay(nodeID: id) }
    if record.status == .failed {
      emit(.nodeEntered(nodeID: id, servicePointID: place, visitNumber: record.visitNumber + 1, dueAt: nil))
      record = journey.record(id)!
    }
    emit(.workRequested(nodeID: id))
    effects.append(
      .redeem(nodeID: id, visitNumber: record.visitNumber, tokenID: token, quantity: quantity, servicePointID: place))
  }

  private mutating func choose(_ id: String, _ option: String) throws(JourneyRefusal) {
    _ = try current(id, takes: "choice")
    guard case .choice(_, let options)? = graph.node(id)?.kind, options.contains(option) else {
      if case .choice(_, let options)? = graph.node(id)?.kind { throw .unknownOption(option, options: options) }
      throw .unknownNode(id)
    }
    emit(.choiceMade(nodeID: id, option: option))
    try complete(id, option)
  }

  private mutating func signal(_ name: String, _ value: String) throws(JourneyRefusal) {
    guard name.utf8.count + value.utf8.count <= JourneyLimits.textBytes else {
      throw .limitExceeded("signal", limit: JourneyLimits.textBytes)
    }
    emit(.signalReceived(name: name, value: value))
    guard let record = journey.currentNode, record.status == .active else { return }
    if graph.edges(from: record.nodeID).contains(where: { $0.on == "signal:" + name && holds($0) }) {
      try complete(record.nodeID, "signal:" + name)
    }
  }

  private mutating func changeRoute(_ places: [String], _ proposal: String?, _ reason: String) throws(JourneyRefusal) {
    guard !places.isEmpty else { throw .routeEmpty }
    guard journey.nextStop + places.count <= JourneyLimits.routeStops else {
      throw .limitExceeded("route", limit: JourneyLimits.routeStops)
    }
    for place in places {
      if let block = journey.blocks.first(where: { $0.servicePointID == place }) {
        throw .servicePointBlocked(place, until: block.until)
      }
    }
    let decided = proposal == nil ? nil : awaitedDecision
    emit(.routeChanged(servicePointIDs: places, proposalID: proposal, reason: reason))
    if let decided { try complete(decided, "accepted") }
  }

  private mutating func workSucceeded(_ id: String, _ visit: Int, _ tokens: Int64?) throws(JourneyRefusal) {
    // Even a late answer tells how many tokens are left.
    if let tokens, tokens != journey.tokensLeft, !journey.status.isTerminal { emit(.tokensCounted(tokens)) }
    guard journey.status == .running, let record = journey.currentNode, record.nodeID == id, record.visitNumber == visit, record.awaitsWork
    else { return }
    switch graph.node(id)?.kind {
    case .redeem?: try complete(id, "completed")
    case .agent(_, _, let waits)? where !waits: try complete(id, "completed")
    default: break  // a recommendation waits for its decision, a visit for the traveller
    }
  }

  private mutating func workFailed(_ id: String, _ visit: Int, _ reason: String) throws(JourneyRefusal) {
    guard journey.status == .running, let record = journey.currentNode, record.nodeID == id, record.visitNumber == visit else { return }
    switch graph.node(id)?.kind {
    case .redeem? where record.awaitsWork, .agent? where record.awaitsWork:
      emit(.nodeFailed(nodeID: id, reason: reason))
      if let edge = way(from: id, "failed") {
        enter(edge.to)
      } else if case .agent? = graph.node(id)?.kind {
        end(.failed(nodeID: id, reason: reason))
      }  // a redemption may be tried again
    default: break
    }
  }

  private mutating func timerFired(_ timerID: String) throws(JourneyRefusal) {
    guard journey.status == .running else { return }
    if let block = journey.blocks.first(where: { JourneyStateMachine.unblockTimerID($0.servicePointID) == timerID }) {
      if let until = block.until, until <= now { unblock(block.servicePointID) }
      return
    }
    guard let record = journey.currentNode, record.timerID == timerID, let due = record.dueAt, due <= now else { return }
    emit(.timerFired(nodeID: record.nodeID, timerID: timerID, due: due))
    try complete(record.nodeID, "completed")
  }

  private mutating func block(_ block: Journey.Block) throws(JourneyRefusal) {
    if journey.blocks.contains(block) { return }
    if let until = block.until, until <= now { return }
    guard journey.blocks.count < JourneyLimits.blockedServicePoints || journey.isBlocked(block.servicePointID) else {
      throw .limitExceeded("blocked service points", limit: JourneyLimits.blockedServicePoints)
    }
    let former = journey.blocks.first { $0.servicePointID == block.servicePointID }
    let here = journey.currentNode.flatMap { record -> String? in
      // Work that is under way at the place goes on: its outcome is a fact, not a step.
      let stands = record.status == .active || record.status == .blocked
      return stands && record.servicePointID == block.servicePointID && !record.awaitsWork ? record.nodeID : nil
    }
    emit(.nodeBlocked(nodeID: here, block))
    // The route loses the place, and a visit that stood there goes on to the next stop if there is one.
    let ahead = journey.route.dropFirst(journey.nextStop)
    if ahead.contains(block.servicePointID) {
      let rest = ahead.filter { $0 != block.servicePointID }
      emit(.routeChanged(servicePointIDs: rest, proposalID: nil, reason: "\(block.servicePointID) is blocked: \(block.reason)"))
    }
    let timer = JourneyStateMachine.unblockTimerID(block.servicePointID)
    if former?.until != nil { effects.append(.cancelTimer(timerID: timer)) }
    if let until = block.until { effects.append(.startTimer(timerID: timer, due: until)) }
  }

  private mutating func unblock(_ place: String) {
    guard let block = journey.blocks.first(where: { $0.servicePointID == place }) else { return }
    let stopped = journey.currentNode.flatMap { $0.status == .blocked && $0.servicePointID == place ? $0.nodeID : nil }
    emit(.nodeUnblocked(nodeID: stopped, servicePointID: place))
    if block.until != nil { effects.append(.cancelTimer(timerID: JourneyStateMachine.unblockTimerID(place))) }
  }

  // MARK: Walking

  private mutating func emit(_ event: JourneyEvent) {
    journey.apply(event, graph, at: now)
    events.append(event)
  }

  private mutating func end(_ event: JourneyEvent) {
    if let record = journey.currentNode { cancelTimer(of: record) }
    for block in journey.blocks where block.until != nil {
      effects.append(.cancelTimer(timerID: JourneyStateMachine.unblockTimerID(block.servicePointID)))
    }
    emit(event)
  }

  private mutating func complete(_ id: String, _ outcome: String, forced: Intervention? = nil) throws(JourneyRefusal) {
    guard let record = journey.record(id) else { throw .unknownNode(id) }
    cancelTimer(of: record, unlessDue: true)
    emit(.nodeCompleted(nodeID: id, outcome: outcome, servicePointID: record.servicePointID, forced: forced))
    if let edge = way(from: id, outcome) {
      enter(edge.to)
    } else if forced != nil {
      throw .noWayOn(nodeID: id, outcome: outcome)
    } else {
      end(.failed(nodeID: id, reason: "no edge leaves '\(id)' on '\(outcome)'"))
    }
  }

  private mutating func skip(_ id: String, reason: String, forced: Intervention?) throws(JourneyRefusal) {
    if let record = journey.record(id) { cancelTimer(of: record) }
    emit(.nodeSkipped(nodeID: id, reason: reason, forced: forced))
    // An edge of its own; else on as if it were done; else the first way that is open at all.
    guard let edge = way(from: id, "skipped") ?? way(from: id, "completed") ?? graph.edges(from: id).first(where: { holds($0) }) else {
      throw .noWayOn(nodeID: id, outcome: "skipped")
    }
    enter(edge.to)
  }

  private mutating func enter(_ id: String) {
    steps += 1
    guard let node = graph.node(id), let kind = node.kind, let record = journey.record(id), steps <= JourneyLimits.automaticSteps else {
      return end(.failed(nodeID: id, reason: "more than \(JourneyLimits.automaticSteps) nodes passed without a wait"))
    }
    let visit = record.visitNumber + 1
    func entered(_ place: String? = nil, due: Int64? = nil) -> JourneyEvent {
      .nodeEntered(nodeID: id, servicePointID: place, visitNumber: visit, dueAt: due)
    }
    switch kind {
    case .start:
      emit(entered())
      emit(.nodeCompleted(nodeID: id, outcome: "completed", servicePointID: nil, forced: nil))
      follow(id, "completed")
    case .visit(let fixed):
      emit(entered(fixed ?? journey.nextOpenStop))
      stopIfBlocked()
    case .redeem:
      emit(entered(journey.currentServicePointID))
      if journey.currentServicePointID == nil {
        emit(.nodeSkipped(nodeID: id, reason: "no place was visited", forced: nil))
        follow(id, "skipped")
      } else {
        stopIfBlocked()
      }
    case .choice, .message: emit(entered())
    case .agent(let type, let intent, _):
      emit(entered())
      emit(.workRequested(nodeID: id))
      effects.append(.askAgent(nodeID: id, visitNumber: visit, agentType: type, intent: intent))
    case .timer(let after):
      let due = now + after
      emit(entered(due: due))
      effects.append(.startTimer(timerID: "\(id)#\(visit)", due: due))
    case .end:
      emit(entered())
      emit(.nodeCompleted(nodeID: id, outcome: "completed", servicePointID: nil, forced: nil))
      end(.completed(endNodeID: id))
    }
  }

  private mutating func follow(_ id: String, _ outcome: String) {
    if let edge = way(from: id, outcome) ?? (outcome == "skipped" ? graph.edges(from: id).first(where: { holds($0) }) : nil) {
      enter(edge.to)
    } else {
      end(.failed(nodeID: id, reason: "no edge leaves '\(id)' on '\(outcome)'"))
    }
  }

  /// A node that was just entered at a blocked place is blocked.
  private mutating func stopIfBlocked() {
    guard let record = journey.currentNode, let place = record.servicePointID,
      let block = journey.blocks.first(where: { $0.servicePointID == place })
    else { return }
    emit(.nodeBlocked(nodeID: record.nodeID, block))
  }

  private mutating func cancelTimer(of record: Journey.NodeRecord, unlessDue: Bool = false) {
    guard record.status == .active, let due = record.dueAt, !(unlessDue && due <= now) else { return }
    effects.append(.cancelTimer(timerID: record.timerID))
  }

  // MARK: Questions

  private func way(from id: String, _ outcome: String) -> JourneyGraph.Edge? {
    graph.edges(from: id).first { ($0.on.isEmpty || $0.on == outcome) && holds($0) }
  }

  private func holds(_ edge: JourneyGraph.Edge) -> Bool { journey.isTrue(JourneyGraph.Condition(rawValue: edge.when)) }

  /// The agent node whose recommendation the journey waits to see decided.
  private var awaitedDecision: String? {
    guard let record = journey.currentNode, record.status == .active, graph.node(record.nodeID)?.kind?.waitsForDecision == true
    else { return nil }
    return record.nodeID
  }

  private func current(
    _ id: String, takes kind: String, blockedAllowed: Bool = false, failedAllowed: Bool = false
  ) throws(JourneyRefusal) -> Journey.NodeRecord {
    guard let node = graph.node(id), let record = journey.record(id) else { throw .unknownNode(id) }
    guard journey.currentNodeID == id else { throw .nodeNotCurrent(id, current: journey.currentNodeID) }
    let isFit = record.status == .active || (blockedAllowed && record.status == .blocked) || (failedAllowed && record.status == .failed)
    guard node.kind?.name == kind, isFit else {
      throw .stepNotAllowed(nodeID: id, kind: node.kind?.name ?? "", status: record.status)
    }
    return record
  }

  /// Operators reach the node the traveller stands at, in whatever state it is.
  private func intervene(_ id: String) throws(JourneyRefusal) {
    guard graph.node(id) != nil else { throw .unknownNode(id) }
    guard journey.currentNodeID == id else { throw .nodeNotCurrent(id, current: journey.currentNodeID) }
  }
}

extension Journey.NodeRecord {
  /// The timer of this entry into the node.
  public var timerID: String { "\(nodeID)#\(visitNumber)" }
}
