import SpanwireDatabase
import SpanwireEventLog
import SpanwireSchema
import SpanwireServiceKit

/// Proves that the orchestrator's rows are what the log says they became.
extension OrchestratorServer {
  public func verify() async throws -> [Verification] {
    let begun = environment.clock.now
    var tasks = Verification("ao.tasks are in the states that the log tells of")
    var proposals = Verification("ao.proposals are those of the log")
    var letters = Verification("ao.dead letters are those of the log, with what became of them")
    var verdicts: [AgentTaskKey: String] = [:]
    var states: [AgentTaskKey: AgentTaskState] = [:]
    var told: [(tenant: String, id: String, isRefused: Bool)] = []
    try await environment.log.replay(LogFilter(types: ["agent.task.*", "agent.recommendation.*", "dlq.*"], tenant: nil)) { event in
      let envelope = try event.decoded()
      if let state = Self.state(after: event.header.type) {
        states[AgentTaskKey(tenant: envelope.tenantID, id: envelope.agentTaskID)] = state
      } else if let created = try event.payload(RecommendationCreated.self) {
        told.append((envelope.tenantID, created.proposalID, false))
      } else if let enqueued = try event.payload(DLQEnqueued.self) {
        verdicts[AgentTaskKey(tenant: envelope.tenantID, id: enqueued.itemID)] = DeadLetter.Resolution.pending.word
      } else if let reviewed = try event.payload(DLQReviewed.self) {
        verdicts[AgentTaskKey(tenant: envelope.tenantID, id: reviewed.itemID)] = reviewed.verdict
      } else if let refused = try event.payload(RecommendationRefused.self), event.header.producer == Self.producer {
        told.append((envelope.tenantID, refused.proposalID, true))
      }
    }
    try await verifyTasks(&states, begun: begun, &tasks)
    for (tenant, id, isRefused) in told {
      proposals.examine()
      let proposal = try await environment.database.scan { try ProposalStore.proposal($0, tenant: tenant, id: id) }
      guard let proposal else {
        proposals.found("\(tenant): \(id) is missing", of: .tenant(tenant))
        continue
      }
      if (proposal.state == .refused) != isRefused { proposals.found("\(tenant): \(id) is \(proposal.state.word)", of: .tenant(tenant)) }
    }
    for (key, verdict) in verdicts {
      letters.examine()
      guard let item = try await environment.database.scan({ try DeadLetterStore.item($0, tenant: key.tenant, id: key.id) }) else {
        letters.found("\(key.tenant): \(key.id) is missing", of: .tenant(key.tenant))
        continue
      }
      // Rows are read after the log: one that was pending there may have been reviewed since.
      if item.resolution.word != verdict,
        verdict != DeadLetter.Resolution.pending.word || (item.reviewedAt?.nanosecondsSinceEpoch ?? 0) < begun
      {
        letters.found("\(key.tenant): \(key.id) is \(item.resolution.word), not \(verdict)", of: .tenant(key.tenant))
      }
    }
    return [tasks, proposals, letters]
  }

  private func verifyTasks(_ states: inout [AgentTaskKey: AgentTaskState], begun: Int64, _ verification: inout Verification) async throws {
    var after = AgentTaskKey(tenant: "", id: "")
    while true {
      let from = after
      let page = try await environment.database.scan { try OrchestratorStore.allTasks($0, after: from, limit: 500) }
      for task in page {
        verification.examine()
        after = AgentTaskKey(tenant: task.tenantID, id: task.agentTaskID)
        guard let state = states.removeValue(forKey: after) else {
          // Rows are read after the log: a task may be newer than what was read of it.
          if (task.receivedAt?.nanosecondsSinceEpoch ?? 0) < begun {
            verification.found("\(after.tenant): \(after.id) is in no event", of: .tenant(after.tenant))
          }
          continue
        }
        let hasGoneOn = !AgentTaskStateMachine.isTerminal(state) && (AgentTaskStateMachine.isTerminal(task.state) || task.state == .running)
        if task.state != state, !hasGoneOn {
          verification.found("\(after.tenant): \(after.id) is \(task.state.word), not \(state.word)", of: .tenant(after.tenant))
        }
      }
      if page.count < 500 { break }
    }
    for key in states.keys { verification.found("\(key.tenant): \(key.id) is missing", of: .tenant(key.tenant)) }
  }

  /// The state that an event leaves its task in; nil for events that change none.
  private static func state(after type: String) -> AgentTaskState? {
    switch type {
    case "agent.task.received": .received
    case "agent.task.started": .running
    case "agent.task.result": .completed
    case "agent.task.failed": .failed
    case "agent.task.cancelled": .cancelled
    case "agent.task.timed_out": .timedOut
    default: nil
    }
  }
}
