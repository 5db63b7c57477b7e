import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireTurnKernel
import SpanwireWellKnown

/// Asks policy before an agent does anything: before a task, whose cost it sets aside, and before each of its tool calls.
///
/// Nothing runs when policy cannot be asked.
struct AgentGuard: ClientInterceptor {
  /// The task that an agent is working on, for the tool calls it makes meanwhile.
  @TaskLocal static var working: AgentTask?
  /// The tiers that the agent's definition gives its tools; what it does not name, it reads.
  @TaskLocal static var tiers: [String: String] = [:]

  let policy: PolicyClient
  let clock: any WallClock

  /// Whether a task may run; throws the refusal. What it may cost is set aside until its end settles it, or until it is given up.
  ///
  /// To policy, a task is a call of the tool that bears its intent's name.
  ///
  /// - Parameter task: the task; what is set aside for it and what it will cost are written into it.
  func admit(_ task: inout AgentTask, of agent: AgentDefinition) async throws {
    // What models cost is set aside call by call, while they answer.
    let cost = agent.byModel ? nil : agent.modelPolicy.flatMap { $0.maxCost ?? $0.price }
    var request = question(task, tool: task.task?.intent ?? "")
    if let cost {
      request.estimatedCost = cost
      request.idempotencyKey = "\(task.agentTaskID)-run"
      request.reservationTtl = Google_Protobuf_Duration(OrchestratorLimits.reservation)
    }
    let decision = try await policy.checkTool(request)
    if !decision.allowed { throw decision.refusal(of: request) }
    guard let reservation = decision.reservation else { return }
    task.budgetReservationID = reservation.reservationID
    task.cost = agent.modelPolicy?.price ?? Money(micros: 0, currency: reservation.reserved?.currency ?? "")
  }

  /// Whether a model of a provider may be asked for a task, or may go on answering; throws the refusal. What it may cost is set aside.
  ///
  /// It is a call that leaves the platform: an allowlist that applies to it judges the provider's host.
  ///
  /// - Parameter extending: the first reservation of the call that goes on; empty for a new call.
  func admit(
    model provider: ModelProvider, for task: AgentTask, cost: Money?, key: String, extending: String
  ) async throws -> BudgetReservation? {
    var request = question(task, tool: TaskJournal.toolName(of: provider.provider), tier: "network_read")
    // A host that no allowlist could name, such as an address, is on none.
    if (try? RequestedHost(url: provider.baseURL)) != nil { request.targetURL = provider.baseURL }
    if let cost {
      request.estimatedCost = cost
      request.idempotencyKey = key
      request.reservationTtl = Google_Protobuf_Duration(OrchestratorLimits.modelReservation)
      request.extendsReservationID = extending
    }
    let decision = try await policy.checkTool(request)
    TurnRecorder.current?.decision(
      TurnDecision(
        kind: "policy", subject: request.toolName, outcome: decision.allowed ? "allow" : "deny", rule: decision.policyID,
        reason: decision.reason, at: .init(nanosecondsSinceEpoch: clock.now)))
    if !decision.allowed { throw decision.refusal(of: request) }
    return decision.reservation
  }

  /// A call that an agent makes of another service is a tool call: of `Lem.ComputeRoute`, which reads as everything that agents are given.
  func intercept(_ method: MethodDescriptor, _ options: CallOptions, next: NextClientCall) async throws -> any ClientCall {
    try await admit(tool: "\(method.service.split(separator: ".").last ?? "").\(method.name)")
    return try await next(method, options)
  }

  /// Whether the agent that works in this task may make a call; throws the refusal.
  func admit(tool: String) async throws {
    guard let task = Self.working else { return }
    let request = question(task, tool: tool, tier: Self.tiers[tool] ?? "read")
    let decision = try await policy.checkTool(request)
    TurnRecorder.current?.decision(
      TurnDecision(
        kind: "policy", subject: request.toolName, outcome: decision.allowed ? "allow" : "deny", rule: decision.policyID,
        reason: decision.reason, at: .init(nanosecondsSinceEpoch: clock.now)))
    if !decision.allowed { throw decision.refusal(of: request) }
  }

  private func question(_ task: AgentTask, tool: String, tier: String = "read") -> CheckToolRequest {
    CheckToolRequest(
      agentSlug: task.agentSlug, toolName: tool, actionType: tier, runID: task.agentTaskID,
      productRuntimeSessionID: task.context?.productRuntimeSessionID ?? "", userID: task.context?.userID ?? "",
      orgID: CallContext.current?.principal.subject.organization ?? "")
  }

  // MARK: After the task

  /// What a task cost is spent, and the rest comes back; of one without an answer all of it. Written as an effect where the task ends, so
  /// that the ledger says what ran.
  static func settle(
    _ row: OrchestratorStore.TaskRow, at stamp: TaskStamp, in transaction: borrowing Transaction
  ) throws {
    let (id, reservation) = (row.task.agentTaskID, row.task.budgetReservationID)
    guard !reservation.isEmpty else { return }
    try end(reservation, spent: row.task.state == .completed ? row.task.cost : nil, key: "\(id)-end", row, at: stamp, in: transaction)
  }

  /// The same for a piece of what was set aside for a call of a model.
  static func settle(
    _ share: ModelBudget.Share, cost: Money?, _ row: OrchestratorStore.TaskRow, at stamp: TaskStamp, in transaction: borrowing Transaction
  ) throws {
    let spent = share.spent.map { Money(micros: $0, currency: cost?.currency ?? "") }
    try end(share.reservationID, spent: spent, key: "\(share.reservationID)-end", row, at: stamp, in: transaction)
  }

  private static func end(
    _ reservation: String, spent: Money?, key: String, _ row: OrchestratorStore.TaskRow, at stamp: TaskStamp,
    in transaction: borrowing Transaction
  ) throws {
    let id = row.task.agentTaskID
    let (method, request): (MethodDescriptor, [UInt8]) =
      if let spent {
        (
          Policy.Methods.settleReservation,
          SettleReservationRequest(idempotencyKey: key, reservationID: reservation, spent: spent).encoded()
        )
      } else {
        (Policy.Methods.releaseReservation, ReleaseReservationRequest(idempotencyKey: key, reservationID: reservation).encoded())
      }
    try transaction.perform(
      Effect(
        id: key, owner: OrchestratorServer.producer, stream: id, method: method.path, request: request, tenant: row.task.tenantID,
        subject: CallerRecord(text: row.caller)?.principal, trace: stamp.trace))
  }
}

extension ToolDecision {
  /// The refusal as the caller sees it: with the rule, and when trying again helps.
  fileprivate func refusal(of request: CheckToolRequest) -> RPCError {
    let isTransient = policyType == "budget" || policyType == "rate_limit"
    let text = "\(policyType) policy \(policyID) refuses \(request.toolName) to \(request.agentSlug): \(reason)"
    var metadata = [("rule", policyID), ("policy_type", policyType)]
    if !auditEventID.isEmpty { metadata.append((RPCError.auditKey, auditEventID)) }
    return .later(
      isTransient ? .resourceExhausted : .permissionDenied, .policyDenied, text, after: retryAfter?.duration, metadata: metadata)
  }
}
