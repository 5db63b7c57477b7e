/// Something wrong with a journey document, and where.
public struct JourneyProblem: Sendable, Hashable, CustomStringConvertible {
  public enum Kind: Sendable, Hashable {
    case missing, duplicate, unknownReference, unreachable, noEnd, noWay, endlessCycle, invalid, tooMany
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

  struct Validation {
    let graph: JourneyGraph
    let servicePoints: Set<String>?
    let tokens: Set<String>?
    private(set) var problems: [JourneyProblem] = []

    init(graph: JourneyGraph, servicePoints: Set<String>?, tokens: Set<String>?) {
      self.graph = graph
      self.servicePoints = servicePoints
      self.tokens = tokens
    }

    mutating func run() -> [JourneyProblem] {
      if graph.nodes.count > JourneyLimits.nodes { report("nodes", .tooMany, "more than \(JourneyLimits.nodes) nodes") }
      if graph.edges.count > JourneyLimits.edges { report("edges", .tooMany, "more than \(JourneyLimits.edges) edges") }
      guard problems.isEmpty else { return problems }
      checkNodes()
      checkEdges()
      checkEntryPoints()
      checkReachability()
      checkWays()
      checkBranches()
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
        if node.id.isEmpty {
          report("\(path).node_id", .missing, "every node needs an id")
        } else if node.id.utf8.count > JourneyLimits.nodeIDBytes || !node.id.utf8.allSatisfy(Self.isIDByte) {
          report("\(path).node_id", .invalid, "must match [A-Za-z0-9._-]{1,\(JourneyLimits.nodeIDBytes)}")
        }
        text(node.title, "\(path).title")
        if !seen.insert(node.id).inserted { report("\(path).node_id", .duplicate, "'\(node.id)' is used twice") }
        guard let kind = node.kind else {
          report(path, .missing, "'\(node.id)' has no kind")
          continue
        }
        checkKind(kind, "\(path).\(kind.name)")
      }
      if !graph.nodes.contains(where: { $0.kind == .end }) { report("nodes", .noEnd, "a journey needs an end") }
    }

    private static func isIDByte(_ byte: UInt8) -> Bool {
      (65...90).contains(byte) || (97...122).contains(byte) || (48...57).contains(byte) || byte == 46 || byte == 95 || byte == 45
    }

    private mutating func text(_ text: String, _ path: String) {
      if text.utf8.count > JourneyLimits.documentTextBytes { report(path, .tooMany, "more than \(JourneyLimits.documentTextBytes) bytes") }
    }

    mutating func checkKind(_ kind: Kind, _ path: String) {
      switch kind {
      case .start, .end: break
      case .message(let message):
        if message.isEmpty { report("\(path).text", .missing, "says nothing") }
        text(message, "\(path).text")
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
      case .choice(let question, let options):
        text(question, "\(path).question")
        if options.isEmpty { report("\(path).options", .missing, "a choice needs options") }
        if options.count > JourneyLimits.options { report("\(path).options", .tooMany, "more than \(JourneyLimits.options)") }
        for (index, option) in options.enumerated() {
          if option.isEmpty { report("\(path).options[\(index)]", .missing, "is empty") }
          text(option, "\(path).options[\(index)]")
          if option == "skipped" || option.hasPrefix("signal:") {
            report("\(path).options[\(index)]", .invalid, "'\(option)' is an outcome of another kind")
          }
          if options[..<index].contains(option) { report("\(path).options[\(index)]", .duplicate, "'\(option)' is offered twice") }
        }
      case .agent(let type, let intent, _):
        if type.isEmpty { report("\(path).agent_type", .missing, "names no agent type") }
        if intent.isEmpty { report("\(path).intent", .missing, "names no intent") }
      case .timer(let after):
        if after <= 0 || after > JourneyLimits.longestTimer {
          report("\(path).after", .invalid, "must be longer than nothing and at most \(JourneyLimits.longestTimerDays) days")
        }
      case .split(let join):
        if join.isEmpty {
          report("\(path).join", .missing, "names no join")
        } else if let kind = graph.node(join)?.kind {
          if case .join = kind {} else { report("\(path).join", .invalid, "'\(join)' is a \(kind.name), no join") }
        } else {
          report("\(path).join", .unknownReference, "no node '\(join)'")
        }
      case .join(let needs):
        if needs < 0 { report("\(path).needs", .invalid, "must not be negative") }
      }
    }

