import Testing

@testable import SpanwireJourneys

/// A document of one node under test between a start and an end, with what follows each of its outcomes.
private func around(_ kind: JourneyGraph.Kind, _ extra: [JourneyGraph.Edge] = []) -> JourneyGraph {
  JourneyGraph(
    id: "G",
    nodes: [
      .init(id: "start", kind: .start), .init(id: "café", kind: .visit(servicePointID: "A")), .init(id: "node", kind: kind),
      .init(id: "after", kind: .message(text: "!")), .init(id: "other", kind: .message(text: "?")), .init(id: "end", kind: .end),
    ],
    edges: [.init(from: "start", to: "café"), .init(from: "café", to: "node")] + extra + [
      .init(from: "node", to: "after"), .init(from: "after", to: "end"), .init(from: "other", to: "end"),
    ],
    entryPoints: [.init(name: "start", nodeID: "start"), .init(name: "node", nodeID: "node")])
}

@Suite("The kinds of nodes")
struct JourneyKindTests {
  struct Case: Sendable, CustomTestStringConvertible {
    var name: String
    var graph: JourneyGraph
    var entry = "node"
    var script: [JourneyCommand] = []
    var stands: String
    var testDescription: String { name }
  }

  static let visitA = JourneyCommand.arrive(nodeID: "café", servicePointID: "A")

  static let cases: [Case] = [
    Case(name: "a start is passed", graph: around(.start), stands: "after active"),
    Case(name: "an end ends it", graph: around(.end), stands: "-"),
    Case(name: "a visit waits", graph: around(.visit(servicePointID: "B")), stands: "node active"),
    Case(
      name: "a visit ends with the arrival", graph: around(.visit(servicePointID: "B")),
      script: [.arrive(nodeID: "node", servicePointID: "B")], stands: "after active"),
    Case(
      name: "a visit to nowhere waits for a route", graph: around(.visit(servicePointID: nil)),
      script: [.changeRoute(servicePointIDs: ["B"], proposalID: nil, reason: ""), .arrive(nodeID: "node", servicePointID: nil)],
      stands: "after active"),
    Case(name: "a redeem where nobody was is skipped", graph: around(.redeem(tokenID: "T", quantity: 1)), stands: "after active"),
    Case(
      name: "a redeem waits for its step", graph: around(.redeem(tokenID: "T", quantity: 1)), entry: "start", script: [visitA],
      stands: "node active"),
    Case(
      name: "a redeem ends with Trutta's answer", graph: around(.redeem(tokenID: "T", quantity: 1)), entry: "start",
      script: [visitA, .redeem(nodeID: "node"), .workSucceeded(nodeID: "node", visitNumber: 1, tokensLeft: 0)], stands: "after active"),
    Case(
      name: "a redeem that failed stays where no edge is for it",
      graph: JourneyGraph(
        id: "G",
        nodes: [
          .init(id: "café", kind: .visit(servicePointID: "A")), .init(id: "node", kind: .redeem(tokenID: "T", quantity: 1)),
          .init(id: "end", kind: .end),
        ],
        edges: [.init(from: "café", to: "node"), .init(from: "node", to: "end", on: "completed")],
        entryPoints: [.init(name: "start", nodeID: "café")]),
      entry: "start", script: [visitA, .redeem(nodeID: "node"), .workFailed(nodeID: "node", visitNumber: 1, reason: "none left")],
      stands: "node failed"),
    Case(
      name: "a choice goes by its option",
      graph: around(.choice(question: "?", options: ["left", "right"]), [.init(from: "node", to: "other", on: "right")]),
      script: [.choose(nodeID: "node", option: "right")], stands: "other active"),
    Case(
      name: "an agent that is not waited for goes on with its answer",
      graph: around(.agent(type: "t", intent: "i", waitForDecision: false)),
      script: [.workSucceeded(nodeID: "node", visitNumber: 1, tokensLeft: nil)], stands: "after active"),
    Case(
      name: "an agent's failure goes by its edge",
      graph: around(.agent(type: "t", intent: "i", waitForDecision: true), [.init(from: "node", to: "other", on: "failed")]),
      script: [.workFailed(nodeID: "node", visitNumber: 1, reason: "no model")], stands: "other active"),
    Case(
      name: "a recommendation waits to be accepted",
      graph: around(.agent(type: "t", intent: "i", waitForDecision: true), [.init(from: "node", to: "other", on: "accepted")]),
      script: [
        .workSucceeded(nodeID: "node", visitNumber: 1, tokensLeft: nil),
        .changeRoute(servicePointIDs: ["A"], proposalID: "P", reason: ""),
      ], stands: "other active"),
    Case(
      name: "a recommendation may be declined", graph: around(.agent(type: "t", intent: "i", waitForDecision: true)),
      script: [.declineRecommendation(proposalID: "P", reason: "")], stands: "after active"),
    Case(
      name: "a timer waits", graph: around(.timer(afterNanoseconds: 3)), script: [.timerFired(timerID: "node#1")], stands: "node active"),
    Case(
      name: "a timer fires when it is due", graph: around(.timer(afterNanoseconds: 1)), script: [.timerFired(timerID: "node#1")],
      stands: "after active"),
    Case(
      name: "a timer of another visit is none", graph: around(.timer(afterNanoseconds: 1)), script: [.timerFired(timerID: "node#2")],
      stands: "node active"),
    Case(
      name: "a message waits to be read", graph: around(.message(text: "…")), script: [.acknowledge(nodeID: "node")], stands: "after active"
    ),
    Case(
      name: "a signal ends what waits for it",
      graph: around(.timer(afterNanoseconds: 9), [.init(from: "node", to: "other", on: "signal:go")]),
      script: [.signal(name: "go", value: "")], stands: "other active"),
    Case(
      name: "a signal that nobody waits for changes nothing", graph: around(.timer(afterNanoseconds: 9)),
      script: [.signal(name: "go", value: "")], stands: "node active"),
  ]

