import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireTurnKernel
import SpanwireWellKnown

/// What a task's turns are made of: the same for all its runs, but for who does it and under which epoch.
struct TaskTurns: Sendable {
  let task: AgentTask
  let agent: AgentDefinition
  let budgets: TaskBudgets
  private let agentHash: [UInt8]

  init(_ row: OrchestratorStore.TaskRow) {
    task = row.task
    // A task of before its agent was kept with it has an agent that says nothing.
    agent = (try? AgentDefinition(decoding: row.agent)) ?? AgentDefinition()
    agentHash = SHA256.hash(row.agent)
    budgets = TaskBudgets(row.task.task?.constraints)
  }

  var session: String { task.context?.productRuntimeSessionID ?? "" }

  var want: TurnAdmission.Want {
    TurnAdmission.Want(tenant: task.tenantID, session: session, agentSlug: task.agentSlug, quota: agent.turns)
  }

  /// The plan of a run by this provider: one node, and every bound that holds for it.
  func plan(_ provider: TurnProvider) -> FrozenPlan {
    let spec = task.task
    let price = agent.modelPolicy?.price
    return FrozenPlan(
      TurnPlan(
        tenantID: task.tenantID, agentSlug: task.agentSlug, agentType: spec?.agentType ?? "", intent: spec?.intent ?? "",
        agentVersion: agent.version, agentHash: agentHash,
        budgets: TurnBudgets(
          timeoutMs: budgets.timeoutMilliseconds, maxTokens: budgets.maxTokens, maxSuggestions: budgets.maxSuggestions,
          answerLetters: UInt32(budgets.answerLetters), maxCost: agent.modelPolicy?.maxCost ?? price, price: price),
        quota: want.quota, lanes: Self.lanes, nodes: [TurnNode(nodeID: "agent", kind: "agent", provider: provider)]))
  }

  /// What is told on the way is stored before the next is taken; what is asked of a worker waits for it to be read.
  private static let lanes = [
    TurnLane(lane: .control, bound: UInt32(OrchestratorLimits.workerOutbox), onFull: .end),
    TurnLane(lane: .data, bound: 1, onFull: .wait), TurnLane(lane: .telemetry, bound: 1, onFull: .wait),
  ]

  /// The recorder of a run that is about to begin, with the evidence that its turn opens with.
  func recorder(
    _ turnID: String, under plan: FrozenPlan, epoch: UInt64, by performer: String, decisions: [TurnDecision], at now: Int64
  ) -> TurnRecorder {
    let key = TurnKey(tenant: task.tenantID, task: task.agentTaskID, epoch: epoch)
    let moment = Google_Protobuf_Timestamp(nanosecondsSinceEpoch: now)
    let authority = TurnDecision(kind: "authority", subject: "lease epoch \(epoch)", outcome: "allow", at: moment)
    let recorder = TurnRecorder(
      key,
      TurnEvidence(
        turnID: turnID, tenantID: key.tenant, productRuntimeSessionID: session, agentTaskID: key.task, leaseEpoch: epoch,
        performer: performer, planHash: plan.hash, seed: plan.seed(of: key), openedAt: moment, decisions: [authority] + decisions))
    let asked = AgentTask(context: task.context, task: task.task)
    recorder.input(Self.taskInput, asked.encoded(), at: task.receivedAt?.nanosecondsSinceEpoch ?? now)
    if !task.budgetReservationID.isEmpty {
      recorder.decision(TurnDecision(kind: "policy", subject: task.budgetReservationID, outcome: "reserved", at: task.receivedAt))
    }
    return recorder
  }

  /// The name of the input that is the task itself.
  static let taskInput = "task"
}

extension AgentAnswer {
  /// The answer as a turn's output: the ids that proposals get later are no part of it.
  func output(at now: Int64) -> TurnOutput {
    let proposals = drafts.map {
      Proposal(summary: $0.summary, rationale: $0.rationale, confidence: $0.confidence, kind: $0.kind)
    }
    return TurnOutput("answer", WorkResult(text: text, proposals: proposals).encoded(), at: now)
  }
}
