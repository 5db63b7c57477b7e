import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// Incident mode: what it is, how it came to be, and an operator's hand on it.
extension OperationsServer {
  public func getIncidentMode(_ request: GetIncidentModeRequest, context: ServerContext) async throws -> IncidentStatus {
    let standing = try await environment.database.read { try IncidentStore.standing($0) }
    let isPlatform = try Caller(context).tenant == Caller.platformTenant
    return await status(standing, isWhole: isPlatform)
  }

  public func listIncidentLog(_ request: ListIncidentLogRequest, context: ServerContext) async throws -> ListIncidentLogResponse {
    try requirePlatform(Caller(context), "the incident log tells of every tenant's work")
    var fields = Validation()
    let size = fields.pageSize(request.pageSize, default: IncidentLimits.defaultPageSize, max: IncidentLimits.maxPageSize)
    try fields.finish()
    let before = try PageToken.decode(request.pageToken)
    let page = try await environment.database.scan { try IncidentStore.entries($0, before: before, limit: size + 1) }
    var response = ListIncidentLogResponse(entries: Array(page.prefix(size)))
    if page.count > size, let last = response.entries.last { response.nextPageToken = PageToken.encode(last.incidentID) }
    return response
  }

  public func forceIncidentMode(_ request: ForceIncidentModeRequest, context: ServerContext) async throws -> IncidentStatus {
    let caller = try Caller(context)
    try requirePlatform(caller, "incident mode is every tenant's")
    guard !OperationsLimits.backupRoles.isDisjoint(with: caller.roles) else {
      throw RPCError.denied(.policyDenied, rule: "R7-grant", "it takes platform_admin or platform_sre")
    }
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.known(request.mode, "mode")
    fields.text(request.reason, "reason", max: IncidentLimits.reasonLetters)
    let lasts = request.lasts?.duration ?? IncidentLimits.forced
    fields.check(lasts > .zero && lasts <= IncidentLimits.longestForced, "lasts", "must be more than nothing and at most a day")
    try fields.finish()
    let once = IdempotencyKey(request.idempotencyKey, request, context)
    let (step, readings, method) = (IncidentStep(environment, context.trace), await watch.readings(), context.method.path)
    let alerts = alert != nil
    let standing = try await environment.database.transaction("operations.force") { [environment] transaction -> IncidentStatus in
      try transaction.once(once, at: step.now) {
        var standing = try IncidentStore.standing(transaction)
        if let mode = IncidentStateMachine.Mode(request.mode) {
          let forced = IncidentStateMachine.Forced(by: caller.name, reason: request.reason, until: step.now + lasts.nanoseconds)
          let change = standing.machine.force(mode, forced, at: step.now)
          try Self.write(change, &standing, readings, by: caller.name, alerts: alerts, step, environment, transaction)
        } else {
          standing.machine.release()
        }
        try IncidentStore.write(standing, transaction)
        let audit = AuditRecorded(
          action: "incident.force", target: request.mode == .unspecified ? "automatic" : standing.machine.mode.rawValue, actor: caller.name,
          actorKind: "\(caller.kind)", decision: "allow", rule: "R7-grant", reason: request.reason, method: method)
        try transaction.append(step.draft(audit), environment)
        return Self.contract(standing, readings: readings)
      }
    }.value
    return standing
  }

  private func requirePlatform(_ caller: Caller, _ why: String) throws {
    guard caller.tenant == Caller.platformTenant else {
      throw RPCError.denied(.policyDenied, rule: "R7-grant", "\(why): it takes an operator of the tenant \(Caller.platformTenant)")
    }
  }

  private func status(_ standing: IncidentStore.Standing, isWhole: Bool) async -> IncidentStatus {
    guard isWhole else {
      let machine = standing.machine
      return IncidentStatus(mode: machine.mode.contract, since: machine.since == 0 ? nil : .init(nanosecondsSinceEpoch: machine.since))
    }
    return Self.contract(standing, readings: await watch.readings())
  }

