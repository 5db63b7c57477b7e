/// The state of one journey: what the events so far made of it.
///
/// It changes by `apply` alone, so a journey rebuilt from its events is the journey that emitted them. Instants are nanoseconds
/// since 1970.
public struct Journey: Sendable, Hashable {
  public enum Status: String, Sendable, CaseIterable {
    /// Exits: running.
    case created
    /// Exits: completed, abandoned, aborted, failed.
    case running
    case completed, abandoned, aborted, failed

    public var isTerminal: Bool { self != .created && self != .running }
  }

  public enum NodeStatus: String, Sendable {
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

  public struct NodeRecord: Sendable, Hashable {
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
    /// Why it was skipped, failed or is blocked.
    public var reason = ""
    /// Of a split: the branches it opened. Of a join: those that have come.
    public var branches = 0
  }

  public struct Block: Sendable, Hashable {
    public var servicePointID: String
    public var reason: String
    /// When it is lifted at the latest; nil: not before an operator does.
    public var until: Int64?

    public init(servicePointID: String, reason: String, until: Int64? = nil) {
      self.servicePointID = servicePointID
      self.reason = reason
      self.until = until
    }
  }

  /// Room that the city was asked to keep at a place that takes only so many.
  public struct Room: Sendable, Hashable {
    public var servicePointID: String
    /// Tells it from every other of the journey.
    public var number: UInt64
    /// From when the traveller is expected to when she will have gone.
    public var startsAt: Int64
    public var expiresAt: Int64
  }

  public struct Signal: Sendable, Hashable {
    public var name: String
    public var value: String
  }

  public internal(set) var status = Status.created
  /// In the document's order.
  public internal(set) var nodes: [NodeRecord]
  /// The nodes the traveller stands at, active, blocked or failed, in the order in which she came to them: one, or one of every branch.
  public internal(set) var standing: [String] = []
  /// Service points behind and ahead, in order.
  public internal(set) var route: [String] = []
  /// The first stop of the route that is ahead.
  public internal(set) var nextStop = 0
  /// The place last arrived at; nil again when a visit was skipped, so that nothing is redeemed where nobody was.
  public internal(set) var currentServicePointID: String?
  public internal(set) var visitedServicePointIDs: [String] = []
  /// Of places the journey may come to.
  public internal(set) var blocks: [Block] = []
  /// What Trutta last said is left to redeem; nil before it said anything.
  public internal(set) var tokensLeft: Int64?
  /// What is kept for her, or was asked for.
  public internal(set) var rooms: [Room] = []
  /// Those that came, each with its last value.
  public internal(set) var signals: [Signal] = []
  /// The traveller's.
  public internal(set) var segments: [String] = []
  public internal(set) var startedAt: Int64?
  public internal(set) var endedAt: Int64?
  /// One more with every event that the log tells of.
  public internal(set) var revision: UInt64 = 0

  /// A journey that has not started.
  public init(_ graph: JourneyGraph) { nodes = graph.nodes.map { NodeRecord(nodeID: $0.id) } }

  /// A journey as its events left it.
  public init(_ graph: JourneyGraph, replaying events: some Sequence<(event: JourneyEvent, at: Int64)>) {
    self.init(graph)
    for (event, at) in events { apply(event, graph, at: at) }
  }

  public func record(_ nodeID: String) -> NodeRecord? { nodes.first { $0.nodeID == nodeID } }
  public func stands(at nodeID: String) -> Bool { standing.contains(nodeID) }
  /// The records of the nodes where the traveller stands.
  public var standingRecords: [NodeRecord] { standing.compactMap(record) }
  public func block(of servicePointID: String) -> Block? { blocks.first { $0.servicePointID == servicePointID } }

  /// The next stop ahead that is not blocked.
  public var nextOpenStop: String? { route.dropFirst(nextStop).first { block(of: $0) == nil } }

  /// Whether the journey may come to a place: she stands there, or it is ahead on the route or in the document.
  public func concerns(_ place: String, in graph: JourneyGraph) -> Bool {
    route.dropFirst(nextStop).contains(place) || graph.visits(place) || standingRecords.contains { $0.servicePointID == place }
  }

  // MARK: Events make state

