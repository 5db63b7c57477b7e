import SpanwireDatabase
import SpanwireEventLog
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// When something happens to an execution and as part of which trace: taken before the transaction, which may run twice.
struct ExecutionStamp: Sendable {
  let now: Int64
  let trace: TraceContext?
  /// Of the dead letter, should the execution end as one.
  let deadLetter: ULID

  init(_ environment: ServiceEnvironment) {
    now = environment.clock.now
    trace = CallContext.current?.trace
    deadLetter = environment.ids.ulid()
  }
}

/// Writes what happens to an execution: row, update and event, always the three in one transaction, and from its handlers only what comes
/// under the epoch that stands.
struct ExecutionJournal: Sendable {
  let environment: ServiceEnvironment
  let wakes: Wakes<ExecutionKey>

  // MARK: The runtime's part

  /// Begins a run; nil if somebody ended the execution before. From now on handlers are heard under its epoch alone.
  func begin(_ key: ExecutionKey, by handler: IntentHandlerInfo) async throws -> ExecutionsStore.ExecutionRow? {
    let stamp = ExecutionStamp(environment)
    let row = try await environment.database.transaction("exec.begin") { transaction -> ExecutionsStore.ExecutionRow? in
      guard var row = try ExecutionsStore.row(transaction, key), ExecutionStateMachine.allows(row.execution.status, to: .running) else {
        return nil
      }
      if row.execution.leaseEpoch > 0 {
        try ExecutionsStore.end(key, row.execution.leaseEpoch, "lost", "its process ended", stamp.now, transaction)
      }
      row.execution.status = .running
      row.execution.leaseEpoch += 1
      row.execution.handlerName = handler.handlerName
      if row.execution.startedAt == nil { row.execution.startedAt = .init(nanosecondsSinceEpoch: stamp.now) }
      try ExecutionsStore.update(row.execution, of: key, transaction)
      let performer = handler.builtIn ? Self.builtIn : Self.workers
      try ExecutionsStore.begin(key, row.execution.leaseEpoch, handler.handlerName, performer, stamp.now, transaction)
      if row.execution.leaseEpoch == 1 {
        let steps = try ExecutionsStore.stepCount(transaction, of: key)
        try tell(JobPlanning(steps: UInt32(steps)), row.execution, at: stamp, transaction)
      }
      if handler.builtIn {
        try tell(JobDispatched(workerID: performer, leaseEpoch: row.execution.leaseEpoch), row.execution, at: stamp, transaction)
      }
      return row
    }.value
    wakes.wake(key)
    return row
  }

  static let builtIn = "built_in"
  static let workers = "workers"

  /// Says which worker has it.
  func dispatch(_ key: ExecutionKey, under epoch: UInt64, to worker: String) async throws {
    let stamp = ExecutionStamp(environment)
    _ = try await environment.database.transaction("exec.dispatch") { transaction in
      guard let row = try ExecutionsStore.row(transaction, key), row.execution.leaseEpoch == epoch else { return }
      let performer = "worker:\(worker)"
      try ExecutionsStore.name(performer, of: key, epoch, transaction)
      try tell(JobDispatched(workerID: worker, leaseEpoch: epoch), row.execution, at: stamp, transaction)
    }
    wakes.wake(key)
  }

  /// Ends an attempt that will be followed by another.
  func lose(_ key: ExecutionKey, under epoch: UInt64, _ outcome: String, _ error: String, pause: Duration) async throws {
    let stamp = ExecutionStamp(environment)
    _ = try await environment.database.transaction("exec.lose") { transaction in
      try ExecutionsStore.end(key, epoch, outcome, error, stamp.now, transaction)
      guard let row = try ExecutionsStore.row(transaction, key), row.execution.status == .running else { return }
      let retrying = JobRetrying(attempt: UInt32(clamping: epoch + 1), delayMs: pause.nanoseconds / 1_000_000, reason: error)
      try tell(retrying, row.execution, at: stamp, transaction)
    }
    wakes.wake(key)
  }

