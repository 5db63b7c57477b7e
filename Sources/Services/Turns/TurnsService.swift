import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireTurnKernel

/// Turns as others see them: which there were, under which plans, with what evidence, and whether a replay gives the same.
///
/// It keeps nothing: the rows are the kernel's, written by whoever's work runs as turns, and what it wants done to one it asks of them.
public final class TurnsServer: TurnsService {
  let environment: ServiceEnvironment
  let agents: AgentOrchestratorClient
  let host: TurnHostClient

  public static let migrations = TurnStore.migrations

  public init(environment: ServiceEnvironment, agents: AgentOrchestratorClient, host: TurnHostClient) {
    self.environment = environment
    self.agents = agents
    self.host = host
  }

  // MARK: Reading

  public func getTurn(_ request: GetTurnRequest, context: ServerContext) async throws -> Turn {
    try await row(request.turnID, context).turn
  }

  public func listTurns(_ request: ListTurnsRequest, context: ServerContext) async throws -> ListTurnsResponse {
    let tenant = try Caller(context).tenant
    var validation = Validation()
    validation.optionalID(request.productRuntimeSessionID, "product_runtime_session_id")
    validation.optionalID(request.agentTaskID, "agent_task_id")
    validation.known(request.state, "state")
    validation.known(request.outcome, "outcome")
    let size = validation.pageSize(request.pageSize, default: TurnLimits.defaultPageSize, max: TurnLimits.maxPageSize)
    try validation.finish()
    let after = try PageToken.decode(request.pageToken)
    let filter = TurnStore.Filter(
      tenant: tenant, session: request.productRuntimeSessionID, task: request.agentTaskID, state: request.state, outcome: request.outcome)
    let page = try await environment.database.scan { try TurnStore.turns($0, filter, after: after, limit: size + 1) }
    var response = ListTurnsResponse(turns: page.prefix(size).map(\.turn))
    if page.count > size, let last = response.turns.last { response.nextPageToken = PageToken.encode(last.turnID) }
    return response
  }

  public func watchTurns(
    _ request: WatchTurnsRequest, responses: ResponseWriter<SubscribeResponse>, context: ServerContext
  ) async throws {
    let caller = try Caller(context)
    var validation = Validation()
    validation.optionalID(request.productRuntimeSessionID, "product_runtime_session_id")
    try validation.finish()
    let subscribe = SubscribeRequest(
      filter: EventFilter(types: TurnCheck.types.map(\.text), productRuntimeSessionID: request.productRuntimeSessionID),
      cursor: request.cursor, untilEnd: request.untilEnd)
    try await environment.log.subscribe(subscribe, tenant: caller.tenant, to: responses, context)
  }

  public func getTurnEvidence(_ request: GetTurnEvidenceRequest, context: ServerContext) async throws -> TurnRecord {
    let (row, plan) = try await record(request.turnID, context)
    return TurnRecord(turn: row.turn, plan: try TurnPlan(decoding: plan), evidence: row.evidence)
  }

  // MARK: Cancel

  public func cancelTurn(_ request: CancelTurnRequest, context: ServerContext) async throws -> Turn {
    var validation = Validation()
    validation.idempotencyKey(request.idempotencyKey)
    validation.optionalText(request.reason, "reason", max: TurnLimits.reasonLetters)
    try validation.finish()
    let row = try await row(request.turnID, context)
    if row.state == .closed {
      // Asked twice, it is the same news.
      if row.evidence.decisions.contains(where: { $0.kind == "cancel" }) { return row.turn }
      throw RPCError.precondition(.turnEnded, "turn \(request.turnID) is closed; only one that is open can be cancelled")
    }
    _ = try await agents.cancelTask(
      CancelTaskRequest(idempotencyKey: request.idempotencyKey, agentTaskID: row.evidence.agentTaskID, reason: request.reason))
    return try await self.row(request.turnID, context).turn
  }

  // MARK: Inside

  func row(_ id: String, _ context: ServerContext) async throws -> TurnStore.Row {
    let tenant = try checked(id, context)
    guard let row = try await environment.database.read({ try TurnStore.turn($0, tenant: tenant, id: id) }) else {
      throw RPCError.missing(.turnNotFound, "there is no turn \(id)")
    }
    return row
  }

  func record(_ id: String, _ context: ServerContext) async throws -> (TurnStore.Row, plan: [UInt8]) {
    let tenant = try checked(id, context)
    let found = try await environment.database.read { snapshot -> (TurnStore.Row, [UInt8])? in
      guard let row = try TurnStore.turn(snapshot, tenant: tenant, id: id),
        let plan = try TurnStore.plan(snapshot, tenant: tenant, hash: row.evidence.planHash)
      else { return nil }
      return (row, plan)
    }
    guard let found else { throw RPCError.missing(.turnNotFound, "there is no turn \(id)") }
    return found
  }

  private func checked(_ id: String, _ context: ServerContext) throws -> String {
    var validation = Validation()
    validation.id(id, "turn_id")
    try validation.finish()
    return try Caller(context).tenant
  }
}
