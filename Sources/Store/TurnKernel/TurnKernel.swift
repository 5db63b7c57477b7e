import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Synchronization

/// The kernel that work runs on, turn by turn: who may open one, what was frozen for it, and how it ended, once.
///
/// It writes in the transaction of whoever's work it is, so that a turn's rows and events and those of the work commit together. In memory it
/// holds what a process may lose: the quotas in use, the fences of what was just cancelled, and the evidence of what runs, without which a
/// turn's evidence is what was known at its opening, and says so.
public final class TurnKernel: Sendable {
  private struct Subject: Hashable {
    var tenant: String
    var task: String
  }

  private struct State {
    var admission = TurnAdmission()
    var fences = CancelFences()
    /// Of the turns that run in this process: at most one a task.
    var recorders: [Subject: TurnRecorder] = [:]
  }

  private let environment: ServiceEnvironment
  private let state = Mutex(State())

  public init(environment: ServiceEnvironment) { self.environment = environment }

  // MARK: Admission

  /// Whether a turn may open now. What is admitted is counted until `close`, what is deferred until it is admitted or withdrawn.
  public func decide(_ want: TurnAdmission.Want, isWaiting: Bool) -> TurnAdmission.Decision {
    state.withLock { $0.admission.decide(want, isWaiting: isWaiting) }
  }

  public func close(_ want: TurnAdmission.Want) { state.withLock { $0.admission.close(want) } }

  public func withdraw(_ want: TurnAdmission.Want) { state.withLock { $0.admission.withdraw(want) } }

  // MARK: Recorders and fences

  /// Has what a turn tells go into its evidence, from before it opens until `forget`.
  public func record(_ recorder: TurnRecorder) {
    state.withLock { $0.recorders[Subject(tenant: recorder.key.tenant, task: recorder.key.task)] = recorder }
  }

  public func forget(_ recorder: TurnRecorder) {
    let subject = Subject(tenant: recorder.key.tenant, task: recorder.key.task)
    state.withLock { state in
      if state.recorders[subject] === recorder { state.recorders[subject] = nil }
    }
  }

  /// Refuses from now on what a task's running turn still says; returns the turn, nil when none runs here.
  public func fence(tenant: String, task: String) -> TurnKey? {
    let now = environment.clock.now
    return state.withLock { state in
      guard let key = state.recorders[Subject(tenant: tenant, task: task)]?.key else { return nil }
      state.fences.set(key, at: now)
      return key
    }
  }

  /// Takes a fence back, because the cancel it stood for came to nothing.
  public func lift(_ key: TurnKey) { state.withLock { $0.fences.lift(key) } }

  public func isFenced(_ key: TurnKey) -> Bool {
    let now = environment.clock.now
    return state.withLock { $0.fences.isFenced(key, at: now) }
  }

  // MARK: Before a turn

  /// Tells of a turn that was not accepted; `want` is written under the work's correlation ids, which `about` has.
  public func tell(_ refusal: Refusal, about: EventDraft, _ transaction: borrowing Transaction) throws {
    var draft = about
    draft.turn = ""
    let input: TurnStateMachine.Input
    switch refusal {
    case .rejected(let quota, let reason):
      input = .reject
      draft.payload = TurnReject(reason: reason, quota: quota, retryAfterMs: TurnLimits.retryAfter.nanoseconds / 1_000_000)
    case .deferred(let quota, let reason):
      input = .deferral
      draft.payload = TurnDefer(reason: reason, retryAfterMs: TurnLimits.deferral.nanoseconds / 1_000_000, quota: quota)
    case .stale(let epoch, let current):
      input = .staleEpoch
      draft.payload = TurnStaleEpochReject(epoch: epoch, currentEpoch: current)
    }
    guard TurnStateMachine.transition(.wanted, input) != nil else { preconditionFailure("a wanted turn may be refused") }
    try transaction.append(draft, environment)
  }

  /// Why a turn was not accepted.
  public enum Refusal: Sendable {
    case rejected(quota: String, reason: String)
    case deferred(quota: String, reason: String)
    case stale(epoch: UInt64, current: UInt64)
  }

  // MARK: A turn

