import SpanwireDatabase
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// From proposal to action, always in this order: policy, the session's profiles, the idempotent execution, the events.
///
/// The journey runtime alone takes these steps for routes; all other kinds are decided here. What no agent may do is refused here,
/// whoever accepts it, and the refusal is audited.
extension GatewayServer {
  public func acceptProposal(_ request: DecideProposalRequest, context: ServerContext) async throws -> DecideProposalResponse {
    let (session, step) = try await deciding(request, context)
    let key = IdempotencyKey(request.idempotencyKey, request, context)
    if let ticket = try await recall(key) { return try await decided(ticket, step) }
    let proposal = try await proposal(request.proposalID, of: session)
    let config = try await snapshots.config(session.runtimeSnapshotRef)

    try await askPolicy(about: proposal, session, step)
    if case .route(let route) = proposal.kind {
      return try await decided(try await changeRoute(route, proposal, session, key, request, step), step)
    }
    let change: String
    switch ProposalCheck.judge(proposal, for: session, under: config) {
    case .apply(let what): change = what
    case .refuse(let reason): throw RPCError.precondition(.proposalInvalid, reason)
    }
    let ticket = try await ticket(key, step) { tx in
      var sessionChange = try self.begin(.applied, proposal, request, step, in: tx)
      let task = proposal.agentTaskID
      let kind = ProposalCheck.actionType(of: proposal)
      sessionChange.tell(RecommendationAccepted(proposalID: proposal.proposalID, kind: kind, actor: step.caller.name), task: task)
      sessionChange.tell(RecommendationApplied(proposalID: proposal.proposalID, kind: kind, change: change), task: task)
      if case .product(let wish) = proposal.kind {
        try SessionStore.choose(variant: wish.variantID, for: sessionChange.session, in: tx)
      }
      try step.write(sessionChange, in: tx)
      try self.report(.applied, proposal, change: change, step, in: tx)
      return Ticket(id: proposal.proposalID)
    }
    return try await decided(ticket, step)
  }

  public func rejectProposal(_ request: DecideProposalRequest, context: ServerContext) async throws -> DecideProposalResponse {
    let (session, step) = try await deciding(request, context)
    let key = IdempotencyKey(request.idempotencyKey, request, context)
    if let ticket = try await recall(key) { return try await decided(ticket, step) }
    let proposal = try await proposal(request.proposalID, of: session)
    let waits = try await awaitsDecision(on: proposal, session)
    let ticket = try await ticket(key, step) { tx in
      var change = try self.begin(.rejected, proposal, request, step, in: tx)
      change.tell(
        RecommendationRejected(
          proposalID: proposal.proposalID, kind: ProposalCheck.actionType(of: proposal), actor: step.caller.name, reason: request.reason),
        task: proposal.agentTaskID)
      try step.write(change, in: tx)
      try self.report(.rejected, proposal, reason: request.reason, step, in: tx)
      guard waits else { return Ticket(id: proposal.proposalID) }
      let effectID = "\(proposal.proposalID)-declined"
      try step.cause(
        JourneyRuntime.Methods.declineRecommendation,
        DeclineRecommendationRequest(
          idempotencyKey: effectID, journeyInstanceID: session.journeyInstanceID, proposalID: proposal.proposalID, reason: request.reason),
        id: effectID, stream: session.productRuntimeSessionID, in: tx)
      return Ticket(id: proposal.proposalID, effect: effectID)
    }
    return try await decided(ticket, step)
  }

  // MARK: The steps

