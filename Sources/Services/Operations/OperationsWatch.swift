import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// Reads the log a look at a time, for incident mode and for service levels, and writes what came of it with its place: each event counts
/// once, whatever the process goes through.
actor OperationsWatch {
  private let environment: ServiceEnvironment
  private let targets: DefinitionCache<[String: SlaTarget]>
  /// Whether a webhook is told of changes of the mode.
  private let alerts: Bool
  private var seen: Seen?
  private var isLooking = false

  /// What has been read, as its rows have it.
  private struct Seen {
    var position: Int64
    /// The position that stands in its row, which may lie behind.
    var stored: Int64
    var figures: IncidentFigures
    var levels: ServiceLevels
  }

  /// Under which its place is kept.
  static let consumer = "operations"

  init(_ environment: ServiceEnvironment, _ registry: RegistryClient, alerts: Bool) {
    self.environment = environment
    self.alerts = alerts
    targets = DefinitionCache(lifetime: SLALimits.targetLifetime, tenants: SLALimits.tenants) { tenant in
      var found: [String: SlaTarget] = [:]
      // A look is nobody's call, and no part of anybody's trace.
      var trace = TraceContext.root()
      trace.isSampled = false
      let definitions = try await registry.definitions(of: .slaTarget, tenant: tenant, as: OperationsServer.producer, trace: trace)
      for case .slaTarget(let target) in definitions {
        found[target.jobType] = target
      }
      return found
    }
    environment.database.observe(targets)
  }

  /// A tenant's targets by type, its own before those that tenant `platform` shares.
  func targets(of tenant: String) async throws -> [String: SlaTarget] {
    let now = environment.clock.now
    let shared = try await targets.value(of: Caller.platformTenant, now: now)
    if tenant == Caller.platformTenant { return shared }
    return shared.merging(try await targets.value(of: tenant, now: now)) { _, own in own }
  }

  /// What the three figures come to now, as far as the log was read.
  func readings() -> [IncidentReading] { (seen?.figures ?? IncidentFigures()).readings(at: environment.clock.now) }

  /// Looks from time to time until it is cancelled.
  func run() async {
    // What could not be read or written now is looked at again.
    await environment.clock.every(IncidentLimits.look) { try? await look() }
  }

  /// Reads what has happened since the last look, judges it by the clock, and writes down what follows.
  func look() async throws {
    // The ticker and a caller may come at once; one of them looks.
    if isLooking { return }
    isLooking = true
    defer { isLooking = false }
    var next = try await begin()
    let types = Set(IncidentFigures.types + ServiceLevels.types)
    let filter = LogFilter(types: types.sorted { $0.text < $1.text }, tenant: nil)
    var tenants: [String: [String: SlaTarget]] = [:]
    for _ in 0..<IncidentLimits.pagesPerLook {
      let page = try await environment.log.list(filter, after: .after(next.position), limit: IncidentLimits.page)
      for event in page.events {
        let tenant = event.header.tenant
        if tenants[tenant] == nil { tenants[tenant] = try await targets(of: tenant) }
        try next.figures.take(event)
        try next.levels.take(event, tenants[tenant] ?? [:])
      }
      next.position = page.through
      if page.atEnd { break }
    }
    for key in next.levels.open.keys where tenants[key.tenant] == nil { tenants[key.tenant] = try await targets(of: key.tenant) }
    let step = IncidentStep(environment, nil)
    next.figures.forget(before: step.now)
    next.levels.look(at: step.now, tenants)
    if try await settle(next, step) { next.stored = next.position }
    next.figures.settled()
    next.levels.settled()
    seen = next
  }

  private func begin() async throws -> Seen {
    if let seen { return seen }
    let rows = try await environment.database.scan { snapshot in
      (
        try EventConsumers.place(snapshot, Self.consumer) ?? 0, try IncidentStore.figures(snapshot), try SLAStore.open(snapshot)
      )
    }
    let begun = Seen(position: rows.0, stored: rows.0, figures: rows.1, levels: rows.2)
    seen = begun
    return begun
  }

  /// Writes what is new; false when nothing is but events that did not concern it, which a restart reads again.
  private func settle(_ next: Seen, _ step: IncidentStep) async throws -> Bool {
    let (environment, alerts) = (environment, alerts)
    let readings = next.figures.readings(at: step.now)
    let standing = try await environment.database.read { try IncidentStore.standing($0) }
    var stepped = standing
    _ = stepped.machine.step(readings, at: step.now)
    let isUnchanged =
      stepped == standing && next.figures.changed.isEmpty && next.levels.changed.isEmpty
      && next.position - next.stored < EventLogLimits.consumerLag
    if isUnchanged { return false }
    let ids = next.levels.ended.map { _ in environment.ids.next(.slaMeasurement) }
    _ = try await environment.database.transaction("operations.look") { transaction in
      try EventConsumers.advance(transaction, Self.consumer, to: next.position)
      try IncidentStore.write(next.figures, transaction)
      try SLAStore.write(next.levels, transaction)
      for (ended, id) in zip(next.levels.ended, ids) {
        try SLAStore.insert(ended.measurement, tenant: ended.key.tenant, id: id, transaction)
      }
      for breach in next.levels.breaches { try transaction.append(breach.draft(at: step.now), environment) }
      // An operator may have had his hand on it since.
      let before = try IncidentStore.standing(transaction)
      var standing = before
      let change = standing.machine.step(readings, at: step.now)
      try OperationsServer.write(change, &standing, readings, by: "", alerts: alerts, step, environment, transaction)
      if standing != before { try IncidentStore.write(standing, transaction) }
    }
    return true
  }
}

extension ServiceLevels.Breach {
  fileprivate func draft(at now: Int64) -> EventDraft {
    EventDraft(
      SLABreach(
        objective: objective.rawValue, subject: key.subject, targetMs: targetMilliseconds, observedMs: observedMilliseconds,
        jobType: jobType),
      producer: OperationsServer.producer, tenant: key.tenant, execution: isExecution ? key.subject : "",
      agentTask: isExecution ? "" : key.subject, occurredAt: now)
  }
}

extension IDPrefix {
  static let slaMeasurement: IDPrefix = "SLAM"
}
