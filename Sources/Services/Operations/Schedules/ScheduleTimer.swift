import SpanwireDatabase
import SpanwireEventLog
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// The effect that fires a schedule, and what follows when it is due: its next timer, what becomes of this time, and the work, all in one
/// transaction. So each time counts once, whatever the process goes through.
enum ScheduleTimer {
  static let method = "schedule-due"

  static func set(_ row: ScheduleStore.ScheduleRow, _ transaction: borrowing Transaction) throws {
    let (tenant, id) = (row.schedule.tenantID, row.schedule.scheduleID)
    try transaction.perform(
      Effect(
        id: row.timer, owner: OperationsServer.producer, stream: "schedule:\(tenant)/\(id)", method: method, request: Array(id.utf8),
        dueAt: row.nextDue, tenant: tenant))
  }
}

/// What a schedule gives to do, and to whom.
struct ScheduledWork: Sendable {
  /// The agent task or execution that it will be.
  let subject: String
  private let path: String
  private let request: [UInt8]

  init?(_ schedule: Schedule, key: String, ids: IDGenerator) {
    switch schedule.work {
    case .task(let task):
      subject = ids.next(.agentTask)
      path = AgentOrchestrator.Methods.submitTask.path
      request = RunTaskRequest(
        idempotencyKey: key, agentTaskID: subject, invoker: "ops_console", context: task.context, task: task.task
      ).encoded()
    case .execution(let execution):
      subject = ids.next(.execution)
      path = Executions.Methods.submitExecution.path
      // Work that belongs to no session has the schedule's own state.
      let session = execution.productRuntimeSessionID
      request = SubmitExecutionRequest(
        idempotencyKey: key, executionID: subject,
        intent: Intent(
          intentType: execution.intentType, sessionID: session.isEmpty ? schedule.scheduleID : session, solutionID: schedule.scheduleID,
          parameters: execution.input)
      ).encoded()
    case nil: return nil
    }
  }

  func effect(_ row: ScheduleStore.ScheduleRow, id: String) -> Effect {
    let (tenant, schedule) = (row.schedule.tenantID, row.schedule.scheduleID)
    return Effect(
      id: id, owner: OperationsServer.producer, stream: "scheduled:\(tenant)/\(schedule)", method: path, request: request, tenant: tenant,
      subject: Principal(storedText: row.subject))
  }
}

extension OperationsServer {
  /// A timer of this service fired, or what it gave to do was taken or refused.
  public func effectOutcome(
    _ effect: Effect, _ outcome: EffectOutcome
  ) async throws -> (@Sendable (borrowing Transaction) throws -> Void)? {
    let now = max(environment.clock.now, effect.dueAt)
    switch (effect.method, outcome) {
    case (IncidentAlert.method, .succeeded):
      return await IncidentAlert.perform(effect, alert, now: now, next: environment.ids.next(.incidentAlert))
    case (ScheduleTimer.method, .succeeded): return try await fire(effect, at: now)
    case (_, .failed(let error)) where effect.stream.hasPrefix("scheduled:"):
      let schedule = effect.stream.split(separator: "/", maxSplits: 1).last.map(String.init) ?? ""
      let reason = String("\(error.code.name): \(error.message)".prefix(ScheduleLimits.reasonLetters))
      return { try ScheduleStore.refuse(tenant: effect.tenant, schedule: schedule, run: effect.id, reason, $0) }
    default: return nil
    }
  }

  private func fire(_ effect: Effect, at now: Int64) async throws -> (@Sendable (borrowing Transaction) throws -> Void)? {
    let (tenant, id) = (effect.tenant, String(decoding: effect.request, as: UTF8.self))
    let found = try await environment.database.read { snapshot in
      (
        try ScheduleStore.schedule(snapshot, tenant: tenant, id: id),
        try ScheduleStore.lastBegun(snapshot, tenant: tenant, schedule: id)
      )
    }
    guard let row = found.0, row.timer == effect.id else { return nil }
    let isRunning = row.schedule.overlap == .skip ? try await isRunning(found.1, row.schedule, tenant) : false
    var unused = Validation()
    let created = row.schedule.createdAt?.nanosecondsSinceEpoch ?? 0
    guard let timing = ScheduleTiming(row.schedule.timing, from: created, &unused) else { return nil }
    // What was missed sorts before what fires now.
    let (missed, run) = (environment.ids.next(.scheduleRun), environment.ids.next(.scheduleRun))
    guard let work = ScheduledWork(row.schedule, key: run, ids: environment.ids) else { return nil }
    let step = ScheduleStep(
      now: now, timing: timing, isRunning: isRunning, timer: environment.ids.next(.scheduleTimer), run: run,
      missed: missed, work: work)
    return { [environment] transaction in
      // It may have been paused, or deleted and made anew, since.
      guard let row = try ScheduleStore.schedule(transaction, tenant: tenant, id: id), row.timer == effect.id else { return }
      try step.write(row, due: effect.dueAt, environment, transaction)
    }
  }

