import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireTurnKernel
import Synchronization

/// Runs tasks in the background: each in a Swift task of its own, under its own deadline, for the one who asked, attempt after attempt
/// until one answers, its time is over, or another would not help.
///
/// What it knows is in the rows; here are only the handles of what is under way, as many as `TaskPlaces` admits.
final class TaskRunner: Sendable {
  private struct State {
    var running: [AgentTaskKey: Task<Void, Never>?] = [:]
    var isStopping = false
  }

  /// What a task's attempts go by.
  private struct Ticket: Sendable {
    var key: AgentTaskKey
    var agentSlug: String
    var session: String
    var byWorkers: Bool
    var timeout: UInt32
    /// The epoch of the last run when these attempts began.
    var epoch: UInt64
    var turns: TaskTurns

    init(_ row: OrchestratorStore.TaskRow) {
      key = row.key
      agentSlug = row.task.agentSlug
      byWorkers = row.byWorkers
      epoch = row.attempt
      turns = TaskTurns(row)
      session = turns.session
      timeout = turns.budgets.timeoutMilliseconds
    }
  }

  private let journal: TaskJournal
  private let sources: AgentSources
  private let agentGuard: AgentGuard
  private let models: ModelRunner
  private let policy: PolicyClient
  private let places: TaskPlaces
  private let pool: WorkerPool
  private let breakers: CircuitBreakers
  private let retries: RetryPolicy
  /// In an incident what fails is tried once more, and not as often as otherwise.
  private let mode: DefinitionCache<IncidentMode>
  private let state = Mutex(State())

  init(
    journal: TaskJournal, sources: AgentSources, agentGuard: AgentGuard, models: ModelRunner, policy: PolicyClient, places: TaskPlaces,
    pool: WorkerPool, breakers: CircuitBreakers, retries: RetryPolicy, mode: DefinitionCache<IncidentMode>
  ) {
    self.journal = journal
    self.sources = sources
    self.agentGuard = agentGuard
    self.models = models
    self.policy = policy
    self.places = places
    self.pool = pool
    self.breakers = breakers
    self.retries = retries
    self.mode = mode
  }

  /// Admits a task before it is stored; false when there is no room. It is counted out by `release`, or by the task's end.
  func reserve(_ key: AgentTaskKey) -> Bool {
    state.withLock { state in
      guard !state.isStopping, state.running[key] == nil, places.admit(key.tenant) else { return false }
      state.running[key] = .some(nil)
      return true
    }
  }

  func release(_ key: AgentTaskKey) {
    guard state.withLock({ $0.running.removeValue(forKey: key) }) != nil else { return }
    places.dismiss(key.tenant)
  }

  /// Whether this process has a task in hand.
  func isRunning(_ key: AgentTaskKey) -> Bool { state.withLock { $0.running[key] != nil } }

  /// Starts a task that was admitted.
  func start(_ row: OrchestratorStore.TaskRow, for caller: Principal, trace: TraceContext?) {
    let ticket = Ticket(row)
    // The lock is held until the handle is stored, so that the task cannot end before it was known.
    state.withLock { state in
      guard state.running[ticket.key] != nil else { return }
      state.running[ticket.key] = Task.detached { [self] in
        await CallContext.with(principal: caller, trace: trace) { await run(ticket, caller, trace) }
        release(ticket.key)
      }
    }
  }

  func cancel(_ key: AgentTaskKey) {
    let task = state.withLock { $0.running[key] ?? nil }
    task?.cancel()
  }

  /// Lets go of everything that runs, without a word in the rows: after a start it runs again.
  func stop() async {
    let tasks = state.withLock { state in
      state.isStopping = true
      return state.running.values.compactMap { $0 }
    }
    places.stop()
    for task in tasks { task.cancel() }
    for task in tasks { await task.value }
  }

  private var isStopping: Bool { state.withLock { $0.isStopping } }

