import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Testing

@testable import SpanwireOrchestrator

@Suite("The agent orchestrator")
struct OrchestratorServiceTests {
  private func kinds(_ updates: [AgentTaskUpdate]) -> [String] {
    updates.map { update in
      switch update.update {
      case .receipt: "receipt"
      case .progress: "progress"
      case .partial: "partial"
      case .proposal: "proposal"
      case .result: "result"
      case nil: "nothing"
      }
    }
  }

  private func proposals(_ updates: [AgentTaskUpdate]) -> [Proposal] {
    updates.compactMap { if case .proposal(let proposal)? = $0.update { proposal } else { nil } }
  }

  private func result(_ updates: [AgentTaskUpdate]) -> AgentTask? {
    if case .result(let task)? = updates.last?.update { task } else { nil }
  }

  @Test("a plan comes as receipt, progress, proposals, result, each in the envelope of its event")
  func plans() async throws {
    let test = try await OrchestratorHarness()
    let updates = try await test.run(OrchestratorHarness.request("K-1", "trip_planner", "build_initial_route"))
    #expect(
      kinds(updates) == ["receipt", "progress", "progress", "progress", "progress", "partial", "proposal", "proposal", "result"])
    let routes = proposals(updates).compactMap { if case .route(let route)? = $0.kind { route.servicePointIds } else { nil } }
    // Three tokens, but 1000 m of walking: the longest route that the profile allows has two stops. The blocked place is in none.
    #expect(routes.map(\.count) == [2, 1] && !routes.joined().contains("SP-5"))
    #expect(proposals(updates).allSatisfy { $0.state == .open && $0.proposalID.hasPrefix("PRP-") && $0.expiresAt != nil })
    #expect(result(updates)?.state == .completed && result(updates)?.agentSlug == "vienna-trip-planner")
    // Between them stand the events of the turn.
    #expect(updates.compactMap { Int64($0.event?.logPosition ?? "") } == [1, 4, 5, 6, 7, 8, 9, 10, 14])
    let envelopes = updates.compactMap(\.event)
    #expect(Set(envelopes.map(\.agentTaskID)).count == 1)
    #expect(envelopes.allSatisfy { $0.producer == "ao" && $0.traceID.count == 16 && $0.productRuntimeSessionID == "PRS-1" })
    #expect(envelopes.map(\.type).first == "agent.task.received" && envelopes.last?.type == "agent.task.result")
    let verified = try await test.server.verify()
    #expect(verified.allSatisfy(\.isSound) && verified.prefix(2).allSatisfy { $0.examined > 0 })
    await test.end()
  }

  @Test("the same key gives the same updates, and nothing is done twice")
  func repeats() async throws {
    let test = try await OrchestratorHarness()
    let request = OrchestratorHarness.request("K-1", "journey_guide", "suggest_next_stop")
    let first = try await test.run(request)
    let asked = test.town.state.withLock { $0.routesAsked }
    #expect(try await test.run(request) == first)
    #expect(test.town.state.withLock { $0.routesAsked } == asked)
    var changed = request
    changed.task?.message = "another"
    let other = changed
    let error = await #expect(throws: RPCError.self) { try await test.run(other) }
    #expect(error?.code == .alreadyExists && error?.reason == .idempotencyKeyReused)
    await test.end()
  }

  @Test("the guide never suggests what was visited or is blocked")
  func guides() async throws {
    let test = try await OrchestratorHarness()
    test.town.state.withLock { $0.visited = ["SP-1", "SP-2"] }
    let updates = try await test.run(OrchestratorHarness.request("K-1", "journey_guide", "suggest_next_stop"))
    let ids = proposals(updates).compactMap { if case .route(let route)? = $0.kind { route.servicePointIds } else { nil } }
    #expect(ids == [["SP-3"], ["SP-4"]])
    test.town.state.withLock { $0.visited = ["SP-1", "SP-2", "SP-3", "SP-4"] }
    let full = try await test.run(OrchestratorHarness.request("K-2", "journey_guide", "suggest_next_stop"))
    #expect(proposals(full).isEmpty && result(full)?.text.contains("allows 4") == true)
    await test.end()
  }

  @Test("a wish to act is refused at once, by its rule, and audited")
  func refuses() async throws {
    let test = try await OrchestratorHarness()
    let updates = try await test.run(
      OrchestratorHarness.request("K-1", "support", "explain_limits", message: "Please redeem my last coffee for me."))
    let refused = try #require(proposals(updates).first)
    #expect(refused.state == .refused && refused.refusedRule == "AGENT-FORBIDDEN-REDEEM")
    #expect(
      try await test.eventTypes().suffix(7) == [
        "agent.recommendation.refused", "audit.recorded", "agent.recommendation.created", "output_accepted", "turn_commit", "turn_close",
        "agent.task.result",
      ])
    let stored = try await test.asService { try await $0.getProposal(GetProposalRequest(proposalID: refused.proposalID)) }
    #expect(stored == refused)
    let decision = RecordProposalDecisionRequest(idempotencyKey: "D-1", proposalID: refused.proposalID, state: .accepted)
    let error = await #expect(throws: RPCError.self) { try await test.asService { try await $0.recordProposalDecision(decision) } }
    #expect(error?.code == .failedPrecondition && error?.reason == .proposalAlreadyDecided)
    #expect(try await test.server.verify().allSatisfy(\.isSound))
    await test.end()
  }

  @Test("an offer is larger than what was bought and within the price ceiling")
  func offers() async throws {
    let test = try await OrchestratorHarness()
    let updates = try await test.run(OrchestratorHarness.request("K-1", "pricing", "offer_upsell"))
    let offers = proposals(updates).compactMap { if case .product(let product)? = $0.kind { product.variantID } else { nil } }
    #expect(offers == ["VAR-FIVE"])
    #expect(proposals(updates).first?.summary == "VAR-FIVE for 19.90 EUR")
    await test.end()
  }

  @Test("a decision is recorded once, and told twice it is the same news")
  func decides() async throws {
    let test = try await OrchestratorHarness()
    let updates = try await test.run(OrchestratorHarness.request("K-1", "trip_planner", "build_initial_route"))
    let id = proposals(updates)[0].proposalID
    for (key, state) in [("D-1", ProposalState.accepted), ("D-1", .accepted), ("D-2", .applied), ("D-3", .applied)] {
      let request = RecordProposalDecisionRequest(idempotencyKey: key, proposalID: id, state: state)
      #expect(try await test.asService("tjm") { try await $0.recordProposalDecision(request) }.state == state)
    }
    let error = await #expect(throws: RPCError.self) {
      try await test.asService {
        try await $0.recordProposalDecision(RecordProposalDecisionRequest(idempotencyKey: "D-4", proposalID: id, state: .rejected))
      }
    }
    #expect(error?.code == .failedPrecondition)
    await test.end()
  }

  /// A request made wrong, and how it is refused.
  struct Mistake: Sendable, CustomTestStringConvertible {
    var name: String
    var code = RPCError.Code.invalidArgument
    var change: @Sendable (inout RunTaskRequest) -> Void
    var testDescription: String { name }
  }

  static let mistakes = [
    Mistake(name: "no key") { $0.idempotencyKey = "" },
    Mistake(name: "unknown agent type") { $0.task?.agentType = "poet" },
    Mistake(name: "unknown intent") { $0.task?.intent = "dance" },
    Mistake(name: "an operators' agent") { $0.task?.agentType = "ops_analyst" },
    Mistake(name: "no task") { $0.task = nil },
    Mistake(name: "another's name") { $0.invoker = "tjm" },
    Mistake(name: "another's tenant", code: .permissionDenied) { $0.tenantID = "graz" },
    Mistake(name: "too many suggestions") { $0.task?.constraints = AgentConstraints(maxSuggestions: 11) },
    Mistake(name: "off the globe") { $0.context?.position?.latitude = 91 },
    Mistake(name: "no id") { $0.context?.productRuntimeSessionID = "a b" },
    Mistake(name: "an agent nobody defined", code: .failedPrecondition) { $0.task?.agentType = "growth" },
    Mistake(name: "an intent its agent does not do", code: .failedPrecondition) { $0.task?.intent = "offer_upsell" },
  ]

  @Test("what cannot be asked is refused and leaves no row", arguments: mistakes)
  func invalid(_ mistake: Mistake) async throws {
    let test = try await OrchestratorHarness()
    var wrong = OrchestratorHarness.request("K-1", "support", "explain_limits")
    mistake.change(&wrong)
    let request = wrong
    let error = await #expect(throws: RPCError.self) { try await test.run(request) }
    #expect(error?.code == mistake.code)
    #expect(try await test.eventTypes().isEmpty)
    #expect(try await test.asService { try await $0.listTasks(ListTasksRequest()) }.tasks.isEmpty)
    await test.end()
  }

  @Test("another tenant sees neither tasks nor proposals")
  func tenants() async throws {
    let test = try await OrchestratorHarness()
    let task = try #require(result(try await test.run(OrchestratorHarness.request("K-1", "trip_planner", "build_initial_route"))))
    #expect(try await test.asService(tenant: "graz") { try await $0.listTasks(ListTasksRequest()) }.tasks.isEmpty)
    for call in [
      { _ = try await $0.getTask(GetTaskRequest(agentTaskID: task.agentTaskID)) },
      { _ = try await $0.cancelTask(CancelTaskRequest(idempotencyKey: "C-1", agentTaskID: task.agentTaskID)) },
      { _ = try await $0.getProposal(GetProposalRequest(proposalID: task.proposals[0].proposalID)) },
    ] as [@Sendable (AgentOrchestratorClient) async throws -> Void] {
      let error = await #expect(throws: RPCError.self) { try await test.asService(tenant: "graz") { try await call($0) } }
      #expect(error?.code == .notFound)
    }
    let listed = try await test.asService { try await $0.listTasks(ListTasksRequest(productRuntimeSessionID: "PRS-1", state: .completed)) }
    #expect(listed.tasks == [task])
    await test.end()
  }

  @Test("an agent that is waited for too long ends its task as timed out")
  func timesOut() async throws {
    let test = try await OrchestratorHarness()
    test.town.state.withLock { $0.isSlow = true }
    var request = OrchestratorHarness.request("K-1", "trip_planner", "build_initial_route")
    request.task?.constraints = AgentConstraints(timeoutMs: 1)
    let updates = try await test.run(request)
    #expect(kinds(updates).first == "receipt" && result(updates)?.state == .timedOut)
    #expect(try await test.eventTypes().suffix(2) == ["agent.task.timed_out", "dlq.enqueued"])
    #expect(try await test.server.verify().allSatisfy(\.isSound))
    await test.end()
  }

  @Test("a task that is cancelled ends, for those who follow it too")
  func cancels() async throws {
    let test = try await OrchestratorHarness()
    test.town.state.withLock { $0.isSlow = true }
    var request = OrchestratorHarness.request("K-1", "trip_planner", "build_initial_route")
    request.task?.constraints = AgentConstraints(timeoutMs: 60_000)
    let submitted = try await test.asService { [request] in try await $0.submitTask(request) }
    #expect([.received, .running].contains(submitted.state))
    let cancel = CancelTaskRequest(idempotencyKey: "C-1", agentTaskID: submitted.agentTaskID, reason: "no longer wanted")
    let cancelled = try await test.asService { try await $0.cancelTask(cancel) }
    #expect(cancelled.state == .cancelled && cancelled.failure.contains("no longer wanted"))
    #expect(try await test.asService { try await $0.cancelTask(cancel) } == cancelled)
    let again = CancelTaskRequest(idempotencyKey: "C-2", agentTaskID: submitted.agentTaskID)
    let error = await #expect(throws: RPCError.self) { try await test.asService { try await $0.cancelTask(again) } }
    #expect(error?.code == .failedPrecondition)
    await test.end()
  }

  @Test("a task that its process left unfinished is done after the next start")
  func resumes() async throws {
    let test = try await OrchestratorHarness()
    test.town.state.withLock { $0.isSlow = true }
    let request = OrchestratorHarness.request("K-1", "trip_planner", "build_initial_route")
    let submitted = try await test.asService { try await $0.submitTask(request) }
    // The process ends: what ran is let go of, and its row says that it is not done.
    await test.server.stop()
    test.town.state.withLock { $0.isSlow = false }
    let (second, agents) = test.again()
    try await second.start()
    // The same request finds its task again, under the same method and key.
    let task = try await test.asService { _ in
      while true {
        let task = try await agents.submitTask(request)
        if AgentTaskStateMachine.isTerminal(task.state) { return task }
        await Task.yield()
      }
    }
    #expect(task.agentTaskID == submitted.agentTaskID && task.state == .completed && task.proposals.count == 2)
    #expect(try await second.verify().allSatisfy(\.isSound))
    await second.stop()
    await test.end()
  }

  @Test("the analyst reads the log for operators")
  func analyses() async throws {
    let test = try await OrchestratorHarness()
    _ = try await test.run(
      OrchestratorHarness.request("K-1", "support", "explain_limits", message: "Please redeem my last coffee for me."))
    let task = AgentTaskSpec(agentType: "ops_analyst", intent: "suggest_mitigation", subjectID: "PRS-1")
    let request = RunTaskRequest(idempotencyKey: "K-1", invoker: "ops_console", task: task)
    let texts = try await test.asOperator { agents in
      var texts: [String] = []
      for try await update in try await agents.runTask(request) {
        if case .proposal(let proposal)? = update.update { texts.append(proposal.summary) }
      }
      return texts
    }
    #expect(texts == ["Nothing was done; look only if the same asks keep coming."])
    await test.end()
  }
}
