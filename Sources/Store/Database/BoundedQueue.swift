import CSQLite
import Glibc

/// A queue with a bound between many senders and one thread or a few that sleep when it is empty; signalled only when one sleeps and
/// there is as much as it waits for.
final class BoundedQueue<Element>: @unchecked Sendable {
  // Sendable: all state is under `mutex`.
  let limit: Int
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>
  private var elements: [Element] = []
  private var sleepers = 0
  private var wanted = 1
  private var isClosed = false

  enum Refusal { case full, closed }

  init(limit: Int) {
    self.limit = limit
    mutex = .allocate(capacity: 1)
    condition = .allocate(capacity: 1)
    pthread_mutex_init(mutex, nil)
    var attributes = pthread_condattr_t()
    pthread_condattr_init(&attributes)
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    pthread_cond_init(condition, &attributes)
    pthread_condattr_destroy(&attributes)
  }

  deinit {
    pthread_mutex_destroy(mutex)
    pthread_cond_destroy(condition)
    mutex.deallocate()
    condition.deallocate()
  }

  /// Nil when the element was taken.
  func push(_ element: Element) -> Refusal? {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    if isClosed { return .closed }
    if elements.count >= limit { return .full }
    elements.append(element)
    if sleepers > 0, elements.count >= wanted { pthread_cond_signal(condition) }
    return nil
  }

  enum Taken { case elements, idle, closed }

  /// Moves up to `most` elements into `batch`, which is empty; sleeps while there are none.
  ///
  /// Says `.idle` when none came for `idleNanoseconds`, and `.closed` when the queue is closed and drained. When fewer than `gathering` are
  /// there it waits for more, for `gatherNanoseconds` at most; only a queue with one thread behind it may gather.
  func take(
    _ batch: inout [Element], most: Int, gathering: Int = 1, gatherNanoseconds: Int64 = 0, idleNanoseconds: Int64? = nil
  ) -> Taken {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    let idle = idleNanoseconds.map(Self.moment)
    while elements.isEmpty {
      if isClosed { return .closed }
      if !sleep(until: idle), elements.isEmpty, !isClosed { return .idle }
    }
    if gathering > 1, gatherNanoseconds > 0 {
      let end = Self.moment(gatherNanoseconds)
      wanted = gathering
      while elements.count < gathering, !isClosed, sleep(until: end) {}
      wanted = 1
    }
    if elements.count <= most {
      // The arrays change places, so that neither allocates in the steady state.
      swap(&batch, &elements)
    } else {
      batch.append(contentsOf: elements[..<most])
      elements.removeFirst(most)
    }
    return .elements
  }

  /// False when the moment came first.
  private func sleep(until moment: timespec?) -> Bool {
    sleepers += 1
    defer { sleepers -= 1 }
    guard var moment else { return pthread_cond_wait(condition, mutex) == 0 }
    return pthread_cond_timedwait(condition, mutex, &moment) != ETIMEDOUT
  }

  private static func moment(_ nanoseconds: Int64) -> timespec {
    var moment = timespec()
    clock_gettime(CLOCK_MONOTONIC, &moment)
    let sum = Int64(moment.tv_nsec) + nanoseconds
    return timespec(tv_sec: moment.tv_sec + Int(sum / 1_000_000_000), tv_nsec: Int(sum % 1_000_000_000))
  }

  func close() {
    pthread_mutex_lock(mutex)
    isClosed = true
    pthread_cond_broadcast(condition)
    pthread_mutex_unlock(mutex)
  }
}

/// Starts a thread that ends when its body returns.
func startThread(_ name: String, _ body: @escaping @Sendable () -> Void) {
  final class Box {
    let name: String
    let body: @Sendable () -> Void
    init(_ name: String, _ body: @escaping @Sendable () -> Void) {
      self.name = name
      self.body = body
    }
  }
  var thread = pthread_t()
  let result = pthread_create(
    &thread, nil,
    { argument in
      let box = Unmanaged<Box>.fromOpaque(argument!).takeRetainedValue()
      spanwire_name_store_thread(box.name)
      box.body()
      return nil
    }, Unmanaged.passRetained(Box(name, body)).toOpaque())
  precondition(result == 0, "no thread for the store")
  pthread_detach(thread)
}
