/// One transition while it is made: what the commands come to, step by step.
struct JourneyWalk {
  let graph: JourneyGraph
  let now: Int64
  private(set) var journey: Journey
  private(set) var events: [JourneyEvent] = []
  var effects: [JourneyEffect] = []
  private var steps = 0

  init(graph: JourneyGraph, journey: Journey, now: Int64) {
    self.graph = graph
    self.journey = journey
    self.now = now
  }

  mutating func emit(_ event: JourneyEvent) {
    journey.apply(event, graph, at: now)
    events.append(event)
  }

  mutating func end(_ event: JourneyEvent) {
    for record in journey.standingRecords { cancelTimer(of: record) }
    emit(event)
  }

  // MARK: Leaving

  mutating func complete(_ id: String, _ outcome: String, forced: Intervention? = nil) throws(JourneyRefusal) {
    guard let record = journey.record(id) else { throw .unknownNode(id) }
    cancelTimer(of: record)
    emit(.nodeCompleted(nodeID: id, outcome: outcome, servicePointID: record.servicePointID, forced: forced))
    if forced != nil, way(from: id, outcome) == nil { throw .noWayOn(nodeID: id, outcome: outcome) }
    follow(id, outcome)
  }

  mutating func skip(_ id: String, reason: String, forced: Intervention?) throws(JourneyRefusal) {
    if let record = journey.record(id) { cancelTimer(of: record) }
    emit(.nodeSkipped(nodeID: id, reason: reason, forced: forced))
    guard wayPast(id) != nil else { throw .noWayOn(nodeID: id, outcome: "skipped") }
    follow(id, "skipped")
  }

  private mutating func follow(_ id: String, _ outcome: String) {
    if let edge = outcome == "skipped" ? wayPast(id) : way(from: id, outcome) {
      enter(edge.to, from: id)
    } else {
      end(.failed(nodeID: id, reason: "no edge leaves '\(id)' on '\(outcome)'"))
    }
  }

  // MARK: Entering

  mutating func enter(_ id: String, from: String?) {
    steps += 1
    guard let kind = graph.node(id)?.kind, let record = journey.record(id), steps <= JourneyLimits.automaticSteps else {
      return end(.failed(nodeID: id, reason: "more than \(JourneyLimits.automaticSteps) nodes passed without a wait"))
    }
    let visit = record.visitNumber + 1
    func entered(_ place: String? = nil, due: Int64? = nil) -> JourneyEvent {
      .nodeEntered(nodeID: id, from: from, servicePointID: place, visitNumber: visit, dueAt: due)
    }
    switch kind {
    case .start:
      emit(entered())
      pass(id)
      follow(id, "completed")
    case .visit(let fixed):
      emit(entered(fixed ?? journey.nextOpenStop))
      stopIfBlocked(id)
    case .redeem:
      emit(entered(journey.currentServicePointID))
      if journey.currentServicePointID == nil {
        emit(.nodeSkipped(nodeID: id, reason: "no place was visited", forced: nil))
        follow(id, "skipped")
      } else {
        stopIfBlocked(id)
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
    case .split:
      emit(entered())
      pass(id)
      fork(id)
    case .join:
      // Every branch enters it; what they come to is decided when all is said.
      let isWaiting = journey.stands(at: id)
      emit(.nodeEntered(nodeID: id, from: from, servicePointID: nil, visitNumber: isWaiting ? record.visitNumber : visit, dueAt: nil))
    case .end:
      emit(entered())
      pass(id)
      end(.completed(endNodeID: id))
    }
  }

  /// A node that doesn't wait is done as it is entered.
  private mutating func pass(_ id: String) {
    emit(.nodeCompleted(nodeID: id, outcome: "completed", servicePointID: nil, forced: nil))
  }

  /// A node that was just entered at a blocked place is blocked.
  private mutating func stopIfBlocked(_ id: String) {
    guard let block = journey.record(id)?.servicePointID.flatMap(journey.block(of:)) else { return }
    emit(.nodeBlocked(nodeID: id, block))
  }

  // MARK: Branches

  private mutating func fork(_ id: String) {
    let branches = graph.edges(from: id).filter { ($0.on.isEmpty || $0.on == "completed") && holds($0) }
    if branches.isEmpty { return end(.failed(nodeID: id, reason: "no branch of '\(id)' is open")) }
    for edge in branches where journey.status == .running { enter(edge.to, from: id) }
  }

  /// Joins whose branches have come go on, after all that a command led to.
  mutating func settleJoins() {
    while journey.status == .running, let ready = journey.standing.first(where: isReady) { bringTogether(ready, forced: nil) }
  }

  private func isReady(_ id: String) -> Bool {
    guard case .join(let needs)? = graph.node(id)?.kind, let parallel = graph.parallel(joinedBy: id),
      let come = journey.record(id)?.branches,
      let opened = journey.record(parallel.split)?.branches
    else { return false }
    if come >= opened { return true }
    // What was asked of Trutta is a fact to come: its branch is not cut off.
    let redeems = journey.standingRecords.contains { record in
      guard parallel.nodes.contains(record.nodeID), record.awaitsWork, case .redeem? = graph.node(record.nodeID)?.kind else { return false }
      return true
    }
    return needs > 0 && come >= needs && !redeems
  }

  /// The join goes on; the branches that have not come are cut off.
  mutating func bringTogether(_ id: String, forced: Intervention?) {
    let between = graph.parallel(joinedBy: id)?.nodes ?? []
    for record in journey.standingRecords where between.contains(record.nodeID) {
      cancelTimer(of: record)
      emit(.nodeSkipped(nodeID: record.nodeID, reason: forced?.reason ?? "'\(id)' waits no longer", forced: forced))
    }
    emit(.nodeCompleted(nodeID: id, outcome: "completed", servicePointID: nil, forced: forced))
    follow(id, "completed")
  }

  // MARK: Questions

  func way(from id: String, _ outcome: String) -> JourneyGraph.Edge? {
    graph.edges(from: id).first { ($0.on.isEmpty || $0.on == outcome) && holds($0) }
  }

  /// The way from a node that was skipped: an edge of its own; else on as if it were done; else the first that is open at all.
  private func wayPast(_ id: String) -> JourneyGraph.Edge? {
    way(from: id, "skipped") ?? way(from: id, "completed") ?? graph.edges(from: id).first { holds($0) }
  }

  func holds(_ edge: JourneyGraph.Edge) -> Bool { edge.condition.map(journey.satisfies) ?? false }

  /// The agent node whose recommendation the journey waits to see decided.
  var awaitedDecision: String? {
    journey.standing.first { journey.record($0)?.status == .active && graph.node($0)?.kind?.waitsForDecision == true }
  }

  /// A timer that is due fires by itself, and finds its node left.
  private mutating func cancelTimer(of record: Journey.NodeRecord) {
    guard record.status == .active, let due = record.dueAt, due > now else { return }
    effects.append(.cancelTimer(timerID: record.timerID))
  }
}
