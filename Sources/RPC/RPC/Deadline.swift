#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// A moment on the machine's monotonic clock by which a call must have ended.
public struct Deadline: Sendable, Hashable, Comparable {
  /// Nanoseconds of the monotonic clock; `UInt64.max` stands for never.
  public var nanoseconds: UInt64

  /// A moment by its nanoseconds of the monotonic clock.
  public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

  /// No deadline.
  public static let never = Deadline(nanoseconds: .max)

  /// A moment that lies a span from now; a negative span is the past, one beyond the clock is never.
  public static func after(_ span: Duration) -> Deadline {
    Deadline.now().advanced(by: span)
  }

  /// This moment.
  public static func now() -> Deadline {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Deadline(nanoseconds: UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec))
  }

  /// The moment so much later; `.never` stays.
  public func advanced(by span: Duration) -> Deadline {
    if self == .never { return self }
    // `components` traps beyond what 64 bits of seconds count, and spans come off the wire too.
    if span >= .seconds(Int64.max) { return .never }
    if span <= .seconds(Int64.min) { return Deadline(nanoseconds: 0) }
    let (seconds, attoseconds) = span.components
    let fraction = attoseconds / 1_000_000_000
    let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    let (total, overflow2) = product.addingReportingOverflow(fraction)
    if overflow || overflow2 { return seconds < 0 ? Deadline(nanoseconds: 0) : .never }
    if total < 0 { return Deadline(nanoseconds: nanoseconds - min(nanoseconds, total.magnitude)) }
    let (sum, overflow3) = nanoseconds.addingReportingOverflow(UInt64(total))
    return overflow3 ? .never : Deadline(nanoseconds: sum)
  }

  /// What is left of it; zero once it has passed, nil when there is no deadline.
  public var remaining: Duration? {
    self == .never ? nil : remaining(at: .now())
  }

  /// What is left of it at a moment, negative when it has passed.
  public func remaining(at now: Deadline) -> Duration {
    nanoseconds <= now.nanoseconds ? .zero : .nanoseconds(Int64(clamping: nanoseconds - now.nanoseconds))
  }

  /// Whether it has passed.
  public var hasPassed: Bool { self != .never && self <= .now() }

  /// Whether one moment comes before the other.
  public static func < (left: Deadline, right: Deadline) -> Bool { left.nanoseconds < right.nanoseconds }
}
