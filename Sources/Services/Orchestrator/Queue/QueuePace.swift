/// How fast a tenant's tasks of one agent get their turns while some wait, and so how long a further one would wait. Pure: moments come in.
///
/// A queue that admits more than begins in time works for nobody: whatever comes to its turn is about to run out of time.
struct QueuePace: Sendable {
  struct Lane: Sendable, Hashable {
    var tenant: String
    var agentSlug: String
    var byWorkers: Bool
  }

  private struct Pace {
    var last: Int64
    /// Of turns that were given while others waited, in nanoseconds: the average, the latest weighing most.
    var interval: Double = 0
    /// Others waited when the last turn was given: the next one's interval says how fast it goes.
    var othersWaited: Bool
  }

  /// What one turn more or less changes of the average.
  private static let weight = 1.0 / 8

  private var paces: [Lane: Pace] = [:]

  /// A task had its turn, and so many of its lane still wait.
  mutating func dispatched(_ lane: Lane, leaving waiting: Int, at now: Int64) {
    guard var pace = paces[lane] else {
      // An estimate that is gone is made anew.
      if paces.count >= OrchestratorLimits.paces { paces.removeAll() }
      paces[lane] = Pace(last: now, othersWaited: waiting > 0)
      return
    }
    if pace.othersWaited {
      let took = Double(max(0, now - pace.last))
      pace.interval = pace.interval == 0 ? took : pace.interval + (took - pace.interval) * Self.weight
    }
    (pace.last, pace.othersWaited) = (now, waiting > 0)
    paces[lane] = pace
  }

  /// How long a task would wait behind so many, in nanoseconds; 0 while nothing is known.
  func wait(_ lane: Lane, behind waiting: Int, at now: Int64) -> Int64 {
    guard waiting > 0, let pace = paces[lane] else { return 0 }
    // When turns have stopped coming, what they took before says nothing.
    let interval = max(pace.interval, pace.othersWaited ? Double(max(0, now - pace.last)) : 0)
    return Int64(min(interval * Double(waiting), 1e18))
  }
}
