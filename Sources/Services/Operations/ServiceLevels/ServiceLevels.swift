import SpanwireEventLog
import SpanwireSchema

/// What runs and how long it has taken, beside the target of its type. A value without a clock: events come in as they happened.
///
/// Only what has a target is watched. A target that is missed is told of while the work still runs, and once.
struct ServiceLevels: Sendable {
  struct Key: Sendable, Hashable {
    var tenant: String
    var subject: String
  }

  /// Work that has not ended.
  struct Open: Sendable, Hashable {
    var isExecution: Bool
    var jobType: String
    var receivedAt: Int64
    var firstUpdateAt: Int64?
    var toolRounds: UInt32 = 0
    var firstUpdateTold = false
    var completionTold = false
  }

  /// A target that was missed.
  struct Breach: Sendable, Hashable {
    enum Objective: String, Sendable {
      case firstUpdate = "time_to_first_update_ms"
      case completion = "time_to_completion_ms"
    }

    var key: Key
    var isExecution: Bool
    var jobType: String
    var objective: Objective
    var targetMilliseconds: Int64
    var observedMilliseconds: Int64
  }

  /// Work that has ended.
  struct Ended: Sendable {
    var key: Key
    var measurement: SlaMeasurement
  }

  private(set) var open: [Key: Open]
  /// What differs from the rows; a key that is not open is gone.
  private(set) var changed: Set<Key> = []
  private(set) var breaches: [Breach] = []
  private(set) var ended: [Ended] = []

  static let types: [TypeGlob] = [
    "agent.task.received", "agent.task.started", "agent.task.progress", "agent.task.partial", "agent.task.result", "agent.task.failed",
    "agent.task.timed_out", "agent.task.cancelled", "job.received", "job.progress", "job.completed", "job.failed", "job.cancelled",
    "tool.call_completed", "tool.call_failed",
  ]

  init(open: [Key: Open] = [:]) { self.open = open }

  /// Takes an event in.
  ///
  /// - Parameter targets: of its tenant, by type.
  mutating func take(_ event: LogEvent, _ targets: [String: SlaTarget]) throws {
    // Most tenants have no target: of their events nothing is read but the type.
    if targets.isEmpty, open.isEmpty { return }
    let type = event.header.type
    let envelope = try event.decoded()
    let isExecution = envelope.agentTaskID.isEmpty
    let key = Key(tenant: event.header.tenant, subject: isExecution ? envelope.executionID : envelope.agentTaskID)
    if key.subject.isEmpty { return }
    switch type {
    case AgentTaskReceived.eventType.rawValue:
      receive(key, false, try envelope.payload?.unpack(as: AgentTaskReceived.self).intent ?? "", event, targets)
    case JobReceived.eventType.rawValue:
      receive(key, true, try envelope.payload?.unpack(as: JobReceived.self).intentType ?? "", event, targets)
    case "agent.task.started", "agent.task.progress", "agent.task.partial", "job.progress":
      guard open[key] != nil, open[key]?.firstUpdateAt == nil else { return }
      open[key]?.firstUpdateAt = event.header.occurredAt
      changed.insert(key)
      judge(key, targets, at: event.header.occurredAt)
    case "tool.call_completed", "tool.call_failed":
      guard open[key] != nil else { return }
      open[key]?.toolRounds += 1
      changed.insert(key)
    case "agent.task.result", "job.completed": end(key, "completed", event, targets)
    case "agent.task.failed", "job.failed": end(key, "failed", event, targets)
    case "agent.task.timed_out": end(key, "timed_out", event, targets)
    case "agent.task.cancelled", "job.cancelled": end(key, "cancelled", event, targets)
    default: break
    }
  }

  private mutating func receive(
    _ key: Key, _ isExecution: Bool, _ jobType: String, _ event: LogEvent, _ targets: [String: SlaTarget]
  ) {
    guard targets[jobType] != nil, open[key] == nil, open.count < SLALimits.open else { return }
    open[key] = Open(isExecution: isExecution, jobType: jobType, receivedAt: event.header.occurredAt)
    changed.insert(key)
  }

  private mutating func end(_ key: Key, _ outcome: String, _ event: LogEvent, _ targets: [String: SlaTarget]) {
    guard open[key] != nil else { return }
    let at = event.header.occurredAt
    // What was taken back on the way missed nothing by ending.
    if outcome != "cancelled" { judge(key, targets, at: at) }
    guard let work = open.removeValue(forKey: key) else { return }
    changed.insert(key)
    ended.append(
      Ended(
        key: key,
        measurement: SlaMeasurement(
          subjectID: key.subject, jobType: work.jobType,
          timeToFirstUpdateMs: work.firstUpdateAt.map { ($0 - work.receivedAt) / 1_000_000 },
          timeToCompletionMs: (at - work.receivedAt) / 1_000_000, toolRounds: work.toolRounds,
          slaBreached: work.firstUpdateTold || work.completionTold, outcome: outcome, createdAt: .init(nanosecondsSinceEpoch: at))))
  }

  /// Tells of what has missed a target by a moment, and lets go of what no end was heard of.
  mutating func look(at now: Int64, _ targets: [String: [String: SlaTarget]]) {
    for (key, work) in open {
      if now - work.receivedAt > SLALimits.forgotten {
        open[key] = nil
        changed.insert(key)
      } else {
        judge(key, targets[key.tenant] ?? [:], at: now)
      }
    }
  }

  private mutating func judge(_ key: Key, _ targets: [String: SlaTarget], at now: Int64) {
    guard let work = open[key], let target = targets[work.jobType] else { return }
    func missed(_ targetMilliseconds: UInt32, by moment: Int64) -> Bool {
      targetMilliseconds > 0 && moment - work.receivedAt > Int64(targetMilliseconds) * 1_000_000
    }
    let firstUpdate = work.firstUpdateAt ?? now
    if !work.firstUpdateTold, missed(target.timeToFirstUpdateMs, by: firstUpdate) {
      open[key]?.firstUpdateTold = true
      tell(key, work, .firstUpdate, target.timeToFirstUpdateMs, firstUpdate)
    }
    if !work.completionTold, missed(target.timeToCompletionMs, by: now) {
      open[key]?.completionTold = true
      tell(key, work, .completion, target.timeToCompletionMs, now)
    }
  }

  private mutating func tell(_ key: Key, _ work: Open, _ objective: Breach.Objective, _ target: UInt32, _ moment: Int64) {
    changed.insert(key)
    breaches.append(
      Breach(
        key: key, isExecution: work.isExecution, jobType: work.jobType, objective: objective, targetMilliseconds: Int64(target),
        observedMilliseconds: (moment - work.receivedAt) / 1_000_000))
  }

  /// The rows are what this is.
  mutating func settled() { (changed, breaches, ended) = ([], [], []) }
}
