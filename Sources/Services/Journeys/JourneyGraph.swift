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
      }
    }

    /// An agent whose recommendation must be decided on before the journey goes on.
    var waitsForDecision: Bool {
      if case .agent(_, _, let waits) = self { waits } else { false }
    }

    /// The outcomes it can end with, besides `skipped`; an edge for any other is a mistake.
    var outcomes: Set<String> {
      switch self {
      case .start, .visit, .timer, .message: ["completed"]
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

  /// A condition on the journey's state.
  public enum Condition: String, Sendable, Hashable, CaseIterable {
    case routeHasMore = "route_has_more"
    case routeDone = "route_done"
    case tokensLeft = "tokens_left"
    case noTokensLeft = "no_tokens_left"
  }

  /// Leads from a node that is done to the next. Of the edges that match, the first in the document is taken.
  public struct Edge: Sendable, Hashable {
    public var from: String
    public var to: String
    /// The outcome it is for; empty matches any. `signal:<name>` ends the node when that signal comes.
    public var on: String
    /// The raw name of a `Condition`; empty is true.
    public var when: String

    public init(from: String, to: String, on: String = "", when: String = "") {
      self.from = from
      self.to = to
      self.on = on
      self.when = when
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
  public let nodes: [Node]
  public let edges: [Edge]
  public let entryPoints: [EntryPoint]
  private let positions: [String: Int]
  private let outgoing: [String: [Edge]]

  public init(id: String, nodes: [Node], edges: [Edge], entryPoints: [EntryPoint]) {
    self.id = id
    self.nodes = nodes
    self.edges = edges
    self.entryPoints = entryPoints
    positions = Dictionary(nodes.enumerated().map { ($1.id, $0) }, uniquingKeysWith: { first, _ in first })
    outgoing = Dictionary(grouping: edges, by: \.from)
  }

  public func node(_ id: String) -> Node? { positions[id].map { nodes[$0] } }

  /// The node's position in the document.
  func position(of id: String) -> Int? { positions[id] }

  /// The edges that leave a node, in the document's order.
  public func edges(from id: String) -> [Edge] { outgoing[id] ?? [] }
}
