import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// What operators see and do: dead letters, and circuits.
extension OrchestratorServer {
  // MARK: Dead letters

  public func listDeadLetters(_ request: ListDeadLettersRequest, context: ServerContext) async throws -> ListDeadLettersResponse {
    let tenant = try Caller(context).tenant
    var validation = Validation()
    validation.known(request.resolution, "resolution")
    validation.optionalID(request.agentSlug, "agent_slug")
    let size = validation.pageSize(request.pageSize, default: OrchestratorLimits.defaultPageSize, max: OrchestratorLimits.maxPageSize)
    try validation.finish()
    let after = try PageToken.decode(request.pageToken)
    let page = try await environment.database.scan { snapshot in
      try DeadLetterStore.items(
        snapshot, tenant: tenant, slug: request.agentSlug, resolution: request.resolution, after: after, limit: size + 1
      ).map { try DeadLetterStore.full($0, snapshot) }
    }
    var response = ListDeadLettersResponse(items: Array(page.prefix(size)))
    if page.count > size, let last = response.items.last { response.nextPageToken = PageToken.encode(last.itemID) }
    return response
  }

  public func getDeadLetter(_ request: GetDeadLetterRequest, context: ServerContext) async throws -> DeadLetter {
    var validation = Validation()
    validation.id(request.itemID, "item_id")
    try validation.finish()
    let tenant = try Caller(context).tenant
    let item = try await environment.database.read { snapshot in
      try DeadLetterStore.item(snapshot, tenant: tenant, id: request.itemID).map { try DeadLetterStore.full($0, snapshot) }
    }
    guard let item else { throw Self.unknownDeadLetter(request.itemID) }
    return item
  }

  public func reviewDeadLetter(_ request: ReviewDeadLetterRequest, context: ServerContext) async throws -> DeadLetter {
    let caller = try Caller(context)
    var validation = Validation()
    validation.idempotencyKey(request.idempotencyKey)
    validation.id(request.itemID, "item_id")
    if ![.discarded, .manualFix].contains(request.resolution) { validation.add("resolution", "must be discarded or manual_fix") }
    validation.text(request.reason, "reason", max: OrchestratorLimits.reasonLetters)
    try validation.finish()
    let (once, stamp) = (IdempotencyKey(request.idempotencyKey, request, context), TaskStamp(environment))
    let (journal, method) = (journal, context.method.path)
    return try await environment.database.transaction("ao.review") { transaction -> DeadLetter in
      try transaction.once(once, at: stamp.now) {
        guard var item = try DeadLetterStore.item(transaction, tenant: caller.tenant, id: request.itemID) else {
          throw Self.unknownDeadLetter(request.itemID)
        }
        try Self.review(&item, request.resolution, request.reason, caller, method, journal, stamp, transaction)
        return try DeadLetterStore.full(item, transaction)
      }
    }.value
  }

