import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Testing

@testable import SpanwireJourneys

@Suite("Blocked places")
struct JourneyBlockTests {
  @Test("A block ends when its time is over, for every journey and for those yet to start, once")
  func expiry() async throws {
    let world = try await World()
    let id = try await world.begin()
    _ = try await world.change(id, to: ["SP-A"])
    let until = world.clock.now + 600_000_000_000
    #expect(try await world.block(["SP-A", "SP-SIGHT"], until: until, key: "block").journeyInstanceIds == [id])
    #expect(try await world.journey(id).stands == "visit blocked SP-A")
    #expect(try await world.journey(id).blocks.map(\.servicePointID) == ["SP-A", "SP-SIGHT"], "the document leads to the sight")
    let second = try await world.begin("second", session: "PRS-2")
    #expect(try await world.journey(second).blocks.map(\.servicePointID) == ["SP-SIGHT"])
    let error = await #expect(throws: RPCError.self) { try await world.change(second, to: ["SP-A"], key: "second") }
    #expect(error?.code == .failedPrecondition)
    #expect(error?.reason == .servicePointBlocked)
    await world.stop()

    let after = try await World(after: world)
    after.clock.set(until - 1)
    await after.pass(.nanoseconds(0))
    #expect(try await after.journey(id).stands == "visit blocked SP-A")
    await after.pass(.nanoseconds(1))
    #expect(try await after.journey(id).stands == "visit active SP-A")
    #expect(try await after.journey(second).blocks.isEmpty)
    #expect(try await after.change(second, to: ["SP-A"], key: "third").stands == "visit active SP-A")
    await after.pass(.seconds(3600))
    let types = try await after.events().map(\.type)
    #expect(types.count { $0 == "journey.node.unblocked" } == 3, "two for the first journey, one for the second")
    #expect(try await after.server.verify().allSatisfy(\.isSound))
    await after.stop()
  }

  @Test("A block that is given another time ends then, and one that is lifted by hand does not end again")
  func moved() async throws {
    let world = try await World()
    let id = try await world.begin()
    _ = try await world.change(id, to: ["SP-A"])
    let start = world.clock.now
    _ = try await world.block(["SP-A"], until: start + 10_000_000_000, key: "ten")
    _ = try await world.block(["SP-A"], until: start + 60_000_000_000, key: "sixty")
    await world.pass(.seconds(30))
    #expect(try await world.journey(id).stands == "visit blocked SP-A")
    _ = try await world.block(["SP-A"], false, key: "open")
    #expect(try await world.journey(id).stands == "visit active SP-A")
    _ = try await world.block(["SP-A"], key: "again")
    await world.pass(.seconds(60))
    #expect(try await world.journey(id).stands == "visit blocked SP-A", "without a time it stays")
    await world.stop()
  }

  @Test("More journeys than one transaction takes are all reached, and the same call again answers the same")
  func many() async throws {
    let world = try await World()
    var ids: [String] = []
    for number in 0..<(JourneyLimits.journeysPerSweep + 5) {
      ids.append(try await world.begin("start-\(number)", session: "PRS-\(number)"))
    }
    let response = try await world.block(["SP-SIGHT"], key: "block")
    #expect(response.touched == UInt32(ids.count))
    #expect(response.journeyInstanceIds == ids)
    #expect(try await world.block(["SP-SIGHT"], key: "block") == response)
    let count = try await world.events().count
    #expect(try await world.block(["SP-SIGHT"], key: "other") == response, "what holds already writes nothing")
    #expect(try await world.events().count == count)
    await world.stop()
  }

  @Test("Where the route ends at a block, an agent is asked for another stop, once for each time; where it goes on, nobody is")
  func asksForAWay() async throws {
    let world = try await World()
    let id = try await world.begin()
    await world.environment.effects.settled()
    _ = try await world.change(id, to: ["SP-A", "SP-B"])
    _ = try await world.block(["SP-A"], key: "first")
    await world.environment.effects.settled()
    #expect(try await world.journey(id).stands == "visit active SP-B")
    #expect(world.neighbours.asked == ["build_initial_route"])
    _ = try await world.block(["SP-B"], key: "second")
    await world.environment.effects.settled()
    #expect(try await world.journey(id).stands == "visit blocked SP-B")
    #expect(world.neighbours.asked == ["build_initial_route", "suggest_next_stop"])
    let task = world.neighbours.facts.withLock { $0.submitted.last }
    #expect(task?.task?.agentType == "journey_guide" && task?.context?.journeyInstanceID == id)
    // Its end moves nothing: what it recommends, the traveller accepts.
    try await world.endTask(try #require(task), with: AgentTaskFailed(message: "nothing near by"))
    #expect(try await world.journey(id).stands == "visit blocked SP-B")
    #expect(try await world.change(id, to: ["SP-C"], key: "third").stands == "visit active SP-C")
    _ = try await world.block(["SP-C"], key: "fourth")
    await world.environment.effects.settled()
    #expect(world.neighbours.asked.count == 3)
    #expect(try await world.server.verify().allSatisfy(\.isSound))
    await world.stop()
  }

  @Test("What is wrong with a block is told at once, and changes nothing")
  func refusals() async throws {
    let world = try await World()
    let error = await #expect(throws: RPCError.self) {
      try await world.asGateway {
        try await $0.setServicePointBlock(
          SetServicePointBlockRequest(
            servicePointIds: ["SP A"], blocked: true, until: .init(nanosecondsSinceEpoch: world.clock.now)))
      }
    }
    #expect(error?.code == .invalidArgument)
    #expect(error?.violatedFields == ["idempotency_key", "service_point_ids[0]", "actor", "reason", "until"])
    #expect(try await world.environment.database.read { try JourneyBlocks.all(tenant: "vienna", in: $0) }.isEmpty)
    await world.stop()
  }
}
