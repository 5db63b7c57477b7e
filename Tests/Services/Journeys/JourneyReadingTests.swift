import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Testing

@testable import SpanwireJourneys

extension RPCError {
  /// The fields that a refusal names.
  var violatedFields: [String] {
    details.compactMap { try? $0.unpack(as: Google_Rpc_BadRequest.self) }.flatMap { $0.fieldViolations.map(\.field) }
  }
}

@Suite("Lists, watches and timers of journeys")
struct JourneyReadingTests {
  @Test("Pages follow each other without a gap, and filters narrow them")
  func lists() async throws {
    let world = try await World()
    var ids: [String] = []
    for number in 0..<5 {
      ids.append(try await world.begin("start-\(number)", session: "PRS-\(number % 2)"))
      world.clock.advance(by: .seconds(1))
    }
    _ = try await world.asGateway { [ids] in
      try await $0.abandonJourney(AbandonJourneyRequest(idempotencyKey: "a", journeyInstanceID: ids[2], reason: "rain"))
    }
    let began = World.beginning
    func list(_ request: ListJourneysRequest) async throws -> [Int] {
      var request = request
      request.pageSize = 2
      var found: [String] = []
      repeat {
        let page = try await world.asGateway { [request] in try await $0.listJourneys(request) }
        #expect(page.journeys.count <= 2)
        found += page.journeys.map(\.journeyInstanceID)
        request.pageToken = page.nextPageToken
      } while !request.pageToken.isEmpty
      return found.map { ids.firstIndex(of: $0)! }
    }
    #expect(try await list(ListJourneysRequest()) == [4, 3, 2, 1, 0])
    #expect(try await list(ListJourneysRequest(productRuntimeSessionID: "PRS-0")) == [4, 2, 0])
    #expect(try await list(ListJourneysRequest(state: .abandoned)) == [2])
    #expect(try await list(ListJourneysRequest(productRuntimeSessionID: "PRS-0", state: .running)) == [4, 0])
    #expect(try await list(ListJourneysRequest(journeyDocID: "TJM-PASS")) == [4, 3, 2, 1, 0])
    #expect(try await list(ListJourneysRequest(state: .running, journeyDocID: "TJM-OTHER")) == [])
    #expect(
      try await list(
        ListJourneysRequest(
          startedFrom: .init(nanosecondsSinceEpoch: began + 1_000_000_000),
          startedBefore: .init(nanosecondsSinceEpoch: began + 4_000_000_000))) == [3, 2, 1])
    let error = await #expect(throws: RPCError.self) {
      try await world.asGateway { try await $0.listJourneys(ListJourneysRequest(state: .unrecognized(9), pageSize: 501)) }
    }
    #expect(error?.violatedFields == ["state", "page_size"])
    await world.stop()
  }

  @Test("A watch tells a journey's story and nobody else's, and goes on where it was cut")
  func watches() async throws {
    let world = try await World()
    let id = try await world.begin()
    _ = try await world.begin("other", session: "PRS-1")
    func story(after cursor: String) async throws -> [EventEnvelope] {
      try await world.asGateway { client in
        var events: [EventEnvelope] = []
        for try await response in try await client.watchJourney(
          WatchJourneyRequest(journeyInstanceID: id, cursor: cursor, untilEnd: true))
        { if case .event(let event) = response.item { events.append(event) } }
        return events
      }
    }
    let first = try await story(after: "")
    #expect(first.map(\.type) == ["journey.started", "journey.node.entered", "journey.node.completed", "journey.node.entered"])
    _ = try await world.change(id, to: ["SP-A"])
    let rest = try await story(after: first.last!.logPosition)
    #expect(
      rest.map(\.type) == [
        "agent.recommendation.accepted", "journey.route.changed", "agent.recommendation.applied", "journey.node.completed",
        "journey.node.entered",
      ])
    #expect(rest.allSatisfy { $0.journeyInstanceID == id })
    let error = await #expect(throws: RPCError.self) {
      try await world.asGateway { client in
        for try await _ in try await client.watchJourney(WatchJourneyRequest(journeyInstanceID: "JRN-NONE")) {}
      }
    }
    #expect(error?.code == .notFound)
    await world.stop()
  }

  @Test("A timer that came due while the server was down fires once when it is back")
  func restart() async throws {
    let world = try await World()
    let id = try await world.begin()
    _ = try await world.asGateway {
      try await $0.declineRecommendation(
        DeclineRecommendationRequest(idempotencyKey: "no", journeyInstanceID: id, proposalID: "PRP-1", reason: "rain"))
    }
    let waiting = try await waitingAtRest(world, key: "rest")
    await world.stop()

    let after = try await World(after: world)
    after.clock.set(world.clock.now)
    await after.pass(.seconds(59))
    #expect(try await after.journey(waiting).stands == "rest active")
    await after.pass(.seconds(3_600))
    #expect(try await after.journey(waiting).stands == "sight active SP-SIGHT")
    await after.stop()

    let again = try await World(after: after)
    again.clock.set(after.clock.now)
    await again.pass(.seconds(3_600))
    #expect(try await again.journey(waiting).stands == "sight active SP-SIGHT")
    #expect(try await again.events().count { $0.type == "journey.timer.fired" } == 1)
    await again.stop()
  }

  @Test("A timer whose node was left leaves nothing that waits")
  func cancelled() async throws {
    let world = try await World()
    let id = try await waitingAtRest(world, key: "rest")
    func pending() async throws -> Int64 {
      try await world.environment.database.read {
        try $0.first("SELECT count(*) FROM effect WHERE state = 0 AND method = 'timer'") { $0.get(0, as: Int64.self) } ?? 0
      }
    }
    #expect(try await pending() == 1)
    _ = try await world.asGateway {
      try await $0.forceSkipNode(
        ForceNodeRequest(idempotencyKey: "skip", journeyInstanceID: id, nodeID: "rest", reason: "late", actor: "ops:OPS-1"))
    }
    #expect(try await pending() == 0)
    await world.pass(.seconds(61))
    #expect(try await world.events().contains { $0.type == "journey.timer.fired" } == false)
    await world.stop()
  }

  @Test("Due timers are found by an index, however many journeys wait")
  func index() async throws {
    let world = try await World()
    let plan = try await world.environment.database.read {
      try $0.query("EXPLAIN QUERY PLAN SELECT min(due_at) FROM effect WHERE state = 0 AND due_at > 5") { $0.get(3, as: String.self) }
    }
    #expect(plan == ["SEARCH effect USING INDEX effect_due (due_at>?)"])
    await world.stop()
  }

  @Test("A difference between a row and the log is found")
  func planted() async throws {
    let world = try await World()
    let id = try await world.begin()
    #expect(try await world.server.verify().allSatisfy(\.isSound))
    _ = try await world.environment.database.transaction("test") { tx in
      guard var stored = try JourneyStore.find(id, tenant: "vienna", in: tx) else { return }
      stored.visitedServicePointIds = ["SP-A"]
      try tx.execute("UPDATE tjm_journeys SET journey = ?1 WHERE journey_instance_id = ?2", stored.encoded(), id)
    }
    #expect(try await world.server.verify().map(\.isSound) == [true, false])
    await world.stop()
  }

  /// A journey that stands at its timer of a minute.
  private func waitingAtRest(_ world: World, key: String) async throws -> String {
    let id = try await world.begin(key, session: "PRS-REST")
    _ = try await world.change(id, to: ["SP-A"], key: "\(key)-route")
    _ = try await world.advance(id, "visit", .arrived(Arrived()), key: "\(key)-arrive")
    _ = try await world.asGateway {
      try await $0.forceSkipNode(
        ForceNodeRequest(idempotencyKey: "\(key)-skip", journeyInstanceID: id, nodeID: "redeem", reason: "no thirst", actor: "ops:OPS-1"))
    }
    _ = try await world.advance(id, "more", .choose(Choose(option: "finish")), key: "\(key)-more")
    #expect(try await world.journey(id).stands == "rest active")
    return id
  }
}
