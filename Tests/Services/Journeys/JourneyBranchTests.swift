import Testing

@testable import SpanwireJourneys

/// Coffee while the luggage is brought: two branches, and what joins them.
func parallelDay(needs: Int = 0) -> JourneyGraph {
  JourneyGraph(
    id: "PARALLEL",
    nodes: [
      .init(id: "start", kind: .start), .init(id: "both", kind: .split(join: "together")),
      .init(id: "visit", kind: .visit(servicePointID: nil)), .init(id: "redeem", kind: .redeem(tokenID: "T", quantity: 1)),
      .init(id: "bags", kind: .timer(afterNanoseconds: 100)), .init(id: "tell", kind: .message(text: "Your bags are there.")),
      .init(id: "guide", kind: .agent(type: "journey_guide", intent: "explain_limits", waitForDecision: false)),
      .init(id: "together", kind: .join(needs: needs)), .init(id: "goodbye", kind: .message(text: "Bye.")),
      .init(id: "end", kind: .end),
    ],
    edges: [
      .init(from: "start", to: "both"),
      .init(from: "both", to: "visit"), .init(from: "both", to: "bags"), .init(from: "both", to: "guide", when: "segment:tourist"),
      .init(from: "visit", to: "redeem"), .init(from: "redeem", to: "together", on: "completed"),
      .init(from: "bags", to: "tell"), .init(from: "tell", to: "together"), .init(from: "guide", to: "together"),
      .init(from: "together", to: "goodbye"), .init(from: "goodbye", to: "end"),
    ],
    entryPoints: [.init(name: "start", nodeID: "start")])
}

@Suite("Branches")
struct JourneyBranchTests {
  static func begun(needs: Int = 0, segments: [String] = []) throws -> Walker {
    var walker = Walker(parallelDay(needs: needs))
    try walker.send(.start(entryPoint: "start", tokensLeft: 1, segments: segments))
    try walker.send(.changeRoute(servicePointIDs: ["A", "B"], proposalID: nil, reason: ""))
    return walker
  }

  @Test("Branches are walked at the same time, and the join waits for all that were opened")
  func all() throws {
    #expect(parallelDay().problems().isEmpty)
    var walker = try Self.begun()
    #expect(walker.stands == "visit active, bags active")
    try walker.send(.arrive(nodeID: "visit", servicePointID: "A"))
    walker.now = 1100
    try walker.send(.timerFired(timerID: "bags#1"))
    #expect(walker.stands == "redeem active, tell active")
    try walker.send(.acknowledge(nodeID: "tell"))
    #expect(walker.stands == "redeem active, together active")
    try walker.redeem()
    #expect(walker.stands == "goodbye active")
    #expect(walker.journey.record("together")?.branches == 2)
    try walker.send(.acknowledge(nodeID: "goodbye"))
    #expect(walker.journey.status == .completed)
  }

  @Test("A branch with a condition is opened when it holds, and then waited for")
  func conditional() throws {
    var walker = try Self.begun(segments: ["tourist"])
    #expect(walker.stands == "visit active, bags active, guide active")
    try walker.send(.workSucceeded(nodeID: "guide", visitNumber: 1, tokensLeft: nil))
    try walker.send(.forceSkip(nodeID: "bags", operatorMove))
    try walker.send(.forceSkip(nodeID: "tell", operatorMove))
    #expect(walker.stands == "visit active, together active")
    try walker.send(.forceSkip(nodeID: "visit", operatorMove))
    #expect(walker.journey.record("redeem")?.status == .skipped, "nobody was anywhere")
    #expect(walker.stands == "goodbye active")
  }

  @Test("A join that needs one goes on with the first, skips the others and takes their timers back")
  func race() throws {
    var walker = try Self.begun(needs: 1)
    try walker.send(.arrive(nodeID: "visit", servicePointID: nil))
    try walker.redeem()
    #expect(walker.stands == "goodbye active")
    #expect(walker.journey.record("bags")?.status == .skipped)
    #expect(walker.journey.record("bags")?.reason == "'together' waits no longer")
    #expect(walker.effects == [.cancelTimer(timerID: "bags#1")])
    walker.now = 2000
    #expect(try walker.send(.timerFired(timerID: "bags#1")).isEmpty)
  }

