import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Testing

@testable import SpanwireJourneys

@Suite("Room at places that take only so many")
struct JourneyRoomTests {
  private func stay(_ place: String, _ from: Int64 = 2_000, _ until: Int64 = 9_000) -> PlannedStay {
    PlannedStay(servicePointID: place, startsAt: from, expiresAt: until)
  }

  private func names(_ effects: [JourneyEffect]) -> [String] {
    effects.compactMap {
      switch $0 {
      case .keepRoom(let room): "keep \(room.servicePointID)"
      case .giveBackRoom(let room): "give back \(room.servicePointID)"
      case .askForWay(let node, _): "ask at \(node)"
      default: nil
      }
    }
  }

  /// Planned, on the way to A.
  private func walker(_ stays: [PlannedStay]) throws -> Walker {
    var walker = Walker()
    try walker.send(.start(entryPoint: "start", tokensLeft: 3))
    try walker.send(.changeRoute(servicePointIDs: ["A", "B", "C"], proposalID: "PRP-1", reason: "accepted", stays: stays))
    return walker
  }

  @Test("It is asked for with the route, stays while she is there, and is given back when she goes on or does not come")
  func keeps() throws {
    var walker = try walker([stay("A"), stay("C")])
    #expect(names(walker.effects) == ["keep A", "keep C"])
    #expect(Set(walker.journey.rooms.map(\.number)).count == 2)
    try walker.send(.arrive(nodeID: "visit", servicePointID: "A"))
    #expect(names(walker.effects).isEmpty, "she is there")
    try walker.redeem()
    #expect(names(walker.effects).isEmpty)
    try walker.send(.choose(nodeID: "more", option: "next_stop"))
    #expect(names(walker.effects) == ["give back A"])
    try walker.send(.changeRoute(servicePointIDs: ["B", "C"], proposalID: nil, reason: "later", stays: [stay("C", 5_000, 12_000)]))
    #expect(names(walker.effects) == ["give back C", "keep C"], "the times are others")
    try walker.send(.changeRoute(servicePointIDs: ["B"], proposalID: nil, reason: "shorter"))
    #expect(names(walker.effects) == ["give back C"])
    #expect(walker.journey.rooms.isEmpty)
  }

  @Test("However a journey ends or a place is lost, nothing is kept any longer; what is over by itself is not given back")
  func gives() throws {
    let ends: [JourneyCommand] = [
      .abandon(reason: "rain"), .forceAbort(operatorMove), .block(.init(servicePointID: "B", reason: "burst pipe")),
    ]
    for command in ends {
      var walker = try walker([stay("B")])
      try walker.send(command)
      #expect(names(walker.effects) == ["give back B"] && walker.journey.rooms.isEmpty, "\(command)")
    }
    var late = try walker([stay("B", 1_000, 1_002)])
    late.now = 5_000
    try late.send(.abandon(reason: "rain"))
    #expect(names(late.effects).isEmpty && late.journey.rooms.isEmpty)
  }

  @Test("A full place is left out of the route; who stands before it goes on, or an agent is asked")
  func full() throws {
    var walker = try walker([stay("A"), stay("B")])
    let rooms = walker.journey.rooms
    try walker.send(.roomRefused(number: rooms[0].number, reason: "no room"))
    #expect(walker.place(of: "visit") == "B" && walker.journey.route == ["B", "C"])
    try walker.send(.roomRefused(number: rooms[0].number, reason: "no room"))
    #expect(walker.effects.isEmpty && walker.journey.route == ["B", "C"], "it was said already")
    try walker.send(.changeRoute(servicePointIDs: ["B"], proposalID: nil, reason: "shorter"))
    try walker.send(.roomRefused(number: rooms[1].number, reason: "no room"))
    #expect(names(walker.effects) == ["ask at visit"] && walker.stands == "visit active")
  }

  @Test("The city keeps it from the accepted route on, in its own name, until the traveller has left, through a restart")
  func atTheCity() async throws {
    let world = try await World()
    world.neighbours.limit("SP-A", to: 4, free: 2)
    world.neighbours.limit("SP-C", to: 4, free: 2)
    let id = try await world.begin()
    _ = try await world.change(id, to: ["SP-A", "SP-B", "SP-C"])
    await world.environment.effects.settled()
    #expect(world.neighbours.kept == ["SP-A", "SP-C"])
    let journey = try await world.journey(id)
    #expect(journey.rooms.map(\.servicePointID) == ["SP-A", "SP-C"])
    let reserved = world.neighbours.facts.withLock { $0.kept.values.sorted { $0.servicePointID < $1.servicePointID } }
    let areHers = reserved.allSatisfy { $0.holder == "PRS-1" && $0.visitors == 1 && $0.reservationID.hasPrefix("RSV-\(id).") }
    #expect(areHers)
    #expect(reserved[0].expiresAt!.nanosecondsSinceEpoch <= reserved[1].startsAt!.nanosecondsSinceEpoch)
    await world.stop()

    let after = try await World(after: world)
    // All seats are taken, one of them is hers.
    after.neighbours.limit("SP-A", to: 4, free: 0)
    #expect(try await after.advance(id, "visit", .arrived(Arrived()), key: "arrive").stands == "redeem active SP-A")
    _ = try await after.asGateway {
      try await $0.abandonJourney(AbandonJourneyRequest(idempotencyKey: "home", journeyInstanceID: id, reason: "rain"))
    }
    await after.environment.effects.settled()
    #expect(after.neighbours.kept.isEmpty)
    #expect(try await after.server.verify().allSatisfy(\.isSound))
    await after.stop()
  }

  @Test("Who comes without room to a place that is full is refused at the door, and who finds some has it while she is there")
  func atTheDoor() async throws {
    let world = try await World()
    let id = try await world.begin()
    _ = try await world.change(id, to: ["SP-A", "SP-B"])
    world.neighbours.limit("SP-A", to: 4, free: 0)
    let refused = await #expect(throws: RPCError.self) { try await world.advance(id, "visit", .arrived(Arrived()), key: "first") }
    #expect(refused?.code == .failedPrecondition && refused?.reason == .capacityExceeded)
    #expect(try await world.journey(id).stands == "visit active SP-A")
    world.neighbours.limit("SP-A", to: 4, free: 1)
    _ = try await world.advance(id, "visit", .arrived(Arrived()), key: "second")
    await world.environment.effects.settled()
    #expect(world.neighbours.kept == ["SP-A"])
    await world.stop()
  }

  @Test("When the city has no room, the route goes past the place")
  func refusedByTheCity() async throws {
    let world = try await World()
    world.neighbours.limit("SP-A", to: 4, free: 1)
    world.neighbours.change { $0.full = ["SP-A"] }
    let id = try await world.begin()
    _ = try await world.change(id, to: ["SP-A", "SP-B"])
    await world.environment.effects.settled()
    let journey = try await world.journey(id)
    #expect(journey.stands == "visit active SP-B" && journey.route == ["SP-B"] && journey.rooms.isEmpty)
    let changes = try await world.events().filter { $0.type == "journey.route.changed" }
    let last = try changes.last?.payload?.unpack(as: JourneyRouteChanged.self)
    #expect(last?.reason.contains("SP-A is full") == true)
    await world.stop()
  }
}
