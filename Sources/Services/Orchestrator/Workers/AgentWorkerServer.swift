import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// The side of AO that workers attach to. What they may do to a task goes through the same journal as what the platform's agents do.
public final class AgentWorkerServer: AgentWorkerService {
  let environment: ServiceEnvironment
  let journal: TaskJournal
  let pool: WorkerPool
  let places: TaskPlaces
  private let executions: ExecutionsClient
  private let supervision: Duration

  init(
    environment: ServiceEnvironment, executions: ExecutionsClient, journal: TaskJournal, pool: WorkerPool, places: TaskPlaces,
    supervision: Duration
  ) {
    self.environment = environment
    self.executions = executions
    self.journal = journal
    self.pool = pool
    self.places = places
    self.supervision = supervision
  }

  public func attach(
    _ requests: RequestStream<AttachRequest>, responses: ResponseWriter<AttachResponse>, context: ServerContext
  ) async throws {
    let caller = try Caller(context)
    guard let first = try await requests.next() else { return }
    let registration = try WorkerValidation.registration(first, caller)
    for offer in registration.handlers {
      _ = try await executions.registerIntent(
        RegisterIntentRequest(intentType: offer.intentType, handlerName: offer.handlerName, priority: offer.priority))
    }
    let (id, outbox) = try pool.attach(registration, tenant: caller.tenant, at: environment.clock.now)
    var why = "it ended its stream"
    do {
      if let info = pool.worker(named: registration.workerID, of: caller.tenant)?.1 { try await keep(info) }
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { for await message in outbox { try await responses.write(message) } }
        group.addTask { [self] in
          while let request = try await requests.next() { try await hear(request, from: id) }
        }
        group.addTask { [self] in await watch(over: id) }
        // Whoever ends first ends the attachment: the worker has gone, or was shown out.
        defer { group.cancelAll() }
        try await group.next()
      }
    } catch {
      why = "its stream broke"
      try await leave(id, why, because: error)
      throw error
    }
    try await leave(id, why, because: nil)
  }

  /// Ends every attachment, so that workers go elsewhere: the server drains.
  public func endAttachments() { pool.stop() }

  /// Notes that a worker has gone. Throws what the platform ended its stream with.
  private func leave(_ id: UInt64, _ why: String, because error: (any Error)?) async throws {
    guard let (worker, ending) = pool.detach(id, why) else { return }
    // One that attached again elsewhere has written its own row.
    let isReplaced = ending?.reason == .workerReplaced
    // The caller's end of the stream may be gone, and with it the task that this runs in: what it leaves behind must be written all the same.
    if !isReplaced { try await Task { try await keep(worker.info) }.value }
    if error == nil, let ending { throw ending }
  }

  private func keep(_ info: WorkerInfo) async throws {
    _ = try await environment.database.transaction("ao.worker") { try WorkerStore.upsert(info, $0) }
  }

  // MARK: What a worker says

  private func hear(_ request: AttachRequest, from id: UInt64) async throws {
    switch request.kind {
    case .heartbeat(let heartbeat): pool.heard(id, residentBytes: heartbeat.residentBytes, at: environment.clock.now)
    case .draining: pool.drain(id, "it drains by itself", saysSo: false)
    case .progress(let said):
      let (claim, progress) = (said.claim ?? WorkClaim(), said.progress ?? Progress())
      try await tell(.progress(progress), claim, from: id) { try WorkerValidation.progress(progress) }
    case .partial(let said):
      let (claim, partial) = (said.claim ?? WorkClaim(), said.partial ?? Partial())
      try await tell(.partial(partial), claim, from: id) { try WorkerValidation.partial(partial) }
    case .result(let result):
      let claim = result.claim ?? WorkClaim()
      do {
        let answer = try WorkerValidation.answer(result)
        if !pool.take(.success(answer), of: claim, from: id) { try await refuseStale(claim, from: id) }
      } catch let error as RPCError {
        let lost = AttemptLost(outcome: "failed", reason: "INVALID_ANSWER", message: error.message)
        if !pool.take(.failure(lost), of: claim, from: id) { return try await refuseStale(claim, from: id) }
        pool.say(.refused(AnswerRefused(claim: claim, reason: error.message)), to: id)
      }
    case .failure(let failure):
      let claim = failure.claim ?? WorkClaim()
      let reason = String(failure.reason.isEmpty ? "FAILED" : failure.reason.prefix(100))
      let message = String(failure.message.prefix(OrchestratorLimits.reasonLetters))
      let error: any Error =
        failure.isFinal
        ? RPCError.failedPrecondition(message.isEmpty ? reason : "\(reason): \(message)")
        : AttemptLost(outcome: "failed", reason: reason, message: message)
      if !pool.take(.failure(error), of: claim, from: id) { try await refuseStale(claim, from: id) }
    case .registration: throw RPCError.invalidField("registration", "must come once, and first")
    case nil: throw RPCError.invalidField("kind", "is required")
    }
  }

  private func tell(
    _ update: AgentTaskUpdate.Update, _ claim: WorkClaim, from id: UInt64, checked check: () throws -> Void
  ) async throws {
    guard pool.holds(id, claim) else { return try await refuseStale(claim, from: id) }
    if !claim.executionID.isEmpty {
      let reason = "what is told of an execution goes to spanwire.executions.v1.Executions/ReportProgress"
      return pool.say(.refused(AnswerRefused(claim: claim, reason: reason)), to: id)
    }
    do {
      try check()
      try await journal.tell(update, of: AgentTaskKey(tenant: claim.tenantID, id: claim.agentTaskID), under: claim.leaseEpoch)
    } catch is CancellationError {
      try await refuseStale(claim, from: id)
    } catch let error as RPCError where error.code == .invalidArgument {
      pool.say(.refused(AnswerRefused(claim: claim, reason: error.message)), to: id)
    }
  }

  /// Refuses what comes under an epoch that does not count, or no longer, and lets the log know if there is such a task.
  private func refuseStale(_ claim: WorkClaim, from id: UInt64) async throws {
    try Task.checkCancellation()
    if !claim.executionID.isEmpty {
      let reason = "nobody waits for an answer of \(claim.executionID) under epoch \(claim.leaseEpoch)"
      return pool.say(.refused(AnswerRefused(claim: claim, reason: reason)), to: id)
    }
    let key = AgentTaskKey(tenant: claim.tenantID, id: claim.agentTaskID)
    let (journal, stamp) = (journal, TaskStamp(environment))
    let served = pool.serves(id)
    let row = try await environment.database.transaction("ao.stale") { transaction -> OrchestratorStore.TaskRow? in
      // A worker of one tenant learns nothing of another's tasks.
      guard served == .some(nil) || served == key.tenant, let row = try OrchestratorStore.task(transaction, key) else { return nil }
      try journal.tell(.stale(epoch: claim.leaseEpoch, current: row.attempt), of: row, at: stamp, transaction)
      return row
    }.value
    let reason =
      if let row {
        row.attempt == claim.leaseEpoch
          ? "the task is \(row.task.state.word), or this was answered before" : "epoch \(claim.leaseEpoch) is over, \(row.attempt) stands"
      } else {
        "there is no such task"
      }
    pool.say(.refused(AnswerRefused(claim: claim, reason: reason)), to: id)
  }

  // MARK: Supervision

  /// Looks at a worker from time to time, as long as it is attached.
  private func watch(over id: UInt64) async {
    // What cannot be written now is found again, or its absence is no more than a missing line in the log.
    await environment.clock.every(supervision) { try? await supervise(id) }
  }

  /// One look at a worker, with what came up written down.
  func supervise(_ id: UInt64) async throws {
    guard let finding = pool.supervise(id, at: environment.clock.now) else { return }
    let (journal, stamp) = (journal, TaskStamp(environment))
    _ = try await environment.database.transaction("ao.supervise") { transaction in
      let worker = finding.worker
      switch finding.kind {
      case .silent(let nanoseconds), .dead(let nanoseconds):
        let stale = HeartbeatStale(workerID: worker.workerID, silentMs: nanoseconds / 1_000_000)
        try journal.append(stale, tenant: worker.tenantID, at: stamp, transaction)
      case .stuck(let key, let nanoseconds):
        let slug = try OrchestratorStore.task(transaction, key)?.task.agentSlug ?? ""
        let stalled = AgentStalled(agentSlug: slug, workerID: worker.workerID, silentMs: nanoseconds / 1_000_000)
        try journal.append(stalled, tenant: key.tenant, at: stamp, transaction)
      case .large: break
      case .well(let renewed):
        let well = HeartbeatOK(workerID: worker.workerID, residentBytes: worker.residentBytes)
        try journal.append(well, tenant: worker.tenantID, at: stamp, transaction)
        for claim in renewed {
          let run = claim.executionID.isEmpty ? claim.agentTaskID : claim.executionID
          let renewal = RunLeaseRenewed(runID: run, workerID: worker.workerID, leaseEpoch: claim.leaseEpoch)
          try journal.append(renewal, tenant: claim.tenantID, at: stamp, transaction)
        }
      }
      try WorkerStore.upsert(worker, transaction)
    }
  }

  // MARK: For operators

  public func listWorkers(_ request: ListWorkersRequest, context: ServerContext) async throws -> ListWorkersResponse {
    let tenant = try Caller(context).tenant
    var validation = Validation()
    let size = validation.pageSize(request.pageSize, default: OrchestratorLimits.defaultPageSize, max: OrchestratorLimits.maxPageSize)
    try validation.finish()
    let after = try PageToken.decode(request.pageToken)
    let page = try await environment.database.scan { try WorkerStore.workers($0, tenant: tenant, after: after, limit: size + 1) }
    var present: [String: WorkerInfo] = [:]
    for worker in pool.workers(of: tenant) { present[worker.workerID] = worker }
    var response = ListWorkersResponse(workers: page.prefix(size).map { present[$0.workerID] ?? $0 })
    if page.count > size, let last = response.workers.last { response.nextPageToken = PageToken.encode(last.workerID) }
    let load = places.load(of: tenant)
    (response.waiting, response.running) = (UInt32(load.waiting), UInt32(load.running))
    return response
  }

  public func drainWorker(_ request: DrainWorkerRequest, context: ServerContext) async throws -> WorkerInfo {
    let caller = try Caller(context)
    var validation = Validation()
    validation.id(request.workerID, "worker_id")
    validation.text(request.reason, "reason", max: OrchestratorLimits.reasonLetters)
    try validation.finish()
    guard let (id, before) = pool.worker(named: request.workerID, of: caller.tenant), pool.drain(id, request.reason, saysSo: true) else {
      throw RPCError.missing(.workerNotFound, "no worker \(request.workerID) is attached")
    }
    // One without work may have gone by now, and has written its row.
    let present = pool.worker(named: request.workerID, of: caller.tenant)?.1
    var info = present ?? before
    info.state = .draining
    let answer = info
    let (journal, stamp) = (journal, TaskStamp(environment))
    let audit = AuditRecorded(
      action: "worker.drain", target: request.workerID, actor: caller.id, actorKind: "\(caller.kind)", decision: "allow",
      reason: request.reason, method: context.method.path)
    _ = try await environment.database.transaction("ao.drain") { transaction in
      if let present { try WorkerStore.upsert(present, transaction) }
      try journal.append(audit, tenant: caller.tenant, at: stamp, transaction)
    }
    return answer
  }
}
