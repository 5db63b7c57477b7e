import Glibc
import Synchronization

/// The time that services go by: nanoseconds since 1970-01-01T00:00:00Z. Injected, so that a day can be played at any time of day.
public protocol WallClock: Sendable {
  var now: Int64 { get }
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
}

/// Stands still until it is set: for tests.
public final class ManualClock: WallClock {
  private let time: Atomic<Int64>

  /// 2026-05-04T09:00:00Z, a Monday, unless said otherwise.
  public init(_ start: Int64 = 1_777_885_200_000_000_000) { time = Atomic(start) }

  public var now: Int64 { time.load(ordering: .acquiring) }

  public func advance(by span: Duration) { time.wrappingAdd(span.nanoseconds, ordering: .acquiringAndReleasing) }

  public func set(_ now: Int64) { time.store(now, ordering: .releasing) }
}

extension Duration {
  /// Whole nanoseconds; a span beyond 292 years is clamped.
  public var nanoseconds: Int64 {
    let (seconds, attoseconds) = components
    let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    return overflow ? (seconds > 0 ? .max : .min) : product + attoseconds / 1_000_000_000
  }
}