    mutating func checkEdges() {
      for (index, edge) in graph.edges.enumerated() {
        let path = "edges[\(index)]"
        checkCondition(edge, "\(path).when")
        if graph.node(edge.to) == nil { report("\(path).to", .unknownReference, "no node '\(edge.to)'") }
        guard let from = graph.node(edge.from) else {
          report("\(path).from", .unknownReference, "no node '\(edge.from)'")
          continue
        }
        guard let kind = from.kind else { continue }
        if kind == .end {
          report("\(path).from", .invalid, "nothing follows an end")
        } else if edge.on == "signal:" {
          report("\(path).on", .missing, "names no signal")
        } else if edge.on.hasPrefix("signal:") {
          if kind.passes { report("\(path).on", .invalid, "'\(edge.from)' waits for no signal") }
        } else if !edge.on.isEmpty, edge.on != "skipped", !kind.outcomes.contains(edge.on) {
          let known = (kind.outcomes.sorted() + ["skipped"]).joined(separator: ", ")
          report("\(path).on", .unknownReference, "'\(edge.from)' never ends with '\(edge.on)'; it ends with \(known)")
        }
      }
    }

    private mutating func checkCondition(_ edge: Edge, _ path: String) {
      guard let condition = edge.condition else {
        return report(path, .unknownReference, "no condition '\(edge.when)'; there are \(JourneyCondition.grammar)")
      }
      for term in condition.terms {
        switch term.test {
        case .visited(let place) where servicePoints?.contains(place) == false:
          report(path, .unknownReference, "no service point '\(place)'")
        case .outcome(let id, let outcome):
          if let kind = graph.node(id)?.kind {
            if outcome != "skipped", !outcome.hasPrefix("signal:"), !kind.outcomes.contains(outcome) {
              report(path, .unknownReference, "'\(id)' never ends with '\(outcome)'")
            }
          } else {
            report(path, .unknownReference, "no node '\(id)'")
          }
        default: break
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
      let reached = JourneyGraph.closure(of: graph.entryPoints.map(\.nodeID)) { graph.edges(from: $0).map(\.to) }
      let incoming = Dictionary(grouping: graph.edges, by: \.to)
      let ending = JourneyGraph.closure(of: graph.nodes.filter { $0.kind == .end }.map(\.id)) { (incoming[$0] ?? []).map(\.from) }
      for (index, node) in graph.nodes.enumerated() where !node.id.isEmpty {
        if !reached.contains(node.id) {
          report("nodes[\(index)]", .unreachable, "'\(node.id)' can't be reached from an entry point")
        } else if !ending.contains(node.id) {
          report("nodes[\(index)]", .noEnd, "from '\(node.id)' no end can be reached")
        }
      }
    }

    /// A cycle on which nothing waits would turn for ever. A redeem doesn't wait where nothing was visited.
    mutating func checkCycles() {
      let passes = { [graph] (id: String) in graph.node(id)?.kind?.mayPass == true }
      for (index, node) in graph.nodes.enumerated() where passes(node.id) {
        let next = { [graph] (id: String) in graph.edges(from: id).map(\.to).filter(passes) }
        if JourneyGraph.closure(of: next(node.id), next: next).contains(node.id) {
          report("nodes[\(index)]", .endlessCycle, "'\(node.id)' leads back to itself without a wait")
        }
      }
    }
  }
}

extension JourneyGraph.Kind {
  /// It never waits for anything but other branches.
  var passes: Bool {
    switch self {
    case .start, .end, .split, .join: true
    default: false
    }
  }

  /// It may be passed without a wait.
  var mayPass: Bool {
    switch self {
    case .start, .split, .join, .redeem: true
    default: false
    }
  }
}