  private func run(_ ticket: Ticket, _ caller: Principal, _ trace: TraceContext?) async {
    let deadline = Deadline.after(.milliseconds(Int64(ticket.timeout)))
    do {
      try await CallContext.with(deadline: deadline, principal: caller, trace: trace) {
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask { [self] in try await attempts(ticket, deadline) }
          // Calls inside the process have no timer of their own: this one cancels whatever the agent waits for.
          group.addTask {
            try await Task.sleep(for: .milliseconds(Int64(ticket.timeout)))
            throw RPCError.deadlineExceeded()
          }
          defer { group.cancelAll() }
          try await group.next()
        }
      }
    } catch {
      // A run that the process's end stopped stays as it is and begins again; one that CancelTask stopped has its end already.
      if isStopping || Task.isCancelled { return }
      let ending = Self.ending(of: error, timeout: ticket.timeout, passed: deadline.hasPassed)
      await record(ending, of: ticket.key)
    }
  }

  /// Writes down how a task ended. Somebody waits for an answer: while the store is only busy it is tried, ever more rarely, until it stands
  /// or the process ends.
  private func record(_ ending: TaskJournal.Ending, of key: AgentTaskKey) async {
    var ending = ending
    var isPlain = false
    var pause = OrchestratorLimits.recordPause
    while !isStopping, !Task.isCancelled {
      do {
        return try await journal.end(key, ending)
      } catch {
        if RPCError.outcome(of: error, in: nil).isVerdict {
          // The same words would be refused again: it ends in our own. Should even those be refused, the next start takes it up.
          if isPlain { return }
          (ending, isPlain) = (.failed(reason: "INTERNAL", message: "how the task ended could not be written down"), true)
          continue
        }
        try? await Task.sleep(for: pause)
        pause = min(pause * 2, OrchestratorLimits.longestRecordPause)
      }
    }
  }

  private static func ending(of error: any Error, timeout: UInt32, passed: Bool) -> TaskJournal.Ending {
    if passed { return .timedOut(milliseconds: Int64(timeout)) }
    switch error {
    case let error as RPCError where error.code == .deadlineExceeded: return .timedOut(milliseconds: Int64(timeout))
    case let error as RPCError:
      return .failed(reason: error.reason?.wireName ?? error.code.name, message: error.message, status: error.status)
    case let error as AttemptLost: return .failed(reason: error.reason, message: error.message)
    case is CancellationError: return .cancelled(reason: "")
    default: return .failed(reason: "INTERNAL", message: "the agent failed")
    }
  }

  // MARK: Attempts

  /// Attempt after attempt, with pauses, until one answers. Throws what the last one failed with.
  private func attempts(_ ticket: Ticket, _ deadline: Deadline) async throws {
    var count: UInt64 = 0
    var last = ticket.epoch
    while true {
      count += 1
      let seat = try await seat(for: ticket)
      let turnID = journal.environment.ids.next(.turn)
      var epoch: UInt64 = 0
      do {
        defer { leave(seat, ticket) }
        let plan = ticket.turns.plan(seat.provider)
        let recorder = ticket.turns.recorder(
          turnID, under: plan, epoch: last + 1, by: seat.performer, decisions: seat.decisions,
          at: journal.environment.clock.now)
        journal.turns.record(recorder)
        defer { journal.turns.forget(recorder) }
        guard case .run(let row) = try await journal.begin(ticket.key, by: seat.worker, as: recorder, under: plan) else {
          return await report(seat, .neutral)
        }
        (epoch, last) = (row.attempt, row.attempt)
        guard epoch <= OrchestratorLimits.runs else {
          throw RPCError.aborted("given up after \(OrchestratorLimits.runs) runs, some of which its process did not survive")
        }
        let answer = try await TurnRecorder.$current.withValue(recorder) { try await attempt(row, seat, recorder, deadline) }
        let proposals = try await proposals(answer.drafts, row.task)
        try Task.checkCancellation()
        let output = answer.output(at: journal.environment.clock.now)
        try await journal.complete(ticket.key, under: epoch, text: answer.text, proposals: proposals, output: output)
        return await report(seat, .success)
      } catch {
        await report(seat, CircuitBreaker.Outcome(of: error, by: deadline))
        guard !Task.isCancelled, !deadline.hasPassed, epoch <= OrchestratorLimits.runs, let loss = Self.loss(error),
          let pause = await pause(after: count)
        else { throw error }
        try await journal.lose(ticket.key, under: epoch, loss.outcome, loss.text)
        try await Task.sleep(for: pause)
        // The store may not have known whether the run had begun: its turn tells. Unasked, the next would be under an epoch that is over.
        if epoch == 0 { last = try await journal.epoch(of: ticket.key, ifItsTurnIs: turnID) ?? last }
      }
    }
  }

  /// How long to wait before the next attempt; nil when there is none.
  private func pause(after count: UInt64) async -> Duration? {
    var retries = retries
    // A mode that cannot be asked for restricts nothing.
    let mode = try? await mode.value(of: Caller.platformTenant, now: journal.environment.clock.now)
    if mode == .incident { retries.maxRetries = min(retries.maxRetries, OrchestratorLimits.retriesInIncident) }
    return retries.pause(after: count, chance: chance)
  }

  /// From 0 up to 1, of the same source as ids: a simulation's seed decides it.
  private var chance: Double { Double(journal.environment.ids.ulid().low >> 11) / Double(1 << 53) }

  /// One attempt, by whoever has the place, with how it went in the turn's evidence: what must hold around an agent's work goes around here.
  private func attempt(
    _ row: OrchestratorStore.TaskRow, _ seat: Seat, _ recorder: TurnRecorder, _ deadline: Deadline
  ) async throws -> AgentAnswer {
    let clock = journal.environment.clock
    var record = TurnProviderAttempt(provider: seat.performer, begunAt: .init(nanosecondsSinceEpoch: clock.now), outcome: "answered")
    do {
      let answer = try await work(row, seat.taken.place, recorder, deadline)
      record.endedAt = .init(nanosecondsSinceEpoch: clock.now)
      recorder.attempt(record)
      return answer
    } catch {
      record.endedAt = .init(nanosecondsSinceEpoch: clock.now)
      (record.outcome, record.error) = ("failed", Self.loss(error)?.text ?? "\(error)")
      recorder.attempt(record)
      throw error
    }
  }

  private func work(
    _ row: OrchestratorStore.TaskRow, _ place: TaskPlace, _ recorder: TurnRecorder, _ deadline: Deadline
  ) async throws -> AgentAnswer {
    let (journal, key, epoch, evidence) = (journal, row.key, row.attempt, recorder.evidence)
    let run = AgentRun(
      tenant: key.tenant, task: row.task.task ?? AgentTaskSpec(), context: row.task.context ?? AgentContext(),
      agentSlug: row.task.agentSlug,
      // The turn's time is its opening's: a replay has the same.
      now: evidence.openedAt?.nanosecondsSinceEpoch ?? 0, sources: sources, reads: .recorded(recorder, journal.environment.clock),
      breakers: breakers, agentGuard: agentGuard,
      progress: { stage, percent, message in
        try await journal.tell(.progress(Progress(stage: stage, percent: percent, message: message)), of: key, under: epoch)
      },
      partial: { text in try await journal.tell(.partial(Partial(text: text)), of: key, under: epoch) })
    switch place {
    case .builtIn:
      return try await AgentGuard.$working.withValue(row.task) {
        row.byModel ? try await models.answer(run, row) : try await BuiltInAgents.answer(run)
      }
    case .worker(let id):
      let left = (deadline.remaining ?? .zero).nanoseconds / 1_000_000
      let work = Work(
        claim: WorkClaim(tenantID: key.tenant, agentTaskID: key.id, leaseEpoch: epoch), agentSlug: row.task.agentSlug,
        context: row.task.context, task: row.task.task, timeoutMs: UInt32(clamping: left),
        traceparent: CallContext.current?.trace?.traceparent ?? "", turnID: evidence.turnID, seed: evidence.seed)
      let answer = try await pool.perform(work, on: id, at: run.now)
      guard answer.drafts.count <= run.maxSuggestions else {
        let message = "\(answer.drafts.count) proposals, where \(run.maxSuggestions) were asked for"
        throw AttemptLost(outcome: "failed", reason: "INVALID_ANSWER", message: message)
      }
      return answer.cut(to: run.textLetters)
    }
  }

  // MARK: Seats

  /// What a task needs for one attempt: the admission of its turn, a place, and for a worker's the permit of the agent's circuit.
  private struct Seat: Sendable {
    var taken: TaskPlaces.Taken
    var worker: String?
    var permit: CircuitBreakers.Permit?
    var provider: TurnProvider
    /// What was decided on the way here.
    var decisions: [TurnDecision]

    var performer: String { worker.map { "worker:\($0)" } ?? (provider.kind == .model ? "model" : "built_in") }
  }

  /// Waits until the turn is admitted, then for a place.
  private func seat(for ticket: Ticket) async throws -> Seat {
    let admission = try await admission(of: ticket)
    do {
      var seat = try await place(for: ticket)
      seat.decisions.insert(admission, at: 0)
      return seat
    } catch {
      journal.turns.close(ticket.turns.want)
      throw error
    }
  }

  private func leave(_ seat: Seat, _ ticket: Ticket) {
    places.give(back: seat.taken)
    journal.turns.close(ticket.turns.want)
  }

  /// Asks for admission until it is given. Only the first deferral is told.
  private func admission(of ticket: Ticket) async throws -> TurnDecision {
    let (turns, want) = (journal.turns, ticket.turns.want)
    var isWaiting = false
    while true {
      switch turns.decide(want, isWaiting: isWaiting) {
      case .admit:
        return decision("admission", "tenant:\(want.tenant)", "admit", isWaiting ? "after a deferral" : "")
      case .defer(let quota, let reason):
        do {
          if !isWaiting { try await journal.tell(.deferred(quota: quota, reason: reason), of: ticket.key) }
          isWaiting = true
          try await Task.sleep(for: TurnLimits.deferral)
        } catch {
          turns.withdraw(want)
          throw error
        }
      case .reject(let quota, let reason):
        try await journal.tell(.rejected(quota: quota, reason: reason), of: ticket.key)
        throw RPCError.later(
          .resourceExhausted, .turnRejected, "\(quota): \(reason)", after: TurnLimits.retryAfter, metadata: [("quota", quota)])
      }
    }
  }

  private func place(for ticket: Ticket) async throws -> Seat {
    guard ticket.byWorkers else {
      return ticket.turns.agent.byModel ? try await model(for: ticket) : try await builtIn(for: ticket)
    }
    let (circuit, tenant) = (Self.circuit(of: ticket.agentSlug), ticket.key.tenant)
    // Nobody waits for a worker who would then not be asked.
    if let refusal = breakers.refusal(circuit, of: tenant) { return try await divert(ticket, refusal) }
    let taken = try await take(for: ticket, byWorkers: true)
    switch await breakers.admit(circuit, of: tenant) {
    case .go(let permit):
      guard case .worker(let id) = taken.place else { preconditionFailure("a worker was asked for") }
      return Seat(
        taken: taken, worker: pool.name(of: id) ?? "", permit: permit,
        provider: TurnProvider(kind: .worker, name: ticket.agentSlug, circuit: circuit),
        decisions: [decision("circuit", circuit, "allow")])
    case .refused(let refusal):
      places.give(back: taken)
      return try await divert(ticket, refusal)
    }
  }

  /// Has the fallback do what an open circuit does not let through.
  private func divert(_ ticket: Ticket, _ refusal: CircuitBreakers.Refusal) async throws -> Seat {
    guard refusal.fallback == CircuitBreakers.builtIn else { throw refusal.error(ticket.agentSlug) }
    let circuit = Self.circuit(of: ticket.agentSlug)
    var seat = try await builtIn(for: ticket)
    seat.provider.divertedFrom = circuit
    seat.decisions.append(decision("circuit", circuit, "divert", "the platform's own agent does it meanwhile"))
    return seat
  }

  /// A model's work needs a place as a built-in agent's does; the plan names the models in the order in which they are asked.
  private func model(for ticket: Ticket) async throws -> Seat {
    let chain = try await models.chain(for: ticket.turns.task.task ?? AgentTaskSpec(), agent: ticket.turns.agent)
    let provider = TurnProvider(
      kind: .model, name: chain.first?.routeID ?? "", circuit: chain.first.map { ModelRunner.circuit(of: $0.provider) } ?? "",
      models: chain.map { "\($0.provider)/\($0.model)" })
    return Seat(taken: try await take(for: ticket, byWorkers: false), provider: provider, decisions: [])
  }

  private func builtIn(for ticket: Ticket) async throws -> Seat {
    Seat(
      taken: try await take(for: ticket, byWorkers: false),
      provider: TurnProvider(kind: .builtIn, name: ticket.agentSlug, isDeterministic: true), decisions: [])
  }

  private func take(for ticket: Ticket, byWorkers: Bool) async throws -> TaskPlaces.Taken {
    try await places.take(tenant: ticket.key.tenant, agentSlug: ticket.agentSlug, session: ticket.session, byWorkers: byWorkers)
  }

  private func decision(_ kind: String, _ subject: String, _ outcome: String, _ reason: String = "") -> TurnDecision {
    TurnDecision(
      kind: kind, subject: subject, outcome: outcome, reason: reason, at: .init(nanosecondsSinceEpoch: journal.environment.clock.now))
  }

  /// The circuit of an agent's workers.
  static func circuit(of agentSlug: String) -> String { "agent:\(agentSlug)" }

  private func report(_ seat: Seat, _ outcome: CircuitBreaker.Outcome) async {
    if let permit = seat.permit { await breakers.report(permit, outcome) }
  }

  /// A failure after which another attempt may do better; nil for a verdict, which would only be given again, and for policy's refusal, which
  /// says by itself when it may be asked again, as does an exhausted budget.
  private static func loss(_ error: any Error) -> AttemptLost? {
    switch error {
    case let error as AttemptLost: error
    case let error as RPCError where error.reason == .policyDenied || error.reason == .budgetExhausted || error.reason == .turnRejected: nil
    case let error as RPCError where !error.isVerdict && error.code != .cancelled && error.reason != .circuitOpen:
      AttemptLost(outcome: "failed", reason: error.code.name, message: error.message)
    case let error as any RPCErrorConvertible: loss(error.rpcError)
    default: nil
    }
  }

  /// Makes proposals of an agent's drafts. A requested action is put to policy at once, and refused whatever policy says: if no rule
  /// forbids it, it is refused for want of one that allows it.
  private func proposals(_ drafts: [AgentAnswer.Draft], _ task: AgentTask) async throws -> [Proposal] {
    let environment = journal.environment
    var proposals: [Proposal] = []
    for draft in drafts {
      var proposal = Proposal(
        proposalID: environment.ids.next(.proposal), agentTaskID: task.agentTaskID, state: .open, summary: draft.summary,
        rationale: draft.rationale, confidence: draft.confidence, kind: draft.kind,
        expiresAt: .init(nanosecondsSinceEpoch: environment.clock.now + OrchestratorLimits.proposalLifetimeNanoseconds),
        productRuntimeSessionID: task.context?.productRuntimeSessionID ?? "", agentSlug: task.agentSlug,
        createdAt: .init(nanosecondsSinceEpoch: environment.clock.now))
      if case .requestedAction(let wish) = draft.kind {
        let decision = try await policy.checkAction(
          CheckActionRequest(agentSlug: task.agentSlug, actionType: wish.action, actorRole: "external_agent", runID: task.agentTaskID))
        proposal.state = .refused
        proposal.refusedRule = decision.allowed || decision.rule.isEmpty ? "AGENT-FORBIDDEN-ACTION" : decision.rule
        if !decision.reason.isEmpty { proposal.rationale = decision.reason }
      }
      proposals.append(proposal)
    }
    return proposals
  }
}
