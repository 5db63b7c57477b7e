import Foundation
import SpanwireModelServer
import SpanwireOutbound
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Testing

@testable import SpanwireOrchestrator

/// Agents' tasks by language models: a provider in a process of its own, over real HTTP, with the real policy before it.
@Suite("Tasks by language models", .timeLimit(.minutes(5)))
struct ModelTaskTests {
  private static let guide = "vienna-journey-guide"

  /// An orchestrator, a provider, and the models that the guide's tasks are put to, in their order.
  private final class Setting: Sendable {
    let server: ModelServer
    let test: OrchestratorHarness

    init(_ models: [String], budget: BudgetPolicy? = nil, capabilities: [String] = [], key: String = "", shown: String? = nil) async throws
    {
      server = try ModelServer(key: key)
      let offers = (models + ["held:8"]).reduce(into: [String]()) { if !$0.contains($1) { $0.append($1) } }
      // Only who waits for silence should not have to wait long: many tests share the processors.
      let isSilent = models.contains("mute") || models.contains("stall")
      let provider = ModelProvider(
        provider: "local", baseURL: server.address + "/v1", apiKeyEnv: shown == nil ? "" : "KEY",
        models: offers.map { ModelRoutesTests.offer($0) }, firstTimeout: .init(seconds: isSilent ? 2 : 30),
        idleTimeout: .init(seconds: isSilent ? 2 : 30))
      let providers = try ModelProviders([provider], variable: { _ in shown }, file: { _ in nil })
      test = try await OrchestratorHarness(providers: providers)
      test.town.state.withLock { state in
        state.byModel = [ModelTaskTests.guide]
        state.capabilities = capabilities
        state.routes = models.enumerated().map { index, model in
          ModelRoute(
            routeID: "MR-\(index)", taskType: "suggest_next_stop", provider: model == "rules" ? "built_in" : "local", model: model,
            priority: Int32(index))
        }
        if let budget { state.policies = [PolicyDefinition(policyID: "POL-MODELS", scope: "tool:model.local", config: .budget(budget))] }
      }
    }

    func run(_ key: String, message: String = "", maxTokens: UInt32 = 0) async throws -> (updates: [AgentTaskUpdate], task: AgentTask) {
      var request = OrchestratorHarness.request(key, "journey_guide", "suggest_next_stop", message: message)
      request.task?.constraints?.maxTokens = maxTokens
      let updates = try await test.run(request)
      guard case .result(let result)? = updates.last?.update else { throw RPCError.unavailable("no result") }
      return (updates, try await test.asOperator { try await $0.getTask(GetTaskRequest(agentTaskID: result.agentTaskID)) })
    }

    func stats() async throws -> ModelServer.Stats {
      let client = OutboundClient()
      defer { client.shutDown() }
      let answer = try await client.send(get("/stats"), within: OutboundTimes(), atMost: 1 << 20)
      return try JSONDecoder().decode(ModelServer.Stats.self, from: Data(answer.body))
    }

    func get(_ path: String) -> OutboundRequest { OutboundRequest(method: "GET", url: server.address + path) }

    /// What stands in the budget's buckets: reserved and spent, of each.
    func ledger() async throws -> [[Int64]] {
      await test.environment.effects.settled()
      return try await test.asOperator { _ in
        try await PolicyClient(test.others).listBudgets(ListBudgetsRequest(policyID: "POL-MODELS", pageSize: 500)).budgets.map {
          [$0.reserved?.micros ?? -1, $0.spent?.micros ?? -1]
        }
      }
    }

    func end() async {
      await test.end()
      server.end()
    }
  }

  private static func text(_ updates: [AgentTaskUpdate]) -> String {
    updates.map { if case .partial(let partial) = $0.update { partial.text } else { "" } }.joined()
  }

