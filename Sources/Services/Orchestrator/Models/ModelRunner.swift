import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Synchronization

/// Has language models do agents' work: finds which, asks one after the other until one answers, and answers their calls of tools.
struct ModelRunner: Sendable {
  let journal: TaskJournal
  let registry: RegistryClient
  let agentGuard: AgentGuard
  let breakers: CircuitBreakers
  let providers: ModelProviders

  // MARK: Whom to ask

  /// The definition that an agent had when its task came in.
  private func definition(of row: OrchestratorStore.TaskRow) -> AgentDefinition {
    (try? AgentDefinition(decoding: row.agent)) ?? AgentDefinition(agentSlug: row.task.agentSlug)
  }

  /// The definition of an agent, the tenant's own or a shared one.
  func definition(of slug: String) async throws -> AgentDefinition {
    let definition = try await registry.getDefinition(GetDefinitionRequest(kind: .agent, id: slug))
    guard case .agent(let agent)? = definition.value else { throw RPCError.precondition(.agentUnknown, "\(slug) is no agent") }
    return agent
  }

  /// The models that a task is put to, in their order.
  func chain(for task: AgentTaskSpec, agent: AgentDefinition) async throws -> [ModelBinding] {
    let routes = try await registry.effective(.modelRoute).compactMap { if case .modelRoute(let route) = $0 { route } else { nil } }
    return ModelRoutes.chain(for: task, agent: agent, routes: routes, providers: providers)
  }

  /// What stands against asking a model now.
  func objection(to binding: ModelBinding, tokens: Int, tenant: String) -> ModelFailure? {
    if let objection = ModelRoutes.objection(to: binding, tokens: tokens, providers: providers) { return objection }
    guard let refusal = breakers.refusal(Self.circuit(of: binding.provider), of: tenant) else { return nil }
    return ModelFailure(.circuitOpen, "the circuit of \(binding.provider) is open", retryAfter: refusal.retryAfter)
  }

  static func circuit(of provider: String) -> String { "provider:\(provider)" }

  // MARK: The work

  /// Does one attempt of a task.
  func answer(_ run: AgentRun, _ row: OrchestratorStore.TaskRow) async throws -> AgentAnswer {
    let agent = definition(of: row)
    let chain = try await chain(for: run.task, agent: agent)
    guard !chain.isEmpty else {
      throw RPCError.precondition(
        .modelUnrouted, "no model route serves \(run.task.intent) or \(run.task.agentType), and no model is named")
    }
    let talk = ModelTalk(runner: self, run: run, row: row, agent: agent)
    let tiers = Dictionary(agent.capabilities.map { ($0.tool, $0.permissionTier) }) { first, _ in first }
    return try await AgentGuard.$tiers.withValue(tiers) {
      var failures: [(model: String, failure: ModelFailure)] = []
      for (index, binding) in chain.enumerated() {
        try Task.checkCancellation()
        if binding.provider == ModelProviders.builtIn { return try await BuiltInAgents.answer(run) }
        do {
          var answer = try await talk.converse(with: binding, isLast: index == chain.count - 1)
          BuiltInAgents.refuseForbidden(&answer, run)
          return answer.cut(to: min(run.textLetters, OrchestratorLimits.answerLetters))
        } catch let failure as ModelFailure {
          guard failure.mayFallBack else { throw Self.exhausted(failure) }
          failures.append((binding.model, failure))
          guard index + 1 < chain.count else { break }
          try await run.progress(
            "model", 10, "\(binding.model) did not answer (\(failure.reason.rawValue)); asks \(chain[index + 1].model)")
        }
      }
      throw Self.unanswered(failures)
    }
  }

  private static func exhausted(_ failure: ModelFailure) -> RPCError {
    .later(
      .resourceExhausted, .budgetExhausted, "budget exhausted: \(failure.text)", after: failure.retryAfter,
      metadata: failure.policy.isEmpty ? [] : [("rule", failure.policy)])
  }

