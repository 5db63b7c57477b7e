import SpanwireSchema

/// What becomes of a schedule that is due. Pure: what is so comes in as values.
struct ScheduleDecision: Sendable, Hashable {
  enum Fate: Sendable, Hashable {
    case fires
    /// Once, for all of them.
    case coalesces
    case isMissed
    case isSkipped(String)
  }

  /// One line of its runs.
  struct Line: Sendable, Hashable {
    var fate: Fate
    /// The first of the times, and the last.
    var due: Int64
    var last: Int64
    var firings: Int
  }

  /// What is known when it is due.
  struct Facts: Sendable {
    var isPaused: Bool
    var isCritical: Bool
    var isIncident: Bool
    var overlaps: Bool
    /// Work that it began has not ended.
    var isRunning: Bool
    /// Times that the platform was down for become one firing.
    var coalesces: Bool
  }

  var lines: [Line]
  /// When it is due again; nil for never.
  var next: Int64?

  /// - Parameters:
  ///   - due: the time that came.
  ///   - now: when it is decided, perhaps long after.
  static func decide(_ timing: ScheduleTiming, due: Int64, now: Int64, _ facts: Facts) -> ScheduleDecision {
    let further = timing.times(after: due, through: now)
    let all = Line(fate: .fires, due: due, last: further.last ?? due, firings: further.count + 1)
    let next = timing.next(after: max(now, due))
    func only(_ fate: Fate, _ line: Line) -> Line {
      var line = line
      line.fate = fate
      return line
    }
    if facts.isPaused { return ScheduleDecision(lines: [only(.isSkipped("it is paused"), all)], next: next) }
    var lines: [Line] = []
    var open = all
    if !facts.coalesces, now - due > ScheduleLimits.grace {
      // What is as late as that has been missed; the last time may be there just now.
      let late = timing.times(after: due, through: now - ScheduleLimits.grace - 1)
      lines.append(Line(fate: .isMissed, due: due, last: late.last ?? due, firings: late.count + 1))
      guard all.firings > late.count + 1, let first = timing.next(after: late.last ?? due) else {
        return ScheduleDecision(lines: lines, next: next)
      }
      open = Line(fate: .fires, due: first, last: all.last, firings: all.firings - late.count - 1)
    }
    if facts.isIncident, !facts.isCritical {
      lines.append(only(.isSkipped("incident mode suspends what is not critical"), open))
    } else if facts.isRunning, !facts.overlaps {
      lines.append(only(.isSkipped("what it began last still runs"), open))
    } else {
      lines.append(only(open.firings > 1 ? .coalesces : .fires, open))
    }
    return ScheduleDecision(lines: lines, next: next)
  }
}
