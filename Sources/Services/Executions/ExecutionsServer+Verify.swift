import SpanwireDatabase
import SpanwireEventLog
import SpanwireSchema
import SpanwireServiceKit

/// Proves that the rows of executions are what the log says they became, and that the chains of records are whole.
extension ExecutionsServer {
  public func verify() async throws -> [Verification] {
    let begun = environment.clock.now
    var executions = Verification("executions are in the states that the log tells of")
    var chains = Verification("executions.records are chains without gaps, as the log has them")
    var artifacts = Verification("executions.artifacts are in the states that the log tells of")
    var statuses: [ExecutionKey: ExecutionStatus] = [:]
    var heads: [ExecutionKey: (sequence: UInt64, hash: [UInt8])] = [:]
    var made: [ExecutionKey: String] = [:]
    let filter = LogFilter(types: ["job.*", "wal.appended", "artifact.changed"], tenant: nil)
    try await environment.log.replay(filter) { event in
      let envelope = try event.decoded()
      let key = ExecutionKey(tenant: envelope.tenantID, id: envelope.executionID)
      if let record = try event.payload(WalAppended.self) {
        chains.examine()
        let head = heads[key] ?? (0, [])
        let hash = WalChain.hash(of: record, in: key.id, at: envelope.occurredAt?.nanosecondsSinceEpoch ?? 0)
        if record.sequence != head.sequence + 1 { chains.found("\(key.tenant): \(key.id) has \(record.sequence) after \(head.sequence)") }
        if record.prevHash != head.hash {
          chains.found("\(key.tenant): \(key.id) record \(record.sequence) does not follow the one before")
        }
        if record.hash != hash { chains.found("\(key.tenant): \(key.id) record \(record.sequence) is not what its hash says") }
        heads[key] = (record.sequence, record.hash)
      } else if let changed = try event.payload(ArtifactChanged.self) {
        made[ExecutionKey(tenant: envelope.tenantID, id: changed.artifactID)] = changed.state
      } else if let status = Self.status(after: event.header.type) {
        statuses[key] = status
      }
    }
    try await verifyExecutions(&statuses, heads, begun: begun, &executions, &chains)
    for (key, state) in made {
      artifacts.examine()
      let artifact = try await environment.database.scan { try ArtifactStore.artifact($0, tenant: key.tenant, id: key.id) }
      guard let artifact else {
        artifacts.found("\(key.tenant): \(key.id) is missing")
        continue
      }
      // Rows are read after the log: one may have gone on since.
      if artifact.lifecycleState.word != state, (artifact.updatedAt?.nanosecondsSinceEpoch ?? 0) < begun {
        artifacts.found("\(key.tenant): \(key.id) is \(artifact.lifecycleState.word), not \(state)")
      }
    }
    return [executions, chains, artifacts]
  }

  private func verifyExecutions(
    _ statuses: inout [ExecutionKey: ExecutionStatus], _ heads: [ExecutionKey: (sequence: UInt64, hash: [UInt8])], begun: Int64,
    _ executions: inout Verification, _ chains: inout Verification
  ) async throws {
    var after = ExecutionKey(tenant: "", id: "")
    while true {
      let from = after
      let page = try await environment.database.scan { try ExecutionsStore.all($0, after: from, limit: 500) }
      for execution in page {
        executions.examine()
        after = ExecutionKey(tenant: execution.intent?.tenantID ?? "", id: execution.executionID)
        guard let status = statuses.removeValue(forKey: after) else {
          if (execution.createdAt?.nanosecondsSinceEpoch ?? 0) < begun {
            executions.found("\(after.tenant): \(after.id) is in no event")
          }
          continue
        }
        let hasGoneOn = !ExecutionStateMachine.isTerminal(status) && execution.status != .created
        if execution.status != status, !hasGoneOn {
          executions.found("\(after.tenant): \(after.id) is \(execution.status.word), not \(status.word)")
        }
        let head = heads[after] ?? (0, [])
        // Only what has ended has no further records by now.
        if ExecutionStateMachine.isTerminal(status), execution.records != head.sequence || execution.recordsHash != head.hash {
          chains.found("\(after.tenant): \(after.id) says \(execution.records) records, the log has \(head.sequence)")
        }
      }
      if page.count < 500 { break }
    }
    for key in statuses.keys { executions.found("\(key.tenant): \(key.id) is missing") }
  }

  /// The status that an event leaves its execution in; nil for events that change none.
  private static func status(after type: String) -> ExecutionStatus? {
    switch type {
    case "job.received": .created
    case "job.planning", "job.dispatched": .running
    case "job.completed": .completed
    case "job.failed", "job.timed_out": .failed
    case "job.cancelled": .cancelled
    default: nil
    }
  }
}
