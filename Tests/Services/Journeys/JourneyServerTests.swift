import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Testing

@testable import SpanwireJourneys

@Suite("The journey runtime")
struct JourneyServerTests {
  @Test("A day of coffee, from start to end, with what the log tells of it")
  func day() async throws {
    let world = try await World()
    let id = try await world.begin()
    #expect(try await world.asGateway { try await $0.getJourney(GetJourneyRequest(journeyInstanceID: id)) }.stands == "plan active")
    await world.environment.effects.settled()
    #expect(world.neighbours.facts.withLock { $0.submitted.map(\.task?.agentType) } == ["trip_planner"])

    #expect(try await world.change(id, to: ["SP-A", "SP-B"]).stands == "visit active SP-A")
    #expect(try await world.advance(id, "visit", .arrived(Arrived(servicePointID: "SP-A")), key: "arrive-1").stands == "redeem active SP-A")
    let redeemed = try await world.advance(id, "redeem", .redeem(Redeem()), key: "redeem-1")
    #expect(redeemed.stands == "more active")
    #expect(world.neighbours.facts.withLock { Array($0.redemptions.keys) } == ["\(id)-redeem-1"])
    #expect(try await world.advance(id, "more", .choose(Choose(option: "next_stop")), key: "more-1").stands == "visit active SP-B")
    _ = try await world.advance(id, "visit", .arrived(Arrived()), key: "arrive-2")
    #expect(try await world.advance(id, "redeem", .redeem(Redeem()), key: "redeem-2").stands == "more active")
    #expect(try await world.advance(id, "more", .choose(Choose(option: "finish")), key: "more-2").stands == "rest active")

    world.clock.advance(by: .seconds(60))
    world.environment.effects.poll()
    await world.environment.effects.settled()
    #expect(
      try await world.asGateway { try await $0.getJourney(GetJourneyRequest(journeyInstanceID: id)) }.stands == "sight active SP-SIGHT")
    _ = try await world.advance(id, "sight", .arrived(Arrived(servicePointID: "SP-SIGHT")), key: "sight")
    let over = try await world.advance(id, "goodbye", .acknowledge(Acknowledge()), key: "goodbye")
    #expect(over.state == .completed)
    #expect(over.visitedServicePointIds == ["SP-A", "SP-B", "SP-SIGHT"])