  public func redriveDeadLetters(
    _ request: RedriveDeadLettersRequest, context: ServerContext
  ) async throws -> RedriveDeadLettersResponse {
    let caller = try Caller(context)
    var validation = Validation()
    validation.idempotencyKey(request.idempotencyKey)
    validation.ids(request.itemIds, "item_ids", max: Int(OrchestratorLimits.redrivenAtOnce))
    validation.optionalID(request.agentSlug, "agent_slug")
    validation.range(request.limit, "limit", 0...OrchestratorLimits.redrivenAtOnce)
    validation.text(request.reason, "reason", max: OrchestratorLimits.reasonLetters)
    try validation.finish()
    let (once, stamp) = (IdempotencyKey(request.idempotencyKey, request, context), TaskStamp(environment))
    if case .done(let earlier) = try await environment.database.read({ try $0.recall(once, at: stamp.now) }) {
      return try RedriveDeadLettersResponse(decoding: earlier)
    }
    let limit = Int(request.limit == 0 ? OrchestratorLimits.redrivenAtOnce : request.limit)
    // Each needs room of its own; what finds none stays where it is.
    var keys: [AgentTaskKey] = []
    for _ in 0..<(request.itemIds.isEmpty ? limit : request.itemIds.count) {
      let key = AgentTaskKey(tenant: caller.tenant, id: environment.ids.next(.agentTask))
      guard runner.reserve(key) else { break }
      keys.append(key)
    }
    let room = keys
    let (journal, method) = (journal, context.method.path)
    do {
      let (tasks, executions) = try await letters(request, room, caller, stamp)
      let admitted = try await admit(tasks)
      let (response, rows) = try await environment.database.transaction("ao.redrive") { transaction in
        var rows: [OrchestratorStore.TaskRow] = []
        let response = try transaction.once(once, at: stamp.now) {
          var redriven: [Redriven] = []
          for (letter, key) in executions {
            // Read again: somebody may have reviewed it meanwhile.
            guard var item = try DeadLetterStore.item(transaction, tenant: caller.tenant, id: letter.itemID),
              let execution = item.execution
            else { throw Self.unknownDeadLetter(letter.itemID) }
            item.replayedAs = try Self.redrive(execution, of: item, as: key, caller, stamp, transaction)
            try Self.review(&item, .replayed, request.reason, caller, method, journal, stamp, transaction)
            redriven.append(Redriven(itemID: item.itemID, executionID: item.replayedAs))
          }
          for row in admitted {
            guard var item = try DeadLetterStore.item(transaction, tenant: caller.tenant, id: row.task.redrivenFrom) else {
              throw Self.unknownDeadLetter(row.task.redrivenFrom)
            }
            item.replayedAs = row.task.agentTaskID
            try Self.review(&item, .replayed, request.reason, caller, method, journal, stamp, transaction)
            guard try OrchestratorStore.insert(row, transaction) else { preconditionFailure("ids made here are new") }
            try journal.tellReceipt(row, at: stamp, transaction)
            rows.append(row)
            redriven.append(Redriven(itemID: item.itemID, agentTaskID: row.task.agentTaskID))
          }
          let pending =
            request.itemIds.isEmpty
            ? try DeadLetterStore.pending(transaction, tenant: caller.tenant, slug: request.agentSlug)
            : Int64(request.itemIds.count - redriven.count)
          return RedriveDeadLettersResponse(redriven: redriven, pending: UInt32(clamping: pending))
        }
        return (response, rows)
      }.value
      let begun = Set(rows.map(\.key))
      for key in room where !begun.contains(key) { runner.release(key) }
      for row in rows {
        guard let record = CallerRecord(text: row.caller) else { continue }
        runner.start(row, for: record.principal, trace: record.trace?.child())
      }
      return response
    } catch {
      for key in room { runner.release(key) }
      throw error
    }
  }

  /// The tasks that would be made of the dead letters asked for, as far as there is room, and those that are of executions.
  private func letters(
    _ request: RedriveDeadLettersRequest, _ room: [AgentTaskKey], _ caller: Caller, _ stamp: TaskStamp
  ) async throws -> (tasks: [OrchestratorStore.TaskRow], executions: [(DeadLetter, AgentTaskKey)]) {
    try await environment.database.scan { snapshot in
      let items =
        request.itemIds.isEmpty
        ? try DeadLetterStore.items(
          snapshot, tenant: caller.tenant, slug: request.agentSlug, resolution: .pending, after: "", limit: room.count)
        : try request.itemIds.prefix(room.count).map { id in
          guard let item = try DeadLetterStore.item(snapshot, tenant: caller.tenant, id: id) else { throw Self.unknownDeadLetter(id) }
          try Self.requirePending(item)
          return item
        }
      let letters = Array(zip(items, room))
      return (
        try letters.filter { $0.0.execution == nil }.map { try Self.again($0, as: $1, stamp, snapshot) },
        letters.filter { $0.0.execution != nil }
      )
    }
  }

  /// Asks policy for each task as for one that just came, and has its cost set aside. Those behind one that policy refuses stay dead
  /// letters; when it refuses the first, that is the answer. What is set aside for a task that is not stored after all comes back by itself.
  private func admit(_ rows: [OrchestratorStore.TaskRow]) async throws -> [OrchestratorStore.TaskRow] {
    var admitted: [OrchestratorStore.TaskRow] = []
    for var row in rows {
      do {
        // One whose agent is no longer defined costs nothing: it fails again, and says why.
        if let agent = try await definition(for: row.task) { try await agentGuard.admit(&row.task, of: agent) }
        admitted.append(row)
      } catch let refusal as RPCError where refusal.reason == .policyDenied && !admitted.isEmpty {
        break
      }
    }
    return admitted
  }

