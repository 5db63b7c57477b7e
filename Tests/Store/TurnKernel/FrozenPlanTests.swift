import SpanwireSchema
import SpanwireServiceKit
import SpanwireTurnKernel
import Testing

@Suite("Frozen plans")
struct FrozenPlanTests {
  static let plan = TurnPlan(
    tenantID: "vienna", agentSlug: "vienna-trip-planner", agentType: "trip_planner", intent: "build_initial_route", agentVersion: 3,
    agentHash: [UInt8](repeating: 0xAB, count: 32),
    budgets: TurnBudgets(
      timeoutMs: 5_000, maxTokens: 4_000, maxSuggestions: 3, answerLetters: 16_000, maxCost: Money(micros: 50_000, currency: "USD"),
      price: Money(micros: 10_000, currency: "USD")),
    quota: TurnQuota(openPerSession: 1, openPerTenant: 100, deferredPerSession: 4),
    lanes: [TurnLane(lane: .control, bound: 1_024, onFull: .end), TurnLane(lane: .data, bound: 1, onFull: .wait)],
    nodes: [
      TurnNode(
        nodeID: "agent", kind: "agent", provider: TurnProvider(kind: .builtIn, name: "vienna-trip-planner", isDeterministic: true))
    ])

  @Test("the same plan has the same bytes and hash, for ever: those that protobuf's Python gives")
  func golden() throws {
    let frozen = FrozenPlan(Self.plan)
    #expect(
      SHA256.hex(frozen.bytes) == """
        080112067669656e6e611a137669656e6e612d747269702d706c616e6e6572220c747269705f706c616e6e65722a136275696c645f696e697469616c\
        5f726f75746530033a20abababababababababababababababababababababababababababababababab422008882710a01f180320807d2a0908d086\
        031203555344320808904e12035553444a0608011064180452070801108008180152060802100118025a290a056167656e7412056167656e74221908\
        0112137669656e6e612d747269702d706c616e6e65723001
        """)
    #expect(SHA256.hex(frozen.hash) == "1bc9c5af3081e81dc0eb906a6c9143915a0d2919ffda0f5550bbcd6ab7d1a599")
    #expect(FrozenPlan(try TurnPlan(decoding: frozen.bytes)) == frozen)
  }

  @Test("whatever differs in a plan gives it another hash")
  func differences() {
    let changes: [(inout TurnPlan) -> Void] = [
      { $0.tenantID = "graz" }, { $0.agentSlug = "other" }, { $0.agentType = "support" }, { $0.intent = "explain_limits" },
      { $0.agentVersion = 4 }, { $0.agentHash[0] = 0 }, { $0.budgets?.timeoutMs = 1 }, { $0.budgets?.maxTokens = 1 },
      { $0.budgets?.maxSuggestions = 1 }, { $0.budgets?.answerLetters = 1 }, { $0.budgets?.maxCost = nil },
      { $0.budgets?.price?.micros = 1 }, { $0.quota?.openPerSession = 2 }, { $0.quota?.openPerTenant = 2 },
      { $0.quota?.deferredPerSession = 2 }, { $0.lanes.removeLast() }, { $0.lanes.swapAt(0, 1) }, { $0.lanes[0].bound = 1 },
      { $0.lanes[0].onFull = .wait }, { $0.nodes[0].nodeID = "x" }, { $0.nodes[0].kind = "x" }, { $0.nodes[0].after = ["x"] },
      { $0.nodes[0].provider?.kind = .worker }, { $0.nodes[0].provider?.name = "x" }, { $0.nodes[0].provider?.circuit = "x" },
      { $0.nodes[0].provider?.divertedFrom = "x" }, { $0.nodes[0].provider?.models = ["x"] },
      { $0.nodes[0].provider?.isDeterministic = false }, { $0.nodes.append($0.nodes[0]) },
    ]
    var hashes: Set<[UInt8]> = [FrozenPlan(Self.plan).hash]
    for change in changes {
      var plan = Self.plan
      change(&plan)
      hashes.insert(FrozenPlan(plan).hash)
    }
    #expect(hashes.count == changes.count + 1)
  }

  @Test("a seed belongs to its plan and its turn")
  func seeds() {
    let key = TurnKey(tenant: "vienna", task: "ATASK-1", epoch: 1)
    var other = Self.plan
    other.intent = "suggest_next_stop"
    let seeds: [UInt64] = [
      FrozenPlan(Self.plan).seed(of: key), FrozenPlan(other).seed(of: key),
      FrozenPlan(Self.plan).seed(of: TurnKey(tenant: "vienna", task: "ATASK-1", epoch: 2)),
      FrozenPlan(Self.plan).seed(of: TurnKey(tenant: "vienna", task: "ATASK-2", epoch: 1)),
      FrozenPlan(Self.plan).seed(of: TurnKey(tenant: "graz", task: "ATASK-1", epoch: 1)),
    ]
    #expect(Set(seeds).count == seeds.count)
    #expect(FrozenPlan(Self.plan).seed(of: key) == FrozenPlan.seed(of: key, under: FrozenPlan(Self.plan).hash))
  }
}
