import Testing

@testable import SpanwireJourneys

/// The journey of the Vienna Coffee Pass, with a timer added before the goodbye.
let coffeePass = JourneyGraph(
  id: "TJM-VIEN-COFFEE-PASS-BASE",
  nodes: [
    .init(id: "start", kind: .start),
    .init(id: "plan", kind: .agent(type: "trip_planner", intent: "build_initial_route", waitForDecision: true)),
    .init(id: "visit", kind: .visit(servicePointID: nil)),
    .init(id: "redeem", kind: .redeem(tokenID: "TOK-VIEN-COFFEE", quantity: 1)),
    .init(id: "more", kind: .choice(question: "Another?", options: ["next_stop", "finish"])),
    .init(id: "sight", kind: .visit(servicePointID: "SP-SIGHT")),
    .init(id: "pause", kind: .timer(afterNanoseconds: 60)),
    .init(id: "goodbye", kind: .message(text: "Auf Wiedersehen!")),
    .init(id: "end", kind: .end),
  ],
  edges: [
    .init(from: "start", to: "plan"),
    .init(from: "plan", to: "visit", on: "accepted"),
    .init(from: "plan", to: "goodbye"),
    .init(from: "visit", to: "redeem", on: "completed"),
    .init(from: "visit", to: "more"),
    .init(from: "redeem", to: "more", on: "completed"),
    .init(from: "more", to: "visit", on: "next_stop", when: "route_has_more"),
    .init(from: "more", to: "sight", on: "signal:hurry"),
    .init(from: "more", to: "sight"),
    .init(from: "sight", to: "pause"),
    .init(from: "pause", to: "goodbye"),
    .init(from: "goodbye", to: "end"),
  ],
  entryPoints: [.init(name: "start", nodeID: "start"), .init(name: "choose", nodeID: "more")])

let operatorMove = Intervention(actor: "ops-1", reason: "burst pipe")

/// A journey under test: keeps its events, and checks after every step that they rebuild it.
struct Walker {
  let graph: JourneyGraph
  var journey: Journey
  var history: [(event: JourneyEvent, at: Int64)] = []
  var effects: [JourneyEffect] = []
  var now: Int64 = 1000

  init(_ graph: JourneyGraph = coffeePass) {
    self.graph = graph
    journey = Journey(graph)
  }

  @discardableResult
  mutating func send(_ command: JourneyCommand) throws -> [JourneyEvent] {
    let transition = try JourneyStateMachine.handle(command, journey, in: graph, now: now)
    journey = transition.journey
    history += transition.events.map { ($0, now) }
    effects = transition.effects
    #expect(Journey(graph, replaying: history) == journey)
    now += 1
    return transition.events
  }

  mutating func send(all commands: [JourneyCommand]) throws {
    for command in commands { try send(command) }
  }

  /// Succeeds at the redemption that was just asked for.
  mutating func redeem(left: Int64 = 1) throws {
    try send(.redeem(nodeID: "redeem"))
    try send(.workSucceeded(nodeID: "redeem", visitNumber: journey.record("redeem")!.visitNumber, tokensLeft: left))
  }

  /// `visit active`, and of several branches each: `a active, b blocked`.
  var stands: String {
    journey.standing.isEmpty ? "-" : journey.standingRecords.map { "\($0.nodeID) \($0.status.rawValue)" }.joined(separator: ", ")
  }

  func place(of node: String) -> String? { journey.record(node)?.servicePointID }

  /// Started, planned, at the first of the cafés.
  static func onTheWay(_ route: [String] = ["A", "B", "C"]) throws -> Walker {
    var walker = Walker()
    try walker.send(.start(entryPoint: "start", tokensLeft: 3))
    try walker.send(.changeRoute(servicePointIDs: route, proposalID: "PRP-1", reason: "accepted"))
    return walker
  }
}
