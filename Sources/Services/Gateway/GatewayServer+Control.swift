import SpanwireDatabase
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// What operators do to a running platform: a reason, a policy decision, the action, an incident and an audit record.
///
/// What concerns the session alone happens in one transaction; what another service must do is an effect of it, and the events
/// follow with the outcome.
extension GatewayServer {
  public func applyControl(_ request: ApplyControlRequest, context: ServerContext) async throws -> ApplyControlResponse {
    let step = try step(context)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.text(request.reason, "reason", max: GatewayLimits.reasonCharacters)
    fields.optionalID(request.incidentID, "incident_id")
    fields.ids(request.approvalRefs, "approval_refs", max: GatewayLimits.approvals)
    ControlAction.validate(request.action, in: &fields)
    try fields.finish()
    guard let action = ControlAction(request.action) else { preconditionFailure("validated above") }

    let key = IdempotencyKey(request.idempotencyKey, request, context)
    if let ticket = try await recall(key) { return try await applied(ticket, step) }
    if step.caller.kind != .ops {
      try await refuse(action, request, rule: "CONTROL-OPERATORS-ONLY", "only an operator applies a control action", step)
    }
    let rule = try await askPolicy(action, request, step)
    let currency = try await currency(of: request.action)
    let control = ControlRow(
      id: environment.ids.next("CTL"), request: request, actor: step.caller.name, rule: rule,
      incidentID: request.incidentID.isEmpty ? environment.ids.next(.incident) : request.incidentID)
    let ticket = try await ticket(key, step) { tx in
      try ControlStore.insert(control, tenant: step.caller.tenant, in: tx)
      let effects = try self.carryOut(control, action, currency: currency, step, in: tx)
      if effects == 0 { try self.conclude(control, action, ApplyControlResponse(), step, in: tx) }
      return Ticket(id: control.id, parts: effects)
    }
    return try await applied(ticket, step)
  }

  // MARK: May she?

  /// The best decision over her roles; returns the rule that allows it.
  private func askPolicy(_ action: ControlAction, _ request: ApplyControlRequest, _ step: GatewayStep) async throws -> String {
    var denial: AccessDecision?
    for role in step.caller.roles.isEmpty ? [""] : step.caller.roles {
      var question = step.caller.access(to: action.category, .write, as: role)
      (question.approvalRefs, question.target) = (request.approvalRefs, action.sessionID ?? action.target)
      let decision = try await clients.policy.checkAccess(CheckAccessRequest(context: question))
      if decision.decision == .allow { return decision.rule }
      denial = denial ?? decision
    }
    try await refuse(action, request, rule: denial?.rule ?? "", denial?.explanation ?? "", step)
    return ""
  }

  /// A refusal is seen and audited, and changes nothing else.
  private func refuse(
    _ action: ControlAction, _ request: ApplyControlRequest, rule: String, _ explanation: String, _ step: GatewayStep
  ) async throws {
    let tenant = step.caller.tenant
    var session: ProductRuntimeSession?
    if let id = action.sessionID { session = try await environment.database.read { try SessionStore.find(id, tenant: tenant, in: $0) } }
    let (refused, record) = refusal(action, request.reason, rule: rule, explanation, step)
    let event = await environment.auditDenial(step.draft(record, session), after: [step.draft(refused, session)])
    throw RPCError.denied(.policyDenied, rule: rule, explanation, audit: event)
  }

  private func refusal(
    _ action: ControlAction, _ reason: String, rule: String, _ explanation: String, _ step: GatewayStep
  ) -> (ControlRefused, AuditRecorded) {
    let actor = step.caller.name
    return (
      ControlRefused(
        action: action.name, target: action.target, actor: actor, reason: reason, rule: rule, explanation: explanation),
      AuditRecorded(
        action: action.name, target: action.target, actor: actor, actorKind: "\(step.caller.kind)", decision: "deny", rule: rule,
        reason: reason, method: ProductRuntimeGateway.Methods.applyControl.path)
    )
  }

  // MARK: The action