  /// Opens a turn and makes it active: its authority and its admission stand in the evidence that it opens with.
  ///
  /// - Parameter about: the correlation ids of the work, its time and trace; the payload is the kernel's to set.
  public func open(_ evidence: TurnEvidence, under plan: FrozenPlan, about: EventDraft, _ transaction: borrowing Transaction) throws {
    precondition(evidence.planHash == plan.hash, "the evidence names the plan")
    var steps = Steps(.wanted, about, turn: evidence.turnID)
    try steps.take(.open, TurnOpen(planHash: plan.hash, seed: evidence.seed))
    try steps.take(.activate, TurnActive())
    try TurnStore.insert(plan, evidence, steps.state, transaction)
    try transaction.append(steps.drafts, environment)
  }

  /// How a turn ends.
  public enum Ending: Sendable {
    case commit([TurnOutput])
    case abort(reason: String)
    case cancel(reason: String)
  }

  /// Ends a turn with its evidence; nothing happens, and false is returned, if there is none of that id or it has ended. Once it has, no
  /// output of it is accepted.
  @discardableResult
  public func end(_ turnID: String, _ ending: Ending, about: EventDraft, _ transaction: borrowing Transaction) throws -> Bool {
    guard !turnID.isEmpty, let row = try TurnStore.turn(transaction, tenant: about.tenant, id: turnID), row.state != .closed else {
      return false
    }
    // The evidence only grows while the turn runs: a transaction that runs again takes what there is then.
    let recorder = state.withLock { $0.recorders[Subject(tenant: row.key.tenant, task: row.key.task)] }
    let isRunning = recorder?.key == row.key
    var evidence = isRunning ? recorder?.evidence ?? row.evidence : row.evidence
    evidence.isPartial = !isRunning
    evidence.endedAt = .init(nanosecondsSinceEpoch: about.occurredAt)
    var steps = Steps(row.state, about, turn: turnID)
    switch ending {
    case .commit(let outputs):
      evidence.outputs = outputs
      evidence.outcome = .commit
      for output in outputs { try steps.take(.output, OutputAccepted(outputID: output.outputID, contentHash: output.contentHash)) }
    case .abort(let reason):
      evidence.outcome = .abort
      evidence.reason = String(reason.prefix(TurnLimits.reasonLetters))
    case .cancel(let reason):
      evidence.outcome = .abort
      evidence.reason = String((reason.isEmpty ? "cancelled" : "cancelled: \(reason)").prefix(TurnLimits.reasonLetters))
      evidence.decisions.append(
        TurnDecision(kind: "cancel", subject: turnID, outcome: "accepted", reason: evidence.reason, at: evidence.endedAt))
      try steps.take(.cancel, CancelAccepted(reason: evidence.reason))
    }
    let bytes = evidence.encoded()
    let hash = SHA256.hash(bytes)
    switch evidence.outcome {
    case .commit: try steps.take(.commit, TurnCommit(evidenceHash: hash))
    default: try steps.take(.abort, TurnAbort(reason: evidence.reason, evidenceHash: hash))
    }
    try steps.take(.close, TurnClose(outcome: evidence.outcome == .commit ? "commit" : "abort"))
    try TurnStore.close(evidence, bytes, hash, transaction)
    try transaction.append(steps.drafts, environment)
    return true
  }

  /// The way through the table, with the events that tell of it.
  private struct Steps {
    private(set) var state: TurnStateMachine.State
    private(set) var drafts: [EventDraft] = []
    private let about: EventDraft
    private let turn: String

    init(_ state: TurnStateMachine.State, _ about: EventDraft, turn: String) {
      self.state = state
      self.about = about
      self.turn = turn
    }

    /// Throws where the table has no such transition; the transaction then changes nothing.
    mutating func take(_ input: TurnStateMachine.Input, _ payload: some EventPayload) throws {
      guard let transition = TurnStateMachine.transition(state, input) else {
        throw RPCError.precondition(.turnEnded, "turn \(turn) is \(state) and cannot \(input)")
      }
      precondition(type(of: payload).eventType.rawValue == transition.event, "the table and the payload tell of the same")
      state = transition.to
      var draft = about
      draft.payload = payload
      draft.turn = turn
      drafts.append(draft)
    }
  }
}
