extension JourneyGraph.Validation {
  typealias Edge = JourneyGraph.Edge

  /// Whatever a node ends with, there is a way on; and no edge stands behind one that takes all that it is for.
  mutating func checkWays() {
    for (index, edge) in graph.edges.enumerated() {
      if case .split? = graph.node(edge.from)?.kind { continue }
      let before = graph.edges.enumerated().prefix(index).first { _, other in
        guard other.from == edge.from, other.on.isEmpty || other.on == edge.on else { return false }
        return other.when.isEmpty || other.when == edge.when
      }
      if let before { report("edges[\(index)]", .unreachable, "is never taken: edges[\(before.offset)] is for the same") }
    }
    for (index, node) in graph.nodes.enumerated() {
      guard let kind = node.kind, graph.position(of: node.id) == index else { continue }
      if case .split = kind {
        let isSure = graph.edges(from: node.id).contains { $0.when.isEmpty && ($0.on.isEmpty || $0.on == "completed") }
        if !isSure { report("nodes[\(index)]", .noWay, "'\(node.id)' may open no branch: one needs to be without a condition") }
        continue
      }
      // A redemption that failed may be tried again, and an agent that failed fails the journey, unless an edge is for it.
      for outcome in kind.outcomes.sorted() where outcome != "failed" {
        let edges = graph.edges(from: node.id).filter { $0.on.isEmpty || $0.on == outcome }
        if !areExhaustive(edges) { report("nodes[\(index)]", .noWay, "'\(node.id)' may end with '\(outcome)' where no edge is for it") }
      }
    }
  }

  /// One of them is always open: one has no condition, or two have contrary ones.
  private func areExhaustive(_ edges: [Edge]) -> Bool {
    edges.enumerated().contains { index, edge in
      guard let condition = edge.condition else { return true }  // told of already
      return edge.when.isEmpty || edges[..<index].contains { $0.condition?.excludesNothing(with: condition) == true }
    }
  }

  /// Branches are closed: entered at their split, left at their join, and no node belongs to two.
  mutating func checkBranches() {
    var splitOf: [String: String] = [:]
    for (index, node) in graph.nodes.enumerated() {
      guard case .split(let join)? = node.kind, case .join(let needs)? = graph.node(join)?.kind else { continue }
      let path = "nodes[\(index)].split"
      if let other = splitOf.updateValue(node.id, forKey: join) {
        report("\(path).join", .duplicate, "'\(join)' is the join of '\(other)' already")
        continue
      }
      checkBranches(of: node.id, join, needs: needs, path)
    }
    for (index, node) in graph.nodes.enumerated() {
      guard case .join? = node.kind, splitOf[node.id] == nil else { continue }
      report("nodes[\(index)].join", .missing, "no split names '\(node.id)'")
    }
  }

  private mutating func checkBranches(of split: String, _ join: String, needs: Int, _ path: String) {
    let heads = graph.edges(from: split).map(\.to)
    if heads.count < 2 { report(path, .missing, "a split needs two branches") }
    if needs > heads.count { report("\(path).join", .tooMany, "'\(join)' needs \(needs) branches of \(heads.count)") }
    if heads.contains(join) { report(path, .invalid, "a branch needs a node before its join") }
    let next = { [graph] (id: String) in graph.edges(from: id).map(\.to).filter { $0 != join } }
    let branches = heads.filter { $0 != join }.map { JourneyGraph.closure(of: [$0], next: next) }
    let all = branches.reduce(into: Set<String>()) { $0.formUnion($1) }
    for (index, node) in graph.nodes.enumerated() where all.contains(node.id) {
      let place = "nodes[\(index)]"
      if node.id == split {
        report(place, .invalid, "'\(split)' is entered again before its join")
        continue
      }
      if branches.count(where: { $0.contains(node.id) }) > 1 { report(place, .invalid, "'\(node.id)' is on two branches of '\(split)'") }
      if case .end? = node.kind { report(place, .invalid, "a branch of '\(split)' ends before its join") }
      if case .split(let inner)? = node.kind, !all.contains(inner) {
        report(place, .invalid, "'\(node.id)' joins outside of its branch of '\(split)'")
      }
    }
    if branches.count(where: walksRoute) > 1 {
      report(path, .invalid, "two branches walk the route, which has one next stop")
    }
    for (index, edge) in graph.edges.enumerated() {
      if all.contains(edge.to), !all.contains(edge.from), edge.from != split {
        report("edges[\(index)].to", .invalid, "'\(edge.to)' is on a branch of '\(split)', and entered from outside")
      }
      if edge.to == join, !all.contains(edge.from), edge.from != split {
        report("edges[\(index)].to", .invalid, "'\(join)' brings together the branches of '\(split)', and '\(edge.from)' is on none")
      }
    }
    for (index, entry) in graph.entryPoints.enumerated() where all.contains(entry.nodeID) || entry.nodeID == join {
      report("entry_points[\(index)].node_id", .invalid, "'\(entry.nodeID)' is on a branch of '\(split)'")
    }
  }

  private func walksRoute(_ branch: Set<String>) -> Bool { branch.contains { graph.node($0)?.kind == .visit(servicePointID: nil) } }
}
