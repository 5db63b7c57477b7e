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
        "nodes[3] noEnd", "nodes[3] noWay",
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

  /// Two branches, and what a test does to them.
  static func branches(
    _ nodes: [Node] = [], edges: [Edge] = [], without: Set<Int> = [], needs: Int = 0, entry: [JourneyGraph.EntryPoint] = []
  ) -> JourneyGraph {
    let all = [
      Edge(from: "a", to: "b"), Edge(from: "a", to: "c"), Edge(from: "b", to: "j"), Edge(from: "c", to: "j"), Edge(from: "j", to: "e"),
    ]
    return graph(
      [
        Node(id: "a", kind: .split(join: "j")), Node(id: "b", kind: .message(text: "b")), Node(id: "c", kind: .message(text: "c")),
        Node(id: "j", kind: .join(needs: needs)), Node(id: "e", kind: .end),
      ] + nodes,
      all.enumerated().filter { !without.contains($0.offset) }.map(\.element) + edges, entry: [.init(name: "start", nodeID: "a")] + entry)
  }

  static let wrongBranches: [(JourneyGraph, [String])] = [
    (branches(), []),
    (branches(needs: 2), []),
    (branches(needs: 3), ["nodes[0].split.join tooMany"]),
    (
      branches([Node(id: "x", kind: .join(needs: 0))], edges: [Edge(from: "x", to: "e")]),
      ["nodes[5] unreachable", "nodes[5].join missing"]
    ),
    (branches(edges: [Edge(from: "a", to: "j")]), ["nodes[0].split invalid"]),
    (
      branches(edges: [Edge(from: "c", to: "e", on: "skipped")]),
      ["edges[5] unreachable", "nodes[4] invalid", "edges[4].to invalid"]
    ),
    (branches(edges: [Edge(from: "b", to: "c", on: "skipped")]), ["edges[5] unreachable", "nodes[2] invalid"]),
    (
      branches(edges: [Edge(from: "b", to: "a", on: "skipped")]),
      ["edges[5] unreachable", "nodes[0] invalid", "nodes[2] invalid", "entry_points[0].node_id invalid"]
    ),
    (branches(entry: [.init(name: "middle", nodeID: "b")]), ["entry_points[1].node_id invalid"]),
    (
      branches(
        [Node(id: "v", kind: .visit(servicePointID: nil)), Node(id: "w", kind: .visit(servicePointID: nil))],
        edges: [Edge(from: "b", to: "v"), Edge(from: "v", to: "j"), Edge(from: "c", to: "w"), Edge(from: "w", to: "j")], without: [2, 3]),
      ["nodes[0].split invalid"]
    ),
    (
      graph(
        [Node(id: "a", kind: .split(join: "b")), Node(id: "b", kind: .message(text: "b")), Node(id: "e", kind: .end)],
        [Edge(from: "a", to: "b", when: "route_done"), Edge(from: "a", to: "e", when: "tokens_left"), Edge(from: "b", to: "e")]),
      ["nodes[0].split.join invalid", "nodes[0] noWay"]
    ),
    (
      graph([Node(id: "a", kind: .split(join: "")), Node(id: "e", kind: .end)], [Edge(from: "a", to: "e")]),
      ["nodes[0].split.join missing"]
    ),
    (
      graph([Node(id: "a", kind: .split(join: "z")), Node(id: "e", kind: .end)], [Edge(from: "a", to: "e")]),
      ["nodes[0].split.join unknownReference"]
    ),
  ]

  static let wrongWays: [(JourneyGraph, [String])] = [
    (
      graph(
        [Node(id: "a", kind: .choice(question: "?", options: ["x", "y"])), Node(id: "e", kind: .end)], [Edge(from: "a", to: "e", on: "x")]),
      ["nodes[0] noWay"]
    ),
    (
      graph(
        [Node(id: "a", kind: .message(text: "!")), Node(id: "e", kind: .end)],
        [Edge(from: "a", to: "e", when: "tokens_left"), Edge(from: "a", to: "e", when: "visited:SP-1")]),
      ["nodes[0] noWay"]
    ),
    (
      graph(
        [Node(id: "a", kind: .message(text: "!")), Node(id: "e", kind: .end)],
        [Edge(from: "a", to: "e", when: "tokens_left"), Edge(from: "a", to: "e", when: "not tokens_left")]),
      []
    ),
    (
      graph(
        [Node(id: "a", kind: .message(text: "!")), Node(id: "e", kind: .end)],
        [Edge(from: "a", to: "e"), Edge(from: "a", to: "e", on: "signal:go"), Edge(from: "a", to: "e", when: "tokens_left")]),
      ["edges[1] unreachable", "edges[2] unreachable"]
    ),
    (
      graph(
        [Node(id: "a", kind: .agent(type: "t", intent: "i", waitForDecision: true)), Node(id: "e", kind: .end)],
        [Edge(from: "a", to: "e", on: "accepted")]),
      ["nodes[0] noWay"]
    ),
    (
      graph(
        [Node(id: "a", kind: .message(text: "")), Node(id: "näh", kind: .timer(afterNanoseconds: .max)), Node(id: "e", kind: .end)],
        [
          Edge(from: "a", to: "näh", when: "visited:SP-9"), Edge(from: "a", to: "e", when: "not outcome:z=x"),
          Edge(from: "a", to: "näh", on: "signal:"), Edge(from: "a", to: "e", when: "outcome:näh=x"), Edge(from: "a", to: "e"),
          Edge(from: "näh", to: "e"),
        ]),
      [
        "nodes[0].message.text missing", "nodes[1].node_id invalid", "nodes[1].timer.after invalid", "edges[0].when unknownReference",
        "edges[1].when unknownReference", "edges[2].on missing", "edges[3].when unknownReference",
      ]
    ),
    (
      graph(
        [Node(id: "a", kind: .choice(question: "", options: ["skipped", "signal:x"])), Node(id: "e", kind: .end)],
        [Edge(from: "a", to: "e")]),
      ["nodes[0].choice.options[0] invalid", "nodes[0].choice.options[1] invalid"]
    ),
    (
      graph(
        [Node(id: "a", kind: .start), Node(id: "e", kind: .end)], [Edge(from: "a", to: "e", on: "signal:go"), Edge(from: "a", to: "e")]),
      ["edges[0].on invalid"]
    ),
  ]

  @Test("Branches that are not closed are told of", arguments: wrongBranches)
  func branching(_ graph: JourneyGraph, _ expected: [String]) { lists(graph, expected) }

  @Test("Outcomes without a way and ways without an outcome are told of", arguments: wrongWays)
  func ways(_ graph: JourneyGraph, _ expected: [String]) { lists(graph, expected) }

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
