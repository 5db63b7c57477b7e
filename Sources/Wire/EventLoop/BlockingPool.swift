import CLinux
import Glibc
import Synchronization

/// Threads for work that blocks or computes for long: the only way off a loop.
public final class BlockingPool: Sendable {
  /// More than the processors, because much of the work waits for disks and name servers.
  public static let defaultThreads = 4
  /// Work that waits for a thread. When it is full more would only wait longer than its callers do: it is refused.
  public static let defaultQueueLimit = 1024

  /// The pool of `offload`.
  public static let shared = BlockingPool()

  private let queueLimit: Int
  private let state: Mutex<State>
  private let signal: Signal

  private struct State {
    var queue: [@Sendable () -> Void] = []
    var head = 0
    var idle = 0
    var threads = 0
    var threadLimit: Int

    var waiting: Int { queue.count - head }

    mutating func next() -> (@Sendable () -> Void)? {
      guard waiting > 0 else { return nil }
      let next = queue[head]
      head += 1
      if head == queue.count || head > 256 {
        queue.removeFirst(head)
        head = 0
      }
      return next
    }
  }

  /// A pool; its threads start when there is work for them.
  public init(threads: Int = defaultThreads, queueLimit: Int = defaultQueueLimit) {
    precondition(threads > 0 && queueLimit > 0)
    self.queueLimit = queueLimit
    state = Mutex(State(threadLimit: threads))
    signal = Signal()
  }

  /// Runs a closure on a thread of the pool and returns what it returns, to where the caller was.
  ///
  /// Throws `OffloadError.full` when the queue is full; the work has then not begun. It cannot be cancelled once begun.
  public func run<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
      let accepted = submit { continuation.resume(with: Swift.Result { try body() }) }
      if !accepted { continuation.resume(throwing: OffloadError.full) }
    }
  }

  /// Queues a closure; false when the queue is full.
  public func submit(_ work: @escaping @Sendable () -> Void) -> Bool {
    enum Step { case refuse, wake, spawn }
    let step = state.withLock { state -> Step in
      if state.waiting >= queueLimit { return .refuse }
      state.queue.append(work)
      if state.idle < state.waiting, state.threads < state.threadLimit {
        state.threads += 1
        return .spawn
      }
      return .wake
    }
    switch step {
    case .refuse: return false
    case .wake: signal.post()
    case .spawn:
      signal.post()
      var thread = pthread_t()
      let result = pthread_create(
        &thread, nil,
        { argument in
          let pool = Unmanaged<BlockingPool>.fromOpaque(argument!).takeRetainedValue()
          pool.work()
          return nil
        }, Unmanaged.passRetained(self).toOpaque())
      precondition(result == 0, "no thread for blocking work")
      pthread_detach(thread)
    }
    return true
  }

  // MARK: By hand

  /// Starts no threads from now on. Before its first work.
  package func driveByHand() { state.withLock { $0.threadLimit = 0 } }

  /// Whether work waits for whoever drives the pool by hand.
  package var hasWork: Bool { state.withLock { $0.waiting > 0 } }

  /// Does the work that waits longest on the calling thread.
  package func turnByHand() { state.withLock { $0.next() }?() }

  /// A thread's life: it lasts as long as the process, as its pool does.
  private func work() {
    spanwire_name_thread("offload")
    while true {
      state.withLock { $0.idle += 1 }
      signal.wait()
      let next = state.withLock { state -> (@Sendable () -> Void)? in
        state.idle -= 1
        return state.next()
      }
      next?()
    }
  }
}

/// Why work could not leave the loop.
public enum OffloadError: Error {
  /// As much work as is allowed waits already.
  case full
}

/// Runs a closure that blocks or computes for long on the shared pool; the caller's loop goes on meanwhile.
public func offload<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
  try await BlockingPool.shared.run(body)
}

/// A counting semaphore; the queue's length is its count.
private final class Signal: @unchecked Sendable {
  // Sendable: a POSIX semaphore is made for it.
  private let semaphore: UnsafeMutablePointer<sem_t>

  init() {
    semaphore = .allocate(capacity: 1)
    sem_init(semaphore, 0, 0)
  }

  deinit {
    sem_destroy(semaphore)
    semaphore.deallocate()
  }

  func post() { sem_post(semaphore) }
  func wait() { while sem_wait(semaphore) != 0 {} }
}
