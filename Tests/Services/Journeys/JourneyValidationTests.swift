import Testing

@testable import SpanwireJourneys

@Suite("Journey documents")
struct JourneyValidationTests {
  typealias Node = JourneyGraph.Node
  typealias Edge = JourneyGraph.Edge

  static func graph(_ nodes: [Node], _ edges: [Edge], entry: [JourneyGraph.EntryPoint] = [.init(name: "start", nodeID: "a")])
    -> JourneyGraph
  {
    JourneyGraph(id: "G", nodes: nodes, edges: edges, entryPoints: entry)
  }

  static let wrong: [(JourneyGraph, [String])] = [
    (graph([], [], entry: []), ["nodes missing", "nodes noEnd", "entry_points missing"]),
    (
      graph(
        [
          Node(id: "a", kind: .start), Node(id: "a", kind: .end), Node(id: "b", kind: nil),
          Node(id: "c", kind: .choice(question: "", options: ["x", "x"])),
        ],
        [Edge(from: "a", to: "c"), Edge(from: "c", to: "z", on: "y", when: "moon_is_full")]),
      [
        "nodes[1].node_id duplicate", "nodes[2] missing", "nodes[3].choice.options[1] duplicate", "edges[1].when unknownReference",
        "edges[1].to unknownReference", "edges[1].on unknownReference", "nodes[2] unreachable",
        "nodes[3] noEnd",
      ]
    ),
    (
      graph(
        [Node(id: "a", kind: .start), Node(id: "b", kind: .start), Node(id: "e", kind: .end)],
        [Edge(from: "a", to: "b"), Edge(from: "b", to: "a", on: "completed"), Edge(from: "b", to: "e"), Edge(from: "e", to: "a")]),
      ["edges[3].from invalid", "nodes[0] endlessCycle", "nodes[1] endlessCycle"]
    ),
    (
      graph(
        [
          Node(id: "a", kind: .visit(servicePointID: "SP-9")), Node(id: "r", kind: .redeem(tokenID: "TOK-9", quantity: 0)),
          Node(id: "t", kind: .timer(afterNanoseconds: 0)), Node(id: "e", kind: .end),
        ],
        [Edge(from: "a", to: "r"), Edge(from: "r", to: "t"), Edge(from: "t", to: "e")],
        entry: [.init(name: "start", nodeID: "a"), .init(name: "start", nodeID: "q")]),
      [
        "nodes[0].visit.service_point_id unknownReference", "nodes[1].redeem.token_id unknownReference",
        "nodes[1].redeem.quantity invalid", "nodes[2].timer.after invalid", "entry_points[1].name duplicate",
        "entry_points[1].node_id unknownReference",
      ]
    ),
  ]

  @Test("Everything that is wrong is listed, with its path", arguments: wrong)
  func lists(_ graph: JourneyGraph, _ expected: [String]) {
    let problems = graph.problems(servicePoints: ["SP-1"], tokens: ["TOK-1"])
    #expect(problems.map { "\($0.path) \($0.kind)" } == expected)
  }

  @Test("The coffee pass has no problem, and a cycle with a wait is none")
  func right() {
    #expect(coffeePass.problems(servicePoints: ["SP-SIGHT"], tokens: ["TOK-VIEN-COFFEE"]).isEmpty)
  }
}