  private static func unanswered(_ failures: [(model: String, failure: ModelFailure)]) -> RPCError {
    let text = failures.map { "\($0.model): \($0.failure.reason.rawValue), \($0.failure.text)" }.joined(separator: "; ")
    let message = String("no model answered: \(text)".prefix(OrchestratorLimits.reasonLetters))
    if failures.allSatisfy({ $0.failure.reason == .refusedByPolicy }), let last = failures.last?.failure {
      return .later(
        last.code, .policyDenied, message, after: last.retryAfter, metadata: [("rule", last.policy)])
    }
    let wait = failures.compactMap(\.failure.retryAfter).min()
    // What every model refused it would refuse again; a provider that failed may recover.
    let isFinal = failures.allSatisfy { $0.failure.isFinal }
    return isFinal
      ? .precondition(.modelFailed, message) : .later(.unavailable, .modelFailed, message, after: wait)
  }
}

/// One task's talk with models: what was said to its caller, and what of its tokens and its money is left.
final class ModelTalk: Sendable {
  private struct State {
    var tokensLeft: Int
    /// Of the agent's model policy; nil: not limited.
    var microsLeft: Int64?
    var saysSomething = false
  }

  private let runner: ModelRunner
  private let run: AgentRun
  private let row: OrchestratorStore.TaskRow
  private let agent: AgentDefinition
  private let tools: ModelTools
  private let state: Mutex<State>

  init(runner: ModelRunner, run: AgentRun, row: OrchestratorStore.TaskRow, agent: AgentDefinition) {
    self.runner = runner
    self.run = run
    self.row = row
    self.agent = agent
    tools = ModelTools(run, agent)
    let asked = Int(run.task.constraints?.maxTokens ?? 0)
    state = Mutex(
      State(
        tokensLeft: asked == 0 ? Int(OrchestratorLimits.defaultMaxTokens) : asked, microsLeft: agent.modelPolicy?.maxCost?.micros))
  }

  /// Asks one model, and again with what its calls of tools came to, until it answers.
  ///
  /// Throws the `ModelFailure` after which another may be asked.
  func converse(with binding: ModelBinding, isLast: Bool) async throws -> AgentAnswer {
    var messages = ModelPrompt.messages(run, agent)
    var answer = AgentAnswer(text: "")
    for round in 1...OrchestratorLimits.modelRounds {
      let question = ChatQuestion(model: binding.model, messages: messages, functions: tools.functions, maxTokens: 0)
      let said = try await ask(question, of: binding, isLast: isLast, round: round)
      answer.text += said.text
      if said.calls.isEmpty {
        if said.finish == "length" { answer.text += "…" }
        guard !answer.text.isEmpty || !answer.drafts.isEmpty else { throw ModelFailure(.empty, "it said nothing") }
        if answer.drafts.isEmpty, run.task.intent.hasPrefix("explain_") { answer.drafts.append(explanation(answer.text)) }
        return answer
      }
      messages.append(.assistant(text: said.text, calls: said.calls))
      for call in said.calls {
        try Task.checkCancellation()
        let outcome = try await tools.perform(call, drafts: answer.drafts.count)
        if let draft = outcome.draft, answer.drafts.count < Int(OrchestratorLimits.maxSuggestions) { answer.drafts.append(draft) }
        messages.append(.tool(callID: call.id, text: outcome.text))
      }
      try await run.progress("tools", UInt32(min(20 + round * 10, 80)), said.calls.map { $0.name.redacted(nil) }.joined(separator: ", "))
    }
    preconditionFailure("the last round has an answer, or is a failure")
  }

  /// What makes an answer none, though it came whole.
  private static func objection(to said: ChatAnswer, round: Int) -> ModelFailure? {
    if said.finish == "content_filter" { return ModelFailure(.contentFilter, "its provider held the answer back") }
    if said.calls.isEmpty { return said.refusal.isEmpty ? nil : ModelFailure(.refusal, said.refusal.redacted(nil)) }
    guard round == OrchestratorLimits.modelRounds else { return nil }
    return ModelFailure(.tooManyTools, "it asked for tools \(round) times and did not answer")
  }

  private func explanation(_ text: String) -> AgentAnswer.Draft {
    AgentAnswer.Draft(
      summary: String(text.prefix { !$0.isNewline }.prefix(OrchestratorLimits.reasonLetters)), rationale: "Written by a language model.",
      confidence: 0.5, kind: .explanation(Explanation(text: String(text.prefix(OrchestratorLimits.messageLetters)))))
  }

  // MARK: One question