    let events = try await world.events()
    let types = events.map(\.type)
    #expect(types.first == "journey.started")
    #expect(types.last == "journey.completed")
    #expect(types.filter { $0 == "agent.recommendation.accepted" || $0 == "agent.recommendation.applied" }.count == 2)
    #expect(types.contains("journey.timer.fired"))
    #expect(events.allSatisfy { $0.journeyInstanceID == id && $0.productRuntimeSessionID == "PRS-1" && $0.producer == "tjm" })
    #expect(events.allSatisfy { $0.traceID.count == 16 && $0.marketCode == "AT-VIE" })
    #expect(try await world.server.verify().allSatisfy(\.isSound))
    await world.stop()
  }

  @Test("A step sent twice is one step, and its answer the first one's")
  func idempotent() async throws {
    let world = try await World()
    let id = try await world.begin()
    #expect(try await world.begin() == id)
    _ = try await world.change(id, to: ["SP-A"])
    _ = try await world.advance(id, "visit", .arrived(Arrived()), key: "arrive")
    let first = try await world.advance(id, "redeem", .redeem(Redeem()), key: "redeem")
    #expect(try await world.advance(id, "redeem", .redeem(Redeem()), key: "redeem") == first)
    #expect(world.neighbours.facts.withLock { $0.redemptions.count } == 1)
    let error = await #expect(throws: RPCError.self) {
      try await world.advance(id, "more", .choose(Choose(option: "finish")), key: "redeem")
    }
    #expect(error?.code == .alreadyExists)
    await world.stop()
  }

  @Test("A redemption without a token fails the node, and the journey goes on by the document")
  func nothingLeft() async throws {
    let world = try await World()
    world.neighbours.change { $0.entitlements[0].remaining = 0 }
    let id = try await world.begin()
    _ = try await world.change(id, to: ["SP-A"])
    _ = try await world.advance(id, "visit", .arrived(Arrived()), key: "arrive")
    let after = try await world.advance(id, "redeem", .redeem(Redeem()), key: "redeem")
    #expect(after.nodes.first { $0.nodeID == "redeem" }?.state == .failed)
    #expect(after.stands == "more active")
    #expect(world.neighbours.facts.withLock { $0.redemptions.isEmpty })
    await world.stop()
  }

  @Test("An operator's block leads on to the next stop; with none left the visit waits, and a skip leads past it")
  func blocks() async throws {
    let world = try await World()
    let id = try await world.begin()
    _ = try await world.change(id, to: ["SP-A", "SP-B"])
    func block(_ place: String, _ blocked: Bool = true) async throws -> [String] {
      try await world.asGateway {
        try await $0.setServicePointBlock(
          SetServicePointBlockRequest(
            idempotencyKey: "block-\(place)-\(blocked)", tenantID: "vienna", servicePointIds: [place], blocked: blocked,
            reason: "burst pipe",
            actor: "ops:OPS-1"))
      }.journeyInstanceIds
    }
    #expect(try await block("SP-D") == [])
    #expect(try await block("SP-A") == [id])
    #expect(try await world.asGateway { try await $0.getJourney(GetJourneyRequest(journeyInstanceID: id)) }.stands == "visit active SP-B")
    #expect(try await block("SP-B") == [id])
    #expect(try await world.asGateway { try await $0.getJourney(GetJourneyRequest(journeyInstanceID: id)) }.stands == "visit blocked SP-B")
    let error = await #expect(throws: RPCError.self) { try await world.change(id, to: ["SP-B"], key: "again") }
    #expect(error?.code == .failedPrecondition)
    let skipped = try await world.asGateway {
      try await $0.forceSkipNode(
        ForceNodeRequest(idempotencyKey: "skip", journeyInstanceID: id, nodeID: "visit", reason: "burst pipe", actor: "ops:OPS-1"))
    }
    #expect(skipped.stands == "more active")
    #expect(try await block("SP-B", false) == [id])
    let types = try await world.events().map(\.type)
    #expect(types.filter { $0 == "journey.node.blocked" }.count == 2)
    #expect(try await world.server.verify().allSatisfy(\.isSound))
    await world.stop()
  }

  @Test("What is refused changes no row and writes no event")
  func refusals() async throws {
    let world = try await World()
    let id = try await world.begin()
    _ = try await world.change(id, to: ["SP-A", "SP-B"])
    await world.environment.effects.settled()
    let before = try await world.asGateway { try await $0.getJourney(GetJourneyRequest(journeyInstanceID: id)) }
    let count = try await world.events().count
    world.neighbours.change {
      $0.places["SP-A"]?.openState = .closed
      $0.places["SP-C"]?.openState = .unknown
    }
    let other = Principal(kind: .user, id: "USR-9", tenant: "graz", roles: ["traveller"], surface: .edge)
    let cases: [(String, RPCError.Code, @Sendable () async throws -> Void)] = [
      ("closed door", .failedPrecondition, { _ = try await world.advance(id, "visit", .arrived(Arrived()), key: "a") }),
      ("elsewhere", .failedPrecondition, { _ = try await world.advance(id, "more", .choose(Choose(option: "finish")), key: "b") }),
      ("no such node", .notFound, { _ = try await world.advance(id, "nowhere", .acknowledge(Acknowledge()), key: "c") }),
      (
        "too many stops", .failedPrecondition,
        { _ = try await world.change(id, to: ["SP-A", "SP-B", "SP-C", "SP-D", "SP-SIGHT"], key: "d") }
      ),
      ("unknown hours", .failedPrecondition, { _ = try await world.change(id, to: ["SP-C"], key: "e") }),
      ("no such place", .notFound, { _ = try await world.change(id, to: ["SP-X"], key: "f") }),
      ("no field", .invalidArgument, { _ = try await world.change(id, to: [], key: "g") }),
      (
        "another tenant", .notFound,
        { _ = try await world.asGateway(for: other) { try await $0.getJourney(GetJourneyRequest(journeyInstanceID: id)) } }
      ),
      (
        "another tenant's name", .permissionDenied,
        { _ = try await world.asGateway(for: other) { try await $0.startJourney(World.start) } }
      ),
    ]
    for (name, code, call) in cases {
      let error = await #expect(throws: RPCError.self, "\(name)") { try await call() }
      #expect(error?.code == code, "\(name): \(String(describing: error))")
    }
    world.neighbours.change { $0.refusesRouteChanges = true }
    let denied = await #expect(throws: RPCError.self) { try await world.change(id, to: ["SP-D"], key: "h") }
    #expect(denied?.code == .permissionDenied)
    #expect(denied?.reasonMetadata("rule") == "PROPOSAL-ROLE")
    #expect(try await world.asGateway { try await $0.getJourney(GetJourneyRequest(journeyInstanceID: id)) } == before)
    #expect(try await world.events().count == count)
    await world.stop()
  }

  @Test("After a restart the journey stands where it was, and its timer fires")
  func restart() async throws {
    let world = try await World()
    let id = try await world.begin()
    _ = try await world.change(id, to: ["SP-A"])
    _ = try await world.advance(id, "visit", .arrived(Arrived()), key: "arrive")
    _ = try await world.advance(id, "redeem", .redeem(Redeem()), key: "redeem")
    let before = try await world.advance(id, "more", .choose(Choose(option: "finish")), key: "more")
    await world.stop()

    let after = try await World(after: world)
    #expect(try await after.asGateway { try await $0.getJourney(GetJourneyRequest(journeyInstanceID: id)) } == before)
    after.clock.advance(by: .seconds(61))
    after.environment.effects.poll()
    await after.environment.effects.settled()
    #expect(
      try await after.asGateway { try await $0.getJourney(GetJourneyRequest(journeyInstanceID: id)) }.stands == "sight active SP-SIGHT")
    await after.stop()
  }
}
