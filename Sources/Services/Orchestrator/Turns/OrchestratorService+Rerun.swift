import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireTurnKernel

/// Does a turn's work again, for a replay: a built-in agent reads what the evidence says it read, and what it answers is compared by others.
extension OrchestratorServer: TurnHostService {
  public func rerunTurn(_ request: RerunTurnRequest, context: ServerContext) async throws -> RerunTurnResponse {
    var validation = Validation()
    validation.id(request.turnID, "turn_id")
    try validation.finish()
    let tenant = try Caller(context).tenant
    let found = try await environment.database.read { snapshot -> (TurnStore.Row, OrchestratorStore.TaskRow, [UInt8])? in
      guard let turn = try TurnStore.turn(snapshot, tenant: tenant, id: request.turnID),
        let row = try OrchestratorStore.task(snapshot, AgentTaskKey(tenant: tenant, id: turn.evidence.agentTaskID)),
        let plan = try TurnStore.plan(snapshot, tenant: tenant, hash: turn.evidence.planHash)
      else { return nil }
      return (turn, row, plan)
    }
    guard let (turn, row, plan) = found else { throw RPCError.missing(.turnNotFound, "there is no turn \(request.turnID)") }
    guard let provider = try TurnPlan(decoding: plan).nodes.first?.provider else {
      throw RPCError.internal("the plan of \(request.turnID) has no node")
    }
    var response = RerunTurnResponse(planHash: TaskTurns(row).plan(provider).hash)
    guard provider.isDeterministic else {
      response.failure = "\(turn.evidence.performer) may answer otherwise to the same"
      return response
    }
    let reads = ReplayedReads(turn.evidence)
    let run = AgentRun(
      tenant: tenant, task: row.task.task ?? AgentTaskSpec(), context: row.task.context ?? AgentContext(), agentSlug: row.task.agentSlug,
      now: turn.evidence.openedAt?.nanosecondsSinceEpoch ?? 0, sources: sources, reads: .replayed(reads), breakers: breakers,
      agentGuard: agentGuard,
      progress: { _, _, _ in }, partial: { _ in })
    let (caller, trace, task) = (context.principal, context.trace, row.task)
    do {
      // Agents weigh thousands of places: not on the loop.
      let answer = try await Task.detached {
        try await CallContext.with(principal: caller, trace: trace) {
          try await AgentGuard.$working.withValue(task) { try await BuiltInAgents.answer(run) }
        }
      }.value
      response.contentHash = answer.output(at: run.now).contentHash
    } catch let error as RPCError {
      response.failure = error.message
    }
    response.changedInputs = reads.changed
    return response
  }
}