  private func ask(_ question: ChatQuestion, of binding: ModelBinding, isLast: Bool, round: Int) async throws -> ChatAnswer {
    let environment = runner.journal.environment
    let prompt = question.tokens
    var call = ModelCall(
      callID: environment.ids.next(.modelCall), routeID: binding.routeID, provider: binding.provider, model: binding.model,
      begunAt: .init(nanosecondsSinceEpoch: environment.clock.now), leaseEpoch: row.attempt)
    let admitted: Admitted
    do {
      admitted = try await admit(question, binding, prompt, call.callID)
    } catch let failure as ModelFailure {
      try await record(&call, failure, outcome: "skipped", cost: nil, [])
      // What was begun is not begun anew elsewhere: the money for it is gone.
      if failure.reason == .refusedByPolicy, round > 1 || state.withLock({ $0.saysSomething }) {
        throw ModelFailure(.budgetExhausted, failure.text, retryAfter: failure.retryAfter, policy: failure.policy)
      }
      throw failure
    }
    return try await ask(admitted, &call, prompt, isLast, round)
  }

  /// What stands ready for a call.
  private struct Admitted {
    var question: ChatQuestion
    var client: ModelProviderClient
    var offer: ModelOffer
    var budget: ModelBudget
    var permit: CircuitBreakers.Permit
  }

  /// Finds the bounds of a call, asks its circuit, and has money set aside for it.
  private func admit(_ question: ChatQuestion, _ binding: ModelBinding, _ prompt: Int, _ callID: String) async throws -> Admitted {
    if let objection = ModelRoutes.objection(to: binding, tokens: prompt, providers: runner.providers) { throw objection }
    guard let client = runner.providers[binding.provider], let offer = client.offer(binding.model) else {
      preconditionFailure("who is not configured was objected to")
    }
    let (tokensLeft, microsLeft) = state.withLock { ($0.tokensLeft, $0.microsLeft) }
    var question = question
    question.maxTokens = tokensLeft
    if offer.contextLength > 0 { question.maxTokens = min(question.maxTokens, Int(offer.contextLength) - prompt) }
    // Only so much may be answered as the caps pay for: the model ends by itself where they do.
    for cap in [binding.maxCost?.micros, microsLeft].compactMap({ $0 }) {
      question.maxTokens = min(question.maxTokens, offer.completion(for: cap, prompt: prompt))
    }
    guard question.maxTokens > 0 else { throw ModelFailure(.overCost, "nothing is left of what the task may cost or say") }
    if let cap = agent.modelPolicy?.maxCost, cap.currency != offer.currency {
      throw ModelFailure(.overCost, "the agent's max_cost is in \(cap.currency), the price in \(offer.currency)")
    }
    let permit: CircuitBreakers.Permit
    switch await runner.breakers.admit(ModelRunner.circuit(of: binding.provider), of: run.tenant) {
    case .go(let granted): permit = granted
    case .refused(let refusal):
      throw ModelFailure(.circuitOpen, "the circuit of \(binding.provider) is open", retryAfter: refusal.retryAfter)
    }
    let budget = ModelBudget(
      runner.agentGuard, row.task, client.provider, offer, callID: callID, prompt: prompt, maxTokens: question.maxTokens)
    do {
      try await budget.open()
    } catch {
      await runner.breakers.report(permit, .neutral)
      throw ModelFailure.refusal(error, as: .refusedByPolicy)
    }
    return Admitted(question: question, client: client, offer: offer, budget: budget, permit: permit)
  }

  private func ask(_ admitted: Admitted, _ call: inout ModelCall, _ prompt: Int, _ isLast: Bool, _ round: Int) async throws -> ChatAnswer {
    let (offer, budget, key) = (admitted.offer, admitted.budget, row.key)
    let progress = ModelProviderClient.Progress()
    let partials = PartialText(run)
    do {
      try await runner.journal.begin(call, of: key)
      let left = CallContext.current?.deadline.remaining ?? .milliseconds(Int64(OrchestratorLimits.timeoutMilliseconds))
      let answer = try await admitted.client.ask(
        // While there is another to ask, one that is silent gets half of the time.
        admitted.question, first: isLast ? left : left / 2, whole: left, progress
      ) { text, soFar in
        do {
          try await budget.cover(soFar.tokens)
        } catch {
          throw ModelFailure.refusal(error, as: .budgetExhausted)
        }
        try await partials.add(text)
      }
      if let objection = Self.objection(to: answer, round: round) { throw objection }
      try await partials.flush()
      await runner.breakers.report(admitted.permit, .success)
      try await settle(&call, offer, budget, prompt, progress, nil)
      note(call, partials)
      return answer
    } catch {
      let failure = error as? ModelFailure
      await runner.breakers.report(
        admitted.permit, failure?.outcome ?? CircuitBreaker.Outcome(of: error, by: CallContext.current?.deadline))
      // What came before is paid for, and its caller's; if the task is over, nobody wants it any more.
      try? await partials.flush()
      if call.endedAt == nil { try await settle(&call, offer, budget, prompt, progress, error) }
      note(call, partials)
      throw error
    }
  }

