import SpanwireEventLog
import SpanwireRPC
import SpanwireProtobuf
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// What built-in agents read: other services through their clients, where a change would be refused by the callee's exposure, and the
/// log.
struct AgentSources: Sendable {
  let registry: RegistryClient
  let lem: LemClient
  let trutta: TruttaClient
  let journeys: JourneyRuntimeClient
  let log: EventLog
}

/// One run of one task, as an agent sees it: what is asked, what may be read, and where to tell how far it is.
struct AgentRun: Sendable {
  let tenant: String
  let task: AgentTaskSpec
  let context: AgentContext
  let agentSlug: String
  /// When the run began, in nanoseconds since the epoch: agents ask no clock.
  let now: Int64
  let sources: AgentSources
  let reads: AgentReads
  let breakers: CircuitBreakers
  let agentGuard: AgentGuard
  /// Tells the caller of a stage, and how much of the whole is done.
  let progress: @Sendable (_ stage: String, _ percent: UInt32, _ message: String) async throws -> Void
  /// Sends a piece of the answer ahead.
  let partial: @Sendable (_ text: String) async throws -> Void

  var maxSuggestions: Int { Int(TaskBudgets(task.constraints).maxSuggestions) }

  /// Letters of text that the task's token budget pays for.
  var textLetters: Int { TaskBudgets(task.constraints).answerLetters }

  /// A call of something that agents use, behind its circuit; `Lem.ComputeRoute` is its name. While that is open it is refused at once.
  /// What it answers is an input of the turn.
  func tool<Response: Message>(_ name: String, _ call: () async throws -> Response) async throws -> Response {
    try await reads.read(name) { try await guarded(name, call) }
  }

  private func guarded<Response>(_ name: String, _ call: () async throws -> Response) async throws -> Response {
    let permit: CircuitBreakers.Permit
    switch await breakers.admit("tool:\(name)", of: tenant) {
    case .go(let granted): permit = granted
    case .refused(let refusal): throw refusal.error("tool \(name)")
    }
    do {
      let response = try await call()
      await breakers.report(permit, .success)
      return response
    } catch {
      await breakers.report(permit, CircuitBreaker.Outcome(of: error, by: CallContext.current?.deadline))
      throw error
    }
  }

  /// The configuration that the session runs on; nil when the task names none.
  func config() async throws -> RuntimeConfig? {
    guard !context.runtimeSnapshotRef.isEmpty else { return nil }
    return try await tool("Registry.GetSnapshot") {
      try await sources.registry.getSnapshot(GetSnapshotRequest(snapshotRef: context.runtimeSnapshotRef))
    }
  }

  /// The journey that the task belongs to; nil when there is none.
  func journey() async throws -> JourneyInstance? {
    guard !context.journeyInstanceID.isEmpty else { return nil }
    return try await tool("JourneyRuntime.GetJourney") {
      try await sources.journeys.getJourney(GetJourneyRequest(journeyInstanceID: context.journeyInstanceID))
    }
  }

  /// What the session's traveller holds.
  func entitlements() async throws -> [Entitlement] {
    guard !context.productRuntimeSessionID.isEmpty else { return [] }
    let request = ListEntitlementsRequest(productRuntimeSessionID: context.productRuntimeSessionID, pageSize: 100)
    return try await tool("Trutta.ListEntitlements") { try await sources.trutta.listEntitlements(request) }.entitlements
  }

  /// The places of the market that bear every tag, at most `OrchestratorLimits.places`; nearest first when `near` is given.
  func places(tags: [String], near: GeoPoint? = nil, openOnly: Bool = false) async throws -> [ServicePointStatus] {
    var found: [ServicePointStatus] = []
    var request = ListServicePointsRequest(
      marketCode: context.marketCode, tags: tags, near: near, at: .init(nanosecondsSinceEpoch: now), openOnly: openOnly, pageSize: 500)
    repeat {
      let page = try await tool("Lem.ListServicePoints") { try await sources.lem.listServicePoints(request) }
      found += page.servicePoints
      request.pageToken = page.nextPageToken
    } while !request.pageToken.isEmpty && found.count < OrchestratorLimits.places
    return found
  }

