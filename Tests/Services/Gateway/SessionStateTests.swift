import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Testing

@testable import SpanwireGateway

/// Every call of the gateway that depends on a session's state, with the command of the machine that it stands for.
struct StateCall: Sendable, CustomTestStringConvertible {
  var name: String
  /// The states that take it.
  var allowed: [SessionPhase]
  var principal = World.traveller
  var call: @Sendable (ProductRuntimeGatewayClient, _ session: String) async throws -> Void
  var testDescription: String { name }

  static let reason = "a reason"

  private static func control(
    _ name: String, _ command: SessionCommand, _ action: @escaping @Sendable (String) -> ApplyControlRequest.Action
  ) -> StateCall {
    StateCall(name: name, allowed: command.allowed, principal: World.operations) {
      _ = try await $0.applyControl(ApplyControlRequest(idempotencyKey: $1, reason: reason, action: action($1)))
    }
  }

  static let all: [StateCall] = [
    StateCall(name: "purchase", allowed: SessionCommand.purchase.allowed) {
      _ = try await $0.purchase(PurchaseRequest(idempotencyKey: $1, productRuntimeSessionID: $1, paymentReference: "PAY"))
    },
    StateCall(name: "start a journey", allowed: SessionCommand.startJourney(journeyInstanceID: "").allowed) {
      _ = try await $0.startJourney(StartSessionJourneyRequest(idempotencyKey: $1, productRuntimeSessionID: $1))
    },
    StateCall(name: "ask an agent", allowed: SessionCommand.askAgent.allowed) { gateway, session in
      let request = AskAgentRequest(
        idempotencyKey: session, productRuntimeSessionID: session, task: AgentTaskSpec(agentType: "support", intent: "explain_limits"))
      for try await _ in try await gateway.askAgent(request) {}
    },
    StateCall(name: "accept a proposal", allowed: SessionCommand.decideProposal.allowed) {
      _ = try await $0.acceptProposal(DecideProposalRequest(idempotencyKey: $1, productRuntimeSessionID: $1, proposalID: "PRP-\($1)"))
    },
    StateCall(name: "reject a proposal", allowed: SessionCommand.decideProposal.allowed) {
      _ = try await $0.rejectProposal(DecideProposalRequest(idempotencyKey: $1, productRuntimeSessionID: $1, proposalID: "PRP-\($1)"))
    },
    StateCall(name: "close", allowed: SessionCommand.close(reason: "").allowed) {
      _ = try await $0.closeSession(CloseSessionRequest(idempotencyKey: $1, productRuntimeSessionID: $1))
    },
    control("cancel", .cancel(reason: "", actor: "")) { .cancelSession(CancelSession(productRuntimeSessionID: $0)) },
    control("force-complete", .forceComplete(reason: "", actor: "")) {
      .forceCompleteSession(ForceCompleteSession(productRuntimeSessionID: $0))
    },
    control("flag as risky", .flagRisk(true, reason: "", actor: "")) {
      .flagSessionRisk(FlagSessionRisk(productRuntimeSessionID: $0, flagged: true))
    },
  ]
}

