import SpanwireRPC
import SpanwireSchema
import SpanwireWellKnown
import Testing

@testable import SpanwireJourneys

/// A document of one node, frozen under a snapshot of its own.
private func config(_ snapshot: String, version: String = "1.0.0", _ node: JourneyNode.Kind, timeout: Int64? = nil) -> RuntimeConfig {
  var config = viennaConfig
  config.snapshotRef = snapshot
  config.journeyDocument = JourneyDocument(
    journeyDocID: "TJM-ONE", version: version,
    nodes: [
      JourneyNode(nodeID: "node", kind: node), JourneyNode(nodeID: "after-\(version)", kind: .message(MessageNode(text: version))),
      JourneyNode(nodeID: "sorry", kind: .message(MessageNode(text: "sorry"))), JourneyNode(nodeID: "end", kind: .end(EndNode())),
    ],
    edges: [
      JourneyEdge(from: "node", to: "sorry", on: node.isAgent ? "failed" : "skipped"), JourneyEdge(from: "node", to: "after-\(version)"),
      JourneyEdge(from: "after-\(version)", to: "end"), JourneyEdge(from: "sorry", to: "end"),
    ],
    entryPoints: [JourneyEntryPoint(name: "start", nodeID: "node")])
  return config
}

extension JourneyNode.Kind {
  fileprivate var isAgent: Bool { if case .agent = self { true } else { false } }
}

@Suite("What a journey runs on")
struct JourneyDocumentTests {
  static let wait = JourneyNode.Kind.timer(TimerNode(after: Google_Protobuf_Duration(seconds: 60)))
  static let ask = JourneyNode.Kind.agent(AgentNode(agentType: "journey_guide", intent: "explain_limits"))

  @Test("A journey finishes on the version it started with, one that starts later walks the new one")
  func versions() async throws {
    let world = try await World()
    world.neighbours.change { $0.configs = ["SNAP-1": config("SNAP-1", version: "1.0.0", Self.wait)] }
    let old = try await world.begin()
    world.neighbours.change { $0.configs = ["SNAP-2": config("SNAP-2", version: "2.0.0", Self.wait)] }
    let new = try await world.begin("second", snapshot: "SNAP-2")
    await world.pass(.seconds(60))
    #expect(try await world.journey(old).stands == "after-1.0.0 active")
    #expect(try await world.journey(new).stands == "after-2.0.0 active")
    #expect(try await world.journey(old).journeyDocVersion == "1.0.0")
    await world.stop()

    let after = try await World(after: world)
    #expect(try await after.advance(old, "after-1.0.0", .acknowledge(Acknowledge()), key: "read").state == .completed)
    #expect(try await after.begin("third") != old, "a snapshot that was frozen once is not read again")
    #expect(try await after.server.verify().allSatisfy(\.isSound))
    await after.stop()
  }

  @Test("Thresholds are those of the start, whatever the registry says now")
  func overlays() async throws {
    let world = try await World()
    let id = try await world.begin()
    world.neighbours.change {
      $0.configs["SNAP-1"]?.profiles = [Profile(profileID: "PRF-SAFETY", kind: .safety(SafetyProfile(maxStops: 1)))]
    }
    _ = try await world.change(id, to: ["SP-A", "SP-B", "SP-C"])
    let later = try await world.begin("later")
    #expect(try await world.change(later, to: ["SP-A", "SP-B"], key: "later").route == ["SP-A", "SP-B"], "the snapshot is the same")
    #expect(world.neighbours.facts.withLock { $0.snapshotsRead } == 1)
    await world.stop()
  }

  @Test(
    "A route that ends after the safety profile's latest hour is refused",
    arguments: [("11:29", false), ("11:30", true), ("12:00", true), ("10:00", false)])
  func latestEnd(_ latest: String, _ isAdmitted: Bool) async throws {
    // It is 11:00 in Vienna, and a visit takes half an hour.
    let world = try await World()
    world.neighbours.change {
      $0.configs["SNAP-1"]?.profiles = [Profile(profileID: "P", kind: .safety(SafetyProfile(latestEndLocal: latest)))]
    }
    let id = try await world.begin()
    if isAdmitted {
      #expect(try await world.change(id, to: ["SP-A"]).stands == "visit active SP-A")
    } else {
      let error = await #expect(throws: RPCError.self) { try await world.change(id, to: ["SP-A"]) }
      #expect(error?.code == .failedPrecondition)
      #expect(error?.message == "the route ends later than the safety profile allows: at SP-A")
    }
    await world.stop()
  }

  @Test("A document that can't be walked starts no journey")
  func unwalkable() async throws {
    let world = try await World()
    world.neighbours.change { $0.configs["SNAP-1"]?.journeyDocument?.edges.removeLast() }
    let error = await #expect(throws: RPCError.self) { try await world.begin() }
    #expect(error?.code == .failedPrecondition)
    #expect(error?.message.contains("no end can be reached") == true)
    #expect(try await world.events().isEmpty)
    await world.stop()
  }

  struct End: Sendable {
    var payload: any EventPayload
    var stands: String
  }

  static let ends = [
    End(payload: AgentTaskResult(text: "six stops at most"), stands: "after-1.0.0 active"),
    End(payload: AgentTaskFailed(reason: "AGENT_UNKNOWN", message: "nobody does that"), stands: "sorry active"),
    End(payload: AgentTaskCancelled(reason: "by hand"), stands: "sorry active"),
    End(payload: AgentTaskTimedOut(timeoutMs: 1_000), stands: "sorry active"),
  ]

  @Test("An agent's node waits for its task's end, and goes on by it", arguments: ends.indices)
  func agents(_ index: Int) async throws {
    let world = try await World()
    world.neighbours.change { $0.configs = ["SNAP-1": config("SNAP-1", Self.ask)] }
    let id = try await world.begin()
    await world.environment.effects.settled()
    let request = try #require(world.neighbours.facts.withLock { $0.submitted.first })
    #expect(request.agentTaskID == "ATASK-\(id)-node-1")
    #expect(try await world.journey(id).nodes[0].awaitsWork)
    var another = request
    another.agentTaskID = "ATASK-\(id)-node-2"
    try await world.endTask(another, with: AgentTaskResult())
    #expect(try await world.journey(id).stands == "node active", "another's end is none of its")
    try await world.endTask(request, with: Self.ends[index].payload)
    #expect(try await world.journey(id).stands == Self.ends[index].stands)
    #expect(try await world.server.verify().allSatisfy(\.isSound))
    await world.stop()
  }

  @Test("While a recommendation is awaited a failed task ends nothing")
  func awaited() async throws {
    let world = try await World()
    let id = try await world.begin()
    await world.environment.effects.settled()
    let request = try #require(world.neighbours.facts.withLock { $0.submitted.first })
    try await world.endTask(request, with: AgentTaskFailed(message: "no model"))
    let after = try await world.journey(id)
    #expect(after.stands == "plan active")
    #expect(after.nodes.contains { $0.awaitsWork } == false)
    #expect(try await world.server.verify().allSatisfy(\.isSound))
    await world.stop()
  }
}