  /// Ends an execution with what its handler returned. Nothing happens if it has ended, or another attempt has begun.
  func complete(_ key: ExecutionKey, under epoch: UInt64, _ result: HandlerResult) async throws {
    let stamp = ExecutionStamp(environment)
    _ = try await environment.database.transaction("exec.complete") { transaction in
      guard var execution = try ExecutionsStore.row(transaction, key)?.execution, execution.leaseEpoch == epoch,
        ExecutionStateMachine.allows(execution.status, to: .completed)
      else { return }
      for id in result.artifactIds {
        guard let artifact = try ArtifactStore.artifact(transaction, tenant: key.tenant, id: id),
          artifact.producedBy?.executionID == key.id
        else { throw RPCError.precondition(.artifactNotFound, "the handler returned \(id), which is no artifact of this execution") }
      }
      for (index, event) in result.events.enumerated() {
        _ = try append(
          event.recordType, event.payload ?? [:], as: "result-\(index)", to: &execution, at: stamp, transaction)
      }
      execution.status = .completed
      execution.output = result.output
      execution.artifactIds = result.artifactIds
      execution.endedAt = .init(nanosecondsSinceEpoch: stamp.now)
      try ExecutionsStore.update(execution, of: key, transaction)
      try ExecutionsStore.end(key, epoch, "completed", "", stamp.now, transaction)
      try tell(JobCompleted(artifactIds: result.artifactIds), execution, ended: true, at: stamp, transaction)
    }
    wakes.wake(key)
  }

  /// How an execution ends without a result.
  enum Ending: Sendable {
    case failed(reason: String, message: String)
    case timedOut(milliseconds: Int64)
    case cancelled(reason: String)
  }

  /// Ends an execution without a result; nothing happens if it has ended.
  func end(_ key: ExecutionKey, _ ending: Ending) async throws {
    let stamp = ExecutionStamp(environment)
    _ = try await environment.database.transaction("exec.end") { transaction in
      guard let row = try ExecutionsStore.row(transaction, key), !ExecutionStateMachine.isTerminal(row.execution.status) else { return }
      _ = try end(row, ending, at: stamp, transaction)
    }
    wakes.wake(key)
  }

  /// The same inside a transaction that does more. What failed, and was to count, goes to the dead letters.
  func end(
    _ row: ExecutionsStore.ExecutionRow, _ ending: Ending, at stamp: ExecutionStamp, _ transaction: borrowing Transaction
  ) throws -> Execution {
    var execution = row.execution
    let (key, epoch) = (row.key, execution.leaseEpoch)
    execution.endedAt = .init(nanosecondsSinceEpoch: stamp.now)
    let outcome: String
    switch ending {
    case .failed(let reason, let message):
      (execution.status, execution.reason, execution.error, outcome) = (.failed, reason, message, "failed")
    case .timedOut(let milliseconds):
      (execution.status, execution.reason, outcome) = (.failed, "TIMED_OUT", "timed_out")
      execution.error = "it did not end within \(milliseconds) ms"
    case .cancelled(let reason):
      (execution.status, execution.reason, execution.error, outcome) = (.cancelled, "CANCELLED", reason, "cancelled")
    }
    try ExecutionsStore.update(execution, of: key, transaction)
    if epoch > 0 { try ExecutionsStore.end(key, epoch, outcome, execution.error, stamp.now, transaction) }
    switch ending {
    case .failed(let reason, let message):
      let failed = JobFailed(reason: reason, message: message, attempts: UInt32(clamping: epoch))
      try tell(failed, execution, ended: true, at: stamp, transaction)
    case .timedOut(let milliseconds):
      try tell(JobTimedOut(timeoutMs: milliseconds), execution, ended: true, at: stamp, transaction)
    case .cancelled(let reason): try tell(JobCancelled(reason: reason), execution, ended: true, at: stamp, transaction)
    }
    if execution.status == .failed, !execution.sandbox { try bury(row, execution, at: stamp, transaction) }
    return execution
  }

  /// Hands a failed execution to the dead letters, which are the orchestrator's.
  private func bury(
    _ row: ExecutionsStore.ExecutionRow, _ execution: Execution, at stamp: ExecutionStamp, _ transaction: borrowing Transaction
  ) throws {
    let item = stamp.deadLetter.text(.deadLetter)
    let caller = CallerRecord(text: row.caller)
    try transaction.perform(
      Effect(
        id: item, owner: ExecutionsServer.producer, stream: execution.executionID,
        method: AgentOrchestrator.Methods.enqueueDeadLetter.path,
        request: EnqueueDeadLetterRequest(
          itemID: item, execution: try ExecutionsStore.full(execution, transaction, row.key)
        ).encoded(), tenant: row.key.tenant, subject: caller?.principal, trace: stamp.trace))
  }

