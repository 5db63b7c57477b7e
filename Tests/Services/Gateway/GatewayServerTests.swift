import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Testing

@testable import SpanwireGateway

@Suite("The gateway")
struct GatewayServerTests {
  @Test("A session from its opening over a purchase and a journey to its end, with what the log tells of it")
  func life() async throws {
    let world = try await World()
    let opened = try await world.call { try await $0.openSession(World.openRequest) }
    #expect(opened.state == .ready)
    #expect(opened.runtimeSnapshotRef == "SNAP-1")
    let id = opened.productRuntimeSessionID
    let bought = try await world.call {
      try await $0.purchase(PurchaseRequest(idempotencyKey: "buy", productRuntimeSessionID: id, paymentReference: "PAY-1"))
    }
    #expect(bought.variantID == "VAR-THREE")
    #expect(bought.entitlements.map(\.issued) == [3])
    #expect(world.neighbours.keys(of: Trutta.Methods.issue) == ["\(bought.purchaseID)-0"])
    let journey = try await world.call {
      try await $0.startJourney(StartSessionJourneyRequest(idempotencyKey: "start", productRuntimeSessionID: id))
    }
    #expect(journey.journeyInstanceID == "JRN-1")
    let active = try await world.session(id)
    #expect(active.state == .active)
    #expect(active.entitlementIds == bought.entitlements.map(\.entitlementID))

    let close = CloseSessionRequest(idempotencyKey: "close", productRuntimeSessionID: id, reason: "the day is over")
    let running = await #expect(throws: RPCError.self) { try await world.call { try await $0.closeSession(close) } }
    #expect(running?.code == .failedPrecondition)
    world.neighbours.change { $0.journey.state = .completed }
    #expect(try await world.call { try await $0.closeSession(close) }.state == .completed)

    let events = try await world.events()
    #expect(
      events.map(\.type) == [
        "product.runtime.session.created", "product.runtime.config.resolved", "product.runtime.session.preflight_passed",
        "product.runtime.session.ready", "product.runtime.purchase.completed", "product.runtime.session.active",
        "product.runtime.session.post_journey", "product.runtime.session.completed",
      ])
    #expect(events.allSatisfy { $0.productRuntimeSessionID == id && $0.producer == "prg" && $0.traceID.count == 16 })
    #expect(try await world.server.verify().allSatisfy(\.isSound))
    await world.stop()
  }

  @Test("What was issued of a purchase that fails is withdrawn, before and after the grant that was refused")
  func failedPurchase() async throws {
    let world = try await World()
    world.neighbours.change { facts in
      let grant = TokenGrant(tokenID: "TOK-COFFEE", quantity: 1)
      facts.config.productVersion?.variants = [Variant(variantID: "VAR-MANY", grants: [grant, grant, grant, grant])]
      facts.refusals["\(Trutta.Methods.issue.path)-1"] = RPCError(.failedPrecondition, "its time is over")
    }
    let session = try await world.call { try await $0.openSession(World.openRequest) }
    let buy = PurchaseRequest(
      idempotencyKey: "buy", productRuntimeSessionID: session.productRuntimeSessionID, paymentReference: "PAY-1")
    for _ in 0..<2 {
      let refused = await #expect(throws: RPCError.self) { try await world.call { try await $0.purchase(buy) } }
      #expect(refused?.code == .failedPrecondition)
    }
    await world.environment.effects.settled()
    let issues = world.neighbours.keys(of: Trutta.Methods.issue)
    #expect(issues.count == 4)
    let kept = issues.filter { !$0.hasSuffix("-1") }.map { "ENT-\($0)-withdraw" }
    #expect(Set(world.neighbours.keys(of: Trutta.Methods.withdraw)) == Set(kept))
    #expect(try await world.session(session.productRuntimeSessionID).entitlementIds.isEmpty)
    await world.stop()
  }

  @Test("A failed check fails the session and says why")
  func preflight() async throws {
    let world = try await World()
    let cases: [(@Sendable (inout OpenSessionRequest, inout Neighbours.Facts) -> Void, String)] = [
      ({ request, _ in request.productID = "PRD-NONE" }, "config: no such product"),
      (
        { _, facts in facts.decision = AccessDecision(decision: .deny, reasons: [DecisionReason(text: "not you", ruleRef: "R2")]) },
        "policy: not you"
      ),
      ({ request, _ in request.segments = ["local"] }, "segments: "),
      ({ _, facts in facts.isCovered = false }, "coverage: nobody is there"),
      ({ request, _ in request.marketCode = "DE-BER" }, "market: "),
    ]
    for (number, (spoil, reason)) in cases.enumerated() {
      world.neighbours.change { $0 = Neighbours.Facts() }
      let request = world.neighbours.change { facts in
        var request = World.openRequest
        request.idempotencyKey = "open-\(number)"
        spoil(&request, &facts)
        return request
      }
      let session = try await world.call { try await $0.openSession(request) }
      #expect(session.state == .failed)
      #expect(session.stateReason.hasPrefix(reason), "\(session.stateReason)")
    }
    #expect(try await world.server.verify().allSatisfy(\.isSound))
    await world.stop()
  }

  @Test("A call made again under its key is answered as before and does nothing")
  func idempotent() async throws {
    let world = try await World()
    let id = try await world.open()
    #expect(try await world.open() == id)
    let buy = PurchaseRequest(idempotencyKey: "buy", productRuntimeSessionID: id, paymentReference: "PAY-1")
    let first = try await world.call { try await $0.purchase(buy) }
    #expect(try await world.call { try await $0.purchase(buy) } == first)
    #expect(world.neighbours.keys(of: Trutta.Methods.issue).count == 1)
    let other = PurchaseRequest(idempotencyKey: "buy", productRuntimeSessionID: id, paymentReference: "PAY-2")
    let error = await #expect(throws: RPCError.self) { try await world.call { try await $0.purchase(other) } }
    #expect(error?.code == .alreadyExists)
    let start = StartSessionJourneyRequest(idempotencyKey: "start", productRuntimeSessionID: id)
    let journey = try await world.call { try await $0.startJourney(start) }
    #expect(try await world.call { try await $0.startJourney(start) } == journey)
    #expect(world.neighbours.keys(of: JourneyRuntime.Methods.startJourney).count == 1)
    world.propose(.route(RouteProposal(servicePointIds: ["SP-A"])), in: id)
    let accepted = try await world.accept(id)
    #expect(try await world.accept(id) == accepted)
    #expect(accepted.proposal?.state == .applied)
    #expect(accepted.journey?.route == ["SP-A"])
    await world.stop()
  }

  @Test("A purchase that is refused for good fails, and is told")
  func purchaseFails() async throws {
    let world = try await World()
    let id = try await world.open()
    world.neighbours.change { $0.refusals[Trutta.Methods.issue.path] = .precondition(.tokenUnknown, "no such token") }
    let buy = PurchaseRequest(idempotencyKey: "buy", productRuntimeSessionID: id, paymentReference: "PAY-1")
    for _ in 0..<2 {
      let error = await #expect(throws: RPCError.self) { try await world.call { try await $0.purchase(buy) } }
      #expect(error?.code == .failedPrecondition)
      #expect(error?.reason == .tokenUnknown)
    }
    #expect(try await world.events().map(\.type).last == "product.runtime.purchase.failed")
    #expect(try await world.session(id).entitlementIds.isEmpty)
    await world.stop()
  }

  @Test("What agents may never do is refused whoever accepts it, by its rule, and audited")
  func forbidden() async throws {
    let world = try await World()
    let id = try await world.onTheWay()
    world.propose(.requestedAction(RequestedAction(action: "redeem")), in: id, rule: "AGENT-FORBIDDEN-REDEEM")
    let before = try await world.session(id)
    let error = await #expect(throws: RPCError.self) { try await world.accept(id) }
    #expect(error?.code == .permissionDenied)
    #expect(error?.reason == .agentForbidden)
    #expect(error?.reasonMetadata("rule") == "AGENT-FORBIDDEN-REDEEM")
    let audit = try #require(try await world.events().last)
    #expect(audit.type == "audit.recorded")
    #expect(try audit.payload?.unpack(as: AuditRecorded.self).rule == "AGENT-FORBIDDEN-REDEEM")
    #expect(try await world.session(id) == before)
    await world.stop()
  }

  @Test("Proposals are decided once, in their session, while they are open")
  func proposals() async throws {
    let world = try await World()
    let id = try await world.onTheWay()
    world.propose(.product(ProductProposal(variantID: "VAR-FIVE")), in: id)
    #expect(try await world.accept(id).proposal?.state == .applied)
    await world.environment.effects.settled()
    #expect(world.neighbours.change { $0.decisions.map(\.state) } == [.applied])
    let bought = try await world.call {
      try await $0.purchase(PurchaseRequest(idempotencyKey: "buy", productRuntimeSessionID: id, paymentReference: "PAY-1"))
    }
    #expect(bought.variantID == "VAR-FIVE")
    let again = await #expect(throws: RPCError.self) { try await world.accept(id, key: "again") }
    #expect(again?.reason == .proposalAlreadyDecided)
    world.propose(.explanation(Explanation(text: "so")), in: "PRS-OTHER", id: "PRP-2")
    let elsewhere = await #expect(throws: RPCError.self) { try await world.accept(id, "PRP-2", key: "elsewhere") }
    #expect(elsewhere?.reason == .proposalNotFound)
    // A route that the journey runtime refuses leaves the proposal open.
    world.propose(.route(RouteProposal(servicePointIds: ["SP-A"])), in: id, id: "PRP-3")
    world.neighbours.change { $0.refusals[JourneyRuntime.Methods.changeRoute.path] = .precondition(.proposalInvalid, "closed by then") }
    let refused = await #expect(throws: RPCError.self) { try await world.accept(id, "PRP-3", key: "route") }
    #expect(refused?.code == .failedPrecondition)
    world.neighbours.change { $0.refusals = [:] }
    #expect(try await world.accept(id, "PRP-3", key: "route-2").proposal?.state == .applied)
    // A rejection of a route tells the journey that waits for it.
    world.propose(.route(RouteProposal(servicePointIds: ["SP-B"])), in: id, id: "PRP-4")
    _ = try await world.call {
      try await $0.rejectProposal(
        DecideProposalRequest(idempotencyKey: "no", productRuntimeSessionID: id, proposalID: "PRP-4", reason: "too far"))
    }
    #expect(world.neighbours.keys(of: JourneyRuntime.Methods.declineRecommendation) == ["PRP-4-declined"])
    await world.stop()
  }

  @Test("A control action is done, told, audited and linked to an incident; once for its key")
  func control() async throws {
    let world = try await World()
    let id = try await world.onTheWay()
    let skip = ApplyControlRequest.Action.forceSkipNode(ForceSkipNode(productRuntimeSessionID: id, nodeID: "plan"))
    let done = try await world.control(skip)
    #expect(done.policyRule == "R7-grant")
    #expect(done.journey?.journeyInstanceID == "JRN-1")
    #expect(try await world.control(skip) == done)
    let events = try await world.events()
    #expect(
      events.suffix(4).map(\.type) == [
        "product.runtime.control.applied", "audit.recorded", "ops.incident.created", "ops.incident.updated",
      ])
    #expect(done.auditEventID == events[events.count - 3].eventID)
    let updated = try events[events.count - 1].payload?.unpack(as: OpsIncidentUpdated.self)
    #expect(updated?.incidentID == done.incidentID)
    #expect(updated?.eventIds.count == 2)

    let block = ApplyControlRequest.Action.blockServicePoint(BlockServicePoint(servicePointID: "SP-A"))
    let blocked = try await world.control(block, key: "block")
    #expect(blocked.touchedJourneyInstanceIds == ["JRN-1"])
    #expect(
      world.neighbours.change { $0.calls.suffix(2).map(\.method) } == [
        Lem.Methods.blockServicePoint.path, JourneyRuntime.Methods.setServicePointBlock.path,
      ])

    let cluster = ApplyControlRequest.Action.blockServicePoint(BlockServicePoint(clusterID: "CL-1"))
    #expect(try await world.control(cluster, key: "cluster").servicePointIds == ["SP-A", "SP-B"])
    let past = world.neighbours.change { $0.blocked }
    #expect(past == ["SP-A", "SP-B"], "the journeys are led past what the city blocked")

    let cancelled = try await world.control(.cancelSession(CancelSession(productRuntimeSessionID: id)), key: "cancel")
    #expect(cancelled.session?.state == .cancelled)
    await world.environment.effects.settled()
    #expect(world.neighbours.keys(of: JourneyRuntime.Methods.forceAbort).count == 1, "the journey ends with its session")
    #expect(try await world.server.verify().allSatisfy(\.isSound))
    await world.stop()
  }

  @Test("A control action that policy or another service refuses is told and audited, and does nothing")
  func controlRefused() async throws {
    let world = try await World()
    let id = try await world.onTheWay()
    let before = try await world.session(id)
    world.neighbours.change {
      $0.decision = AccessDecision(decision: .deny, reasons: [DecisionReason(text: "nothing grants it", ruleRef: "R8-masked-by-default")])
    }
    let cancel = ApplyControlRequest.Action.cancelSession(CancelSession(productRuntimeSessionID: id))
    let denied = await #expect(throws: RPCError.self) { try await world.control(cancel) }
    #expect(denied?.code == .permissionDenied)
    #expect(denied?.reasonMetadata("rule") == "R8-masked-by-default")
    #expect(try await world.events().suffix(2).map(\.type) == ["product.runtime.control.refused", "audit.recorded"])
    world.neighbours.change {
      $0.decision = AccessDecision(decision: .allow, reasons: [DecisionReason(ruleRef: "R7-grant")])
      $0.refusals[JourneyRuntime.Methods.forceSkipNode.path] = .precondition(.nodeTransitionInvalid, "she stands elsewhere")
    }
    let skip = ApplyControlRequest.Action.forceSkipNode(ForceSkipNode(productRuntimeSessionID: id, nodeID: "visit"))
    let refused = await #expect(throws: RPCError.self) { try await world.control(skip, key: "skip") }
    #expect(refused?.reason == .nodeTransitionInvalid)
    #expect(try await world.events().suffix(2).map(\.type) == ["product.runtime.control.refused", "audit.recorded"])
    let user = await #expect(throws: RPCError.self) { try await world.control(cancel, key: "user", as: World.traveller) }
    #expect(user?.code == .permissionDenied)
    #expect(try await world.session(id) == before)
    await world.stop()
  }

  @Test(
    "The end of a journey, as the log tells it, moves the session on",
    arguments: [
      (JourneyCompleted(endNodeID: "end") as any EventPayload, SessionState.postJourney),
      (JourneyAbandoned(reason: "rain"), .postJourney), (JourneyAborted(reason: "storm"), .failed),
      (JourneyFailed(nodeID: "plan", reason: "no edge"), .failed),
    ])
  func journeyEnds(_ event: any EventPayload, state: SessionState) async throws {
    let world = try await World()
    let id = try await world.onTheWay()
    try await world.journeyEnds(event, id, until: state)
    #expect(try await world.session(id).state == state)
    #expect(try await world.server.verify().allSatisfy(\.isSound))
    await world.stop()
  }

  @Test("Another's session is not there, and a spoilt request is told by its fields")
  func strangers() async throws {
    let world = try await World()
    let id = try await world.onTheWay()
    let calls: [@Sendable (ProductRuntimeGatewayClient) async throws -> Void] = [
      { _ = try await $0.getSession(GetSessionRequest(productRuntimeSessionID: id)) },
      { _ = try await $0.getJourney(GetSessionJourneyRequest(productRuntimeSessionID: id)) },
      { _ = try await $0.purchase(PurchaseRequest(idempotencyKey: "p", productRuntimeSessionID: id, paymentReference: "P")) },
      { _ = try await $0.closeSession(CloseSessionRequest(idempotencyKey: "c", productRuntimeSessionID: id)) },
      {
        _ = try await $0.advanceJourney(
          AdvanceSessionJourneyRequest(idempotencyKey: "a", productRuntimeSessionID: id, nodeID: "visit", step: .redeem(Redeem())))
      },
    ]
    for call in calls {
      let error = await #expect(throws: RPCError.self) { try await world.call(as: World.stranger, call) }
      #expect(error?.code == .notFound)
    }
    #expect(try await world.call(as: World.stranger) { try await $0.listSessions(ListSessionsRequest()) }.sessions.isEmpty)
    #expect(try await world.call(as: World.operations) { try await $0.listSessions(ListSessionsRequest()) }.sessions.count == 1)
    let error = await #expect(throws: RPCError.self) { try await world.call { try await $0.openSession(OpenSessionRequest()) } }
    #expect(error?.code == .invalidArgument)
    await world.stop()
  }

  @Test("An agent is asked with the session's context, and answers as a stream")
  func askAgent() async throws {
    let world = try await World()
    let id = try await world.onTheWay()
    let request = AskAgentRequest(
      idempotencyKey: "ask", productRuntimeSessionID: id, task: AgentTaskSpec(agentType: "journey_guide", intent: "suggest_next_stop"))
    let updates = try await world.call { gateway in
      var updates: [AgentTaskUpdate] = []
      for try await update in try await gateway.askAgent(request) { updates.append(update) }
      return updates
    }
    #expect(updates.count == 2)
    guard case .result(let task) = updates.last?.update else {
      Issue.record("the answer ends with the result")
      return
    }
    #expect(task.context?.journeyInstanceID == "JRN-1")
    #expect(task.context?.cityCode == "VIE")
    #expect(task.context?.profiles?.pricingProfileID == "PRF-PRICING")
    await world.stop()
  }
}