  /// Does the session's part now and writes the effects for the others'; returns how many outcomes must come.
  private func carryOut(
    _ control: ControlRow, _ action: ControlAction, currency: String, _ step: GatewayStep, in tx: borrowing Transaction
  ) throws -> UInt32 {
    let reason = control.request.reason
    let actor = control.actor
    let session = try action.sessionID.map { try self.session($0, step.caller, in: tx) }
    let stream = session?.productRuntimeSessionID ?? "prg"
    func effectID(_ part: Int) -> String { "\(control.id)-\(part)" }

    switch control.request.action {
    case .cancelSession: return try move(session, .cancel(reason: reason, actor: actor), step, in: tx)
    case .forceCompleteSession: return try move(session, .forceComplete(reason: reason, actor: actor), step, in: tx)
    case .flagSessionRisk(let it): return try move(session, .flagRisk(it.flagged, reason: reason, actor: actor), step, in: tx)
    case .forceAbortJourney:
      try step.cause(
        JourneyRuntime.Methods.forceAbort,
        ForceAbortRequest(
          idempotencyKey: effectID(0), journeyInstanceID: try session?.journeyID ?? "", reason: reason, actor: actor),
        id: effectID(0), stream: stream, in: tx)
    case .forceSkipNode(let it):
      try step.cause(
        JourneyRuntime.Methods.forceSkipNode,
        ForceNodeRequest(
          idempotencyKey: effectID(0), journeyInstanceID: try session?.journeyID ?? "", nodeID: it.nodeID, reason: reason, actor: actor),
        id: effectID(0), stream: stream, in: tx)
    case .forceCompleteNode(let it):
      try step.cause(
        JourneyRuntime.Methods.forceCompleteNode,
        ForceNodeRequest(
          idempotencyKey: effectID(0), journeyInstanceID: try session?.journeyID ?? "", nodeID: it.nodeID, reason: reason, actor: actor),
        id: effectID(0), stream: stream, in: tx)
    case .blockServicePoint(let it):
      try step.cause(
        Lem.Methods.blockServicePoint,
        BlockServicePointRequest(
          idempotencyKey: effectID(0), servicePointID: it.servicePointID, reason: reason, actor: actor, until: it.until,
          clusterID: it.clusterID),
        id: effectID(0), stream: control.id, in: tx)
      return 2
    case .unblockServicePoint(let it):
      try step.cause(
        Lem.Methods.unblockServicePoint,
        UnblockServicePointRequest(
          idempotencyKey: effectID(0), servicePointID: it.servicePointID, reason: reason, actor: actor, clusterID: it.clusterID),
        id: effectID(0), stream: control.id, in: tx)
      return 2
    case .compensateEntitlement(let it):
      try step.cause(
        Trutta.Methods.compensate,
        CompensateRequest(
          idempotencyKey: effectID(0), entitlementID: it.entitlementID, quantity: it.quantity, reason: reason, actor: actor),
        id: effectID(0), stream: control.id, in: tx)
    case .correctSettlement(let it):
      try step.cause(
        Trutta.Methods.correctSettlement,
        CorrectSettlementRequest(
          idempotencyKey: effectID(0), settlementID: it.settlementID, amount: Money(micros: it.amountMicros, currency: currency),
          reason: reason, actor: actor),
        id: effectID(0), stream: control.id, in: tx)
    case nil: preconditionFailure("validated")
    }
    return 1
  }

  /// The currency of the settlement that is to be corrected: the operator names only the amount.
  private func currency(of action: ApplyControlRequest.Action?) async throws -> String {
    guard case .correctSettlement(let correction) = action else { return "" }
    var request = ListSettlementsRequest(pageSize: 100)
    for _ in 0..<GatewayLimits.settlementPages {
      let page = try await clients.entitlements.listSettlements(request)
      if let found = page.settlements.first(where: { $0.settlementID == correction.settlementID }) { return found.total?.currency ?? "" }
      if page.nextPageToken.isEmpty { break }
      request.pageToken = page.nextPageToken
    }
    throw RPCError.missing(.settlementNotFound, "no settlement \(correction.settlementID)")
  }

  private func move(
    _ session: ProductRuntimeSession?, _ command: SessionCommand, _ step: GatewayStep, in tx: borrowing Transaction
  ) throws -> UInt32 {
    guard let session else { preconditionFailure("the action is done to a session") }
    var change = SessionChange(session, now: step.now)
    try change.handle(command)
    try step.write(change, in: tx)
    return 0
  }

  /// One part of an action was done, or refused for good, by the service it was asked of. Called in the outcome's transaction.
  func controlled(_ effect: ControlEffect, _ step: GatewayStep, in tx: borrowing Transaction) throws {
    guard let (control, state, response) = try ControlStore.find(effect.control, tenant: step.caller.tenant, in: tx), state == .underWay,
      let action = ControlAction(control.request.action)
    else { return }
    if let error = effect.error {
      try ControlStore.refuse(control.id, error, tenant: step.caller.tenant, in: tx)
      let session = try action.sessionID.flatMap { try SessionStore.find($0, tenant: step.caller.tenant, in: tx) }
      let (refused, record) = refusal(action, control.request.reason, rule: error.reason?.wireName ?? "", error.message, step)
      try step.tell(refused, session, in: tx)
      try step.tell(record, session, in: tx)
      return
    }
    var answer = response
    try effect.add(to: &answer)
    guard effect.part == 0, let block = journeyBlock(control, answer.servicePointIds, tenant: step.caller.tenant) else {
      return try conclude(control, action, answer, step, in: tx)
    }
    // The city knows it now; the journeys follow. In this order, so that nothing is blocked that the city does not have.
    try ControlStore.keep(answer, of: control.id, tenant: step.caller.tenant, in: tx)
    try step.cause(
      JourneyRuntime.Methods.setServicePointBlock, block, id: block.idempotencyKey, stream: control.id, in: tx)
  }

