import SpanwireEventLog
import SpanwireSchema

/// What incident mode goes by, of all tenants: how work ended, what was spent, and which workers fell silent, each within its window.
///
/// A value without a clock: events come in as they happened, and what they come to is asked for a moment.
struct IncidentFigures: Sendable, Hashable {
  enum Kind: String, Sendable {
    case outcomes
    /// By currency.
    case spend
    /// By tenant and worker; the moment is that of its last heartbeat that failed.
    case silence
  }

  struct Key: Sendable, Hashable {
    var kind: Kind
    var name = ""
    /// The beginning of its stretch; 0 for a worker, which has one entry.
    var stretch: Int64 = 0
  }

  struct Count: Sendable, Hashable {
    /// Ends of work; micro-units; the moment of a silence.
    var total: Int64 = 0
    var failed: Int64 = 0
  }

  private(set) var counts: [Key: Count]
  /// What differs from the rows; a key without a count is gone.
  private(set) var changed: Set<Key> = []

  /// The events that count.
  static let types = [
    AgentTaskResult.eventType, AgentTaskFailed.eventType, AgentTaskTimedOut.eventType, JobCompleted.eventType, JobFailed.eventType,
    BudgetSettled.eventType, HeartbeatOK.eventType, HeartbeatStale.eventType,
  ].map { TypeGlob(stringLiteral: $0.rawValue) }

  init(counts: [Key: Count] = [:]) { self.counts = counts }

  mutating func take(_ event: LogEvent) throws {
    let at = event.header.occurredAt
    switch event.header.type {
    case AgentTaskResult.eventType.rawValue, JobCompleted.eventType.rawValue: count(failed: 0, at)
    case AgentTaskFailed.eventType.rawValue, AgentTaskTimedOut.eventType.rawValue, JobFailed.eventType.rawValue: count(failed: 1, at)
    case BudgetSettled.eventType.rawValue:
      if let spent = try event.payload(BudgetSettled.self), spent.micros > 0 { spend(spent.micros, spent.currency, at) }
    case HeartbeatStale.eventType.rawValue:
      if let stale = try event.payload(HeartbeatStale.self) { silence("\(event.header.tenant)/\(stale.workerID)", at) }
    case HeartbeatOK.eventType.rawValue:
      if counts.keys.contains(where: { $0.kind == .silence }), let well = try event.payload(HeartbeatOK.self) {
        remove(Key(kind: .silence, name: "\(event.header.tenant)/\(well.workerID)"))
      }
    default: break
    }
  }

  private mutating func count(failed: Int64, _ at: Int64) {
    add(Key(kind: .outcomes, stretch: at - at % IncidentLimits.outcomeStretch), Count(total: 1, failed: failed))
  }

  private mutating func spend(_ micros: Int64, _ currency: String, _ at: Int64) {
    let known = Set(counts.keys.lazy.filter { $0.kind == .spend }.map(\.name))
    guard known.contains(currency) || known.count < IncidentLimits.currencies else { return }
    add(Key(kind: .spend, name: currency, stretch: at - at % IncidentLimits.spendStretch), Count(total: micros))
  }

  private mutating func silence(_ worker: String, _ at: Int64) {
    let key = Key(kind: .silence, name: worker)
    guard counts[key] != nil || counts.keys.count(where: { $0.kind == .silence }) < IncidentLimits.workers else { return }
    counts[key] = Count(total: max(at, counts[key]?.total ?? 0))
    changed.insert(key)
  }

  private mutating func add(_ key: Key, _ count: Count) {
    let before = counts[key] ?? Count()
    let (total, overflow) = before.total.addingReportingOverflow(count.total)
    counts[key] = Count(total: overflow ? .max : total, failed: before.failed + count.failed)
    changed.insert(key)
  }

  private mutating func remove(_ key: Key) {
    if counts.removeValue(forKey: key) != nil { changed.insert(key) }
  }