  /// Takes an event over. Events are facts: nothing is checked here.
  mutating func apply(_ event: JourneyEvent, _ graph: JourneyGraph, at instant: Int64) {
    if event.isLogged { revision += 1 }
    switch event {
    case .started(_, let segments):
      status = .running
      startedAt = instant
      self.segments = segments
    case .nodeEntered(let id, let from, let place, let visit, let due):
      enter(id, from: from, graph) {
        $0 = NodeRecord(
          nodeID: id, status: .active, servicePointID: place, visitNumber: visit, enteredAt: instant, dueAt: due,
          branches: visit == $0.visitNumber ? $0.branches : 0)
      }
    case .workRequested(let id): change(id, graph) { $0.awaitsWork = true }
    case .workAnswered(let id): change(id, graph) { $0.awaitsWork = false }
    case .nodeCompleted(let id, let outcome, let place, _):
      finish(id, graph, .completed, outcome)
      if let parallel = graph.parallel(joinedBy: id) { standing.removeAll { parallel.nodes.contains($0) } }
      if case .visit(let fixed)? = graph.node(id)?.kind, let place {
        currentServicePointID = place
        visitedServicePointIDs.append(place)
        if fixed == nil { passStop(place) }
      }
    case .nodeSkipped(let id, let reason, _):
      let place = record(id)?.servicePointID
      finish(id, graph, .skipped, "skipped", reason)
      if case .visit(let fixed)? = graph.node(id)?.kind {
        currentServicePointID = nil
        if fixed == nil, let place { passStop(place) }
      }
    case .nodeFailed(let id, let reason): finish(id, graph, .failed, "failed", reason)
    case .nodeBlocked(let id, let block):
      blocks.removeAll { $0.servicePointID == block.servicePointID }
      blocks.append(block)
      if let id {
        change(id, graph) {
          $0.status = .blocked
          $0.reason = block.reason
        }
      }
    case .nodeUnblocked(let id, let place):
      blocks.removeAll { $0.servicePointID == place }
      if let id { lead(id, graph, to: place) }
    case .routeChanged(let route, _, _):
      self.route = Array(self.route.prefix(nextStop)) + route
      for id in standing where graph.node(id)?.kind == .visit(servicePointID: nil) {
        if let place = nextOpenStop { lead(id, graph, to: place) }
      }
    case .tokensCounted(let left): tokensLeft = left
    case .roomAsked(let room): rooms.append(room)
    case .roomEnded(let number): rooms.removeAll { $0.number == number }
    case .signalReceived(let name, let value):
      signals.removeAll { $0.name == name }
      signals.append(Signal(name: name, value: value))
    case .choiceMade, .timerFired: break
    case .completed: end(.completed, instant)
    case .abandoned: end(.abandoned, instant)
    case .aborted: end(.aborted, instant)
    case .failed: end(.failed, instant)
    }
  }

  private mutating func change(_ id: String, _ graph: JourneyGraph, _ body: (inout NodeRecord) -> Void) {
    if let position = graph.position(of: id) { body(&nodes[position]) }
  }

  /// From one node to the next. A split is left by all its branches, a join entered by each that comes.
  private mutating func enter(_ id: String, from: String?, _ graph: JourneyGraph, _ body: (inout NodeRecord) -> Void) {
    change(id, graph, body)
    if case .join? = graph.node(id)?.kind { change(id, graph) { $0.branches += 1 } }
    if let from {
      standing.removeAll { $0 == from }
      if case .split? = graph.node(from)?.kind { change(from, graph) { $0.branches += 1 } }
    }
    if !stands(at: id) { standing.append(id) }
  }

  private mutating func finish(_ id: String, _ graph: JourneyGraph, _ status: NodeStatus, _ outcome: String, _ reason: String = "") {
    change(id, graph) {
      $0.status = status
      $0.outcome = outcome
      $0.awaitsWork = false
      $0.reason = reason
    }
  }

  /// A visit that stood, blocked or not, goes on to a place; a redeem stays where it is.
  private mutating func lead(_ id: String, _ graph: JourneyGraph, to place: String?) {
    change(id, graph) {
      guard $0.status == .active || $0.status == .blocked else { return }
      $0.status = .active
      $0.servicePointID = place
      $0.reason = ""
    }
  }

  private mutating func passStop(_ place: String) {
    if let index = route.indices.dropFirst(nextStop).first(where: { route[$0] == place }) { nextStop = index + 1 }
  }

  private mutating func end(_ status: Status, _ instant: Int64) {
    self.status = status
    endedAt = instant
    if status == .completed { standing = [] }
  }
}