@Suite("Every call in every state of a session")
struct SessionStateTests {
  @Test(
    "is taken where the machine allows its command, and else refused by the state, with nothing changed", arguments: SessionPhase.allCases)
  func everyCall(_ phase: SessionPhase) async throws {
    let world = try await World()
    for (number, it) in StateCall.all.enumerated() {
      let id = "PRS-\(phase.rawValue)-\(number)"
      try await world.put(id, phase)
      world.propose(.explanation(Explanation(text: "so")), in: id, id: "PRP-\(id)")
      let events = try await world.events().count
      let before = try await world.session(id)
      do {
        try await world.call(as: it.principal) { try await it.call($0, id) }
        #expect(it.allowed.contains(phase), "\(it.name) was taken while \(phase)")
      } catch let error as RPCError {
        #expect(!it.allowed.contains(phase), "\(it.name) was refused while \(phase): \(error)")
        #expect(error.code == .failedPrecondition && error.reason == .sessionTransitionInvalid, "\(it.name): \(error)")
        #expect(error.message.contains("while \(phase.rawValue)"), "\(error.message)")
        for state in it.allowed { #expect(error.message.contains(state.rawValue), "\(error.message)") }
        #expect(try await world.session(id) == before)
        #expect(try await world.events().count == events)
      }
    }
    await world.stop()
  }

  @Test("Steps are refused before there is a journey, and else handed on to the journey runtime, which knows those it took before")
  func steps() async throws {
    let world = try await World()
    func step(_ session: String, _ key: String) async throws -> JourneyInstance {
      let request = AdvanceSessionJourneyRequest(
        idempotencyKey: key, productRuntimeSessionID: session, nodeID: "visit", step: .acknowledge(Acknowledge()))
      return try await world.call { try await $0.advanceJourney(request) }
    }
    for phase in SessionPhase.allCases {
      let id = "PRS-\(phase.rawValue)"
      try await world.put(id, phase)
      if phase != .active { world.neighbours.change { $0.journey.state = .completed } }
      if [.created, .preflight, .ready].contains(phase) {
        let refused = await #expect(throws: RPCError.self) { try await step(id, id) }
        #expect(refused?.code == .failedPrecondition && refused?.reason == .sessionTransitionInvalid)
        #expect(refused?.message == "advance_journey is not possible while \(phase.rawValue); it is while active")
      } else {
        #expect(try await step(id, id).journeyInstanceID == "JRN-1")
        let abandon = AbandonSessionJourneyRequest(idempotencyKey: id, productRuntimeSessionID: id)
        #expect(try await world.call { try await $0.abandonJourney(abandon) }.journeyInstanceID == "JRN-1")
      }
    }
    await world.stop()
  }

  @Test("A step under a session that was cancelled is handed on only after the journey has ended with it")
  func stepAfterCancel() async throws {
    let world = try await World()
    let id = try await world.onTheWay()
    _ = try await world.control(.cancelSession(CancelSession(productRuntimeSessionID: id)))
    let step = AdvanceSessionJourneyRequest(
      idempotencyKey: "step", productRuntimeSessionID: id, nodeID: "visit", step: .acknowledge(Acknowledge()))
    _ = try await world.call { try await $0.advanceJourney(step) }
    #expect(
      world.neighbours.change { $0.calls.suffix(2).map(\.method) } == [
        JourneyRuntime.Methods.forceAbort.path, JourneyRuntime.Methods.advanceJourney.path,
      ])
    await world.stop()
  }

  @Test("Closing, cancelling and completing by force each tell their reason, and who")
  func reasons() async throws {
    let world = try await World()
    let ends: [(String, SessionPhase, ApplyControlRequest.Action?, SessionState, String)] = [
      ("PRS-1", .postJourney, nil, .completed, "product.runtime.session.completed"),
      ("PRS-2", .ready, nil, .cancelled, "product.runtime.session.cancelled"),
      ("PRS-3", .active, .cancelSession(CancelSession(productRuntimeSessionID: "PRS-3")), .cancelled, "product.runtime.session.cancelled"),
      (
        "PRS-4", .active, .forceCompleteSession(ForceCompleteSession(productRuntimeSessionID: "PRS-4")), .completed,
        "product.runtime.session.completed"
      ),
    ]
    for (id, phase, action, state, type) in ends {
      try await world.put(id, phase)
      if let action {
        _ = try await world.control(action, key: id)
      } else {
        let close = CloseSessionRequest(idempotencyKey: id, productRuntimeSessionID: id, reason: "a water pipe broke")
        _ = try await world.call { try await $0.closeSession(close) }
      }
      let session = try await world.session(id)
      #expect(session.state == state && session.stateReason == "a water pipe broke")
      let told = try #require(try await world.events().last { $0.productRuntimeSessionID == id && $0.type == type })
      #expect(told.payload.map { "\($0)" } != nil)
    }
    // The journeys under the two that ran end with them.
    await world.environment.effects.settled()
    #expect(world.neighbours.keys(of: JourneyRuntime.Methods.forceAbort).count == 2)
    await world.stop()
  }