  // MARK: The handler's part, under its claim

  /// The execution of a claim, if it stands.
  func claimed(_ claim: ExecutionClaim, _ reader: borrowing some Reader & ~Copyable) throws -> Execution {
    let key = ExecutionKey(tenant: claim.tenantID, id: claim.executionID)
    guard let row = try ExecutionsStore.row(reader, key) else { throw ExecutionsServer.unknown(claim.executionID) }
    let execution = row.execution
    guard execution.status == .running, execution.leaseEpoch == claim.leaseEpoch else {
      let why =
        execution.status == .running
        ? "epoch \(claim.leaseEpoch) is over, \(execution.leaseEpoch) stands" : "the execution is \(execution.status.word)"
      throw RPCError.refusal(.aborted, .claimStale, why, metadata: [("lease_epoch", "\(execution.leaseEpoch)")])
    }
    return execution
  }

  func beginStep(_ request: BeginStepRequest) async throws -> StepBegun {
    let claim = request.claim ?? ExecutionClaim()
    let key = ExecutionKey(tenant: claim.tenantID, id: claim.executionID)
    let stamp = ExecutionStamp(environment)
    let hash = SHA256.hash(Array(try (request.input ?? [:]).canonicalJSON().utf8))
    let begun = try await environment.database.transaction("exec.step.begin") { transaction -> StepBegun in
      let execution = try claimed(claim, transaction)
      var step: ExecutionStep
      if let known = try ExecutionsStore.step(transaction, request.stepID, of: key) {
        if known.state != .running, known.inputHash == hash { return StepBegun(step: known, done: true) }
        step = known
      } else {
        let count = try ExecutionsStore.stepCount(transaction, of: key)
        guard count < ExecutionsLimits.steps else {
          throw RPCError.precondition(.stepInvalid, "an execution has at most \(ExecutionsLimits.steps) steps")
        }
        step = ExecutionStep(stepID: request.stepID, position: UInt32(count + 1))
      }
      step.state = .running
      step.inputHash = hash
      step.output = nil
      step.attempts += 1
      step.begunAt = .init(nanosecondsSinceEpoch: stamp.now)
      step.endedAt = nil
      try ExecutionsStore.put(step, of: key, transaction)
      try tell(JobProgress(stepID: step.stepID, percent: 0, message: "begun"), execution, at: stamp, transaction)
      return StepBegun(step: step)
    }.value
    wakes.wake(key)
    return begun
  }

  func completeStep(_ request: CompleteStepRequest) async throws -> ExecutionStep {
    let claim = request.claim ?? ExecutionClaim()
    let key = ExecutionKey(tenant: claim.tenantID, id: claim.executionID)
    let stamp = ExecutionStamp(environment)
    let step = try await environment.database.transaction("exec.step.complete") { transaction -> ExecutionStep in
      let execution = try claimed(claim, transaction)
      guard var step = try ExecutionsStore.step(transaction, request.stepID, of: key) else {
        throw RPCError.precondition(.stepInvalid, "step \(request.stepID) was not begun")
      }
      // Told twice, it is the same news.
      if step.state != .running { return step }
      step.state = .done
      step.output = request.output
      step.endedAt = .init(nanosecondsSinceEpoch: stamp.now)
      try ExecutionsStore.put(step, of: key, transaction)
      try tell(JobProgress(stepID: step.stepID, percent: 100, message: "done"), execution, at: stamp, transaction)
      return step
    }.value
    wakes.wake(key)
    return step
  }

  func progress(_ request: ReportProgressRequest) async throws {
    let claim = request.claim ?? ExecutionClaim()
    let key = ExecutionKey(tenant: claim.tenantID, id: claim.executionID)
    let stamp = ExecutionStamp(environment)
    _ = try await environment.database.transaction("exec.progress") { transaction in
      let execution = try claimed(claim, transaction)
      let progress = JobProgress(stepID: request.stepID, percent: request.percent, message: request.message)
      try tell(progress, execution, at: stamp, transaction)
    }
    wakes.wake(key)
  }

