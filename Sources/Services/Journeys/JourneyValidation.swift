/// Something wrong with a journey document, and where.
public struct JourneyProblem: Sendable, Hashable, CustomStringConvertible {
  public enum Kind: Sendable, Hashable {
    case missing, duplicate, unknownReference, unreachable, noEnd, endlessCycle, invalid, tooMany
  }

  /// Where in the document, e.g. `edges[3].to`.
  public var path: String
  public var kind: Kind
  public var reason: String

  public var description: String { "\(path): \(reason)" }
}

extension JourneyGraph {
  /// All that is wrong with the document, in the document's order; empty means that it can be walked.
  ///
  /// - Parameters:
  ///   - servicePoints: those that exist; nil leaves references to them unchecked.
  ///   - tokens: those that exist; nil leaves references to them unchecked.
  public func problems(servicePoints: Set<String>? = nil, tokens: Set<String>? = nil) -> [JourneyProblem] {
    var check = Validation(graph: self, servicePoints: servicePoints, tokens: tokens)
    return check.run()
  }

  private struct Validation {
    let graph: JourneyGraph
    let servicePoints: Set<String>?
    let tokens: Set<String>?
    var problems: [JourneyProblem] = []

    mutating func run() -> [JourneyProblem] {
      if graph.nodes.count > JourneyLimits.nodes { report("nodes", .tooMany, "more than \(JourneyLimits.nodes) nodes") }
      if graph.edges.count > JourneyLimits.edges { report("edges", .tooMany, "more than \(JourneyLimits.edges) edges") }
      guard problems.isEmpty else { return problems }
      checkNodes()
      checkEdges()
      checkEntryPoints()
      checkReachability()
      checkCycles()
      return problems
    }

    mutating func report(_ path: String, _ kind: JourneyProblem.Kind, _ reason: String) {
      problems.append(JourneyProblem(path: path, kind: kind, reason: reason))
    }

    mutating func checkNodes() {
      if graph.nodes.isEmpty { report("nodes", .missing, "a journey needs nodes") }
      var seen: Set<String> = []
      for (index, node) in graph.nodes.enumerated() {
        let path = "nodes[\(index)]"
        if node.id.isEmpty { report("\(path).node_id", .missing, "every node needs an id") }
        if !seen.insert(node.id).inserted { report("\(path).node_id", .duplicate, "'\(node.id)' is used twice") }
        guard let kind = node.kind else {
          report(path, .missing, "'\(node.id)' has no kind")
          continue
        }
        checkKind(kind, "\(path).\(kind.name)")
      }
      if !graph.nodes.contains(where: { $0.kind == .end }) { report("nodes", .noEnd, "a journey needs an end") }
    }

    mutating func checkKind(_ kind: Kind, _ path: String) {
      switch kind {
      case .start, .end, .message: break
      case .visit(let id):
        if let id, servicePoints?.contains(id) == false {
          report("\(path).service_point_id", .unknownReference, "no service point '\(id)'")
        }
      case .redeem(let token, let quantity):
        if token.isEmpty {
          report("\(path).token_id", .missing, "names no token")
        } else if tokens?.contains(token) == false {
          report("\(path).token_id", .unknownReference, "no token '\(token)'")
        }
        if quantity < 1 { report("\(path).quantity", .invalid, "at least one") }
      case .choice(_, let options):
        if options.isEmpty { report("\(path).options", .missing, "a choice needs options") }
        if options.count > JourneyLimits.options { report("\(path).options", .tooMany, "more than \(JourneyLimits.options)") }
        for (index, option) in options.enumerated() {
          if option.isEmpty { report("\(path).options[\(index)]", .missing, "is empty") }
          if options[..<index].contains(option) { report("\(path).options[\(index)]", .duplicate, "'\(option)' is offered twice") }
        }
      case .agent(let type, let intent, _):
        if type.isEmpty { report("\(path).agent_type", .missing, "names no agent type") }
        if intent.isEmpty { report("\(path).intent", .missing, "names no intent") }
      case .timer(let after):
        if after <= 0 { report("\(path).after", .invalid, "must be longer than nothing") }
      }
    }

    mutating func checkEdges() {
      for (index, edge) in graph.edges.enumerated() {
        let path = "edges[\(index)]"
        if !edge.when.isEmpty, Condition(rawValue: edge.when) == nil {
          let known = Condition.allCases.map(\.rawValue).joined(separator: ", ")
          report("\(path).when", .unknownReference, "no condition '\(edge.when)'; there are \(known)")
        }
        if graph.node(edge.to) == nil { report("\(path).to", .unknownReference, "no node '\(edge.to)'") }
        guard let from = graph.node(edge.from) else {
          report("\(path).from", .unknownReference, "no node '\(edge.from)'")
          continue
        }
        guard let kind = from.kind else { continue }
        if kind == .end {
          report("\(path).from", .invalid, "nothing follows an end")
        } else if !edge.on.isEmpty, edge.on != "skipped", !edge.on.hasPrefix("signal:"), !kind.outcomes.contains(edge.on) {
          let known = (kind.outcomes.sorted() + ["skipped"]).joined(separator: ", ")
          report("\(path).on", .unknownReference, "'\(edge.from)' never ends with '\(edge.on)'; it ends with \(known)")
        }
      }
    }

    mutating func checkEntryPoints() {
      if graph.entryPoints.isEmpty { report("entry_points", .missing, "a journey needs an entry point") }
      var seen: Set<String> = []
      for (index, entry) in graph.entryPoints.enumerated() {
        let path = "entry_points[\(index)]"
        if entry.name.isEmpty { report("\(path).name", .missing, "every entry point needs a name") }
        if !seen.insert(entry.name).inserted { report("\(path).name", .duplicate, "'\(entry.name)' is used twice") }
        if graph.node(entry.nodeID) == nil { report("\(path).node_id", .unknownReference, "no node '\(entry.nodeID)'") }
      }
    }

    /// Every node can be reached from an entry point, and can reach an end.
    mutating func checkReachability() {
      let reached = closure(of: graph.entryPoints.map(\.nodeID)) { graph.edges(from: $0).map(\.to) }
      let incoming = Dictionary(grouping: graph.edges, by: \.to)
      let ending = closure(of: graph.nodes.filter { $0.kind == .end }.map(\.id)) { (incoming[$0] ?? []).map(\.from) }
      for (index, node) in graph.nodes.enumerated() where !node.id.isEmpty {
        if !reached.contains(node.id) {
          report("nodes[\(index)]", .unreachable, "'\(node.id)' can't be reached from an entry point")
        } else if !ending.contains(node.id) {
          report("nodes[\(index)]", .noEnd, "from '\(node.id)' no end can be reached")
        }
      }
    }

    func closure(of roots: [String], next: (String) -> [String]) -> Set<String> {
      var seen = Set(roots)
      var pending = roots
      while let id = pending.popLast() {
        for other in next(id) where seen.insert(other).inserted { pending.append(other) }
      }
      return seen
    }

    /// A cycle on which nothing waits would turn for ever. Only a start doesn't wait, and a redeem where nothing was visited.
    mutating func checkCycles() {
      func passes(_ id: String) -> Bool {
        switch graph.node(id)?.kind {
        case .start, .redeem: true
        default: false
        }
      }
      for (index, node) in graph.nodes.enumerated() where passes(node.id) {
        let around = closure(of: graph.edges(from: node.id).map(\.to).filter(passes)) { graph.edges(from: $0).map(\.to).filter(passes) }
        if around.contains(node.id) { report("nodes[\(index)]", .endlessCycle, "'\(node.id)' leads back to itself without a wait") }
      }
    }
  }
}
