/// Who intervened from outside the journey, and why.
public struct Intervention: Sendable, Hashable {
  public var actor: String
  public var reason: String

  public init(actor: String, reason: String) {
    self.actor = actor
    self.reason = reason
  }
}

/// When a traveller will be at a place.
public struct PlannedStay: Sendable, Hashable {
  public var servicePointID: String
  public var startsAt: Int64
  public var expiresAt: Int64

  public init(servicePointID: String, startsAt: Int64, expiresAt: Int64) {
    self.servicePointID = servicePointID
    self.startsAt = startsAt
    self.expiresAt = expiresAt
  }
}

/// What is asked of a journey. Node ids name the node the caller believes the traveller stands at.
public enum JourneyCommand: Sendable, Hashable {
  case start(entryPoint: String, tokensLeft: Int64?, segments: [String] = [], blocks: [Journey.Block] = [])

  // The traveller
  /// Nil arrives at whatever place the visit is for.
  ///
  /// - Parameter stay: where the place takes only so many, so that room is kept while she is there.
  case arrive(nodeID: String, servicePointID: String?, stay: PlannedStay? = nil)
  case redeem(nodeID: String)
  case choose(nodeID: String, option: String)
  case acknowledge(nodeID: String)
  case signal(name: String, value: String)
  case abandon(reason: String)

  // Recommendations that were decided on
  ///
  /// - Parameter stays: at those of the places that take only so many.
  case changeRoute(servicePointIDs: [String], proposalID: String?, reason: String, stays: [PlannedStay] = [])
  case declineRecommendation(proposalID: String, reason: String)

  // Outcomes of effects; stale ones change nothing
  case workSucceeded(nodeID: String, visitNumber: Int, tokensLeft: Int64?)
  case workFailed(nodeID: String, visitNumber: Int, reason: String)
  case timerFired(timerID: String)
  /// The city has no room to keep.
  case roomRefused(number: UInt64, reason: String)

  // Operators
  case forceSkip(nodeID: String, Intervention)
  case forceComplete(nodeID: String, Intervention)
  case block(Journey.Block)
  case unblock(servicePointID: String)
  case forceAbort(Intervention)
}

/// What happened. Each is one event of the log where `isLogged`; the others restate what the effects' table, Trutta and LEM know.
public enum JourneyEvent: Sendable, Hashable {
  case started(entryPoint: String, segments: [String])
  /// From nowhere: by an entry point.
  case nodeEntered(nodeID: String, from: String?, servicePointID: String?, visitNumber: Int, dueAt: Int64?)
  case nodeCompleted(nodeID: String, outcome: String, servicePointID: String?, forced: Intervention?)
  case nodeSkipped(nodeID: String, reason: String, forced: Intervention?)
  case nodeFailed(nodeID: String, reason: String)
  /// Without a node: a place ahead was blocked.
  case nodeBlocked(nodeID: String?, Journey.Block)
  case nodeUnblocked(nodeID: String?, servicePointID: String)
  /// The stops ahead; those behind stay.
  case routeChanged(servicePointIDs: [String], proposalID: String?, reason: String)
  case choiceMade(nodeID: String, option: String)
  case signalReceived(name: String, value: String)
  case timerFired(nodeID: String, timerID: String, due: Int64)
  case completed(endNodeID: String)
  case abandoned(reason: String)
  case aborted(Intervention)
  case failed(nodeID: String, reason: String)
  case workRequested(nodeID: String)
  /// The answer came, and the node waits for what is made of it.
  case workAnswered(nodeID: String)
  case tokensCounted(Int64)
  case roomAsked(Journey.Room)
  /// It was given back, or could not be had.
  case roomEnded(number: UInt64)

  /// Whether the log tells of it; only those count in the revision.
  public var isLogged: Bool {
    switch self {
    case .workRequested, .workAnswered, .tokensCounted, .roomAsked, .roomEnded: false
    default: true
    }
  }
}

/// What must be caused elsewhere. (node id, visit number) names work once and for all.
public enum JourneyEffect: Sendable, Hashable {
  case redeem(nodeID: String, visitNumber: Int, tokenID: String, quantity: Int64, servicePointID: String)
  case askAgent(nodeID: String, visitNumber: Int, agentType: String, intent: String)
  case startTimer(timerID: String, due: Int64)
  case cancelTimer(timerID: String)
  case keepRoom(Journey.Room)
  case giveBackRoom(Journey.Room)
  /// The traveller has nowhere to go from a visit: an agent is asked where. The revision tells one asking from the next.
  case askForWay(nodeID: String, revision: UInt64)
}

/// Why a command changes nothing.
public enum JourneyRefusal: Error, Sendable, Hashable {
  case notInStatus(Journey.Status, allowed: [Journey.Status])
  case unknownEntryPoint(String, known: [String])
  case unknownNode(String)
  /// The traveller stands elsewhere.
  case nodeNotCurrent(String, current: [String])
  /// The node is not of the kind, or not in the state, that takes this step.
  case stepNotAllowed(nodeID: String, kind: String, status: Journey.NodeStatus)
  case unknownOption(String, options: [String])
  case wrongServicePoint(String, expected: String?)
  case servicePointBlocked(String, until: Int64?)
  case workUnderWay(nodeID: String)
  case noRecommendationAwaited
  /// The node can't be left this way: no edge is for it.
  case noWayOn(nodeID: String, outcome: String)
  /// A join is left when its branches have come, not by force.
  case joinWaits(nodeID: String)
  case routeEmpty
  case limitExceeded(String, limit: Int)
}

/// What a command came to.
public struct JourneyTransition: Sendable, Hashable {
  public var journey: Journey
  public var events: [JourneyEvent]
  public var effects: [JourneyEffect]
}