  private func definition(for task: AgentTask) async throws -> AgentDefinition? {
    do {
      return try await agent(for: task.task ?? AgentTaskSpec())
    } catch let error as RPCError where error.code == .failedPrecondition {
      return nil
    }
  }

  /// The task of a dead letter once more: for the one who asked then, as a task of its own.
  private static func again(
    _ item: DeadLetter, as key: AgentTaskKey, _ stamp: TaskStamp, _ reader: borrowing some Reader & ~Copyable
  ) throws -> OrchestratorStore.TaskRow {
    let original = AgentTaskKey(tenant: key.tenant, id: item.task?.agentTaskID ?? "")
    guard let row = try OrchestratorStore.task(reader, original) else { throw unknownTask(original.id) }
    let task = AgentTask(
      agentTaskID: key.id, tenantID: key.tenant, invoker: row.task.invoker, context: row.task.context, task: row.task.task,
      state: .received,
      agentSlug: row.task.agentSlug, receivedAt: .init(nanosecondsSinceEpoch: stamp.now), redrivenFrom: item.itemID)
    return OrchestratorStore.TaskRow(
      task: task, attempt: 0, caller: row.caller, byWorkers: row.byWorkers, agent: row.agent, byModel: row.byModel)
  }

  private static func requirePending(_ item: DeadLetter) throws {
    guard item.resolution == .pending else {
      throw RPCError.precondition(.deadLetterReviewed, "\(item.itemID) is \(item.resolution.word) already")
    }
  }

  private static func review(
    _ item: inout DeadLetter, _ resolution: DeadLetter.Resolution, _ reason: String, _ caller: Caller, _ method: String,
    _ journal: TaskJournal, _ stamp: TaskStamp, _ transaction: borrowing Transaction
  ) throws {
    try requirePending(item)
    item.resolution = resolution
    item.reviewedBy = caller.id
    item.reviewedAt = .init(nanosecondsSinceEpoch: stamp.now)
    item.note = reason
    try DeadLetterStore.update(item, transaction)
    let reviewed = DLQReviewed(itemID: item.itemID, verdict: resolution.word, actor: caller.id)
    try journal.append(reviewed, of: item, at: stamp, transaction)
    let audit = AuditRecorded(
      action: "dlq.\(resolution.word)", target: item.itemID, actor: caller.id, actorKind: "\(caller.kind)", decision: "allow",
      reason: reason, method: method)
    try journal.append(audit, of: item, at: stamp, transaction)
  }

  private static func unknownDeadLetter(_ id: String) -> RPCError { .missing(.deadLetterNotFound, "there is no dead letter \(id)") }

  // MARK: Circuits

  public func listBreakers(_ request: ListBreakersRequest, context: ServerContext) async throws -> ListBreakersResponse {
    ListBreakersResponse(breakers: breakers.list(of: try Caller(context).tenant))
  }

  public func setBreaker(_ request: SetBreakerRequest, context: ServerContext) async throws -> Breaker {
    let caller = try Caller(context)
    var validation = Validation()
    validation.idempotencyKey(request.idempotencyKey)
    let parts = request.circuit.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    let isCircuit = parts.count == 2 && ["agent", "tool", "provider"].contains(parts[0]) && Identifier.isValid(parts[1])
    validation.check(isCircuit, "circuit", "must be agent:<slug>, tool:<name> or provider:<name>")
    validation.known(request.mode, "mode")
    if let config = request.config { CircuitBreaker.Config.check(config, &validation) }
    if request.mode == .unspecified, request.config == nil { validation.add("mode", "or config must be given") }
    validation.text(request.reason, "reason", max: OrchestratorLimits.reasonLetters)
    try validation.finish()
    return try await breakers.set(request, by: caller, IdempotencyKey(request.idempotencyKey, request, context), context.method.path)
  }
}

extension DeadLetter.Resolution {
  /// The seed's word.
  var word: String {
    switch self {
    case .pending: "pending"
    case .replayed: "replayed"
    case .discarded: "discarded"
    case .manualFix: "manual_fix"
    default: "unspecified"
    }
  }
}
