import SpanwireDatabase
import SpanwireEventLog
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// Schedules by hand: made, looked at, paused, deleted.
extension OperationsServer {
  public func createSchedule(_ request: CreateScheduleRequest, context: ServerContext) async throws -> Schedule {
    let caller = try Caller(context)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    let (now, asked) = (environment.clock.now, request.schedule ?? Schedule())
    let timing = Self.check(asked, at: now, caller, &fields)
    try fields.finish()
    guard let due = timing?.next(after: now) else { throw RPCError.invalidField("schedule.timing", "is never due") }
    var schedule = asked
    schedule.tenantID = caller.tenant
    if schedule.overlap == .unspecified { schedule.overlap = .skip }
    if schedule.missed == .unspecified { schedule.missed = .coalesce }
    schedule.createdBy = caller.name
    schedule.createdAt = .init(nanosecondsSinceEpoch: now)
    schedule.nextDue = .init(nanosecondsSinceEpoch: due)
    let row = ScheduleStore.ScheduleRow(
      schedule: schedule, subject: context.principal.subject.storedText, timer: environment.ids.next(.scheduleTimer))
    let once = IdempotencyKey(request.idempotencyKey, request, context)
    let audit = audit("schedule.create", schedule.scheduleID, "", caller, context)
    return try await environment.database.transaction("operations.schedule") { [environment] transaction in
      try transaction.once(once, at: now) {
        guard try ScheduleStore.count(transaction, tenant: row.schedule.tenantID) < ScheduleLimits.schedules else {
          throw RPCError.resourceExhausted("the tenant has \(ScheduleLimits.schedules) schedules, as many as it may")
        }
        guard try ScheduleStore.insert(row, transaction) else {
          throw RPCError.refusal(.alreadyExists, .scheduleExists, "there is a schedule \(row.schedule.scheduleID) already")
        }
        try ScheduleTimer.set(row, transaction)
        try transaction.append(audit, environment)
        return row.schedule
      }
    }.value
  }

  public func getSchedule(_ request: GetScheduleRequest, context: ServerContext) async throws -> Schedule {
    var fields = Validation()
    fields.id(request.scheduleID, "schedule_id")
    try fields.finish()
    let (tenant, id) = (try Caller(context).tenant, request.scheduleID)
    guard let row = try await environment.database.read({ try ScheduleStore.schedule($0, tenant: tenant, id: id) }) else {
      throw Self.unknownSchedule(id)
    }
    return row.schedule
  }

  public func listSchedules(_ request: ListSchedulesRequest, context: ServerContext) async throws -> ListSchedulesResponse {
    let tenant = try Caller(context).tenant
    var fields = Validation()
    let size = fields.pageSize(request.pageSize, default: ScheduleLimits.defaultPageSize, max: ScheduleLimits.maxPageSize)
    try fields.finish()
    let after = try PageToken.decode(request.pageToken)
    let page = try await environment.database.scan { try ScheduleStore.page($0, tenant: tenant, after: after, limit: size + 1) }
    var response = ListSchedulesResponse(schedules: page.prefix(size).map(\.schedule))
    if page.count > size, let last = response.schedules.last { response.nextPageToken = PageToken.encode(last.scheduleID) }
    return response
  }

  public func setSchedulePaused(_ request: SetSchedulePausedRequest, context: ServerContext) async throws -> Schedule {
    let caller = try Caller(context)
    let audit = audit(request.paused ? "schedule.pause" : "schedule.resume", request.scheduleID, request.reason, caller, context)
    let once = try Self.change(request.idempotencyKey, request.scheduleID, request.reason, request, context)
    let now = environment.clock.now
    return try await environment.database.transaction("operations.pause") { [environment] transaction in
      try transaction.once(once, at: now) {
        guard var row = try ScheduleStore.schedule(transaction, tenant: caller.tenant, id: request.scheduleID) else {
          throw Self.unknownSchedule(request.scheduleID)
        }
        row.schedule.paused = request.paused
        try ScheduleStore.update(row, transaction)
        try transaction.append(audit, environment)
        return row.schedule
      }
    }.value
  }

  public func deleteSchedule(_ request: DeleteScheduleRequest, context: ServerContext) async throws -> DeleteScheduleResponse {
    let caller = try Caller(context)
    let audit = audit("schedule.delete", request.scheduleID, request.reason, caller, context)
    let once = try Self.change(request.idempotencyKey, request.scheduleID, request.reason, request, context)
    let now = environment.clock.now
    return try await environment.database.transaction("operations.unschedule") { [environment] transaction in
      try transaction.once(once, at: now) {
        guard let row = try ScheduleStore.schedule(transaction, tenant: caller.tenant, id: request.scheduleID) else {
          throw Self.unknownSchedule(request.scheduleID)
        }
        try transaction.cancelEffect(row.timer, at: now)
        try ScheduleStore.delete(tenant: caller.tenant, id: request.scheduleID, transaction)
        try transaction.append(audit, environment)
        return DeleteScheduleResponse()
      }
    }.value
  }

