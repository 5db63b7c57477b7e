import Glibc
import Synchronization

/// The monotonic time that a loop's timers go by, in nanoseconds.
public protocol LoopClock: Sendable {
  func now() -> UInt64
  /// Whether waiting makes it advance; a loop on a clock that is set by hand waits to be woken.
  var isReal: Bool { get }
}

/// CLOCK_MONOTONIC.
public struct SystemLoopClock: LoopClock {
  /// The system's monotonic clock.
  public init() {}

  /// Nanoseconds of the monotonic clock.
  public func now() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
  }

  /// True: loops wait for it.
  public var isReal: Bool { true }
}

/// A clock that stands still until told: for tests.
public final class ManualLoopClock: LoopClock {
  private let time: Atomic<UInt64>

  /// A clock that stands at a moment until it is moved.
  public init(_ start: UInt64 = 1_000_000_000) { time = Atomic(start) }

  /// The moment at which it stands, in nanoseconds.
  public func now() -> UInt64 { time.load(ordering: .acquiring) }
  /// False: loops wait for it to be moved.
  public var isReal: Bool { false }

  /// Moves the time on and makes the loops look.
  public func advance(by span: Duration, waking loops: EventLoop...) {
    let (seconds, attoseconds) = span.components
    time.wrappingAdd(UInt64(seconds) * 1_000_000_000 + UInt64(attoseconds / 1_000_000_000), ordering: .acquiringAndReleasing)
    for loop in loops { loop.wake() }
  }
}
