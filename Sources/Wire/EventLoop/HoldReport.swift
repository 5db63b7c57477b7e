import CLinux
import Glibc
import Synchronization

/// A piece of work that kept a loop from everything else for longer than it may. Debug builds make them.
public struct HoldReport: Sendable, Hashable {
  /// The loop's name.
  public let loop: String
  /// What kind of work it was: a task, a socket's handler, a timer.
  public let work: String
  /// How long it was held: of the processor, if it computed; else of the clock on the wall.
  public let duration: Duration
  /// Whether it slept in the kernel, rather than computed.
  public let slept: Bool
}

extension EventLoop {
  /// Longer is a report: a loop serves thousands of calls, and each of them waits that long.
  public static let holdLimit = Duration.milliseconds(5)
  /// Reports kept; older ones go.
  public static let holdReportLimit = 64

  /// The latest reports, oldest first; none in release builds.
  public static var holdReports: [HoldReport] { holds.withLock { $0.reports } }
  /// How many there were in all.
  public static var holdCount: Int { holds.withLock { $0.count } }

  /// Is told of every hold, on the loop; nil to stop.
  public static func onHold(_ hook: (@Sendable (HoldReport) -> Void)?) {
    holds.withLock { $0.hook = hook }
  }
}

private struct Holds {
  var reports: [HoldReport] = []
  var count = 0
  var hook: (@Sendable (HoldReport) -> Void)?
}

private let holds = Mutex(Holds())

/// Times the pieces of work of a loop, each for itself. Nothing in release builds.
struct HoldWatch {
  #if DEBUG
    private var wall: UInt64 = 0
    private var processor: UInt64 = 0
    private var sleeps = 0

    mutating func begin() {
      wall = read(CLOCK_MONOTONIC)
      processor = read(CLOCK_THREAD_CPUTIME_ID)
      sleeps = spanwire_thread_sleeps()
    }

    /// Ends a piece of work and begins the next.
    mutating func check(_ loop: EventLoop, _ work: () -> String) {
      let before = self
      begin()
      // A thread that another process kept off the processor has held nobody up by itself: what it computed counts, or that it slept.
      let limit = UInt64(EventLoop.holdLimit.components.attoseconds / 1_000_000_000)
      let computed = processor - before.processor
      let slept = computed <= limit
      guard !slept || wall - before.wall > limit && sleeps > before.sleeps else { return }
      let report = HoldReport(
        loop: loop.name, work: work(), duration: .nanoseconds(Int64(slept ? wall - before.wall : computed)), slept: slept)
      let hook = holds.withLock { holds in
        holds.count += 1
        if holds.reports.count == EventLoop.holdReportLimit { holds.reports.removeFirst() }
        holds.reports.append(report)
        return holds.hook
      }
      hook?(report)
      begin()
    }

    private func read(_ clock: clockid_t) -> UInt64 {
      var time = timespec()
      clock_gettime(clock, &time)
      return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
    }
  #else
    @inline(__always) func begin() {}
    @inline(__always) func check(_ loop: EventLoop, _ work: () -> String) {}
  #endif
}
