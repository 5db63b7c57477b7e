/// A journey document: what a journey walks. Frozen when a journey starts.
///
/// It may be built from anything that was written; `problems(…)` lists all that is wrong with it, and only a graph without problems
/// may be walked.
public struct JourneyGraph: Sendable, Hashable {
  public enum Kind: Sendable, Hashable {
    case start
    /// Waits until the traveller has arrived; without a service point of its own at the next stop of the route.
    case visit(servicePointID: String?)
    /// Redeems at the place last visited.
    case redeem(tokenID: String, quantity: Int64)
    case choice(question: String, options: [String])
    /// Asks an agent; with `waitForDecision` until its recommendation was accepted or declined, else until it answered.
    case agent(type: String, intent: String, waitForDecision: Bool)
    case timer(afterNanoseconds: Int64)
    /// Waits until it was read.
    case message(text: String)
    case end
    /// Goes on by all edges that match; each opens a branch that leads to the join.
    case split(join: String)
    /// Waits for that many of its split's branches; 0: for all that were opened.
    case join(needs: Int)

    /// The name of the kind in events and documents.
    public var name: String {
      switch self {
      case .start: "start"
      case .visit: "visit"
      case .redeem: "redeem"
      case .choice: "choice"
      case .agent: "agent"
      case .timer: "timer"
      case .message: "message"
      case .end: "end"
      case .split: "split"
      case .join: "join"
      }
    }

    /// An agent whose recommendation must be decided on before the journey goes on.
    var waitsForDecision: Bool {
      if case .agent(_, _, let waits) = self { waits } else { false }
    }

    /// The outcomes it can end with, besides `skipped`; an edge for any other is a mistake.
    var outcomes: Set<String> {
      switch self {
      case .start, .visit, .timer, .message, .split, .join: ["completed"]
      case .redeem: ["completed", "failed"]
      case .choice(_, let options): Set(options)
      case .agent(_, _, let waits): waits ? ["accepted", "declined", "failed"] : ["completed", "failed"]
      case .end: []
      }
    }
  }

  public struct Node: Sendable, Hashable {
    public var id: String
    public var title: String
    /// Nil when the document gives none, which is a problem.
    public var kind: Kind?

    public init(id: String, title: String = "", kind: Kind?) {
      self.id = id
      self.title = title
      self.kind = kind
    }
  }

  /// Leads from a node that is done to the next. Of the edges that match, the first in the document is taken.
  public struct Edge: Sendable, Hashable {
    public var from: String
    public var to: String
    /// The outcome it is for; empty matches any. `signal:<name>` ends the node when that signal comes.
    public var on: String
    /// A `JourneyCondition` as it was written; empty is true.
    public let when: String
    /// Nil when it can't be read, which is a problem.
    let condition: JourneyCondition?

    public init(from: String, to: String, on: String = "", when: String = "") {
      self.from = from
      self.to = to
      self.on = on
      self.when = when
      condition = JourneyCondition(when)
    }
  }

  public struct EntryPoint: Sendable, Hashable {
    public var name: String
    public var nodeID: String

    public init(name: String, nodeID: String) {
      self.name = name
      self.nodeID = nodeID
    }
  }

  public let id: String
  public let version: String
  public let nodes: [Node]
  public let edges: [Edge]
  public let entryPoints: [EntryPoint]
  private let positions: [String: Int]
  private let outgoing: [String: [Edge]]
  /// By the join's id.
  private let parallels: [String: Parallel]

  /// What lies between a split and its join.
  struct Parallel: Sendable, Hashable {
    var split: String
    var nodes: Set<String>
  }

  public init(id: String, version: String = "", nodes: [Node], edges: [Edge], entryPoints: [EntryPoint]) {
    self.id = id
    self.version = version
    self.nodes = nodes
    self.edges = edges
    self.entryPoints = entryPoints
    positions = Dictionary(nodes.enumerated().map { ($1.id, $0) }, uniquingKeysWith: { first, _ in first })
    let outgoing = Dictionary(grouping: edges, by: \.from)
    self.outgoing = outgoing
    var parallels: [String: Parallel] = [:]
    for node in nodes {
      guard case .split(let join)? = node.kind else { continue }
      let between = Self.closure(of: outgoing[node.id, default: []].map(\.to).filter { $0 != join }) { id in
        outgoing[id, default: []].map(\.to).filter { $0 != join }
      }
      parallels[join] = Parallel(split: node.id, nodes: between)
    }
    self.parallels = parallels
  }

  public func node(_ id: String) -> Node? { positions[id].map { nodes[$0] } }

  /// The node's position in the document.
  func position(of id: String) -> Int? { positions[id] }

  /// The edges that leave a node, in the document's order.
  public func edges(from id: String) -> [Edge] { outgoing[id] ?? [] }

  /// The branches that a join brings together; nil for a node that is no split's join.
  func parallel(joinedBy id: String) -> Parallel? { parallels[id] }

  /// Whether a journey may come to a place without a route: a visit of the document is for it.
  func visits(_ servicePointID: String) -> Bool { nodes.contains { $0.kind == .visit(servicePointID: servicePointID) } }

  /// What can be reached from the roots, which are part of it.
  static func closure(of roots: [String], next: (String) -> [String]) -> Set<String> {
    var seen = Set(roots)
    var pending = roots
    while let id = pending.popLast() {
      for other in next(id) where seen.insert(other).inserted { pending.append(other) }
    }
    return seen
  }
}
