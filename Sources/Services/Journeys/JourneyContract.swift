import SpanwireSchema
import SpanwireServiceKit

/// The journey as the contract shows it, and the contract's documents as the machine walks them.
extension JourneyGraph {
  public init(_ document: JourneyDocument) {
    self.init(
      id: document.journeyDocID,
      nodes: document.nodes.map { Node(id: $0.nodeID, title: $0.title, kind: $0.kind.map(Kind.init)) },
      edges: document.edges.map { Edge(from: $0.from, to: $0.to, on: $0.on, when: $0.when) },
      entryPoints: document.entryPoints.map { EntryPoint(name: $0.name, nodeID: $0.nodeID) })
  }
}

extension JourneyGraph.Kind {
  init(_ kind: JourneyNode.Kind) {
    switch kind {
    case .start: self = .start
    case .visit(let visit): self = .visit(servicePointID: visit.servicePointID.isEmpty ? nil : visit.servicePointID)
    case .redeem(let redeem): self = .redeem(tokenID: redeem.tokenID, quantity: redeem.quantity == 0 ? 1 : redeem.quantity)
    case .choice(let choice): self = .choice(question: choice.question, options: choice.options)
    case .agent(let agent): self = .agent(type: agent.agentType, intent: agent.intent, waitForDecision: agent.waitForDecision)
    case .timer(let timer): self = .timer(afterNanoseconds: timer.after?.nanoseconds ?? 0)
    case .message(let message): self = .message(text: message.text)
    case .end: self = .end
    }
  }
}

extension Journey {
  /// The journey in the contract's words.
  func instance(_ origin: StartJourneyRequest, id: String, in graph: JourneyGraph) -> JourneyInstance {
    JourneyInstance(
      journeyInstanceID: id, tenantID: origin.tenantID, productRuntimeSessionID: origin.productRuntimeSessionID,
      journeyDocID: graph.id, state: status.contract, nodes: nodes.map { $0.contract(in: graph) }, route: route,
      nextStop: UInt32(nextStop), currentServicePointID: currentServicePointID ?? "", revision: revision,
      startedAt: startedAt.map { .init(nanosecondsSinceEpoch: $0) }, endedAt: endedAt.map { .init(nanosecondsSinceEpoch: $0) },
      blockedServicePointIds: blocks.map(\.servicePointID), visitedServicePointIds: visitedServicePointIDs)
  }
}

extension Journey.Status {
  var contract: JourneyState {
    switch self {
    case .created: .created
    case .running: .running
    case .completed: .completed
    case .abandoned: .abandoned
    case .aborted: .aborted
    case .failed: .failed
    }
  }
}

extension Journey.NodeRecord {
  func contract(in graph: JourneyGraph) -> NodeStatus {
    let kind = graph.node(nodeID)?.kind
    var node = NodeStatus(
      nodeID: nodeID, kind: kind?.name ?? "", state: status.contract, outcome: outcome ?? "", servicePointID: servicePointID ?? "",
      visitNumber: UInt32(visitNumber), enteredAt: enteredAt.map { .init(nanosecondsSinceEpoch: $0) },
      dueAt: dueAt.map { .init(nanosecondsSinceEpoch: $0) })
    switch kind {
    case .choice(let question, let options):
      node.text = question
      if status == .active { node.options = options }
    case .message(let text): node.text = text
    default: break
    }
    return node
  }
}

extension Journey.NodeStatus {
  var contract: NodeState {
    switch self {
    case .pending: .pending
    case .active: .active
    case .completed: .completed
    case .skipped: .skipped
    case .failed: .failed
    case .blocked: .blocked
    }
  }
}
