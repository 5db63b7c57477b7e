import Testing

@testable import SpanwireJourneys

@Suite("The journey state machine")
struct JourneyStateMachineTests {
  @Test("A day of coffee, from start to end")
  func day() throws {
    var walker = Walker()
    try walker.send(.start(entryPoint: "start", tokensLeft: 3))
    #expect(walker.stands == "plan active")
    #expect(walker.effects == [.askAgent(nodeID: "plan", visitNumber: 1, agentType: "trip_planner", intent: "build_initial_route")])
    try walker.send(.workSucceeded(nodeID: "plan", visitNumber: 1, tokensLeft: nil))
    #expect(walker.stands == "plan active", "a recommendation waits for its decision")
    try walker.send(.changeRoute(servicePointIDs: ["A", "B"], proposalID: "PRP-1", reason: ""))
    #expect(walker.place(of: "visit") == "A")
    try walker.send(.arrive(nodeID: "visit", servicePointID: "A"))
    try walker.send(.redeem(nodeID: "redeem"))
    #expect(walker.effects == [.redeem(nodeID: "redeem", visitNumber: 1, tokenID: "TOK-VIEN-COFFEE", quantity: 1, servicePointID: "A")])
    try walker.send(.workSucceeded(nodeID: "redeem", visitNumber: 1, tokensLeft: 2))
    #expect(walker.stands == "more active")
    #expect(walker.journey.tokensLeft == 2)
    try walker.send(.choose(nodeID: "more", option: "next_stop"))
    try walker.send(.arrive(nodeID: "visit", servicePointID: nil))
    #expect(walker.journey.visitedServicePointIDs == ["A", "B"])
    try walker.redeem()
    try walker.send(.choose(nodeID: "more", option: "next_stop"))
    #expect(walker.stands == "sight active", "without a further stop the choice falls through")
    try walker.send(.arrive(nodeID: "sight", servicePointID: "SP-SIGHT"))
    guard case .startTimer(let timer, let due)? = walker.effects.first else {
      Issue.record("no timer")
      return
    }
    #expect(try walker.send(.timerFired(timerID: timer)).isEmpty, "too early")
    walker.now = due
    try walker.send(.timerFired(timerID: timer))
    let last = try walker.send(.acknowledge(nodeID: "goodbye"))
    #expect(last.last == .completed(endNodeID: "end"))
    #expect(walker.journey.status == .completed)
    #expect(walker.journey.nodes.allSatisfy { $0.status == .completed })
  }

