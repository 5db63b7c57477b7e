@_spi(ExperimentalCustomExecutors) @_spi(ExperimentalScheduling) import _Concurrency
import Synchronization

/// The executor of every task that has no loop, and the alarm clock of all that sleep: it keeps jobs until the simulation runs them.
///
/// The runtime of Swift 6.3 lets a process name its default executor, behind an SPI; this package's product does not, its simulation may.
final class VirtualExecutor: TaskExecutor, SchedulingExecutor {
  private struct Sleeper {
    let due: Int64
    let number: Int
    let job: UnownedJob
  }

  private struct State {
    var ready: [UnownedJob] = []
    /// A heap, the next to wake first.
    var sleepers: [Sleeper] = []
    var count = 0
  }

  private let state = Mutex(State())

  /// Makes the one executor of this process. Before the first task.
  static let shared: VirtualExecutor = {
    _createExecutors(factory: Factory.self)
    return Factory.executor
  }()

  private enum Factory: ExecutorFactory {
    static let executor = VirtualExecutor()
    static var mainExecutor: any MainExecutor { PlatformExecutorFactory.mainExecutor }
    static var defaultExecutor: any TaskExecutor { executor }
  }

  // MARK: What the runtime hands over

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    state.withLock { $0.ready.append(job) }
  }

  func enqueue<C: Clock>(_ job: consuming ExecutorJob, after delay: C.Duration, tolerance: C.Duration?, clock: C) {
    sleep(UnownedJob(job), for: delay)
  }

  func enqueue<C: Clock>(_ job: consuming ExecutorJob, at instant: C.Instant, tolerance: C.Duration?, clock: C) {
    sleep(UnownedJob(job), for: clock.now.duration(to: instant))
  }

  private func sleep(_ job: UnownedJob, for delay: some DurationProtocol) {
    guard let delay = delay as? Duration else { preconditionFailure("a clock whose time is no Duration") }
    let due = VirtualTime.now + max(0, delay.wholeNanoseconds)
    state.withLock { state in
      state.count += 1
      state.sleepers.append(Sleeper(due: due, number: state.count, job: job))
      var child = state.sleepers.count - 1
      while child > 0, Self.wakes(state.sleepers[child], before: state.sleepers[(child - 1) / 2]) {
        state.sleepers.swapAt(child, (child - 1) / 2)
        child = (child - 1) / 2
      }
    }
  }

  // MARK: What the simulation takes

  var readyCount: Int { state.withLock { $0.ready.count } }

  /// Runs one of the jobs that are ready.
  func run(_ index: Int) {
    let job = state.withLock { $0.ready.remove(at: index) }
    job.runSynchronously(on: asUnownedTaskExecutor())
  }

  /// When the next sleeper wakes.
  var nextWaking: Int64? { state.withLock { $0.sleepers.first?.due } }

  /// Makes those ready whose time has come, in its order.
  func wake(at now: Int64) {
    state.withLock { state in
      while let first = state.sleepers.first, first.due <= now {
        state.ready.append(first.job)
        let last = state.sleepers.removeLast()
        if state.sleepers.isEmpty { return }
        state.sleepers[0] = last
        var parent = 0
        while true {
          var least = parent
          for child in [2 * parent + 1, 2 * parent + 2] where child < state.sleepers.count {
            if Self.wakes(state.sleepers[child], before: state.sleepers[least]) { least = child }
          }
          if least == parent { break }
          state.sleepers.swapAt(parent, least)
          parent = least
        }
      }
    }
  }

  private static func wakes(_ a: Sleeper, before b: Sleeper) -> Bool { (a.due, a.number) < (b.due, b.number) }
}

extension Duration {
  var wholeNanoseconds: Int64 {
    let (seconds, attoseconds) = components
    let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    return overflow ? .max / 2 : min(product + attoseconds / 1_000_000_000, .max / 2)
  }
}
