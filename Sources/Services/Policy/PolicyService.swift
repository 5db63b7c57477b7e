import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// The policy service: who may do what, what a tool call must pass, and who has approved what.
///
/// Access is decided by a pure evaluator: the same question, with the same approvals in the queue, gives the same bytes.
public final class PolicyServer: PolicyService {
  let environment: ServiceEnvironment
  private let models: DefinitionCache<AccessEvaluator>
  let book: PolicyBook
  let rates = RateWindow()
  private let mode: DefinitionCache<IncidentMode>?

  /// Changes when what the service makes of a question could.
  public static let serviceVersion = "policy-3"
  /// The service's name in events, and under which its timers come back to it.
  public static let producer = "policy"

  /// - Parameters:
  ///   - registry: where roles, access policies, the approval matrix and the runtime policies are defined.
  ///   - operations: knows the incident mode, which halves daily budgets; nil where there is none.
  public init(environment: ServiceEnvironment, registry: RegistryClient, operations: OperationsClient? = nil) {
    self.environment = environment
    mode = operations.map { .incidentMode($0, as: Self.producer, lifetime: PolicyLimits.policyLifetime) }
    models = AccessDefinitions.cache(registry)
    book = PolicyBook(registry)
    environment.database.observe(models)
    environment.database.observe(book.pages)
    if let mode { environment.database.observe(mode) }
  }

  /// Whether daily budgets are halved.
  func halvesBudgets() async throws -> Bool {
    try await mode?.value(of: Caller.platformTenant, now: environment.clock.now) == .incident
  }

  /// Decides by the model of a caller's tenant; a service that acts for itself goes by the platform's.
  func evaluator(for context: ServerContext) async throws -> AccessEvaluator {
    let tenant = context.principal.subject.tenant
    return try await models.value(of: tenant.isEmpty ? Caller.platformTenant : tenant, now: environment.clock.now)
  }

  // MARK: Access

  public func checkAccess(_ request: CheckAccessRequest, context: ServerContext) async throws -> AccessDecision {
    try await decide(request.context ?? AccessContext(), asSensitive: false, by: try await evaluator(for: context), context)
  }

  public func checkSensitive(_ request: CheckAccessRequest, context: ServerContext) async throws -> AccessDecision {
    try await decide(request.context ?? AccessContext(), asSensitive: true, by: try await evaluator(for: context), context)
  }

  public func batchCheckAccess(_ request: BatchCheckAccessRequest, context: ServerContext) async throws -> BatchCheckAccessResponse {
    guard request.contexts.count <= PolicyLimits.batch else {
      throw RPCError.invalidField("contexts", "at most \(PolicyLimits.batch)")
    }
    let evaluator = try await evaluator(for: context)
    var decisions: [AccessDecision] = []
    decisions.reserveCapacity(request.contexts.count)
    for (index, asked) in request.contexts.enumerated() {
      decisions.append(try await decide(asked, asSensitive: request.asSensitive, by: evaluator, context, at: "contexts[\(index)]"))
    }
    return BatchCheckAccessResponse(decisions: decisions)
  }

  public func explainAccess(_ request: CheckAccessRequest, context: ServerContext) async throws -> ExplainAccessResponse {
    let evaluator = try await evaluator(for: context)
    let question = try await question(request.context ?? AccessContext(), context)
    let outcome = evaluator.evaluate(question.request, now: question.now)
    let rules = evaluator.explain(question.request, now: question.now).map {
      RuleOutcome(rule: $0.rule, outcome: $0.outcome.rawValue, wouldMatch: $0.wouldMatch, text: $0.text)
    }
    return ExplainAccessResponse(decision: outcome.contract, rules: rules)
  }

  private func decide(
    _ asked: AccessContext, asSensitive: Bool, by evaluator: AccessEvaluator, _ context: ServerContext, at path: String = "context"
  ) async throws -> AccessDecision {
    let question = try await question(asked, context, at: path)
    return evaluator.evaluate(question.request, asSensitive: asSensitive, now: question.now).contract
  }

  /// The question with the approvals and grants it names, as they are kept: what the caller says of them counts for nothing. Those of
  /// tenants that are none of the caller's business are not looked into.
  private func question(_ asked: AccessContext, _ context: ServerContext, at path: String = "context") async throws -> AccessQuestion {
    var question = try AccessQuestion(asked, at: path, now: environment.clock.now)
    let tenant = context.principal.subject.tenant
    let seesAll = tenant == Caller.platformTenant
    let refs = seesAll || tenant == asked.actorTenantID ? asked.approvalRefs : []
    if refs.isEmpty, asked.assistCtx == nil, asked.viewAsCtx == nil { return question }
    let (request, now, seesGrants) = (
      question.request, question.now, seesAll || [asked.actorTenantID, asked.targetTenantID].contains(tenant)
    )
    question.request = try await environment.database.read { reader in
      var request = request
      request.approvals = try ApprovalStore.standing(refs, for: request.target, tenant: request.actorTenantID, at: now, in: reader)
      request.assist = try request.assist.map {
        seesGrants ? try HelpStore.standing($0, .assist, tenant: request.targetTenantID, at: now, in: reader) : $0.unknown
      }
      request.viewAs = try request.viewAs.map {
        seesGrants ? try HelpStore.standing($0, .viewAs, tenant: request.targetTenantID, at: now, in: reader) : $0.unknown
      }
      return request
    }
    return question
  }

