import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Synchronization

/// Runs tasks in the background: each in a Swift task of its own, under its own deadline, for the one who asked.
///
/// What it knows is in the rows; here are only the handles of what runs, bounded by tenant and in all.
final class TaskRunner: Sendable {
  private struct State {
    var running: [AgentTaskKey: Task<Void, Never>?] = [:]
    var perTenant: [String: Int] = [:]
    var isStopping = false
  }

  private let journal: TaskJournal
  private let sources: AgentSources
  private let policy: PolicyClient
  private let state = Mutex(State())

  init(journal: TaskJournal, sources: AgentSources, policy: PolicyClient) {
    self.journal = journal
    self.sources = sources
    self.policy = policy
  }

  /// Takes a place for a task before it is stored; false when there is none. It is given back by `release`, or by the task's end.
  func reserve(_ key: AgentTaskKey) -> Bool {
    state.withLock { state in
      guard !state.isStopping, state.running.count < OrchestratorLimits.runningTasks,
        state.perTenant[key.tenant, default: 0] < OrchestratorLimits.runningTasksPerTenant, state.running[key] == nil
      else { return false }
      state.running[key] = .some(nil)
      state.perTenant[key.tenant, default: 0] += 1
      return true
    }
  }

  func release(_ key: AgentTaskKey) {
    state.withLock { state in
      guard state.running.removeValue(forKey: key) != nil else { return }
      let left = (state.perTenant[key.tenant] ?? 1) - 1
      state.perTenant[key.tenant] = left > 0 ? left : nil
    }
  }

  /// Whether this process works on a task.
  func isRunning(_ key: AgentTaskKey) -> Bool { state.withLock { $0.running[key] != nil } }

  /// Starts a task that has its place.
  func start(_ key: AgentTaskKey, for caller: Principal, trace: TraceContext?) {
    // The lock is held until the handle is stored, so that the task cannot end before it was known.
    state.withLock { state in
      guard state.running[key] != nil else { return }
      state.running[key] = Task.detached { [self] in
        await CallContext.with(principal: caller, trace: trace) { await run(key, caller, trace) }
        release(key)
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
    for task in tasks { task.cancel() }
    for task in tasks { await task.value }
  }

  private var isStopping: Bool { state.withLock { $0.isStopping } }

  private func run(_ key: AgentTaskKey, _ caller: Principal, _ trace: TraceContext?) async {
    do {
      guard case .run(let row) = try await journal.begin(key) else { return }
      guard row.attempt <= OrchestratorLimits.attempts else {
        return try await journal.end(key, .failed(reason: "ABANDONED", message: "given up after \(OrchestratorLimits.attempts) runs"))
      }
      let asked = row.task.task?.constraints?.timeoutMs ?? 0
      let timeout = asked == 0 ? OrchestratorLimits.defaultTimeoutMilliseconds : asked
      let deadline = Deadline.after(.milliseconds(Int64(timeout)))
      do {
        try await CallContext.with(deadline: deadline, principal: caller, trace: trace) {
          try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { [self] in
              let answer = try await answer(row)
              let proposals = try await proposals(answer.drafts, row.task)
              try Task.checkCancellation()
              try await journal.complete(key, text: answer.text, proposals: proposals)
            }
            // Calls inside the process have no timer of their own: this one cancels whatever the agent waits for.
            group.addTask {
              try await Task.sleep(for: .milliseconds(Int64(timeout)))
              throw RPCError.deadlineExceeded()
            }
            defer { group.cancelAll() }
            try await group.next()
          }
        }
      } catch {
        // A run that the process's end stopped stays as it is and begins again; one that CancelTask stopped has its end already.
        if isStopping || Task.isCancelled { return }
        try await journal.end(key, Self.ending(of: error, timeout: timeout, passed: deadline.hasPassed))
      }
    } catch {
      // The store refused even to record it: the task stays unfinished in its row and is taken up at the next start.
    }
  }

  private static func ending(of error: any Error, timeout: UInt32, passed: Bool) -> TaskJournal.Ending {
    if passed { return .timedOut(milliseconds: Int64(timeout)) }
    switch error {
    case let error as RPCError where error.code == .deadlineExceeded: return .timedOut(milliseconds: Int64(timeout))
    case let error as RPCError: return .failed(reason: error.code.name, message: error.message)
    case is CancellationError: return .cancelled(reason: "")
    default: return .failed(reason: "INTERNAL", message: "the agent failed")
    }
  }

  private func answer(_ row: OrchestratorStore.TaskRow) async throws -> AgentAnswer {
    let (journal, key) = (journal, row.key)
    let run = AgentRun(
      tenant: key.tenant, task: row.task.task ?? AgentTaskSpec(), context: row.task.context ?? AgentContext(),
      agentSlug: row.task.agentSlug,
      now: journal.environment.clock.now, sources: sources,
      progress: { stage, percent, message in
        try await journal.tell(.progress(Progress(stage: stage, percent: percent, message: message)), of: key)
      },
      partial: { text in try await journal.tell(.partial(Partial(text: text)), of: key) })
    return try await BuiltInAgents.answer(run)
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
        productRuntimeSessionID: task.context?.productRuntimeSessionID ?? "")
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