  @Test("A journey that failed is an error of the platform too, and fails its session")
  func runtimeError() async throws {
    let world = try await World()
    let id = try await world.onTheWay()
    try await world.journeyEnds(JourneyFailed(nodeID: "plan", reason: "no edge"), id, until: .failed)
    let error = try #require(try await world.events().last { $0.type == "runtime.error" })
    #expect(error.productRuntimeSessionID == id)
    #expect(try error.payload?.unpack(as: RuntimeErrorEvent.self).critical == true)
    await world.stop()
  }

  @Test("The four steps come in their order: policy, profiles, execution, events")
  func fourSteps() async throws {
    let world = try await World()
    let id = try await world.onTheWay()
    // What policy refuses is not judged by the profiles.
    world.propose(.product(ProductProposal(variantID: "VAR-NONE")), in: id)
    world.neighbours.change { $0.action = ActionDecision(allowed: false, rule: "PROPOSAL-STATUS", reason: "not now") }
    let denied = await #expect(throws: RPCError.self) { try await world.accept(id) }
    #expect(denied?.code == .permissionDenied && denied?.reasonMetadata("rule") == "PROPOSAL-STATUS")
    // What the profiles refuse is not executed, and nobody is told of it.
    world.neighbours.change { $0.action = ActionDecision(allowed: true) }
    let events = try await world.events().count
    let refused = await #expect(throws: RPCError.self) { try await world.accept(id) }
    #expect(refused?.code == .failedPrecondition && refused?.reason == .proposalInvalid)
    #expect(try await world.events().count == events)
    #expect(world.neighbours.change { $0.decisions }.isEmpty)
    // What both admit is executed once, and told in order.
    world.propose(.product(ProductProposal(variantID: "VAR-FIVE")), in: id)
    let accepted = try await world.accept(id)
    #expect(try await world.accept(id) == accepted, "the same key is the same decision")
    await world.environment.effects.settled()
    #expect(try await world.events().dropFirst(events).map(\.type) == ["agent.recommendation.accepted", "agent.recommendation.applied"])
    #expect(world.neighbours.change { $0.decisions.map(\.state) } == [.applied])
    await world.stop()
  }
}

@Suite("Finding and following sessions")
struct SessionListTests {
  @Test("A watcher that comes back with its cursor is sent what follows, nothing twice and nothing less")
  func resume() async throws {
    let world = try await World()
    let id = try await world.onTheWay()
    _ = try await world.control(.flagSessionRisk(FlagSessionRisk(productRuntimeSessionID: id, flagged: true)))
    func watch(after cursor: String, limit: Int = .max) async throws -> [EventEnvelope] {
      try await world.call { gateway in
        var seen: [EventEnvelope] = []
        let request = WatchSessionRequest(productRuntimeSessionID: id, cursor: cursor, untilEnd: true)
        for try await response in try await gateway.watchSession(request) {
          if case .event(let event) = response.item { seen.append(event) }
          if seen.count == limit { break }
        }
        return seen
      }
    }
    let whole = try await watch(after: "")
    #expect(whole.count > 6 && whole.map(\.streamSequence) == (1...UInt64(whole.count)).map { numericCast($0) })
    for taken in 1..<whole.count {
      let first = try await watch(after: "", limit: taken)
      #expect(first + (try await watch(after: "\(first[taken - 1].logPosition)")) == whole)
    }
    await world.stop()
  }

  /// What is asked for, and the numbers of the sessions that are then listed, of forty.
  struct Search: Sendable, CustomTestStringConvertible {
    var request: ListSessionsRequest
    var finds: @Sendable (Int) -> Bool
    var testDescription: String { (try? request.jsonString()) ?? "" }
  }

