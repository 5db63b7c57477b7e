import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Testing

@testable import SpanwireOrchestrator

/// Runtime policy on the orchestrator's own path: the real policy service decides, agents feel it.
@Suite("What policy says to agents")
struct AgentPolicyTests {
  private static let cents40 = Money(micros: 400_000, currency: "USD")

  private func budget(_ test: OrchestratorHarness) async throws -> [String] {
    await test.environment.effects.settled()
    return try await test.asOperator { _ in
      try await PolicyClient(test.others).listBudgets(ListBudgetsRequest(policyID: "POL-DAY")).budgets.map {
        "\($0.reserved?.micros ?? 0) reserved, \($0.spent?.micros ?? 0) spent"
      }
    }
  }

  private func refusal(_ test: OrchestratorHarness, _ key: String) async throws -> RPCError {
    let request = OrchestratorHarness.request(key, "journey_guide", "suggest_next_stop")
    return try await #require(throws: RPCError.self) { _ = try await test.run(request) }
  }

  @Test("a budget that is used up refuses the next task with the rule and when it opens again; the ledger says what ran")
  func budgets() async throws {
    let test = try await OrchestratorHarness()
    test.town.state.withLock {
      $0.price = Self.cents40
      $0.policies = [
        PolicyDefinition(
          policyID: "POL-DAY", scope: "agent:vienna-journey-guide",
          config: .budget(BudgetPolicy(daily: Money(micros: 1_000_000, currency: "USD"))))
      ]
    }
    for key in ["K-1", "K-2"] {
      let updates = try await test.run(OrchestratorHarness.request(key, "journey_guide", "suggest_next_stop"))
      guard case .result(let task)? = updates.last?.update else { return #expect(Bool(false), "no result") }
      #expect(task.state == .completed && task.cost == Self.cents40 && !task.budgetReservationID.isEmpty)
    }
    let error = try await refusal(test, "K-3")
    #expect(error.code == .resourceExhausted && error.reasonMetadata("rule") == "POL-DAY", "\(error)")
    let waits = error.details.compactMap { try? $0.unpack(as: Google_Rpc_RetryInfo.self).retryDelay?.seconds }
    #expect(waits == [12 * 3_600])  // it is noon
    #expect(error.reasonMetadata(RPCError.auditKey)?.hasPrefix("EVT-") == true)
    #expect(try await budget(test) == ["0 reserved, 800000 spent"])
    // Another agent's tasks are no business of this budget's.
    let other = try await test.run(OrchestratorHarness.request("K-4", "support", "explain_limits"))
    #expect(other.last?.event?.type == "agent.task.result")
    await test.end()
  }

  @Test("what was set aside for a task without an answer comes back")
  func released() async throws {
    let test = try await OrchestratorHarness()
    test.town.state.withLock {
      $0.price = Self.cents40
      $0.isSlow = true
      $0.policies = [
        PolicyDefinition(
          policyID: "POL-DAY", scope: "global", config: .budget(BudgetPolicy(daily: Money(micros: 400_000, currency: "USD"))))
      ]
    }
    let request = OrchestratorHarness.request("K-1", "journey_guide", "suggest_next_stop")
    let task = try await test.asService { try await $0.submitTask(request) }
    #expect(try await budget(test) == ["400000 reserved, 0 spent"])
    #expect(try await refusal(test, "K-2").reasonMetadata("rule") == "POL-DAY")
    let cancelled = try await test.asService {
      try await $0.cancelTask(CancelTaskRequest(idempotencyKey: "K-3", agentTaskID: task.agentTaskID))
    }
    #expect(cancelled.cost == nil)
    #expect(try await budget(test) == ["0 reserved, 0 spent"])
    await test.end()
  }

  @Test("a dead letter that is driven once more sets its cost aside like any task, and stays where it is when there is nothing left")
  func redriven() async throws {
    let test = try await OrchestratorHarness()
    let limit = { (micros: Int64) in
      PolicyDefinition(
        policyID: "POL-DAY", scope: "global", config: .budget(BudgetPolicy(daily: Money(micros: micros, currency: "USD"))))
    }
    test.town.state.withLock {
      $0.price = Self.cents40
      $0.isBroken = true
      $0.policies = [limit(1_000_000)]
    }
    // So many failures would open the circuit of the tool.
    let circuit = SetBreakerRequest(idempotencyKey: "B-1", circuit: "tool:Lem.ComputeRoute", mode: .disabled, reason: "a test")
    _ = try await test.asOperator { try await $0.setBreaker(circuit) }
    for key in ["K-1", "K-2", "K-3"] {
      _ = try await test.run(OrchestratorHarness.request(key, "trip_planner", "build_initial_route"))
    }
    let letters = try await test.asOperator { try await $0.listDeadLetters(ListDeadLettersRequest(resolution: .pending)) }.items
    #expect(letters.count == 3)
    #expect(try await budget(test) == ["0 reserved, 0 spent"])
    test.town.state.withLock { $0.isBroken = false }
    let redriven = try await test.asOperator {
      try await $0.redriveDeadLetters(RedriveDeadLettersRequest(idempotencyKey: "R-1", reason: "the road is open"))
    }
    #expect(redriven.redriven.map(\.itemID) == letters.prefix(2).map(\.itemID) && redriven.pending == 1)
    for item in redriven.redriven {
      let task = try await test.ended(item.agentTaskID)
      #expect(task.state == .completed && task.cost == Self.cents40 && !task.budgetReservationID.isEmpty)
    }
    #expect(try await budget(test) == ["0 reserved, 800000 spent"])
    let error = await #expect(throws: RPCError.self) {
      try await test.asOperator {
        try await $0.redriveDeadLetters(RedriveDeadLettersRequest(idempotencyKey: "R-2", reason: "and the last"))
      }
    }
    #expect(error?.code == .resourceExhausted && error?.reasonMetadata("rule") == "POL-DAY")
    await test.end()
  }

  @Test("every call that an agent makes is a tool call: one too many ends the task with the rule's name")
  func tools() async throws {
    let test = try await OrchestratorHarness()
    test.town.state.withLock {
      $0.policies = [
        PolicyDefinition(
          policyID: "POL-PLACES", scope: "tool:Lem.ListServicePoints", config: .rateLimit(RateLimitPolicy(maxPerMinute: 1)))
      ]
    }
    let first = try await test.run(OrchestratorHarness.request("K-1", "journey_guide", "suggest_next_stop"))
    #expect(first.last?.event?.type == "agent.task.result")
    let second = try await test.run(OrchestratorHarness.request("K-2", "journey_guide", "suggest_next_stop"))
    guard case .result(let task)? = second.last?.update else { return #expect(Bool(false), "no result") }
    #expect(task.state == .failed && task.failure.contains("POL-PLACES"), "\(task.failure)")
    await test.end()
  }
}