  public func listScheduleRuns(_ request: ListScheduleRunsRequest, context: ServerContext) async throws -> ListScheduleRunsResponse {
    let tenant = try Caller(context).tenant
    var fields = Validation()
    fields.id(request.scheduleID, "schedule_id")
    let size = fields.pageSize(request.pageSize, default: ScheduleLimits.defaultPageSize, max: ScheduleLimits.maxPageSize)
    try fields.finish()
    let before = try PageToken.decode(request.pageToken)
    let page = try await environment.database.scan { snapshot in
      guard try ScheduleStore.schedule(snapshot, tenant: tenant, id: request.scheduleID) != nil else {
        throw Self.unknownSchedule(request.scheduleID)
      }
      return try ScheduleStore.runs(snapshot, tenant: tenant, schedule: request.scheduleID, before: before, limit: size + 1)
    }
    return ListScheduleRunsResponse(
      runs: page.prefix(size).map(\.run), nextPageToken: page.count > size ? PageToken.encode(page[size - 1].id) : "")
  }

  // MARK: Inside

  static func unknownSchedule(_ id: String) -> RPCError { .missing(.scheduleNotFound, "there is no schedule \(id)") }

  /// Checks what every change of a schedule names.
  private static func change(
    _ key: String, _ id: String, _ reason: String, _ request: some Message, _ context: ServerContext
  ) throws -> IdempotencyKey {
    var fields = Validation()
    fields.idempotencyKey(key)
    fields.id(id, "schedule_id")
    fields.text(reason, "reason", max: ScheduleLimits.reasonLetters)
    try fields.finish()
    return IdempotencyKey(key, request, context)
  }

  private static func check(_ schedule: Schedule, at now: Int64, _ caller: Caller, _ fields: inout Validation) -> ScheduleTiming? {
    fields.id(schedule.scheduleID, "schedule.schedule_id")
    fields.check(schedule.tenantID.isEmpty || schedule.tenantID == caller.tenant, "schedule.tenant_id", "must be the caller's own")
    fields.optionalText(schedule.title, "schedule.title", max: ScheduleLimits.titleLetters)
    fields.known(schedule.overlap, "schedule.overlap")
    fields.known(schedule.missed, "schedule.missed")
    for (name, isGiven) in [
      ("next_due", schedule.nextDue != nil), ("created_by", !schedule.createdBy.isEmpty), ("created_at", schedule.createdAt != nil),
    ] {
      fields.check(!isGiven, "schedule.\(name)", "is the platform's to fill in")
    }
    switch schedule.work {
    case .task(let task):
      // What a task must be, AO says when it is given one; that there is one can be said now.
      fields.check(!(task.task?.agentType.isEmpty ?? true), "schedule.task.task.agent_type", "is required")
      fields.check(!(task.task?.intent.isEmpty ?? true), "schedule.task.task.intent", "is required")
    case .execution(let execution):
      fields.id(execution.intentType, "schedule.execution.intent_type")
      fields.optionalID(execution.productRuntimeSessionID, "schedule.execution.product_runtime_session_id")
    case nil: fields.add("schedule.work", "task or execution must be given")
    }
    return ScheduleTiming(schedule.timing, from: now, &fields)
  }

  private func audit(_ action: String, _ target: String, _ reason: String, _ caller: Caller, _ context: ServerContext) -> EventDraft {
    EventDraft(
      AuditRecorded(
        action: action, target: target, actor: caller.name, actorKind: "\(caller.kind)", decision: "allow", reason: reason,
        method: context.method.path),
      producer: Self.producer, tenant: caller.tenant, org: caller.organization, occurredAt: environment.clock.now, trace: context.trace)
  }

  /// What holds between the rows of schedules and their timers: a check of `spanwire verify`.
  func verifySchedules() async throws -> Verification {
    let (examined, untimed) = try await environment.database.scan { try ScheduleStore.untimed($0, limit: Verification.maxFindings) }
    var check = Verification("operations: every schedule has its timer", examined: examined)
    for name in untimed { check.found("nothing will fire the schedule \(name)") }
    return check
  }
}

extension IDPrefix {
  static let scheduleTimer: IDPrefix = "SCHT"
  static let scheduleRun: IDPrefix = "SCHR"
}