  /// Lets go of what lies behind every window.
  mutating func forget(before now: Int64) {
    for (key, count) in counts where isOver(key, count, now) { remove(key) }
  }

  private func isOver(_ key: Key, _ count: Count, _ now: Int64) -> Bool {
    switch key.kind {
    case .outcomes: key.stretch + IncidentLimits.outcomeStretch <= now - IncidentLimits.window
    case .spend: key.stretch + IncidentLimits.spendStretch <= now - IncidentLimits.spendWindow - IncidentLimits.spendPast
    case .silence: count.total <= now - IncidentLimits.window
    }
  }

  /// The rows are what this is.
  mutating func settled() { changed = [] }

  // MARK: Readings

  /// The three figures at a moment.
  func readings(at now: Int64) -> [IncidentReading] { [errorRate(now), spendRatio(now), silentWorkers(now)] }

  private func errorRate(_ now: Int64) -> IncidentReading {
    var (total, failed): (Int64, Int64) = (0, 0)
    for (key, count) in counts where key.kind == .outcomes && !isOver(key, count, now) {
      total += count.total
      failed += count.failed
    }
    return IncidentReading(
      trigger: .errorRate, value: total < IncidentLimits.leastOutcomes ? 0 : Double(failed) / Double(total),
      declaresAbove: IncidentLimits.errorRate, calmBelow: IncidentLimits.calmErrorRate,
      text: "\(failed) of \(total) tasks and executions failed within 5 min")
  }

  private func spendRatio(_ now: Int64) -> IncidentReading {
    var (lately, past, first): ([String: Int64], [String: Int64], [String: Int64]) = ([:], [:], [:])
    let hour = now - IncidentLimits.spendWindow
    for (key, count) in counts where key.kind == .spend && !isOver(key, count, now) {
      first[key.name] = min(first[key.name] ?? .max, key.stretch)
      if key.stretch >= hour { lately[key.name, default: 0] += count.total } else { past[key.name, default: 0] += count.total }
    }
    var reading = IncidentReading(
      trigger: .spend, value: 0, declaresAbove: IncidentLimits.spendRatio, calmBelow: IncidentLimits.calmSpendRatio,
      text: "no hour to compare with")
    for (currency, spent) in past.sorted(by: { $0.key < $1.key }) {
      let known = min(hour - (first[currency] ?? hour), IncidentLimits.spendPast)
      guard known >= IncidentLimits.leastSpendPast else { continue }
      let average = Double(spent) / (Double(known) / Double(IncidentLimits.spendWindow))
      let now = lately[currency] ?? 0
      let ratio = now < IncidentLimits.leastSpend ? 0 : Double(now) / average
      guard ratio >= reading.value else { continue }
      reading.value = ratio
      reading.text = "\(now) micros of \(currency) within an hour, where an hour of the day before came to \(Int64(average))"
    }
    return reading
  }

  private func silentWorkers(_ now: Int64) -> IncidentReading {
    let silent = counts.filter { $0.key.kind == .silence && !isOver($0.key, $0.value, now) }
    return IncidentReading(
      trigger: .heartbeats, value: Double(silent.count), declaresAbove: IncidentLimits.silentWorkers,
      calmBelow: IncidentLimits.calmSilentWorkers, text: "\(silent.count) workers fell silent within 5 min and did not come back")
  }
}

/// One of the three figures at a moment, beside what it means.
struct IncidentReading: Sendable, Hashable {
  enum Trigger: String, Sendable {
    case errorRate = "error_rate"
    case spend
    case heartbeats
  }

  var trigger: Trigger
  var value: Double
  var declaresAbove: Double
  var calmBelow: Double
  var text: String

  var declares: Bool { value > declaresAbove }
  var isCalm: Bool { value < calmBelow }

  var contract: TriggerReading {
    TriggerReading(trigger: trigger.rawValue, value: value, declaresAbove: declaresAbove, calmBelow: calmBelow, text: text)
  }
}