  @Test("Each kind is entered, waits and is left as it should", arguments: cases)
  func walks(_ each: Case) throws {
    var walker = Walker(each.graph)
    try walker.send(.start(entryPoint: each.entry, tokensLeft: 1))
    try walker.send(all: each.script)
    #expect(walker.stands == each.stands)
    if each.stands == "-" { #expect(walker.journey.status == .completed) }
  }

  @Test("A timer that is left before it is due is taken back; one that is due fires into nothing")
  func timers() throws {
    var walker = Walker(around(.timer(afterNanoseconds: 5), [.init(from: "node", to: "other", on: "signal:go")]))
    try walker.send(.start(entryPoint: "node", tokensLeft: nil))
    #expect(walker.effects == [.startTimer(timerID: "node#1", due: 1005)])
    var late = walker
    try walker.send(.signal(name: "go", value: ""))
    #expect(walker.effects == [.cancelTimer(timerID: "node#1")])
    late.now = 1005
    try late.send(.signal(name: "go", value: ""))
    #expect(late.effects.isEmpty)
    #expect(try late.send(.timerFired(timerID: "node#1")).isEmpty)
  }

  static let steps: [JourneyCommand] = [
    .arrive(nodeID: "node", servicePointID: nil), .redeem(nodeID: "node"), .choose(nodeID: "node", option: "left"),
    .acknowledge(nodeID: "node"), .declineRecommendation(proposalID: "P", reason: ""),
  ]

  /// By kind, which of the steps above it takes.
  static let kinds: [(JourneyGraph.Kind, takes: Int?)] = [
    (.visit(servicePointID: "B"), 0), (.redeem(tokenID: "T", quantity: 1), 1), (.choice(question: "?", options: ["left"]), 2),
    (.message(text: "…"), 3), (.agent(type: "t", intent: "i", waitForDecision: true), 4), (.timer(afterNanoseconds: 9), nil),
    (.agent(type: "t", intent: "i", waitForDecision: false), nil),
  ]

  @Test("A node takes the step of its kind and refuses every other", arguments: kinds)
  func refuses(_ kind: JourneyGraph.Kind, _ takes: Int?) throws {
    var walker = Walker(around(kind))
    try walker.send(.start(entryPoint: "start", tokensLeft: 1))
    try walker.send(Self.visitA)
    #expect(walker.stands == "node active")
    for (index, step) in Self.steps.enumerated() {
      var other = walker
      if index == takes {
        #expect(try other.send(step).isEmpty == false)
      } else {
        #expect(throws: JourneyRefusal.self) { try other.send(step) }
        #expect(other.journey == walker.journey)
      }
    }
  }

  @Test("A journey that has ended, however it did, refuses every command", arguments: ["completed", "abandoned", "aborted", "failed"])
  func ended(_ how: String) throws {
    var walker = Walker(around(.agent(type: "t", intent: "i", waitForDecision: false), [.init(from: "node", to: "other", on: "completed")]))
    walker = Walker(
      JourneyGraph(
        id: "G", nodes: walker.graph.nodes, edges: walker.graph.edges.filter { $0.from != "node" || $0.on == "completed" },
        entryPoints: walker.graph.entryPoints))
    try walker.send(.start(entryPoint: "node", tokensLeft: nil))
    switch how {
    case "completed":
      try walker.send(.workSucceeded(nodeID: "node", visitNumber: 1, tokensLeft: nil))
      try walker.send(.acknowledge(nodeID: "other"))
    case "abandoned": try walker.send(.abandon(reason: "rain"))
    case "aborted": try walker.send(.forceAbort(operatorMove))
    default: try walker.send(.workFailed(nodeID: "node", visitNumber: 1, reason: "no model"))
    }
    #expect(walker.journey.status.rawValue == how)
    let commands =
      Self.steps + [
        .signal(name: "go", value: ""), .abandon(reason: ""), .changeRoute(servicePointIDs: ["A"], proposalID: nil, reason: ""),
        .forceSkip(nodeID: "node", operatorMove), .forceComplete(nodeID: "node", operatorMove), .forceAbort(operatorMove),
        .block(.init(servicePointID: "A", reason: "")), .unblock(servicePointID: "A"),
      ]
    for command in commands {
      #expect(throws: JourneyRefusal.notInStatus(walker.journey.status, allowed: [.running])) { try walker.send(command) }
    }
    #expect(throws: JourneyRefusal.notInStatus(walker.journey.status, allowed: [.created])) {
      try walker.send(.start(entryPoint: "node", tokensLeft: nil))
    }
    for stale: JourneyCommand in [
      .workSucceeded(nodeID: "node", visitNumber: 1, tokensLeft: nil), .workFailed(nodeID: "node", visitNumber: 1, reason: ""),
      .timerFired(timerID: "node#1"),
    ] {
      #expect(try walker.send(stale).isEmpty)
    }
  }
}
