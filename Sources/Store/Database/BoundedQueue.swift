import CSQLite
import Glibc

/// A queue with a bound between many senders and one thread or a few that sleep when it is empty; signalled only when one sleeps.
final class BoundedQueue<Element>: @unchecked Sendable {
  // Sendable: all state is under `mutex`.
  let limit: Int
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>
  private var elements: [Element] = []
  private var sleepers = 0
  private var isClosed = false

  enum Refusal { case full, closed }

  init(limit: Int) {
    self.limit = limit
    mutex = .allocate(capacity: 1)
    condition = .allocate(capacity: 1)
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(condition, nil)
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
    if sleepers > 0 { pthread_cond_signal(condition) }
    return nil
  }

  /// Moves up to `most` elements into `batch`, which is empty; sleeps while there are none. False when the queue is closed and drained.
  func take(_ batch: inout [Element], most: Int) -> Bool {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    while elements.isEmpty {
      if isClosed { return false }
      sleepers += 1
      pthread_cond_wait(condition, mutex)
      sleepers -= 1
    }
    if elements.count <= most {
      // The arrays change places, so that neither allocates in the steady state.
      swap(&batch, &elements)
    } else {
      batch.append(contentsOf: elements[..<most])
      elements.removeFirst(most)
    }
    return true
  }

  var isEmpty: Bool {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return elements.isEmpty
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