  /// Whether what a schedule began last has not ended.
  private func isRunning(_ last: ScheduleRun?, _ schedule: Schedule, _ tenant: String) async throws -> Bool {
    guard let last, last.outcome != .refused else { return false }
    do {
      if case .execution? = schedule.work {
        let status = try await executions.getExecution(GetExecutionRequest(executionID: last.subjectID)).status
        return status == .created || status == .running
      }
      return try await agents.getTask(GetTaskRequest(agentTaskID: last.subjectID)).endedAt == nil
    } catch let error as RPCError where error.code == .notFound {
      // It is still on its way there.
      return true
    }
  }
}

/// One time of one schedule, about to be written: what may not be asked inside the transaction.
private struct ScheduleStep: Sendable {
  let now: Int64
  let timing: ScheduleTiming
  let isRunning: Bool
  let timer: String
  let run: String
  /// The run of the times before it that were missed.
  let missed: String
  let work: ScheduledWork

  func write(
    _ row: ScheduleStore.ScheduleRow, due: Int64, _ environment: ServiceEnvironment, _ transaction: borrowing Transaction
  ) throws {
    var row = row
    let schedule = row.schedule
    let mode = try IncidentStore.standing(transaction).machine.mode
    let decision = ScheduleDecision.decide(
      timing, due: due, now: now,
      ScheduleDecision.Facts(
        isPaused: schedule.paused, isCritical: schedule.critical, isIncident: mode == .incident, overlaps: schedule.overlap == .allow,
        isRunning: isRunning, coalesces: schedule.missed != .skip))
    for line in decision.lines { try write(line, row, environment, transaction) }
    row.schedule.nextDue = decision.next.map { .init(nanosecondsSinceEpoch: $0) }
    row.timer = timer
    try ScheduleStore.update(row, transaction)
    if decision.next != nil { try ScheduleTimer.set(row, transaction) }
  }

  private func write(
    _ line: ScheduleDecision.Line, _ row: ScheduleStore.ScheduleRow, _ environment: ServiceEnvironment, _ transaction: borrowing Transaction
  ) throws {
    let (tenant, id) = (row.schedule.tenantID, row.schedule.scheduleID)
    var record = ScheduleRun(
      scheduleID: id, due: .init(nanosecondsSinceEpoch: line.due), firings: UInt32(line.firings),
      decidedAt: .init(nanosecondsSinceEpoch: now))
    let last = line.last
    func tell(_ payload: some EventPayload) throws {
      try transaction.append(
        EventDraft(payload, producer: OperationsServer.producer, tenant: tenant, occurredAt: now), environment)
    }
    var key = run
    switch line.fate {
    case .fires, .coalesces:
      (record.outcome, record.subjectID) = (line.fate == .fires ? .fired : .coalesced, work.subject)
      if line.fate == .coalesces { try tell(ScheduleCoalesced(scheduleID: id, firings: UInt32(line.firings))) }
      try tell(ScheduleFired(scheduleID: id, due: .init(nanosecondsSinceEpoch: last), subjectID: work.subject))
      try transaction.perform(work.effect(row, id: run))
    case .isMissed:
      (record.outcome, record.reason, key) = (.missed, "the platform was down", missed)
      try tell(
        ScheduleMissed(
          scheduleID: id, due: .init(nanosecondsSinceEpoch: line.due), reason: record.reason, firings: UInt32(line.firings),
          lastDue: .init(nanosecondsSinceEpoch: last)))
    case .isSkipped(let why):
      (record.outcome, record.reason) = (.skipped, why)
      try tell(ScheduleSkipped(scheduleID: id, due: .init(nanosecondsSinceEpoch: line.due), reason: why))
    }
    try ScheduleStore.insert(record, tenant: tenant, id: key, transaction)
  }
}