  @Test("A visit to a café that is blocked goes on to the next stop")
  func ledOn() throws {
    var walker = try Walker.onTheWay()
    let events = try walker.send(.block(.init(servicePointID: "A", reason: "burst pipe")))
    #expect(
      events == [
        .nodeBlocked(nodeID: "visit", .init(servicePointID: "A", reason: "burst pipe")),
        .routeChanged(servicePointIDs: ["B", "C"], proposalID: nil, reason: "A is blocked: burst pipe"),
      ])
    #expect(walker.stands == "visit active")
    #expect(walker.place(of: "visit") == "B")
    #expect(walker.journey.route == ["B", "C"])
  }

  @Test("With no stop left a blocked café blocks the visit, which a skip, a new route or the end of the block frees")
  func blocks() throws {
    var walker = try Walker.onTheWay(["A"])
    try walker.send(.block(.init(servicePointID: "A", reason: "burst pipe", until: 5000)))
    #expect(walker.stands == "visit blocked")
    #expect(throws: JourneyRefusal.servicePointBlocked("A", until: 5000)) { try walker.send(.arrive(nodeID: "visit", servicePointID: "A")) }
    let blocked = walker

    try walker.send(.forceSkip(nodeID: "visit", operatorMove))
    #expect(walker.stands == "more active")
    try walker.send(.choose(nodeID: "more", option: "next_stop"))
    #expect(walker.stands == "sight active", "the route has nothing more")

    walker = blocked
    try walker.send(.changeRoute(servicePointIDs: ["D", "C"], proposalID: nil, reason: "around it"))
    #expect(walker.stands == "visit active")
    #expect(walker.place(of: "visit") == "D")
    #expect(walker.journey.route == ["D", "C"])

    walker = blocked
    #expect(try walker.send(.unblock(servicePointID: "A")) == [.nodeUnblocked(nodeID: "visit", servicePointID: "A")])
    #expect(walker.stands == "visit active")
  }

  @Test("Blocked stops ahead leave the route")
  func blockedAhead() throws {
    var walker = try Walker.onTheWay()
    try walker.send(.block(.init(servicePointID: "B", reason: "closed today")))
    try walker.send(.block(.init(servicePointID: "C", reason: "closed today")))
    try walker.send(.arrive(nodeID: "visit", servicePointID: "A"))
    try walker.redeem()
    #expect(walker.journey.nextOpenStop == nil)
    try walker.send(.choose(nodeID: "more", option: "next_stop"))
    #expect(walker.stands == "sight active")
    #expect(throws: JourneyRefusal.servicePointBlocked("B", until: nil)) {
      try walker.send(.changeRoute(servicePointIDs: ["D", "B"], proposalID: nil, reason: ""))
    }
  }

  @Test("After a skipped visit nothing is redeemed")
  func skipped() throws {
    let graph = JourneyGraph(
      id: "G",
      nodes: [
        .init(id: "visit", kind: .visit(servicePointID: "A")), .init(id: "redeem", kind: .redeem(tokenID: "T", quantity: 1)),
        .init(id: "end", kind: .end),
      ],
      edges: [.init(from: "visit", to: "redeem"), .init(from: "redeem", to: "end")], entryPoints: [.init(name: "start", nodeID: "visit")])
    #expect(graph.problems().isEmpty)
    var walker = Walker(graph)
    try walker.send(.start(entryPoint: "start", tokensLeft: nil))
    try walker.send(.forceSkip(nodeID: "visit", operatorMove))
    #expect(walker.journey.record("redeem")?.status == .skipped)
    #expect(walker.journey.status == .completed)
  }

  @Test("A failed redemption may be tried again, under a new visit number")
  func redemptionFails() throws {
    var walker = try Walker.onTheWay()
    try walker.send(.arrive(nodeID: "visit", servicePointID: "A"))
    try walker.send(.redeem(nodeID: "redeem"))
    #expect(throws: JourneyRefusal.workUnderWay(nodeID: "redeem")) { try walker.send(.redeem(nodeID: "redeem")) }
    try walker.send(.workFailed(nodeID: "redeem", visitNumber: 1, reason: "no balance"))
    #expect(walker.stands == "redeem failed")
    try walker.send(.redeem(nodeID: "redeem"))
    #expect(walker.journey.record("redeem")?.visitNumber == 2)
    #expect(try walker.send(.workSucceeded(nodeID: "redeem", visitNumber: 1, tokensLeft: nil)).isEmpty, "stale")
    try walker.send(.workSucceeded(nodeID: "redeem", visitNumber: 2, tokensLeft: 0))
    #expect(walker.stands == "more active")
  }

  @Test("An agent that fails where no edge is for it fails the journey; a declined one is passed")
  func agentFails() throws {
    var walker = Walker()
    try walker.send(.start(entryPoint: "start", tokensLeft: 3))
    #expect(throws: JourneyRefusal.noRecommendationAwaited) {
      var other = try Walker.onTheWay()
      try other.send(.declineRecommendation(proposalID: "PRP-1", reason: ""))
    }
    var declined = walker
    try declined.send(.declineRecommendation(proposalID: "PRP-1", reason: "too far"))
    #expect(declined.stands == "goodbye active")
    try walker.send(.workFailed(nodeID: "plan", visitNumber: 1, reason: "no model"))
    #expect(walker.stands == "plan active", "she may ask another herself: no edge is for failed")
  }

  @Test("A signal is recorded, and ends the node that waits for it")
  func signals() throws {
    var walker = Walker()
    try walker.send(.start(entryPoint: "choose", tokensLeft: nil))
    #expect(try walker.send(.signal(name: "rain", value: "1")) == [.signalReceived(name: "rain", value: "1")])
    try walker.send(.signal(name: "hurry", value: ""))
    #expect(walker.stands == "sight active")
  }

  @Test("An abort ends it with its timers; nothing but stale outcomes is taken afterwards")
  func abort() throws {
    var walker = try Walker.onTheWay()
    try walker.send(.arrive(nodeID: "visit", servicePointID: nil))
    try walker.redeem()
    try walker.send(.choose(nodeID: "more", option: "finish"))
    try walker.send(.arrive(nodeID: "sight", servicePointID: nil))
    #expect(walker.stands == "pause active")
    try walker.send(.forceAbort(operatorMove))
    #expect(walker.journey.status == .aborted)
    #expect(walker.effects == [.cancelTimer(timerID: "pause#1")])
    #expect(try walker.send(.workSucceeded(nodeID: "visit", visitNumber: 1, tokensLeft: 1)).isEmpty)
    #expect(try walker.send(.timerFired(timerID: "pause#1")).isEmpty)
    #expect(throws: JourneyRefusal.notInStatus(.aborted, allowed: [.running])) { try walker.send(.abandon(reason: "")) }
  }

  @Test("A command for the wrong node, kind or state is refused and says why")
  func refusals() throws {
    var walker = try Walker.onTheWay()
    let cases: [(JourneyCommand, JourneyRefusal)] = [
      (.arrive(nodeID: "sight", servicePointID: nil), .nodeNotCurrent("sight", current: ["visit"])),
      (.arrive(nodeID: "nowhere", servicePointID: nil), .unknownNode("nowhere")),
      (.arrive(nodeID: "visit", servicePointID: "B"), .wrongServicePoint("B", expected: "A")),
      (.choose(nodeID: "visit", option: "x"), .stepNotAllowed(nodeID: "visit", kind: "visit", status: .active)),
      (.redeem(nodeID: "redeem"), .nodeNotCurrent("redeem", current: ["visit"])),
      (.changeRoute(servicePointIDs: [], proposalID: nil, reason: ""), .routeEmpty),
      (.start(entryPoint: "start", tokensLeft: nil), .notInStatus(.running, allowed: [.created])),
      (.forceSkip(nodeID: "end", operatorMove), .nodeNotCurrent("end", current: ["visit"])),
      (.changeRoute(servicePointIDs: Array(repeating: "X", count: 101), proposalID: nil, reason: ""), .limitExceeded("route", limit: 100)),
    ]
    for (command, refusal) in cases {
      #expect(throws: refusal) { try walker.send(command) }
    }
    #expect(throws: JourneyRefusal.unknownEntryPoint("side", known: ["start", "choose"])) {
      var other = Walker()
      try other.send(.start(entryPoint: "side", tokensLeft: nil))
    }
  }

  @Test("Whatever is sent in whatever order, the events rebuild the state and the invariants hold", arguments: 0..<40)
  func simulation(_ seed: UInt64) throws {
    var random = SeededGenerator(state: seed)
    var walker = Walker()
    var asked: Set<JourneyEffect> = []
    let places = ["A", "B", "C", "D", "SP-SIGHT"]
    for _ in 0..<150 {
      let node =
        Bool.random(using: &random) ? (walker.journey.standing.first ?? "start") : coffeePass.nodes.randomElement(using: &random)!.id
      let visit = walker.journey.record(node)?.visitNumber ?? 0
      let place = places.randomElement(using: &random)!
      let commands: [JourneyCommand] = [
        .start(entryPoint: "start", tokensLeft: 3), .arrive(nodeID: node, servicePointID: nil), .redeem(nodeID: node),
        .choose(nodeID: node, option: ["next_stop", "finish", "?"].randomElement(using: &random)!), .acknowledge(nodeID: node),
        .signal(name: "hurry", value: ""), .changeRoute(servicePointIDs: [place, "B"], proposalID: "PRP-1", reason: ""),
        .declineRecommendation(proposalID: "PRP-1", reason: ""), .workSucceeded(nodeID: node, visitNumber: visit, tokensLeft: 2),
        .workFailed(nodeID: node, visitNumber: visit, reason: "?"), .timerFired(timerID: "\(node)#\(visit)"),
        .forceSkip(nodeID: node, operatorMove), .forceComplete(nodeID: node, operatorMove),
        .block(.init(servicePointID: place, reason: "?", until: Bool.random(using: &random) ? walker.now + 20 : nil)),
        .unblock(servicePointID: place),
      ]
      let command = commands.randomElement(using: &random)!
      let before = walker.journey
      walker.now += Int64.random(in: 0...30, using: &random)
      do {
        let events = try walker.send(command)
        for effect in walker.effects {
          switch effect {
          case .redeem, .askAgent: #expect(asked.insert(effect).inserted, "work is asked for once")
          default: break
          }
        }
        #expect(events.isEmpty == (walker.journey == before))
      } catch is JourneyRefusal {
        #expect(walker.journey == before)
      }
      let standing = walker.journey.nodes.filter { $0.status == .active || $0.status == .blocked }
      #expect(standing.count <= 1)
      if walker.journey.status == .running { #expect(!walker.journey.standing.isEmpty) }
      #expect(walker.journey.nextStop <= walker.journey.route.count)
      if before.status.isTerminal { #expect(walker.journey == before) }
    }
  }
}

/// A generator whose numbers are the same on every run (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