  @Test(
    "An answer is passed on while it streams, and what was asked and what it cost is recorded", arguments: ["words:40", "words:40:quiet"])
  func answered(model: String) async throws {
    let setting = try await Setting([model], budget: BudgetPolicy(daily: Money(micros: 1_000_000, currency: "EUR")))
    let (updates, task) = try await setting.run("K-1")
    #expect(task.state == .completed && task.text.hasPrefix("w1 w2 ") && task.text.hasSuffix("w40 "), "\(task.failure)")
    #expect(Self.text(updates) == task.text)
    let attempt = try #require(task.attempts.first)
    let call = try #require(attempt.modelCalls.first)
    #expect(attempt.performer == "model" && attempt.modelCalls.count == 1)
    #expect(call.outcome == "completed" && call.finishReason == "stop" && call.routeID == "MR-0" && call.model == model)
    #expect(call.completionTokens == 40 && call.isEstimate == model.hasSuffix("quiet"))
    // A micro-unit a token.
    #expect(call.cost == Money(micros: Int64(call.promptTokens) + 40, currency: "EUR") && task.cost == call.cost)
    #expect(try await setting.ledger() == [[0, call.cost?.micros ?? -1]])
    let types = try await setting.test.eventTypes()
    #expect(types.contains("tool.call_started") && types.contains("tool.call_completed"))
    await setting.end()
  }

