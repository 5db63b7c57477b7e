import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// A session on its way through one transaction: the row as it will be, the events that tell of it, and what it causes elsewhere.
///
/// A value: a transaction that runs again begins with the row again. The machine decides; this writes down what it decided.
struct SessionChange {
  private(set) var session: ProductRuntimeSession
  private(set) var events: [Told] = []
  private(set) var effects: [SessionEffect] = []
  /// Whether the row differs from what it was; events alone leave it alone.
  private(set) var changesRow = false
  private let now: Int64

  /// One event, with what its envelope needs beside the session's ids.
  struct Told {
    var payload: any Message
    var agentTaskID: String
  }

  init(_ session: ProductRuntimeSession, now: Int64) {
    self.session = session
    self.now = now
  }

  /// A session that begins: its row as drawn up, and its first event.
  init(opening session: ProductRuntimeSession, now: Int64) {
    self.init(session, now: now)
    take(SessionStateMachine.open())
  }

  /// Throws the refusal as the caller sees it, and then has changed nothing.
  mutating func handle(_ command: SessionCommand) throws {
    take(try session.transition(command))
  }

  mutating func purchased(_ purchase: PurchaseResponse, price: Money?, paymentReference: String) {
    session.entitlementIds += purchase.entitlements.map(\.entitlementID)
    changesRow = true
    session.updatedAt = .init(nanosecondsSinceEpoch: now)
    tell(
      PurchaseCompleted(
        purchaseID: purchase.purchaseID, variantID: purchase.variantID, entitlementIds: purchase.entitlements.map(\.entitlementID),
        price: price, paymentReference: paymentReference))
  }

  /// Any other event of the session; it leaves the row as it is.
  mutating func tell(_ payload: some Message, task: String = "") {
    events.append(Told(payload: payload, agentTaskID: task))
  }

  private mutating func take(_ transition: SessionTransition) {
    if transition.session != session.progress || transition.events == [.created] {
      session.take(transition.session, now: now)
      changesRow = true
    }
    effects += transition.effects
    let revision = session.revision
    for event in transition.events {
      switch event {
      case .created:
        tell(
          SessionCreated(
            productID: session.productID, productVersionID: session.productVersionID, marketCode: session.marketCode,
            userID: session.userID, avatarID: session.avatarID, segments: session.segments, revision: revision))
      case .preflightPassed(let checks): tell(SessionPreflightPassed(checks: checks, revision: revision))
      case .preflightFailed(let check, let reason): tell(SessionPreflightFailed(check: check, reason: reason, revision: revision))
      case .moved(let from, let to, let reason, let actor): moved(from.rawValue, to, reason, actor ?? "", revision)
      case .riskFlagged(let flagged, let reason, let actor):
        tell(SessionRiskFlagged(flagged: flagged, reason: reason, actor: actor, revision: revision))
      }
    }
  }

  private mutating func moved(_ from: String, _ to: SessionPhase, _ reason: String, _ actor: String, _ revision: UInt64) {
    let name = to.rawValue
    switch to {
    case .ready: tell(SessionReady(fromState: from, toState: name, revision: revision, reason: reason))
    case .active: tell(SessionActive(fromState: from, toState: name, revision: revision, reason: reason))
    case .postJourney: tell(SessionPostJourney(fromState: from, toState: name, revision: revision, reason: reason))
    case .completed: tell(SessionCompleted(fromState: from, toState: name, revision: revision, reason: reason))
    case .cancelled: tell(SessionCancelled(fromState: from, toState: name, revision: revision, reason: reason, actor: actor))
    case .failed: tell(SessionFailed(fromState: from, toState: name, revision: revision, reason: reason))
    case .created, .preflight: break  // told by what they came to
    }
  }
}

extension ProductRuntimeSession {
  /// What the machine decides on.
  var progress: SessionProgress {
    var progress = SessionProgress()
    progress.phase = state.phase
    progress.phaseReason = stateReason
    progress.journeyInstanceID = journeyInstanceID.isEmpty ? nil : journeyInstanceID
    progress.isRiskFlagged = riskFlagged
    progress.revision = revision
    return progress
  }

  fileprivate mutating func take(_ progress: SessionProgress, now: Int64) {
    state = progress.phase.contract
    stateReason = progress.phaseReason
    journeyInstanceID = progress.journeyInstanceID ?? ""
    riskFlagged = progress.isRiskFlagged
    revision = progress.revision
    updatedAt = .init(nanosecondsSinceEpoch: now)
  }

  /// What a command would make of it; throws FAILED_PRECONDITION, naming the state and what would be allowed.
  func transition(_ command: SessionCommand) throws -> SessionTransition {
    do {
      return try SessionStateMachine.handle(command, progress)
    } catch {
      throw RPCError.precondition(.sessionTransitionInvalid, "\(error)")
    }
  }

  /// What refuses a command that the session's state does not admit.
  func refusal(of command: SessionCommand) -> RPCError {
    RPCError.precondition(
      .sessionTransitionInvalid, "\(SessionRefusal(command: command.name, phase: state.phase, allowed: command.allowed))")
  }

  /// Throws FAILED_PRECONDITION unless the session's state admits the command.
  func admit(_ command: SessionCommand) throws { _ = try transition(command) }
}

extension SessionState {
  /// A row's state is always one of the machine's.
  var phase: SessionPhase {
    switch self {
    case .created: .created
    case .preflight: .preflight
    case .ready: .ready
    case .active: .active
    case .postJourney: .postJourney
    case .completed: .completed
    case .cancelled: .cancelled
    case .failed: .failed
    case .unspecified, .unrecognized: preconditionFailure("a session's row is in no state")
    }
  }
}

extension SessionPhase {
  var contract: SessionState {
    switch self {
    case .created: .created
    case .preflight: .preflight
    case .ready: .ready
    case .active: .active
    case .postJourney: .postJourney
    case .completed: .completed
    case .cancelled: .cancelled
    case .failed: .failed
    }
  }
}