  func append(_ request: AppendRecordRequest) async throws -> WalRecord {
    let claim = request.claim ?? ExecutionClaim()
    let key = ExecutionKey(tenant: claim.tenantID, id: claim.executionID)
    let stamp = ExecutionStamp(environment)
    let record = try await environment.database.transaction("exec.record") { transaction -> WalRecord in
      var execution = try claimed(claim, transaction)
      // By a handler that begins anew, the same record comes again.
      if let known = try ExecutionsStore.record(transaction, under: request.idempotencyKey, of: key) { return known }
      let record = try append(
        request.recordType, request.payload ?? [:], as: request.idempotencyKey, to: &execution, at: stamp, transaction)
      try ExecutionsStore.update(execution, of: key, transaction)
      return record
    }.value
    wakes.wake(key)
    return record
  }

  /// Makes a record the next of an execution's chain, whose head stands in the execution: the caller writes that.
  private func append(
    _ type: String, _ payload: Google_Protobuf_Struct, as recordKey: String, to execution: inout Execution, at stamp: ExecutionStamp,
    _ transaction: borrowing Transaction
  ) throws -> WalRecord {
    guard execution.records < UInt64(ExecutionsLimits.records) else {
      throw RPCError.resourceExhausted("an execution has at most \(ExecutionsLimits.records) records")
    }
    var appended = WalAppended(
      sequence: execution.records + 1, recordType: type, payload: try payload.canonicalJSON(),
      prevHash: execution.recordsHash, sandbox: execution.sandbox)
    appended.hash = WalChain.hash(of: appended, in: execution.executionID, at: stamp.now)
    let event = try tell(appended, execution, at: stamp, transaction)
    execution.records = appended.sequence
    execution.recordsHash = appended.hash
    let record = WalRecord(
      executionID: execution.executionID, sequence: appended.sequence, recordType: type, payload: appended.payload,
      prevHash: appended.prevHash, hash: appended.hash, logPosition: try event.decoded().logPosition,
      occurredAt: .init(nanosecondsSinceEpoch: stamp.now))
    let key = ExecutionKey(tenant: execution.intent?.tenantID ?? "", id: execution.executionID)
    try ExecutionsStore.insert(record, recordKey, of: key, transaction)
    return record
  }

  // MARK: Events

  /// Appends an event of an execution and adds the update that it stands for.
  @discardableResult
  func tell(
    _ payload: some Message, _ execution: Execution, ended: Bool = false, at stamp: ExecutionStamp, _ transaction: borrowing Transaction
  ) throws -> LogEvent {
    let key = ExecutionKey(tenant: execution.intent?.tenantID ?? "", id: execution.executionID)
    if !ended, try ExecutionsStore.told(transaction, key) >= ExecutionsLimits.updates {
      throw RPCError.resourceExhausted("at most \(ExecutionsLimits.updates) things are told of an execution")
    }
    let event = try transaction.append(
      EventDraft(
        payload, producer: ExecutionsServer.producer, tenant: key.tenant, session: execution.intent?.sessionID ?? "",
        execution: key.id, occurredAt: stamp.now, trace: stamp.trace, leaseEpoch: execution.leaseEpoch), environment)
    try ExecutionsStore.add(event, ended ? ExecutionsStore.full(execution, transaction, key) : nil, to: key, transaction)
    return event
  }

  /// Appends an event that belongs to no execution, or to one that may have ended.
  func append(
    _ payload: some Message, tenant: String, session: String = "", execution: String = "", at stamp: ExecutionStamp,
    _ transaction: borrowing Transaction
  ) throws {
    try transaction.append(
      EventDraft(
        payload, producer: ExecutionsServer.producer, tenant: tenant, session: session, execution: execution, occurredAt: stamp.now,
        trace: stamp.trace), environment)
  }
}

/// The chain that the records of an execution make: each bears the hash of the one before, and its own over that, itself, where and when.
enum WalChain {
  static func hash(of record: WalAppended, in execution: String, at time: Int64) -> [UInt8] {
    var record = record
    record.hash = []
    return SHA256.hash(Array("spanwire-wal-v1\n\(execution)\n\(time)\n".utf8) + record.encoded())
  }
}