  private static func contract(_ standing: IncidentStore.Standing, readings: [IncidentReading]) -> IncidentStatus {
    let machine = standing.machine
    return IncidentStatus(
      mode: machine.mode.contract, since: machine.since == 0 ? nil : .init(nanosecondsSinceEpoch: machine.since),
      incidentID: standing.incidentID, readings: readings.map(\.contract),
      calmSince: machine.calmSince.map { .init(nanosecondsSinceEpoch: $0) }, forcedBy: machine.forced?.by ?? "",
      forcedReason: machine.forced?.reason ?? "", forcedUntil: machine.forced.map { .init(nanosecondsSinceEpoch: $0.until) })
  }

  // MARK: Changes

  /// Writes a change of mode down: its event, its entry in the log, and the call of the webhook. `standing` is written by whoever asks.
  static func write(
    _ change: IncidentStateMachine.Change?, _ standing: inout IncidentStore.Standing, _ readings: [IncidentReading], by actor: String,
    alerts: Bool, _ step: IncidentStep, _ environment: ServiceEnvironment, _ transaction: borrowing Transaction
  ) throws {
    guard let change else { return }
    let (mode, incidentReason): (IncidentStateMachine.Mode, String)
    switch change {
    case .declared(let from, let to, let trigger, let reason):
      (mode, incidentReason) = (to, reason)
      if standing.incidentID.isEmpty { standing.incidentID = step.incidentID }
      var entry =
        try IncidentStore.entry(transaction, standing.incidentID)
        ?? IncidentLogEntry(
          incidentID: standing.incidentID, declaredAt: .init(nanosecondsSinceEpoch: step.now), triggerReason: reason,
          triggerData: readings.map(\.contract), declaredBy: actor)
      if to.contract.rawValue > entry.worst.rawValue { entry.worst = to.contract }
      if alerts { entry.alert = "pending" }
      try IncidentStore.write(entry, transaction)
      let declared = IncidentDeclared(
        fromMode: from.rawValue, toMode: to.rawValue, trigger: trigger, incidentID: standing.incidentID, reason: reason, actor: actor)
      try transaction.append(step.draft(declared), environment)
    case .resolved(let from, let to, let reason):
      (mode, incidentReason) = (to, reason)
      if var entry = try IncidentStore.entry(transaction, standing.incidentID), to == .normal {
        entry.resolvedAt = .init(nanosecondsSinceEpoch: step.now)
        entry.resolutionNote = reason
        if alerts { entry.alert = "pending" }
        try IncidentStore.write(entry, transaction)
      }
      let resolved = IncidentResolved(
        fromMode: from.rawValue, toMode: to.rawValue, reason: reason, incidentID: standing.incidentID, actor: actor)
      try transaction.append(step.draft(resolved), environment)
    }
    if alerts {
      let order = IncidentAlert.Order(incidentID: standing.incidentID, mode: mode, reason: incidentReason, at: step.now)
      try IncidentAlert.set(order, id: step.alertID, dueAt: 0, in: transaction)
    }
    if mode == .normal { standing.incidentID = "" }
  }
}

/// When a change of mode is written and under which ids: taken before the transaction, which may run again.
struct IncidentStep: Sendable {
  let now: Int64
  let trace: TraceContext?
  let incidentID: String
  let alertID: String

  init(_ environment: ServiceEnvironment, _ trace: TraceContext?) {
    now = environment.clock.now
    self.trace = trace
    incidentID = environment.ids.next(.incident)
    alertID = environment.ids.next(.incidentAlert)
  }

  /// An event of the platform's.
  func draft(_ payload: some EventPayload) -> EventDraft {
    EventDraft(payload, producer: OperationsServer.producer, tenant: Caller.platformTenant, occurredAt: now, trace: trace)
  }
}

extension IDPrefix {
  static let incidentAlert: IDPrefix = "ALERT"
}

extension IncidentStateMachine.Mode {
  init?(_ contract: IncidentMode) {
    switch contract {
    case .normal: self = .normal
    case .degraded: self = .degraded
    case .incident: self = .incident
    default: return nil
    }
  }

  var contract: IncidentMode {
    switch self {
    case .normal: .normal
    case .degraded: .degraded
    case .incident: .incident
    }
  }
}
