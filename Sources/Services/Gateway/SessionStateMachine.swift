/// The states of a session, in the seeds' words.
public enum SessionPhase: String, Sendable, Hashable, Codable, CaseIterable {
  /// Exits: preflight.
  case created
  /// Exits: ready, failed.
  case preflight
  /// Exits: active, completed (forced).
  case ready
  /// A journey runs. Exits: post_journey, failed (the journey failed or was aborted), completed (forced).
  case active
  /// Exits: active (a further journey), completed.
  case postJourney = "post_journey"
  case completed, cancelled, failed

  public var isTerminal: Bool { self == .completed || self == .cancelled || self == .failed }
}

/// What is asked of a session: the table of which phase allows it is the whole gate of the gateway.
public enum SessionCommand: Sendable, Hashable {
  public enum JourneyEnd: String, Sendable, Hashable { case completed, abandoned, aborted, failed }

  /// Begins preflight.
  case check
  case passPreflight(checks: [String])
  case failPreflight(check: String, reason: String)
  case startJourney(journeyInstanceID: String)
  /// As TJM's events report it; of a journey that is not the session's, or had ended, it changes nothing.
  case endJourney(journeyInstanceID: String, JourneyEnd, reason: String)
  /// By the traveller: completes after a journey, cancels before one.
  case close(reason: String)
  case cancel(reason: String, actor: String)
  case forceComplete(reason: String, actor: String)
  case fail(reason: String)
  case flagRisk(Bool, reason: String, actor: String)

  // These don't change the phase, but not every phase admits them.
  case purchase, advanceJourney, askAgent, decideProposal

  /// The phases that admit the command, in the order a session goes through them.
  public var allowed: [SessionPhase] {
    switch self {
    case .check: [.created]
    case .passPreflight, .failPreflight: [.preflight]
    case .startJourney: [.ready, .postJourney]
    case .endJourney: SessionPhase.allCases
    case .close: [.created, .preflight, .ready, .postJourney]
    case .forceComplete: [.ready, .active, .postJourney]
    case .cancel, .fail: SessionPhase.allCases.filter { !$0.isTerminal }
    case .flagRisk: SessionPhase.allCases
    case .purchase, .askAgent, .decideProposal: [.ready, .active, .postJourney]
    case .advanceJourney: [.active]
    }
  }

  /// The command's name in refusals.
  public var name: String {
    switch self {
    case .check: "check"
    case .passPreflight: "pass_preflight"
    case .failPreflight: "fail_preflight"
    case .startJourney: "start_journey"
    case .endJourney: "end_journey"
    case .close: "close"
    case .cancel: "cancel"
    case .forceComplete: "force_complete"
    case .fail: "fail"
    case .flagRisk: "flag_risk"
    case .purchase: "purchase"
    case .advanceJourney: "advance_journey"
    case .askAgent: "ask_agent"
    case .decideProposal: "decide_proposal"
    }
  }
}

/// What happened to a session: each is one `product.runtime.session.*` event.
public enum SessionEvent: Sendable, Hashable {
  case created
  case preflightPassed(checks: [String])
  case preflightFailed(check: String, reason: String)
  /// `session.ready`, `.active`, `.post_journey`, `.completed`, `.cancelled` or `.failed`, by the phase it leads to.
  case moved(from: SessionPhase, to: SessionPhase, reason: String, actor: String?)
  case riskFlagged(Bool, reason: String, actor: String)
}

/// What a transition must cause elsewhere.
public enum SessionEffect: Sendable, Hashable {
  /// The session ended under a running journey.
  case abortJourney(journeyInstanceID: String, reason: String)
}

/// A session's part that the machine decides on.
public struct SessionProgress: Sendable, Hashable {
  public var phase = SessionPhase.created
  public var phaseReason = ""
  /// The journey that runs, or the last one.
  public var journeyInstanceID: String?
  public var isRiskFlagged = false
  /// One more with every transition.
  public var revision: UInt64 = 0

  public init() {}
}

/// The phase does not admit the command; nothing changed.
public struct SessionRefusal: Error, Sendable, Hashable, CustomStringConvertible {
  public var command: String
  public var phase: SessionPhase
  public var allowed: [SessionPhase]

  public var description: String {
    "\(command) is not possible while \(phase.rawValue); it is while \(allowed.map(\.rawValue).joined(separator: ", "))"
  }
}

public struct SessionTransition: Sendable, Hashable {
  public var session: SessionProgress
  public var events: [SessionEvent]
  public var effects: [SessionEffect]
}

/// The session's life: created → preflight → ready → active → post_journey → completed; cancelled and failed from wherever it is not
/// over. Pure: what the checks found, and what became of the journey, comes in with the commands.
public enum SessionStateMachine {
  /// A session that begins.
  public static func open() -> SessionTransition {
    var session = SessionProgress()
    session.revision = 1
    return SessionTransition(session: session, events: [.created], effects: [])
  }

  public static func handle(_ command: SessionCommand, _ session: SessionProgress) throws(SessionRefusal) -> SessionTransition {
    guard command.allowed.contains(session.phase) else {
      throw SessionRefusal(command: command.name, phase: session.phase, allowed: command.allowed)
    }
    var next = SessionTransition(session: session, events: [], effects: [])
    switch command {
    case .purchase, .advanceJourney, .askAgent, .decideProposal: return next
    case .check: next.move(to: .preflight)
    case .passPreflight(let checks):
      next.events.append(.preflightPassed(checks: checks))
      next.move(to: .ready)
    case .failPreflight(let check, let reason):
      next.events.append(.preflightFailed(check: check, reason: reason))
      next.move(to: .failed, "\(check): \(reason)")
    case .startJourney(let id):
      next.session.journeyInstanceID = id
      next.move(to: .active)
    case .endJourney(let id, let end, let reason):
      guard session.phase == .active, session.journeyInstanceID == id else { return next }
      switch end {
      case .completed, .abandoned: next.move(to: .postJourney, reason.isEmpty ? "journey \(end.rawValue)" : reason)
      case .aborted, .failed: next.move(to: .failed, reason.isEmpty ? "journey \(end.rawValue)" : reason)
      }
    case .close(let reason): next.move(to: session.phase == .postJourney ? .completed : .cancelled, reason)
    case .cancel(let reason, let actor): next.move(to: .cancelled, reason, actor)
    case .forceComplete(let reason, let actor): next.move(to: .completed, reason, actor)
    case .fail(let reason): next.move(to: .failed, reason)
    case .flagRisk(let flagged, let reason, let actor):
      guard flagged != session.isRiskFlagged else { return next }
      next.session.isRiskFlagged = flagged
      next.session.revision += 1
      next.events.append(.riskFlagged(flagged, reason: reason, actor: actor))
    }
    if session.phase == .active, next.session.phase.isTerminal, let id = session.journeyInstanceID {
      if case .endJourney = command { return next }
      next.effects.append(.abortJourney(journeyInstanceID: id, reason: next.session.phaseReason))
    }
    return next
  }
}

extension SessionTransition {
  fileprivate mutating func move(to phase: SessionPhase, _ reason: String = "", _ actor: String? = nil) {
    let from = session.phase
    session.phase = phase
    session.phaseReason = reason
    session.revision += 1
    if phase != .preflight { events.append(.moved(from: from, to: phase, reason: reason, actor: actor)) }  // preflight shows by its outcome
  }
}
