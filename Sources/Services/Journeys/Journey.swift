/// The state of one journey: what the events so far made of it.
///
/// It changes by `apply` alone, so a journey rebuilt from its events is the journey that emitted them. Instants are nanoseconds
/// since 1970.
public struct Journey: Sendable, Hashable, Codable {
  public enum Status: String, Sendable, Codable, CaseIterable {
    /// Exits: running.
    case created
    /// Exits: completed, abandoned, aborted, failed.
    case running
    case completed, abandoned, aborted, failed

    public var isTerminal: Bool { self != .created && self != .running }
  }

  public enum NodeStatus: String, Sendable, Codable {
    /// Exits: active.
    case pending
    /// Exits: completed, skipped, failed, blocked.
    case active
    /// Exits: active (entered anew).
    case completed, skipped
    /// Exits: active (a redemption tried again, or entered anew), skipped, completed (forced).
    case failed
    /// Exits: active (unblocked, or led elsewhere), completed (forced), skipped.
    case blocked
  }

  public struct NodeRecord: Sendable, Hashable, Codable {
    public var nodeID: String
    public var status = NodeStatus.pending
    public var outcome: String?
    public var servicePointID: String?
    /// How often it was entered; with the node id it names the work it asks for.
    public var visitNumber = 0
    public var enteredAt: Int64?
    /// Of a timer.
    public var dueAt: Int64?
    /// It asked for work whose outcome has not come back.
    public var awaitsWork = false
  }

  public struct Block: Sendable, Hashable, Codable {
    public var servicePointID: String
    public var reason: String
    /// When it ends by itself; nil: when it is lifted.
    public var until: Int64?

    public init(servicePointID: String, reason: String, until: Int64? = nil) {
      self.servicePointID = servicePointID
      self.reason = reason
      self.until = until
    }
  }

  public private(set) var status = Status.created
  /// In the document's order.
  public private(set) var nodes: [NodeRecord]
  /// The node the traveller stands at: active, blocked or failed. A journey stands at one node.
  public private(set) var currentNodeID: String?
  /// Service points behind and ahead, in order.
  public private(set) var route: [String] = []
  /// The first stop of the route that is ahead.
  public private(set) var nextStop = 0
  /// The place last arrived at; nil again when a visit was skipped, so that nothing is redeemed where nobody was.
  public private(set) var currentServicePointID: String?
  public private(set) var visitedServicePointIDs: [String] = []
  public private(set) var blocks: [Block] = []
  /// What Trutta last said is left to redeem; nil before it said anything.
  public private(set) var tokensLeft: Int64?
  public private(set) var startedAt: Int64?
  public private(set) var endedAt: Int64?
  /// One more with every event that the log tells of.
  public private(set) var revision: UInt64 = 0

  /// A journey that has not started.
  public init(_ graph: JourneyGraph) { nodes = graph.nodes.map { NodeRecord(nodeID: $0.id) } }

  /// A journey as its events left it.
  public init(_ graph: JourneyGraph, replaying events: some Sequence<(event: JourneyEvent, at: Int64)>) {
    self.init(graph)
    for (event, at) in events { apply(event, graph, at: at) }
  }

  public func record(_ nodeID: String) -> NodeRecord? { nodes.first { $0.nodeID == nodeID } }
  public var currentNode: NodeRecord? { currentNodeID.flatMap(record) }
  public func isBlocked(_ servicePointID: String) -> Bool { blocks.contains { $0.servicePointID == servicePointID } }

  /// The next stop ahead that is not blocked.
  public var nextOpenStop: String? { nextOpenStopIndex.map { route[$0] } }
  private var nextOpenStopIndex: Int? { route.indices.dropFirst(nextStop).first { !isBlocked(route[$0]) } }

  func isTrue(_ condition: JourneyGraph.Condition?) -> Bool {
    switch condition {
    case nil: true
    case .routeHasMore: nextOpenStop != nil
    case .routeDone: nextOpenStop == nil
    case .tokensLeft: (tokensLeft ?? 1) > 0
    case .noTokensLeft: (tokensLeft ?? 1) <= 0
    }
  }

  // MARK: Events make state

  /// Takes an event over. Events are facts: nothing is checked here.
  mutating func apply(_ event: JourneyEvent, _ graph: JourneyGraph, at instant: Int64) {
    if event.isLogged { revision += 1 }
    switch event {
    case .started:
      status = .running
      startedAt = instant
    case .nodeEntered(let id, let place, let visit, let due):
      currentNodeID = id
      change(id, graph) {
        $0 = NodeRecord(
          nodeID: id, status: .active, servicePointID: place, visitNumber: visit, enteredAt: instant, dueAt: due)
      }
    case .workRequested(let id): change(id, graph) { $0.awaitsWork = true }
    case .nodeCompleted(let id, let outcome, let place, _):
      finish(id, graph, .completed, outcome)
      if case .visit(let fixed)? = graph.node(id)?.kind, let place {
        currentServicePointID = place
        visitedServicePointIDs.append(place)
        if fixed == nil { passStop(place) }
      }
    case .nodeSkipped(let id, _, _):
      let place = record(id)?.servicePointID
      finish(id, graph, .skipped, "skipped")
      if case .visit(let fixed)? = graph.node(id)?.kind {
        currentServicePointID = nil
        if fixed == nil, let place { passStop(place) }
      }
    case .nodeFailed(let id, _): finish(id, graph, .failed, "failed")
    case .nodeBlocked(let id, let block):
      blocks.removeAll { $0.servicePointID == block.servicePointID }
      blocks.append(block)
      if let id { change(id, graph) { $0.status = .blocked } }
    case .nodeUnblocked(let id, let place):
      blocks.removeAll { $0.servicePointID == place }
      if let id { lead(id, graph, to: place) }
    case .routeChanged(let route, _, _):
      self.route = Array(self.route.prefix(nextStop)) + route
      if let id = currentNodeID, case .visit(nil)? = graph.node(id)?.kind, let place = nextOpenStop { lead(id, graph, to: place) }
    case .tokensCounted(let left): tokensLeft = left
    case .choiceMade, .signalReceived, .timerFired: break
    case .completed: end(.completed, instant)
    case .abandoned: end(.abandoned, instant)
    case .aborted: end(.aborted, instant)
    case .failed: end(.failed, instant)
    }
  }

  private mutating func change(_ id: String, _ graph: JourneyGraph, _ body: (inout NodeRecord) -> Void) {
    if let position = graph.position(of: id) { body(&nodes[position]) }
  }

  private mutating func finish(_ id: String, _ graph: JourneyGraph, _ status: NodeStatus, _ outcome: String) {
    change(id, graph) {
      $0.status = status
      $0.outcome = outcome
      $0.awaitsWork = false
    }
  }

  /// A visit that stood, blocked or not, goes on to a place; a redeem stays where it is.
  private mutating func lead(_ id: String, _ graph: JourneyGraph, to place: String?) {
    change(id, graph) {
      guard $0.status == .active || $0.status == .blocked else { return }
      $0.status = .active
      $0.servicePointID = place
    }
  }

  private mutating func passStop(_ place: String) {
    if let index = route.indices.dropFirst(nextStop).first(where: { route[$0] == place }) { nextStop = index + 1 }
  }

  private mutating func end(_ status: Status, _ instant: Int64) {
    self.status = status
    endedAt = instant
    if status == .completed { currentNodeID = nil }
  }
}