  @Test("A model looks places up and proposes a route by calls of tools, past policy, and its arguments are put together from their pieces")
  func tools() async throws {
    let setting = try await Setting(["planner"], capabilities: ["Lem.ListServicePoints"])
    let (_, task) = try await setting.run("K-1")
    #expect(task.state == .completed, "\(task.failure)")
    guard case .route(let route)? = task.proposals.first?.kind else { return #expect(Bool(false), "no route is proposed") }
    #expect(route.servicePointIds == ["SP-1", "SP-2"] && task.proposals.first?.summary == "Two near ones")
    #expect(task.text.contains("I suggest two cafés") && task.attempts.first?.modelCalls.count == 3)
    // What was not named is not offered, and what policy refuses is not called.
    setting.test.town.state.withLock {
      $0.policies = [
        PolicyDefinition(
          policyID: "POL-RATE", scope: "tool:Lem.ListServicePoints", config: .rateLimit(RateLimitPolicy(maxPerMinute: 1)))
      ]
    }
    await setting.end()
  }

  @Test("A model that wants to redeem is refused aloud, and one that wants a tool it was not given is told that there is none")
  func forbidden() async throws {
    let setting = try await Setting(["eager"])
    let (_, task) = try await setting.run("K-1", message: "Please redeem a coffee for me")
    #expect(task.state == .completed && task.text.contains("no agent may do that") && task.text.contains("there is no such function"))
    let refused = task.proposals.filter { $0.state == .refused }
    #expect(refused.count == 1 && !refused[0].refusedRule.isEmpty)
    #expect(try await setting.test.eventTypes().contains("agent.recommendation.refused"))
    await setting.end()
  }

  @Test(
    "What fails is recorded with its reason, and the next model answers",
    arguments: [
      ("rate", "rate_limited"), ("fault", "server_error"), ("overloaded", "overloaded"), ("page", "server_error"),
      ("context", "context_length_exceeded"), ("unknown", "unknown_model"), ("html", "wrong_content_type"), ("junk", "malformed"),
      ("badutf", "malformed"), ("truncated", "truncated"), ("dropped", "truncated"), ("huge", "too_large"), ("stall", "timed_out"),
      ("mute", "timed_out"), ("filter", "content_filter"), ("refusal", "refusal"), ("late", "server_error"),
      ("endless-tools", "too_many_tools"),
    ])
  func failures(model: String, reason: String) async throws {
    let setting = try await Setting([model, "words:3"], budget: BudgetPolicy(daily: Money(micros: 1_000_000, currency: "EUR")))
    let (updates, task) = try await setting.run("K-1")
    #expect(task.state == .completed && task.text == "w1 w2 w3 ", "\(task.failure)")
    let calls = task.attempts.flatMap(\.modelCalls)
    let reasons = calls.map { "\($0.model) \($0.reason)" }
    #expect(reasons.contains("\(model) \(reason)"), "\(reasons)")
    #expect(calls.last?.model == "words:3" && calls.last?.outcome == "completed" && task.attempts.count == 1)
    let told = updates.contains { if case .progress(let it) = $0.update { it.message.contains(reason) } else { false } }
    #expect(told)
    let spent = calls.reduce(Int64(0)) { $0 + ($1.cost?.micros ?? 0) }
    #expect(try await setting.ledger() == [[0, spent]])
    #expect(task.cost?.micros == spent)
    await setting.end()
  }

  @Test("An answer that reaches its bound is an answer, cut off")
  func length() async throws {
    let setting = try await Setting(["words:50"])
    let (_, task) = try await setting.run("K-1", maxTokens: 7)
    #expect(task.state == .completed && task.text.hasPrefix("w1 ") && task.text.hasSuffix("…"))
    #expect(task.attempts.first?.modelCalls.first?.finishReason == "length" && task.attempts.first?.modelCalls.first?.completionTokens == 7)
    await setting.end()
  }

  @Test("When every model fails the task fails with what each said; the platform's own agent is the last resort where a route says so")
  func lastResort() async throws {
    let setting = try await Setting(["refusal", "rules"])
    let (_, task) = try await setting.run("K-1")
    #expect(task.state == .completed && task.text.hasPrefix("I suggest Café") || task.text.hasPrefix("I suggest SP-"), "\(task.text)")
    setting.test.town.state.withLock { $0.routes.removeLast() }
    let failed = try await setting.run("K-2").task
    #expect(failed.state == .failed && failed.failure.contains("MODEL_FAILED") && failed.failure.contains("I will not do that."))
    #expect(RPCError(status: failed.status ?? .init())?.reason == .modelFailed && failed.attempts.count == 1)
    setting.test.town.state.withLock { $0.routes = [] }
    #expect(try await setting.run("K-3").task.failure.contains("MODEL_UNROUTED"))
    await setting.end()
  }

  @Test("A budget that ends in the middle ends the answer, whose beginning its caller keeps; the ledger is right to the micro-unit")
  func exhausted() async throws {
    let limit = Money(micros: 5_000, currency: "EUR")
    let setting = try await Setting(["words:100000", "words:1"], budget: BudgetPolicy(perRun: limit))
    let (updates, task) = try await setting.run("K-1", maxTokens: 100_000)
    #expect(task.state == .failed && task.failure.hasPrefix("BUDGET_EXHAUSTED: budget exhausted: "), "\(task.failure)")
    let status = try #require(task.status)
    let error = try #require(RPCError(status: status))
    #expect(error.code == .resourceExhausted && error.reason == .budgetExhausted && error.reasonMetadata("rule") == "POL-MODELS")
    let call = try #require(task.attempts.first?.modelCalls.first)
    #expect(task.attempts.count == 1 && task.attempts.first?.modelCalls.count == 1 && call.outcome == "exhausted" && call.isEstimate)
    // What came is what was paid for, to the last word.
    let words = Self.text(updates).split(separator: " ").count
    #expect(words == 5_000 - Int(call.promptTokens) && words > 1_000, "\(words)")
    #expect(task.cost == limit && call.cost == limit)
    #expect(try await setting.ledger() == [[0, 5_000]])
    let stats = try await setting.stats()
    #expect(stats.requests == 1)
    await setting.end()
  }

  @Test("Many answers at once never spend more than the budget, and all of it")
  func raced() async throws {
    let setting = try await Setting(["words:100000"], budget: BudgetPolicy(daily: Money(micros: 20_000, currency: "EUR")))
    let tasks = try await withThrowingTaskGroup(of: AgentTask.self) { group in
      for number in 0..<8 { group.addTask { try await setting.run("K-\(number)", maxTokens: 100_000).task } }
      return try await group.reduce(into: [AgentTask]()) { $0.append($1) }
    }
    let ends = Set(tasks.map { $0.failure.prefix { $0 != ":" } })
    #expect(ends.isSubset(of: ["BUDGET_EXHAUSTED", "POLICY_DENIED"]) && ends.contains("BUDGET_EXHAUSTED"), "\(ends)")
    let spent = tasks.reduce(Int64(0)) { $0 + ($1.cost?.micros ?? 0) }
    #expect(try await setting.ledger() == [[0, 20_000]])
    #expect(spent == 20_000)
    await setting.end()
  }

  @Test("A task that is cancelled closes its model's connection, and pays for what came")
  func cancelled() async throws {
    let setting = try await Setting(["held:8"], budget: BudgetPolicy(daily: Money(micros: 1_000_000, currency: "EUR")))
    let request = OrchestratorHarness.request("K-1", "journey_guide", "suggest_next_stop")
    let submitted = try await setting.test.asService { try await $0.submitTask(request) }
    let client = OutboundClient()
    _ = try await client.send(setting.get("/held"), within: OutboundTimes(), atMost: 1_024)
    _ = try await setting.test.asService {
      try await $0.cancelTask(CancelTaskRequest(idempotencyKey: "K-2", agentTaskID: submitted.agentTaskID))
    }
    while try await setting.stats().gone == 0 {}
    // It is recorded when the task's run is over, which its end does not wait for.
    var task = AgentTask()
    repeat {
      task = try await setting.test.asOperator { try await $0.getTask(GetTaskRequest(agentTaskID: submitted.agentTaskID)) }
    } while task.attempts.first?.modelCalls.first?.endedAt == nil
    let call = try #require(task.attempts.first?.modelCalls.first)
    #expect(task.state == .cancelled && call.outcome == "cancelled" && call.completionTokens == 4 && task.cost == call.cost)
    #expect(try await setting.ledger() == [[0, call.cost?.micros ?? -1]])
    client.shutDown()
    await setting.end()
  }

  @Test("A provider that fails again and again is not asked any more until its circuit closes, and operators see it")
  func circuit() async throws {
    let setting = try await Setting(["fault", "rules"])
    for number in 1...5 { _ = try await setting.run("K-\(number)") }
    let (_, task) = try await setting.run("K-6")
    #expect(task.attempts.first?.modelCalls.map(\.reason) == ["circuit_open"] && task.state == .completed)
    #expect(try await setting.stats().requests == 5)
    let breakers = try await setting.test.asOperator { try await $0.listBreakers(ListBreakersRequest()) }.breakers
    let isOpen = breakers.contains { $0.circuit == "provider:local" && $0.state == .open }
    #expect(isOpen)
    #expect(try await setting.test.eventTypes().contains("circuit.open"))
    let choices = try await setting.test.asOperator {
      try await $0.explainModelRoute(ExplainModelRouteRequest(agentSlug: Self.guide, intent: "suggest_next_stop"))
    }.choices
    #expect(choices.map(\.model) == ["fault", "rules"] && choices[0].passedOver.hasPrefix("circuit_open") && choices[1].passedOver.isEmpty)
    await setting.end()
  }

  @Test("A key is shown to its provider alone: it is in no event, no record and no error, even when the provider repeats it")
  func secret() async throws {
    let setting = try await Setting(["words:1"], key: "sk-right", shown: "sk-wrong-and-secret")
    let (updates, task) = try await setting.run("K-1")
    #expect(task.state == .failed && task.failure.contains("unauthorized") && task.failure.contains("[key]"), "\(task.failure)")
    let events = try await setting.test.environment.log.list(ListEventsRequest(pageSize: 1_000), tenant: "vienna").events
    let providers = try await setting.test.asOperator { try await $0.listModelProviders(ListModelProvidersRequest()) }
    let kept = updates.map { $0.encoded() } + events.map { $0.encoded() } + [task.encoded(), providers.encoded()]
    let leaks = kept.contains { String(decoding: $0, as: UTF8.self).contains("sk-wrong") }
    #expect(!leaks)
    await setting.end()
  }
}
