import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Testing

@testable import SpanwireJourneys

@Suite("What the journey runtime refuses")
struct JourneyRefusalTests {
  struct Call: Sendable, CustomTestStringConvertible {
    var name: String
    /// The fields that an empty request lacks.
    var lacks: [String]
    /// The call on a journey, with all that it needs.
    var call: @Sendable (JourneyRuntimeClient, _ journey: String?) async throws -> Void
    var testDescription: String { name }
  }

  static let commands: [Call] = [
    Call(name: "advance", lacks: ["idempotency_key", "journey_instance_id", "node_id", "step"]) { client, id in
      _ = try await client.advanceJourney(
        id.map {
          AdvanceJourneyRequest(idempotencyKey: "k", journeyInstanceID: $0, nodeID: "plan", step: .acknowledge(Acknowledge()))
        } ?? AdvanceJourneyRequest())
    },
    Call(name: "change route", lacks: ["idempotency_key", "journey_instance_id", "service_point_ids"]) { client, id in
      _ = try await client.changeRoute(
        id.map { ChangeRouteRequest(idempotencyKey: "k", journeyInstanceID: $0, servicePointIds: ["SP-A"]) } ?? ChangeRouteRequest())
    },
    Call(name: "decline", lacks: ["idempotency_key", "journey_instance_id", "proposal_id"]) { client, id in
      _ = try await client.declineRecommendation(
        id.map { DeclineRecommendationRequest(idempotencyKey: "k", journeyInstanceID: $0, proposalID: "PRP-1") }
          ?? DeclineRecommendationRequest())
    },
    Call(name: "abandon", lacks: ["idempotency_key", "journey_instance_id"]) { client, id in
      _ = try await client.abandonJourney(
        id.map { AbandonJourneyRequest(idempotencyKey: "k", journeyInstanceID: $0) } ?? AbandonJourneyRequest())
    },
    Call(name: "abort", lacks: ["idempotency_key", "journey_instance_id", "actor", "reason"]) { client, id in
      _ = try await client.forceAbort(
        id.map { ForceAbortRequest(idempotencyKey: "k", journeyInstanceID: $0, reason: "fire", actor: "ops:OPS-1") } ?? ForceAbortRequest())
    },
    Call(name: "skip", lacks: ["idempotency_key", "journey_instance_id", "node_id", "actor", "reason"]) { client, id in
      _ = try await client.forceSkipNode(id.map(force) ?? ForceNodeRequest())
    },
    Call(name: "complete", lacks: ["idempotency_key", "journey_instance_id", "node_id", "actor", "reason"]) { client, id in
      _ = try await client.forceCompleteNode(id.map(force) ?? ForceNodeRequest())
    },
  ]

  private static func force(_ journey: String) -> ForceNodeRequest {
    ForceNodeRequest(idempotencyKey: "k", journeyInstanceID: journey, nodeID: "plan", reason: "fire", actor: "ops:OPS-1")
  }

  @Test("A request that lacks something names all that it lacks", arguments: commands)
  func lacking(_ each: Call) async throws {
    let world = try await World()
    let error = await #expect(throws: RPCError.self) { try await world.asGateway { try await each.call($0, nil) } }
    #expect(error?.code == .invalidArgument)
    #expect(error?.violatedFields == each.lacks)
    await world.stop()
  }

  @Test("A journey that is not there, or another tenant's, is not found", arguments: commands)
  func unknown(_ each: Call) async throws {
    let world = try await World()
    let id = try await world.begin()
    let stranger = Principal(kind: .user, id: "USR-9", tenant: "graz", roles: ["traveller"], surface: .edge)
    let missing = await #expect(throws: RPCError.self) { try await world.asGateway { try await each.call($0, "JRN-NONE") } }
    #expect(missing?.code == .notFound)
    let foreign = await #expect(throws: RPCError.self) { try await world.asGateway(for: stranger) { try await each.call($0, id) } }
    #expect(foreign?.code == .notFound)
    #expect(foreign?.reason == .journeyNotFound)
    await world.stop()
  }

  @Test("On a journey that has ended every command is refused, and changes nothing", arguments: commands)
  func ended(_ each: Call) async throws {
    let world = try await World()
    let id = try await world.begin()
    _ = try await world.asGateway { try await $0.abandonJourney(AbandonJourneyRequest(idempotencyKey: "rain", journeyInstanceID: id)) }
    let before = try await world.journey(id)
    let count = try await world.events().count
    let error = await #expect(throws: RPCError.self) { try await world.asGateway { try await each.call($0, id) } }
    #expect(error?.code == .failedPrecondition)
    #expect(error?.reason == .journeyTransitionInvalid)
    #expect(error?.message == "the journey is abandoned; this needs it running")
    #expect(try await world.journey(id) == before)
    #expect(try await world.events().count == count)
    await world.stop()
  }

  @Test("A start that lacks something names all that it lacks, and one at no entry point names those there are")
  func starts() async throws {
    let world = try await World()
    let lacking = await refusal(of: StartJourneyRequest(), in: world)
    #expect(
      lacking?.violatedFields == [
        "idempotency_key", "product_runtime_session_id", "product_version_id", "runtime_snapshot_ref", "user_id", "market_code",
      ])
    var request = World.start
    request.entryPoint = "side"
    #expect(await refusal(of: request, in: world)?.message == "no entry point 'side'; there are start")
    #expect(try await world.events().isEmpty)
    await world.stop()
  }

  private func refusal(of request: StartJourneyRequest, in world: World) async -> RPCError? {
    do {
      _ = try await world.asGateway { client in try await client.startJourney(request) }
      return nil
    } catch {
      return error as? RPCError
    }
  }

  @Test("A step that was taken is answered as it was, though the door has closed since")
  func repeated() async throws {
    let world = try await World()
    let id = try await world.begin()
    _ = try await world.change(id, to: ["SP-A", "SP-B"])
    let first = try await world.advance(id, "visit", .arrived(Arrived()), key: "arrive")
    _ = try await world.asGateway {
      try await $0.forceSkipNode(
        ForceNodeRequest(idempotencyKey: "skip", journeyInstanceID: id, nodeID: "redeem", reason: "no thirst", actor: "ops:OPS-1"))
    }
    _ = try await world.advance(id, "more", .choose(Choose(option: "next_stop")), key: "more")
    world.neighbours.change { $0.places["SP-B"]?.openState = .closed }
    #expect(try await world.advance(id, "visit", .arrived(Arrived()), key: "arrive") == first)
    let error = await #expect(throws: RPCError.self) { try await world.advance(id, "visit", .arrived(Arrived()), key: "again") }
    #expect(error?.message == "SP-B is closed")
    await world.stop()
  }
}
