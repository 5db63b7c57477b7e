/// Whether what an agent proposes, or asks for, may become an action: by kind, by who accepts it, by the state of session and journey.
///
/// Five kinds are forbidden to agents whoever accepts them; they exist to be refused and audited.
public enum ActionPolicy {
  public struct Request: Sendable, Hashable {
    public var agentSlug: String
    public var toolName: String
    /// `route_change`, `product`, `recommendation`, `explanation`, or what an agent may never do.
    public var actionType: String
    /// Who accepts it.
    public var actorRole: String
    /// The session's phase, e.g. `active`.
    public var sessionStatus: String
    /// The journey's status, e.g. `running`; empty without a journey.
    public var journeyStatus: String

    public init(
      agentSlug: String = "", toolName: String = "", actionType: String, actorRole: String, sessionStatus: String,
      journeyStatus: String = ""
    ) {
      self.agentSlug = agentSlug
      self.toolName = toolName
      self.actionType = actionType
      self.actorRole = actorRole
      self.sessionStatus = sessionStatus
      self.journeyStatus = journeyStatus
    }
  }

  public struct Verdict: Sendable, Hashable {
    public var isAllowed: Bool
    /// The rule's stable id.
    public var rule: String
    public var reason: String
    public var trace: [String]
  }

  /// The rule that forbids an action to agents, if one does.
  public static func forbiddingRule(_ actionType: String) -> String? { forbidden[actionType] }

  public static func check(_ request: Request) -> Verdict {
    var trace: [String] = []
    func verdict(_ isAllowed: Bool, _ rule: String, _ reason: String) -> Verdict {
      Verdict(isAllowed: isAllowed, rule: rule, reason: reason, trace: trace + ["\(rule): \(isAllowed ? "allowed" : "refused")"])
    }
    if let rule = forbidden[request.actionType] {
      return verdict(false, rule, "agents never do '\(request.actionType)', whoever accepts it")
    }
    trace.append("AGENT-FORBIDDEN: passed")
    guard let proposal = proposals[request.actionType] else {
      return verdict(false, "ACTION-UNKNOWN", "no action is called '\(request.actionType)'")
    }
    trace.append("ACTION-UNKNOWN: passed")
    guard proposal.roles.contains(request.actorRole) else {
      return verdict(false, "PROPOSAL-ROLE", "'\(request.actorRole)' can't accept '\(request.actionType)'")
    }
    trace.append("PROPOSAL-ROLE: passed")
    guard proposal.sessionStatuses.contains(request.sessionStatus) else {
      return verdict(
        false, "PROPOSAL-SESSION-STATUS",
        "not while the session is '\(request.sessionStatus)', only while \(proposal.sessionStatuses.joined(separator: ", "))")
    }
    trace.append("PROPOSAL-SESSION-STATUS: passed")
    guard !proposal.needsRunningJourney || request.journeyStatus == "running" else {
      return verdict(false, "PROPOSAL-JOURNEY-STATUS", "not while the journey is '\(request.journeyStatus)', only while it is running")
    }
    trace.append("PROPOSAL-JOURNEY-STATUS: passed")
    return verdict(true, proposal.rule, "'\(request.actorRole)' may accept '\(request.actionType)'")
  }

  private static let forbidden = [
    "payment": "AGENT-FORBIDDEN-PAYMENT", "settle": "AGENT-FORBIDDEN-PAYMENT", "refund": "AGENT-FORBIDDEN-PAYMENT",
    "issue": "AGENT-FORBIDDEN-ISSUE", "compensate": "AGENT-FORBIDDEN-ISSUE",
    "redeem": "AGENT-FORBIDDEN-REDEEM",
    "registry_change": "AGENT-FORBIDDEN-REGISTRY", "profile_change": "AGENT-FORBIDDEN-REGISTRY",
    "lem_mutation": "AGENT-FORBIDDEN-LEM",
  ]

  private struct Proposal: Sendable {
    var rule: String
    var roles: Set<String>
    var sessionStatuses: [String]
    var needsRunningJourney = false
  }

  private static let anyone: Set<String> = ["traveller", "support_agent", "ops_operator", "ops_lead", "platform_admin"]
  private static let proposals = [
    "route_change": Proposal(rule: "PROPOSAL-ROUTE", roles: anyone, sessionStatuses: ["active"], needsRunningJourney: true),
    // What costs money is the traveller's own to accept.
    "product": Proposal(rule: "PROPOSAL-PRODUCT", roles: ["traveller"], sessionStatuses: ["ready", "active", "post_journey"]),
    "recommendation": Proposal(rule: "PROPOSAL-RECOMMENDATION", roles: anyone, sessionStatuses: ["ready", "active", "post_journey"]),
    "explanation": Proposal(rule: "PROPOSAL-EXPLANATION", roles: anyone, sessionStatuses: ["ready", "active", "post_journey"]),
  ]
}