  // MARK: Actions

  public func checkAction(_ request: CheckActionRequest, context: ServerContext) async throws -> ActionDecision {
    var validation = Validation()
    validation.text(request.actionType, "action_type", max: PolicyLimits.nameLetters)
    validation.optionalText(request.agentSlug, "agent_slug", max: PolicyLimits.nameLetters)
    validation.optionalText(request.toolName, "tool_name", max: PolicyLimits.nameLetters)
    validation.optionalText(request.actorRole, "actor_role", max: PolicyLimits.nameLetters)
    validation.optionalText(request.sessionStatus, "session_status", max: PolicyLimits.nameLetters)
    validation.optionalText(request.journeyStatus, "journey_status", max: PolicyLimits.nameLetters)
    validation.optionalID(request.productRuntimeSessionID, "product_runtime_session_id")
    validation.optionalID(request.userID, "user_id")
    validation.optionalID(request.orgID, "org_id")
    try validation.finish()
    let verdict = ActionPolicy.check(
      ActionPolicy.Request(
        agentSlug: request.agentSlug, toolName: request.toolName, actionType: request.actionType, actorRole: request.actorRole,
        sessionStatus: request.sessionStatus, journeyStatus: request.journeyStatus))
    var decision = ActionDecision(allowed: verdict.isAllowed, rule: verdict.rule, reason: verdict.reason, trace: verdict.trace)
    guard verdict.isAllowed, !request.toolName.isEmpty else { return decision }
    // An action that may be done may still be done too often.
    let step = try step(context)
    let call = ToolCall(
      agentSlug: request.agentSlug, toolName: request.toolName, tier: "", runID: request.runID,
      sessionID: request.productRuntimeSessionID, userID: request.userID, orgID: request.orgID, targetURL: "")
    var gate = ToolGate(call, try await book.policies(for: call, tenant: step.tenant, now: step.now))
    do {
      try gate.checkRates(rates, now: step.now)
    } catch let refusal {
      decision.allowed = false
      (decision.rule, decision.reason) = (refusal.policyID, refusal.reason)
      decision.retryAfter = refusal.retryAfter.map { Google_Protobuf_Duration(nanoseconds: $0) }
    }
    decision.trace += gate.trace
    return decision
  }

  // MARK: Inside

  func step(_ context: ServerContext) throws -> PolicyStep {
    PolicyStep(
      caller: try Caller(context), now: environment.clock.now, trace: context.trace, method: context.method.path, environment: environment)
  }

  func pageSize(_ asked: UInt32, _ fields: inout Validation) -> Int {
    fields.pageSize(asked, default: PolicyLimits.defaultPage, max: PolicyLimits.page)
  }

  /// A timer of this service fired: an approval's end, or a reservation's.
  public func effectOutcome(
    _ effect: Effect, _ outcome: EffectOutcome
  ) async throws -> (@Sendable (borrowing Transaction) throws -> Void)? {
    guard case .succeeded = outcome else { return nil }
    let id = String(decoding: effect.request, as: UTF8.self)
    let principal = Principal(kind: .service, id: Self.producer, tenant: effect.tenant, surface: .internal)
    // The dispatcher saw the moment come, whatever the clock says now.
    let step = PolicyStep(
      caller: Caller(principal), now: max(environment.clock.now, effect.dueAt), trace: effect.trace, method: effect.method,
      environment: environment)
    switch effect.method {
    case ReservationTimer.method:
      let entry = environment.ids.next(.budgetEntry)
      return { [self] tx in try expireReservation(id, entry: entry, step, in: tx) }
    case ApprovalTimer.method: return { [self] tx in try expireApproval(id, step, in: tx) }
    default: return nil
    }
  }

  /// What holds between the rows: that balances are the sums of the ledger, and reservations what their entries say.
  public func verify() async throws -> [Verification] {
    try await environment.database.scan { reader in
      var budgets = Verification("policy: budgets are the sums of their ledger", examined: try BudgetStore.count(in: reader))
      for key in try BudgetStore.unbalanced(in: reader, limit: Verification.maxFindings) {
        budgets.found("the balance of \(key) is not the sum of its entries", of: .platform)
      }
      for id in try BudgetStore.inconsistent(in: reader, limit: Verification.maxFindings) {
        budgets.found("the entries of reservation \(id) do not say what its row says", of: .platform)
      }
      return [budgets]
    }
  }
}

extension IDPrefix {
  static let reservation: IDPrefix = "RSV"
  static let budgetEntry: IDPrefix = "BGT"
  static let approval: IDPrefix = "APR"
  static let helpGrant: IDPrefix = "GRT"
}

extension AccessEvaluator.Outcome {
  package var contract: AccessDecision {
    AccessDecision(
      decision: effect.contract, reasons: reasons.map { DecisionReason(id: $0.id, text: $0.text, ruleRef: $0.ruleRef) },
      requiredApprovers: requiredApprovers, approvalMatrixRow: approvalRow ?? "", currentApprovalsSatisfy: approvalsSatisfy,
      tenantRelation: tenantRelation.rawValue, selfView: isSelfView, trace: trace, serviceVersion: PolicyServer.serviceVersion,
      engineVersion: AccessEvaluator.engineVersion)
  }
}

extension AccessEvaluator.Effect {
  var contract: Decision {
    switch self {
    case .allow: .allow
    case .mask: .mask
    case .deny: .deny
    }
  }
}