  private func deciding(_ request: DecideProposalRequest, _ context: ServerContext) async throws -> (ProductRuntimeSession, GatewayStep) {
    let step = try step(context)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.productRuntimeSessionID, "product_runtime_session_id")
    fields.id(request.proposalID, "proposal_id")
    fields.optionalText(request.reason, "reason", max: GatewayLimits.reasonCharacters)
    try fields.finish()
    return (try await session(request.productRuntimeSessionID, step.caller), step)
  }

  /// The proposal, if it is the session's own, open, and not past its time.
  private func proposal(_ id: String, of session: ProductRuntimeSession) async throws -> Proposal {
    let proposal = try await clients.agents.getProposal(GetProposalRequest(proposalID: id))
    guard proposal.productRuntimeSessionID == session.productRuntimeSessionID else {
      throw RPCError.missing(.proposalNotFound, "no proposal \(id) in this session")
    }
    return proposal
  }

  private func openProposal(_ proposal: Proposal, _ step: GatewayStep) throws {
    guard proposal.state == .open else {
      throw RPCError.precondition(
        .proposalAlreadyDecided, "proposal \(proposal.proposalID) is \(proposal.state.word), only an open one is decided")
    }
    if let end = proposal.expiresAt?.nanosecondsSinceEpoch, end <= step.now {
      throw RPCError.precondition(.proposalExpired, "proposal \(proposal.proposalID) expired at \(RFC3339.format(end))")
    }
  }

  /// The first step. What agents may never do is refused whatever state the proposal is in, so that the refusal is always the same.
  private func askPolicy(about proposal: Proposal, _ session: ProductRuntimeSession, _ step: GatewayStep) async throws {
    let action = ProposalCheck.actionType(of: proposal)
    var journeyStatus = ""
    if case .route = proposal.kind, !session.journeyInstanceID.isEmpty {
      journeyStatus = try await clients.journeys.getJourney(GetJourneyRequest(journeyInstanceID: session.journeyInstanceID)).state.word
    }
    let decision = try await clients.policy.checkAction(
      CheckActionRequest(
        toolName: action, actionType: action, actorRole: step.caller.role, sessionStatus: session.state.phase.rawValue,
        journeyStatus: journeyStatus, productRuntimeSessionID: session.productRuntimeSessionID, userID: session.userID,
        orgID: session.orgID))
    var isForbidden = false
    if case .requestedAction = proposal.kind { isForbidden = true }
    guard isForbidden || !decision.allowed else { return try openProposal(proposal, step) }
    if let wait = decision.tooOften { throw wait }

    let rule = proposal.refusedRule.isEmpty ? decision.rule : proposal.refusedRule
    let record = AuditRecorded(
      action: "proposal.accept:\(action)", target: proposal.proposalID, actor: step.caller.name, actorKind: "\(step.caller.kind)",
      decision: "deny", rule: rule, reason: decision.reason, method: ProductRuntimeGateway.Methods.acceptProposal.path)
    let event = await environment.auditDenial(step.draft(record, session, task: proposal.agentTaskID))
    throw RPCError.denied(
      isForbidden ? .agentForbidden : .policyDenied, rule: rule,
      decision.reason.isEmpty ? "no agent may do this, whoever accepts it" : decision.reason, audit: event)
  }

  /// The decision's row, which makes it the only one; and the session it is taken in.
  private func begin(
    _ state: ProposalState, _ proposal: Proposal, _ request: DecideProposalRequest, _ step: GatewayStep, in tx: borrowing Transaction
  ) throws -> SessionChange {
    let session = try session(request.productRuntimeSessionID, step.caller, in: tx)
    try session.admit(.decideProposal)
    try openProposal(proposal, step)
    var decided = proposal
    decided.state = state
    guard try DecisionStore.begin(decided, session, in: tx) else {
      throw RPCError.precondition(.proposalAlreadyDecided, "proposal \(proposal.proposalID) is decided already")
    }
    return SessionChange(session, now: step.now)
  }

  private func changeRoute(
    _ route: RouteProposal, _ proposal: Proposal, _ session: ProductRuntimeSession, _ key: IdempotencyKey, _ request: DecideProposalRequest,
    _ step: GatewayStep
  ) async throws -> Ticket {
    let journeyID = try session.journeyID
    // A try that the journey runtime refused leaves the proposal open: each try is an effect of its own.
    let effectID = environment.ids.next("ROUTE")
    return try await ticket(key, step) { tx in
      _ = try self.begin(.accepted, proposal, request, step, in: tx)
      try step.cause(
        JourneyRuntime.Methods.changeRoute,
        ChangeRouteRequest(
          idempotencyKey: effectID, journeyInstanceID: journeyID, servicePointIds: route.servicePointIds,
          proposalID: proposal.proposalID, agentTaskID: proposal.agentTaskID, actor: step.caller.name, reason: proposal.summary),
        id: effectID, stream: session.productRuntimeSessionID, in: tx)
      return Ticket(id: proposal.proposalID, effect: effectID)
    }
  }

  /// The journey runtime has answered. Called with the effect's outcome, in its transaction.
  func routeChanged(_ request: ChangeRouteRequest, _ error: RPCError?, _ step: GatewayStep, in tx: borrowing Transaction) throws {
    guard let (proposal, _) = try DecisionStore.find(request.proposalID, tenant: step.caller.tenant, in: tx) else { return }
    if error != nil { return try DecisionStore.forget(request.proposalID, tenant: step.caller.tenant, in: tx) }
    try DecisionStore.applied(proposal, tenant: step.caller.tenant, in: tx)
    try report(.applied, proposal, change: "route of \(request.journeyInstanceID) changed", step, in: tx)
  }

  /// Whether the session's journey stands at a node that waits for this decision.
  private func awaitsDecision(on proposal: Proposal, _ session: ProductRuntimeSession) async throws -> Bool {
    guard case .route = proposal.kind, session.state == .active, !session.journeyInstanceID.isEmpty else { return false }
    let journey = try await clients.journeys.getJourney(GetJourneyRequest(journeyInstanceID: session.journeyInstanceID))
    return journey.nodes.contains { $0.kind == "agent" && $0.state == .active }
  }

  /// Tells the orchestrator what became of its proposal.
  private func report(
    _ state: ProposalState, _ proposal: Proposal, reason: String = "", change: String = "", _ step: GatewayStep,
    in tx: borrowing Transaction
  ) throws {
    let id = "\(proposal.proposalID)-\(state.word)"
    try step.cause(
      AgentOrchestrator.Methods.recordProposalDecision,
      RecordProposalDecisionRequest(
        idempotencyKey: id, proposalID: proposal.proposalID, state: state, actor: step.caller.name, reason: reason, change: change),
      id: id, stream: "\(proposal.productRuntimeSessionID)", in: tx)
  }

  /// The answer to a decision that was taken: with the journey, once the journey runtime has said what it made of it.
  private func decided(_ ticket: Ticket, _ step: GatewayStep) async throws -> DecideProposalResponse {
    var journey: JourneyInstance?
    if !ticket.effect.isEmpty { journey = try await outcome(of: ticket.effect, as: JourneyInstance.self) }
    let row = try await environment.database.read { try DecisionStore.find(ticket.id, tenant: step.caller.tenant, in: $0) }
    return DecideProposalResponse(proposal: row?.proposal, journey: journey)
  }
}

extension ProposalState {
  var word: String {
    switch self {
    case .open: "open"
    case .accepted: "accepted"
    case .rejected: "rejected"
    case .applied: "applied"
    case .refused: "refused"
    case .unspecified, .unrecognized: "in no known state"
    }
  }
}

extension JourneyState {
  var word: String {
    switch self {
    case .created: "created"
    case .running: "running"
    case .completed: "completed"
    case .abandoned: "abandoned"
    case .aborted: "aborted"
    case .failed: "failed"
    case .unspecified, .unrecognized: ""
    }
  }
}
