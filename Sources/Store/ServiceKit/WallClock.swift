import Glibc
import Synchronization

/// The time that services go by: nanoseconds since 1970-01-01T00:00:00Z. Injected, so that a day can be played at any time of day.
public protocol WallClock: Sendable {
  var now: Int64 { get }

  /// Returns a span later; throws `CancellationError` when the task is cancelled before.
  func sleep(for span: Duration) async throws
}

extension WallClock {
  /// For clocks that run at the machine's pace.
  public func sleep(for span: Duration) async throws { try await Task.sleep(for: span) }

  /// Does something again and again, a span after it was done last, until the task is cancelled.
  public func every(_ span: Duration, _ body: () async -> Void) async {
    while (try? await sleep(for: span)) != nil { await body() }
  }
}

/// The machine's own time.
public struct SystemClock: WallClock {
  public init() {}

  public var now: Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }
}

/// Begins at a given moment and runs on from there at the pace of the monotonic clock: `--clock 2026-05-04T09:00:00+02:00`.
public struct OffsetClock: WallClock {
  private let offset: Int64

  public init(startingAt start: Int64) { offset = start - Self.monotonic() }

  public var now: Int64 { offset + Self.monotonic() }

  private static func monotonic() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }
}

/// Another clock that is never behind a given moment: what the log says has happened is not in the future, whatever the machine's time
/// or a restart with `--clock` says.
public struct FlooredClock: WallClock {
  private let clock: any WallClock
  private let floor: Int64

  public init(_ clock: any WallClock, notBefore floor: Int64) {
    self.clock = clock
    self.floor = floor
  }

  public var now: Int64 { max(clock.now, floor) }

  public func sleep(for span: Duration) async throws { try await clock.sleep(for: span) }
}

/// Stands still until it is set: for tests.
public final class ManualClock: WallClock {
  private let time: Atomic<Int64>
  private let sleepers = Mutex(Sleepers())
  private let sleeperIDs = Atomic<Int>(0)

  private struct Sleepers {
    var asleep: [Int: (moment: Int64, wake: CheckedContinuation<Void, any Error>)] = [:]
    /// Who waits until so many sleep.
    var watchers: [(count: Int, watcher: CheckedContinuation<Void, Never>)] = []
  }

  /// 2026-05-04T09:00:00Z, a Monday, unless said otherwise.
  public init(_ start: Int64 = 1_777_885_200_000_000_000) { time = Atomic(start) }

  public var now: Int64 { time.load(ordering: .acquiring) }

  public func advance(by span: Duration) {
    time.wrappingAdd(span.nanoseconds, ordering: .acquiringAndReleasing)
    wakeSleepers()
  }

  public func set(_ now: Int64) {
    time.store(now, ordering: .releasing)
    wakeSleepers()
  }

  public func sleep(for span: Duration) async throws {
    let moment = now + span.nanoseconds
    let id = sleeperIDs.wrappingAdd(1, ordering: .relaxed).newValue
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { wake in
        let watchers = sleepers.withLock { sleepers in
          sleepers.asleep[id] = (moment, wake)
          let count = sleepers.asleep.count
          defer { sleepers.watchers.removeAll { $0.count <= count } }
          return sleepers.watchers.filter { $0.count <= count }
        }
        for watcher in watchers { watcher.watcher.resume() }
        if Task.isCancelled { end(id) }
        wakeSleepers()
      }
    } onCancel: {
      end(id)
    }
  }

  /// How many sleep by this clock.
  public var sleeperCount: Int { sleepers.withLock { $0.asleep.count } }

  /// Returns once so many sleep by this clock: only what sleeps already is woken when the clock is set.
  public func sleeping(_ count: Int = 1) async {
    await withCheckedContinuation { watcher in
      let isAsleep = sleepers.withLock { sleepers in
        let isAsleep = sleepers.asleep.count >= count
        if !isAsleep { sleepers.watchers.append((count, watcher)) }
        return isAsleep
      }
      if isAsleep { watcher.resume() }
    }
  }

  private func end(_ id: Int) { sleepers.withLock { $0.asleep.removeValue(forKey: id) }?.wake.resume(throwing: CancellationError()) }

  private func wakeSleepers() {
    let now = now
    let due = sleepers.withLock { sleepers in
      let due = sleepers.asleep.filter { $0.value.moment <= now }
      for id in due.keys { sleepers.asleep[id] = nil }
      return due
    }
    for (_, sleeper) in due { sleeper.wake.resume() }
  }
}

extension Duration {
  /// Whole nanoseconds; a span beyond 292 years is clamped.
  public var nanoseconds: Int64 {
    let (seconds, attoseconds) = components
    let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    return overflow ? (seconds > 0 ? .max : .min) : product + attoseconds / 1_000_000_000
  }
}
