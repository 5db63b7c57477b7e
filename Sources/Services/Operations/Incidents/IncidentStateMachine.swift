/// Normal, degraded, incident and back. Pure: readings and moments come in as values.
///
/// A trigger makes normal degraded; when it has held for a minute, or two hold at once, that becomes an incident. Only when every figure has
/// been below its lower mark for five minutes on end is the mode normal again: a figure that swings around its upper mark changes nothing.
struct IncidentStateMachine: Sendable, Hashable {
  enum Mode: String, Sendable {
    /// → degraded.
    case normal
    /// → incident, normal.
    case degraded
    /// → normal.
    case incident
  }

  /// A mode that an operator chose.
  struct Forced: Sendable, Hashable {
    var by: String
    var reason: String
    var until: Int64
  }

  enum Change: Sendable, Hashable {
    /// Into a worse mode.
    case declared(from: Mode, to: Mode, trigger: String, reason: String)
    /// Into a better one.
    case resolved(from: Mode, to: Mode, reason: String)
  }

  var mode = Mode.normal
  var since: Int64 = 0
  /// Since when a trigger has held without a break; nil while none does.
  var heldSince: Int64?
  /// Since when every figure has been below its lower mark; nil while one is not.
  var calmSince: Int64?
  /// Nil: it goes by the readings.
  var forced: Forced?

  mutating func step(_ readings: [IncidentReading], at now: Int64) -> Change? {
    let held = readings.filter(\.declares)
    heldSince = held.isEmpty ? nil : heldSince ?? now
    calmSince = readings.allSatisfy(\.isCalm) ? calmSince ?? now : nil
    if let forced {
      guard forced.until <= now else { return nil }
      self.forced = nil
    }
    let trigger = held.map(\.trigger.rawValue).joined(separator: ",")
    let reason = held.map(\.text).joined(separator: "; ")
    if mode == .degraded, held.count > 1 || now - (heldSince ?? now) >= IncidentLimits.confirmation {
      return move(to: .incident, at: now) { .declared(from: $0, to: $1, trigger: trigger, reason: reason) }
    }
    if mode == .normal, !held.isEmpty {
      return move(to: .degraded, at: now) { .declared(from: $0, to: $1, trigger: trigger, reason: reason) }
    }
    if mode != .normal, let calmSince, now - calmSince >= IncidentLimits.calm {
      return move(to: .normal, at: now) { .resolved(from: $0, to: $1, reason: "every figure has been in order for 5 min") }
    }
    return nil
  }

  /// An operator chooses the mode.
  mutating func force(_ mode: Mode, _ forced: Forced, at now: Int64) -> Change? {
    self.forced = forced
    guard mode != self.mode else { return nil }
    let isWorse = mode.severity > self.mode.severity
    return move(to: mode, at: now) {
      isWorse
        ? .declared(from: $0, to: $1, trigger: "forced", reason: forced.reason) : .resolved(from: $0, to: $1, reason: forced.reason)
    }
  }

  /// From now on it goes by the readings again.
  mutating func release() { forced = nil }

  private mutating func move(to mode: Mode, at now: Int64, _ change: (Mode, Mode) -> Change) -> Change {
    defer { (self.mode, since) = (mode, now) }
    return change(self.mode, mode)
  }
}

extension IncidentStateMachine.Mode {
  var severity: Int {
    switch self {
    case .normal: 0
    case .degraded: 1
    case .incident: 2
    }
  }
}