  private func note(_ call: ModelCall, _ partials: PartialText) {
    state.withLock { state in
      state.tokensLeft -= Int(call.completionTokens)
      state.microsLeft = state.microsLeft.map { $0 - (call.cost?.micros ?? 0) }
      state.saysSomething = state.saysSomething || partials.saysSomething
    }
  }

  /// Counts what a call used, by what its provider said, else by what came; records it, and settles what was set aside.
  private func settle(
    _ call: inout ModelCall, _ offer: ModelOffer, _ budget: ModelBudget, _ prompt: Int, _ progress: ModelProviderClient.Progress,
    _ error: (any Error)?
  ) async throws {
    let (answer, hasBegun) = progress.state.withLock { ($0.answer, $0.hasBegun) }
    var failure = error as? ModelFailure
    if let usage = answer.usage {
      (call.promptTokens, call.completionTokens) = (UInt64(usage.prompt), UInt64(usage.completion))
    } else if hasBegun {
      (call.promptTokens, call.completionTokens, call.isEstimate) = (UInt64(prompt), UInt64(answer.tokens), true)
    }
    call.finishReason = answer.finish
    call.firstMs = progress.first.map { $0.nanoseconds / 1_000_000 } ?? 0
    let cost = offer.cost(prompt: Int(call.promptTokens), completion: Int(call.completionTokens))
    if failure?.reason != .budgetExhausted, !(error is CancellationError) {
      do {
        try await budget.coverAll(of: cost)
      } catch {
        // What was set aside is all that can be spent, whatever the provider asks.
        failure = ModelFailure.refusal(error, as: .budgetExhausted) as? ModelFailure ?? failure
      }
    }
    let (spent, shares) = budget.shares(of: cost)
    let outcome =
      failure?.reason == .budgetExhausted ? "exhausted" : error == nil ? "completed" : failure == nil ? "cancelled" : "failed"
    try await record(
      &call, failure, outcome: outcome, cost: budget.reservationIDs.isEmpty ? nil : Money(micros: spent, currency: offer.currency), shares)
    if error == nil, let failure { throw failure }
  }

  private func record(
    _ call: inout ModelCall, _ failure: ModelFailure?, outcome: String, cost: Money?, _ shares: [ModelBudget.Share]
  ) async throws {
    call.outcome = outcome
    call.reason = failure?.reason.rawValue ?? (outcome == "cancelled" ? "cancelled" : "")
    call.error = failure?.text ?? ""
    call.cost = cost
    call.reservationIds = shares.map(\.reservationID)
    call.endedAt = .init(nanosecondsSinceEpoch: runner.journal.environment.clock.now)
    let (journal, key, ended) = (runner.journal, row.key, call)
    // The task may be cancelled; what it spent must be written all the same.
    try await Task { try await journal.end(ended, of: key, shares) }.value
  }
}

/// Sends an answer ahead in pieces that are worth a commit.
private final class PartialText: Sendable {
  private struct State {
    var text = ""
    var last: ContinuousClock.Instant?
  }

  private let run: AgentRun
  private let state = Mutex(State())

  init(_ run: AgentRun) { self.run = run }

  /// Whether the caller has heard something.
  var saysSomething: Bool { state.withLock { $0.last != nil } }

  func add(_ text: String) async throws {
    let isDue = state.withLock { state in
      state.text += text
      guard !state.text.isEmpty else { return false }
      guard let last = state.last else { return true }
      return state.text.count >= OrchestratorLimits.partialLetters || last.duration(to: .now) >= OrchestratorLimits.partialPause
    }
    if isDue { try await flush() }
  }

  func flush() async throws {
    let text = state.withLock { state in
      defer { state.text = "" }
      if !state.text.isEmpty { state.last = .now }
      return state.text
    }
    if !text.isEmpty { try await run.partial(text) }
  }
}