  @Test("A branch is not cut off while Trutta is asked")
  func redemptionUnderWay() throws {
    var walker = try Self.begun(needs: 1)
    try walker.send(.arrive(nodeID: "visit", servicePointID: nil))
    try walker.send(.redeem(nodeID: "redeem"))
    walker.now = 1200
    try walker.send(.timerFired(timerID: "bags#1"))
    try walker.send(.acknowledge(nodeID: "tell"))
    #expect(walker.stands == "redeem active, together active")
    var failed = walker
    try failed.send(.workFailed(nodeID: "redeem", visitNumber: 1, reason: "none left"))
    #expect(failed.stands == "goodbye active")
    #expect(failed.journey.record("redeem")?.status == .skipped)
    try walker.send(.workSucceeded(nodeID: "redeem", visitNumber: 1, tokensLeft: 0))
    #expect(walker.stands == "goodbye active")
    #expect(walker.journey.record("redeem")?.status == .completed)
  }

  @Test("An operator can make a join go on, but not skip it")
  func forced() throws {
    var walker = try Self.begun()
    try walker.send(.forceSkip(nodeID: "bags", operatorMove))
    try walker.send(.forceSkip(nodeID: "tell", operatorMove))
    #expect(throws: JourneyRefusal.joinWaits(nodeID: "together")) { try walker.send(.forceSkip(nodeID: "together", operatorMove)) }
    try walker.send(.forceComplete(nodeID: "together", operatorMove))
    #expect(walker.stands == "goodbye active")
    #expect(walker.journey.record("visit")?.reason == "burst pipe")
  }

  @Test("A signal reaches every branch that waits for it, and an end of the journey all of them")
  func everywhere() throws {
    let graph = parallelDay()
    let listening = JourneyGraph(
      id: "G", nodes: graph.nodes,
      edges: [.init(from: "visit", to: "redeem", on: "signal:rain"), .init(from: "bags", to: "tell", on: "signal:rain")] + graph.edges,
      entryPoints: graph.entryPoints)
    var walker = Walker(listening)
    try walker.send(.start(entryPoint: "start", tokensLeft: 1))
    var aborted = walker
    try walker.send(.signal(name: "rain", value: "hard"))
    #expect(walker.journey.record("bags")?.outcome == "signal:rain")
    #expect(walker.journey.record("visit")?.outcome == "signal:rain")
    #expect(walker.journey.signals == [.init(name: "rain", value: "hard")])
    try aborted.send(.forceAbort(operatorMove))
    #expect(aborted.effects == [.cancelTimer(timerID: "bags#1")])
  }

  @Test("Whatever is sent to branches in whatever order, the events rebuild the state", arguments: 0..<40)
  func simulation(_ seed: UInt64) throws {
    var random = SeededGenerator(state: seed)
    let graph = parallelDay(needs: Int(seed % 3))
    var walker = Walker(graph)
    try walker.send(.start(entryPoint: "start", tokensLeft: 2, segments: seed.isMultiple(of: 2) ? ["tourist"] : []))
    for _ in 0..<60 where walker.journey.status == .running {
      let node = graph.nodes.randomElement(using: &random)!.id
      let visit = walker.journey.record(node)?.visitNumber ?? 0
      let place = ["A", "B", "C"].randomElement(using: &random)!
      let commands: [JourneyCommand] = [
        .arrive(nodeID: node, servicePointID: nil), .redeem(nodeID: node), .acknowledge(nodeID: node),
        .changeRoute(servicePointIDs: [place], proposalID: nil, reason: ""),
        .workSucceeded(nodeID: node, visitNumber: visit, tokensLeft: 1), .workFailed(nodeID: node, visitNumber: visit, reason: "?"),
        .timerFired(timerID: "\(node)#\(visit)"), .forceSkip(nodeID: node, operatorMove), .forceComplete(nodeID: node, operatorMove),
        .block(.init(servicePointID: place, reason: "?")), .unblock(servicePointID: place),
      ]
      walker.now += Int64.random(in: 0...30, using: &random)
      let before = walker.journey
      do { try walker.send(commands.randomElement(using: &random)!) } catch is JourneyRefusal { #expect(walker.journey == before) }
      let journey = walker.journey
      #expect(Set(journey.standing).count == journey.standing.count)
      if journey.status == .running {
        #expect(!journey.standing.isEmpty)
        let isForked = journey.stands(at: "goodbye") == false && journey.record("together")?.status != .completed
        #expect(isForked || journey.standing == ["goodbye"])
      }
    }
  }
}
