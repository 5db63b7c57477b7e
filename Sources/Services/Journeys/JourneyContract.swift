import SpanwireSchema
import SpanwireServiceKit

/// The contract's documents as the machine walks them.
extension JourneyGraph {
  public init(_ document: JourneyDocument) {
    self.init(
      id: document.journeyDocID, version: document.version,
      nodes: document.nodes.map { Node(id: $0.nodeID, title: $0.title, kind: $0.kind.map(Kind.init)) },
      edges: document.edges.map { Edge(from: $0.from, to: $0.to, on: $0.on, when: $0.when) },
      entryPoints: document.entryPoints.map { EntryPoint(name: $0.name, nodeID: $0.nodeID) })
  }
}

extension JourneyGraph.Kind {
  init(_ kind: JourneyNode.Kind) {
    switch kind {
    case .start: self = .start
    case .visit(let visit): self = .visit(servicePointID: visit.servicePointID.nonEmpty)
    case .redeem(let redeem): self = .redeem(tokenID: redeem.tokenID, quantity: redeem.quantity == 0 ? 1 : redeem.quantity)
    case .choice(let choice): self = .choice(question: choice.question, options: choice.options)
    case .agent(let agent): self = .agent(type: agent.agentType, intent: agent.intent, waitForDecision: agent.waitForDecision)
    case .timer(let timer): self = .timer(afterNanoseconds: timer.after?.nanoseconds ?? 0)
    case .message(let message): self = .message(text: message.text)
    case .end: self = .end
    case .split(let split): self = .split(join: split.join)
    case .join(let join): self = .join(needs: Int(join.needs))
    }
  }
}

extension JourneyRow {
  /// The journey in the contract's words, without what its document says anyway: as it is stored.
  var stored: JourneyInstance {
    JourneyInstance(
      journeyInstanceID: id, tenantID: origin.tenantID, productRuntimeSessionID: origin.productRuntimeSessionID,
      journeyDocID: origin.journeyDocID, state: journey.status.contract,
      nodes: journey.nodes.filter { $0.status != .pending }.map(\.contract), route: journey.route, nextStop: UInt32(journey.nextStop),
      currentServicePointID: journey.currentServicePointID ?? "", revision: journey.revision,
      startedAt: journey.startedAt.map { .init(nanosecondsSinceEpoch: $0) },
      endedAt: journey.endedAt.map { .init(nanosecondsSinceEpoch: $0) }, blocks: journey.blocks.map(\.contract),
      visitedServicePointIds: journey.visitedServicePointIDs, productVersionID: origin.productVersionID,
      runtimeSnapshotRef: origin.runtimeSnapshotRef, marketCode: origin.marketCode, userID: origin.userID, segments: journey.segments,
      entitlementIds: origin.entitlementIds, standingNodeIds: journey.standing, tokensLeft: journey.tokensLeft,
      signals: journey.signals.map { SpanwireSchema.Signal(name: $0.name, value: $0.value) }, rooms: journey.rooms.map(\.contract))
  }

  /// The journey as the contract shows it.
  func instance(in graph: JourneyGraph) -> JourneyInstance {
    var instance = stored
    instance.journeyDocVersion = graph.version
    instance.nodes = zip(graph.nodes, journey.nodes).map { node, record in
      var status = record.contract
      status.kind = node.kind?.name ?? ""
      switch node.kind {
      case .choice(let question, let options):
        status.text = question
        if record.status == .active { status.options = options }
      case .message(let text): status.text = text
      default: break
      }
      return status
    }
    return instance
  }

  /// A journey as it was stored.
  init(_ stored: JourneyInstance, in graph: JourneyGraph) {
    id = stored.journeyInstanceID
    origin = StartJourneyRequest(
      tenantID: stored.tenantID, productRuntimeSessionID: stored.productRuntimeSessionID, productVersionID: stored.productVersionID,
      journeyDocID: stored.journeyDocID, runtimeSnapshotRef: stored.runtimeSnapshotRef, userID: stored.userID, segments: stored.segments,
      marketCode: stored.marketCode, entitlementIds: stored.entitlementIds)
    var journey = Journey(graph)
    journey.status = Journey.Status(stored.state)
    for node in stored.nodes {
      if let position = graph.position(of: node.nodeID) { journey.nodes[position] = Journey.NodeRecord(node) }
    }
    journey.standing = stored.standingNodeIds
    journey.route = stored.route
    journey.nextStop = Int(stored.nextStop)
    journey.currentServicePointID = stored.currentServicePointID.nonEmpty
    journey.visitedServicePointIDs = stored.visitedServicePointIds
    journey.blocks = stored.blocks.map(Journey.Block.init)
    journey.tokensLeft = stored.tokensLeft
    journey.signals = stored.signals.map { Journey.Signal(name: $0.name, value: $0.value) }
    journey.rooms = stored.rooms.map(Journey.Room.init)
    journey.segments = stored.segments
    journey.startedAt = stored.startedAt?.nanosecondsSinceEpoch
    journey.endedAt = stored.endedAt?.nanosecondsSinceEpoch
    journey.revision = stored.revision
    self.journey = journey
  }
}

extension Journey.Block {
  var contract: PlaceBlock {
    PlaceBlock(servicePointID: servicePointID, reason: reason, until: until.map { .init(nanosecondsSinceEpoch: $0) })
  }

  init(_ block: PlaceBlock) {
    self.init(servicePointID: block.servicePointID, reason: block.reason, until: block.until?.nanosecondsSinceEpoch)
  }
}

extension Journey.Room {
  var contract: KeptRoom {
    KeptRoom(
      servicePointID: servicePointID, number: number, startsAt: .init(nanosecondsSinceEpoch: startsAt),
      expiresAt: .init(nanosecondsSinceEpoch: expiresAt))
  }

  init(_ room: KeptRoom) {
    self.init(
      servicePointID: room.servicePointID, number: room.number, startsAt: room.startsAt?.nanosecondsSinceEpoch ?? 0,
      expiresAt: room.expiresAt?.nanosecondsSinceEpoch ?? 0)
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

  init(_ state: JourneyState) {
    switch state {
    case .running: self = .running
    case .completed: self = .completed
    case .abandoned: self = .abandoned
    case .aborted: self = .aborted
    case .failed: self = .failed
    case .created, .unspecified, .unrecognized: self = .created
    }
  }
}

extension Journey.NodeRecord {
  var contract: NodeStatus {
    NodeStatus(
      nodeID: nodeID, state: status.contract, outcome: outcome ?? "", servicePointID: servicePointID ?? "",
      visitNumber: UInt32(visitNumber), enteredAt: enteredAt.map { .init(nanosecondsSinceEpoch: $0) },
      dueAt: dueAt.map { .init(nanosecondsSinceEpoch: $0) }, awaitsWork: awaitsWork, reason: reason, branches: UInt32(branches))
  }

  init(_ node: NodeStatus) {
    self.init(
      nodeID: node.nodeID, status: Journey.NodeStatus(node.state), outcome: node.outcome.nonEmpty,
      servicePointID: node.servicePointID.nonEmpty, visitNumber: Int(node.visitNumber), enteredAt: node.enteredAt?.nanosecondsSinceEpoch,
      dueAt: node.dueAt?.nanosecondsSinceEpoch, awaitsWork: node.awaitsWork, reason: node.reason, branches: Int(node.branches))
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

  init(_ state: NodeState) {
    switch state {
    case .active: self = .active
    case .completed: self = .completed
    case .skipped: self = .skipped
    case .failed: self = .failed
    case .blocked: self = .blocked
    case .pending, .unspecified, .unrecognized: self = .pending
    }
  }
}