  @Test(
    "Sessions are found by every filter, newest first, page by page",
    arguments: [
      Search(request: ListSessionsRequest()) { _ in true },
      Search(request: ListSessionsRequest(state: .failed)) { $0 % 8 == 7 },
      Search(request: ListSessionsRequest(productID: "PRD-1")) { $0 % 2 == 1 },
      Search(request: ListSessionsRequest(productVersionID: "PRDV-2")) { $0 % 3 == 2 },
      Search(request: ListSessionsRequest(marketCode: "AT-1")) { $0 % 5 == 1 },
      Search(request: ListSessionsRequest(riskFlagged: true)) { $0 % 4 == 0 },
      Search(request: ListSessionsRequest(riskFlagged: false)) { $0 % 4 != 0 },
      Search(request: ListSessionsRequest(userID: "USR-1")) { $0 % 10 == 1 },
      Search(request: ListSessionsRequest(state: .failed, userID: "USR-7", marketCode: "AT-2")) { $0 == 7 },
      Search(
        request: ListSessionsRequest(
          createdFrom: Google_Protobuf_Timestamp(nanosecondsSinceEpoch: 1_000_000_010),
          createdBefore: Google_Protobuf_Timestamp(nanosecondsSinceEpoch: 1_000_000_020))
      ) { (10..<20).contains($0) },
      Search(request: ListSessionsRequest(productID: "PRD-9")) { _ in false },
    ])
  func filters(_ search: Search) async throws {
    let world = try await World()
    for number in 0..<40 { try await world.put(Self.session(number)) }
    for size in [1, 3, 40, 100] {
      var request = search.request
      request.pageSize = UInt32(size)
      var found: [String] = []
      repeat {
        let page = try await world.call(as: World.operations) { [request] in try await $0.listSessions(request) }
        #expect(page.sessions.count <= size)
        found += page.sessions.map(\.productRuntimeSessionID)
        request.pageToken = page.nextPageToken
      } while !request.pageToken.isEmpty
      #expect(found == (0..<40).reversed().filter(search.finds).map { Self.session($0).productRuntimeSessionID })
    }
    await world.stop()
  }

  @Test("A search looks through so many sessions for one page and no more, and still finds all of them")
  func bounded() async throws {
    let world = try await World()
    for number in 0..<40 { try await world.put(Self.session(number)) }
    let searches: [(SessionStore.Filter, [Int], Int)] = [
      (SessionStore.Filter(tenant: "vienna", state: .failed), [39, 31, 23, 15, 7], 40),
      (SessionStore.Filter(tenant: "vienna", userID: "USR-7", state: .failed), [7], 4),
    ]
    for (filter, wanted, sessions) in searches {
      for scanned in [1, 3, 7, 40] {
        var (found, place, pages): ([String], String?, Int) = ([], "", 0)
        while let before = place {
          let page = try await world.environment.database.scan {
            try SessionStore.page(filter, before: before, size: 2, scanning: scanned, in: $0)
          }
          found += page.sessions.map(\.productRuntimeSessionID)
          (place, pages) = (page.next, pages + 1)
        }
        #expect(found == wanted.map { Self.session($0).productRuntimeSessionID })
        #expect(pages <= sessions / scanned + wanted.count + 1)
      }
    }
    await world.stop()
  }

  private static func session(_ number: Int) -> ProductRuntimeSession {
    let phases = SessionPhase.allCases
    return ProductRuntimeSession(
      productRuntimeSessionID: "PRS-\(number + 100)", tenantID: "vienna", productID: "PRD-\(number % 2)",
      productVersionID: "PRDV-\(number % 3)", marketCode: "AT-\(number % 5)", userID: "USR-\(number % 10)",
      state: phases[number % 8].contract, riskFlagged: number % 4 == 0,
      createdAt: .init(nanosecondsSinceEpoch: 1_000_000_000 + Int64(number)))
  }
}
