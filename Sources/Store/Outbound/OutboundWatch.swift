import Synchronization

/// Looks after the times of one exchange: while something is awaited from outside, its time runs; while the reader works, only that of the
/// whole does.
final class OutboundWatch: Sendable {
  private struct State {
    var due: ContinuousClock.Instant?
    var part: OutboundFailure.Part
  }

  private let times: OutboundTimes
  private let end: ContinuousClock.Instant
  private let state: Mutex<State>

  init(_ times: OutboundTimes) {
    let now = ContinuousClock.now
    self.times = times
    end = now + times.whole
    state = Mutex(State(due: now + times.first, part: .first))
  }

  /// A piece of the body is awaited.
  func expect() { state.withLock { $0 = State(due: .now + times.idle, part: .idle) } }

  /// Nothing is.
  func rest() { state.withLock { $0.due = nil } }

  /// Throws when a time is over; ends by being cancelled.
  func run() async throws {
    let step = max(min(times.first, times.idle, times.whole) / OutboundLimits.looks, .milliseconds(1))
    while true {
      let now = ContinuousClock.now
      let (due, part) = state.withLock { ($0.due, $0.part) }
      if now >= end { throw OutboundFailure.timedOut(.whole) }
      if let due, now >= due { throw OutboundFailure.timedOut(part) }
      try await Task.sleep(until: min(end, due ?? end, now + step), clock: .continuous)
    }
  }
}