  /// The second part of blocking or unblocking places; nil for every other action.
  private func journeyBlock(_ control: ControlRow, _ places: [String], tenant: String) -> SetServicePointBlockRequest? {
    var request = SetServicePointBlockRequest(
      idempotencyKey: "\(control.id)-1", tenantID: tenant, servicePointIds: places, reason: control.request.reason, actor: control.actor)
    switch control.request.action {
    case .blockServicePoint(let it): (request.blocked, request.until) = (true, it.until)
    case .unblockServicePoint: break
    default: return nil
    }
    return request
  }

  /// All of it is done: the events that say so, with the incident they belong to.
  private func conclude(
    _ control: ControlRow, _ action: ControlAction, _ answer: ApplyControlResponse, _ step: GatewayStep, in tx: borrowing Transaction
  ) throws {
    let session = try action.sessionID.flatMap { try SessionStore.find($0, tenant: step.caller.tenant, in: tx) }
    let reason = control.request.reason
    let actor = control.actor
    let applied = try step.tell(
      ControlApplied(
        action: action.name, target: action.target, actor: actor, reason: reason, incidentID: control.incidentID,
        policyRule: control.rule), session, in: tx)
    let audit = try step.tell(
      AuditRecorded(
        action: action.name, target: action.target, actor: actor, actorKind: "ops", decision: "allow", rule: control.rule,
        reason: reason, method: ProductRuntimeGateway.Methods.applyControl.path), session, in: tx)
    if control.request.incidentID.isEmpty {
      try step.tell(
        OpsIncidentCreated(
          incidentID: control.incidentID, title: "\(action.name) \(action.target)", severity: "minor", cause: "control action: \(reason)",
          eventIds: [applied], traceIds: step.traceIDs, actor: actor), session, in: tx)
    }
    try step.tell(
      OpsIncidentUpdated(
        incidentID: control.incidentID, note: reason, action: action.name, target: action.target, eventIds: [applied, audit],
        traceIds: step.traceIDs, actor: actor), session, in: tx)
    var answer = answer
    answer.incidentID = control.incidentID
    answer.auditEventID = audit
    answer.policyRule = control.rule
    answer.session = session
    try ControlStore.conclude(answer, of: control.id, tenant: step.caller.tenant, in: tx)
  }

  /// The answer to an action that was begun, when all its outcomes are there.
  private func applied(_ ticket: Ticket, _ step: GatewayStep) async throws -> ApplyControlResponse {
    for part in 0...ticket.parts {
      switch try await environment.database.read({ try ControlStore.result(ticket.id, tenant: step.caller.tenant, in: $0) }) {
      case .applied(let response): return response
      case .refused(let error): throw error
      case .underWay: if part < ticket.parts { try await settle(effect: "\(ticket.id)-\(part)") }
      }
    }
    throw RPCError.unavailable("the action \(ticket.id) is under way: repeat the call with the same key")
  }
}

/// One outcome of an action's effects.
struct ControlEffect: Sendable {
  var control: String
  var part: Int
  var method: String
  var error: RPCError?
  /// The answer, when there was no error.
  var response: [UInt8]

  /// What the answer to the operator takes from it.
  func add(to answer: inout ApplyControlResponse) throws {
    switch method {
    case Lem.Methods.blockServicePoint.path, Lem.Methods.unblockServicePoint.path:
      answer.servicePointIds = try BlockChange(decoding: response).servicePointIds
    case JourneyRuntime.Methods.setServicePointBlock.path:
      answer.touchedJourneyInstanceIds = try SetServicePointBlockResponse(decoding: response).journeyInstanceIds
    case JourneyRuntime.Methods.forceAbort.path, JourneyRuntime.Methods.forceSkipNode.path, JourneyRuntime.Methods.forceCompleteNode.path:
      answer.journey = try JourneyInstance(decoding: response)
    case Trutta.Methods.compensate.path: answer.entitlement = try Entitlement(decoding: response)
    default: break
    }
  }
}
