import SpanwireDatabase
import SpanwireSchema
import SpanwireServiceKit
import Synchronization

/// Keeps a flood of denials from filling the disk: one of a kind is written at once, more of it within the minute are counted and
/// written as one record with their count.
///
/// A kind is who was denied what by which rule. What is counted is in memory until its minute is over: a crash loses that count, and never
/// a kind's first record.
public final class DenialWindow: Sendable {
  private struct Kind: Hashable {
    let tenant: String
    let actor: String
    let action: String
    let method: String
    let rule: String

    init(tenant: String, _ record: AuditRecorded) {
      self.tenant = tenant
      actor = record.actor
      action = record.action
      method = record.method
      rule = record.rule
    }
  }

  private struct Held {
    /// When its record was written, and which that was.
    var since: Int64
    var eventID = ""
    /// Denials since then, and the last of them.
    var count: UInt64 = 0
    var last: EventDraft
  }

  private struct State {
    var kinds: [Kind: Held] = [:]
    /// Denials of kinds for which there was no place, since when.
    var others: (since: Int64, count: UInt64) = (0, 0)
  }

  private let state = Mutex(State())

  init() {}

  /// What is to be written now, if anything; else the event that told of the first of its kind.
  fileprivate func admit(_ draft: EventDraft, _ record: AuditRecorded, now: Int64) -> (write: EventDraft?, eventID: String) {
    let kind = Kind(tenant: draft.tenant, record)
    return state.withLock { state in
      if let held = state.kinds[kind] {
        guard now - held.since >= EventLogLimits.denialWindow.nanoseconds else {
          state.kinds[kind]!.count += 1
          state.kinds[kind]!.last = draft
          return (nil, held.eventID)
        }
        state.kinds[kind] = Held(since: now, last: draft)
        return (draft.telling(of: held.count + 1), "")
      }
      guard state.kinds.count < EventLogLimits.denialKinds else {
        if state.others.count == 0 { state.others.since = now }
        state.others.count += 1
        return (nil, "")
      }
      state.kinds[kind] = Held(since: now, last: draft)
      return (draft, "")
    }
  }

  fileprivate func wrote(_ draft: EventDraft, _ record: AuditRecorded, as eventID: String) {
    state.withLock { $0.kinds[Kind(tenant: draft.tenant, record)]?.eventID = eventID }
  }

  /// It could not be written: it counts with those that follow.
  fileprivate func putBack(_ draft: EventDraft, _ record: AuditRecorded, now: Int64) {
    let count = max(record.count, 1)
    state.withLock { state in
      let kind = Kind(tenant: draft.tenant, record)
      if state.kinds[kind] != nil {
        state.kinds[kind]!.count += count
      } else if state.kinds.count < EventLogLimits.denialKinds {
        state.kinds[kind] = Held(since: now, count: count, last: draft)
      } else {
        state.others.count += count
      }
    }
  }

  /// The counts whose minute is over, or all of them, as records to write; kinds of which nothing more came are forgotten.
  fileprivate func due(_ now: Int64, all: Bool) -> [EventDraft] {
    state.withLock { state in
      var due: [EventDraft] = []
      for (kind, held) in state.kinds where all || now - held.since >= EventLogLimits.denialWindow.nanoseconds {
        if held.count > 0 { due.append(held.last.telling(of: held.count)) }
        state.kinds[kind] = nil
      }
      if state.others.count > 0, all || now - state.others.since >= EventLogLimits.denialWindow.nanoseconds {
        let record = AuditRecorded(
          action: "denials", actor: "various", decision: "deny", reason: "denials of more kinds than are told apart at a time",
          count: state.others.count)
        due.append(EventDraft(record, producer: "audit", tenant: Caller.platformTenant, occurredAt: now))
        state.others = (now, 0)
      }
      return due.sorted { ($0.occurredAt, $0.tenant) < ($1.occurredAt, $1.tenant) }
    }
  }
}

extension EventDraft {
  fileprivate func telling(of count: UInt64) -> EventDraft {
    guard count > 1, var record = payload as? AuditRecorded else { return self }
    record.count = count
    var draft = self
    draft.payload = record
    return draft
  }
}

extension ServiceEnvironment {
  /// Audits a denial that changed nothing else; one that goes with other changes is appended in their transaction instead.
  ///
  /// What else tells of it, `others`, is written when it is. Returns the id of the event that tells of it: of the first of its kind within the minute, since more are only counted; empty when
  /// there is none. The denial stands whether or not it can be written.
  @discardableResult
  public func auditDenial(_ draft: EventDraft, after others: [EventDraft] = []) async -> String {
    guard let record = draft.payload as? AuditRecorded else { preconditionFailure("a denial is told of by an audit record") }
    let (write, eventID) = denials.admit(draft, record, now: clock.now)
    guard let write else { return eventID }
    return await self.write(write, after: others) ?? ""
  }

  /// Writes the counts of denials whose minute is over; at the end of a process, all of them.
  public func settleDenials(all: Bool = false) async {
    for draft in denials.due(clock.now, all: all) { _ = await write(draft) }
  }

  private func write(_ draft: EventDraft, after others: [EventDraft] = []) async -> String? {
    guard let record = draft.payload as? AuditRecorded else { return nil }
    do {
      let event = try await database.transaction("audit.denial") { transaction in
        for other in others { try transaction.append(other, self) }
        return try transaction.append(draft, self)
      }.value
      denials.wrote(draft, record, as: event.eventID)
      return event.eventID
    } catch {
      denials.putBack(draft, record, now: clock.now)
      return nil
    }
  }
}