  /// When the day must be over: what the traveller said, or the safety profile's latest end, whichever is earlier.
  func finishBy(_ limits: ProfileLimits) -> Int64? {
    let asked = context.finishBy?.nanosecondsSinceEpoch
    guard let latest = limits.latestEnd(onDayOf: now) else { return asked }
    return min(latest, asked ?? .max)
  }
}

/// What an agent answers: words, and proposals for others to decide.
struct AgentAnswer: Sendable {
  struct Draft: Sendable {
    var summary: String
    var rationale: String
    var confidence: Double
    var kind: Proposal.Kind
  }

  var text: String
  var drafts: [Draft] = []
  /// What a handler returned, where the work was an execution.
  var execution: HandlerResult?

  /// The same with its text cut to what a token budget pays for.
  func cut(to letters: Int) -> AgentAnswer {
    guard text.count > letters else { return self }
    var answer = self
    answer.text = text.prefix(max(1, letters - 1)) + "…"
    return answer
  }
}

/// The agents that need no model: honest computations over what the platform knows.
enum BuiltInAgents {
  static let types = ["trip_planner", "journey_guide", "support", "pricing", "safety", "growth", "ops_analyst"]
  static let intents = [
    "suggest_next_stop", "build_initial_route", "explain_limits", "offer_upsell", "explain_incident", "suggest_mitigation",
  ]
  /// Types that may look beyond a session, for operators alone.
  static let operatorTypes: Set<String> = ["ops_analyst"]

  /// Does the work. The intent says what is wanted; the type is who does it and was matched with the intent before.
  static func answer(_ run: AgentRun) async throws -> AgentAnswer {
    var answer: AgentAnswer
    switch run.task.intent {
    case "build_initial_route": answer = try await TripPlanner.plan(run)
    case "suggest_next_stop": answer = try await JourneyGuide.suggestNextStop(run)
    case "explain_limits": answer = try await LimitsExplainer.explain(run)
    case "offer_upsell": answer = try await UpsellAdvisor.offer(run)
    case "explain_incident": answer = try await IncidentAnalyst.explain(run)
    case "suggest_mitigation": answer = try await IncidentAnalyst.suggestMitigation(run)
    default: preconditionFailure("the intent was validated")
    }
    refuseForbidden(&answer, run)
    return answer.cut(to: run.textLetters)
  }

  /// Says aloud what a message asks for and no agent may do, whoever answered it.
  static func refuseForbidden(_ answer: inout AgentAnswer, _ run: AgentRun) {
    guard let wish = ForbiddenWish(in: run.task.message) else { return }
    let isSaid = answer.drafts.contains { if case .requestedAction(let said) = $0.kind { said.action == wish.action } else { false } }
    guard !isSaid else { return }
    answer.drafts.insert(RequestedWish.draft(wish, run), at: 0)
    answer.text = RequestedWish.text(wish) + (answer.text.isEmpty ? "" : " " + answer.text)
  }
}

/// Puts a forbidden wish into words, and into the proposal that exists to be refused.
enum RequestedWish {
  static func draft(_ wish: ForbiddenWish, _ run: AgentRun) -> AgentAnswer.Draft {
    AgentAnswer.Draft(
      summary: "Asked to act: \(wish.action)", rationale: "The message says \"\(wish.words)\"; no agent may do that.", confidence: 1,
      kind: .requestedAction(RequestedAction(action: wish.action, target: run.context.productRuntimeSessionID)))
  }

  static func text(_ wish: ForbiddenWish) -> String {
    switch wish.action {
    case "redeem": "I cannot redeem for you: you do that yourself, at the counter, when your journey stands at a redeem step."
    case "payment": "I cannot pay or move money: a purchase is yours to make."
    case "issue": "I cannot issue anything: entitlements come from a purchase, or from an operator who makes good for a loss."
    case "registry_change": "I cannot change products, prices or limits: those are applied by operators."
    default: "I cannot open or close places: only an operator blocks one."
    }
  }
}
