import SpanwireRPC
import SpanwireServiceKit
import Synchronization

/// Who works on a task: the platform's own agents, of which so many run at a time, or an attached worker, which said how many it takes.
enum TaskPlace: Sendable, Hashable {
  case builtIn
  /// The attachment's number.
  case worker(UInt64)
}

/// Hands places to tasks as they become free, in the order of the `FairQueue`.
///
/// A task is admitted once, then takes and gives back a place for each of its attempts.
final class TaskPlaces: Sendable {
  /// What a task took; given back when the attempt is over.
  struct Taken: Sendable {
    var place: TaskPlace
    fileprivate var entry: FairQueue.Entry
  }

  private struct Seats {
    var offer: FairQueue.Offer
    var capacity: Int
    var busy = 0
    var isOpen = true
  }

  private struct State {
    var queue: FairQueue
    var pace = QueuePace()
    var builtInFree: Int
    var workers: [UInt64: Seats] = [:]
    var waiting: [UInt64: UnsafeContinuation<Taken, any Error>] = [:]
    var lastEntry: UInt64 = 0
    var isStopping = false
  }

  private typealias Grant = (to: UnsafeContinuation<Taken, any Error>, taken: Taken)

  private let clock: any WallClock
  private let state: Mutex<State>

  init(queue: FairQueue = FairQueue(), clock: any WallClock, builtIn: Int = OrchestratorLimits.runningTasks) {
    self.clock = clock
    state = Mutex(State(queue: queue, builtInFree: builtIn))
  }

  /// Counts a task in; false when its tenant, or all together, have as many as there may be.
  func admit(_ tenant: String) -> Bool {
    state.withLock { state in
      !state.isStopping && state.queue.admit(tenant)
    }
  }

  func dismiss(_ tenant: String) { state.withLock { $0.queue.dismiss(tenant) } }

  func load(of tenant: String) -> (waiting: Int, running: Int) { state.withLock { $0.queue.load(of: tenant) } }

  /// How long a task of this tenant and agent would wait for its turn if it came now; nothing while that is not known.
  func expectedWait(tenant: String, agentSlug: String, byWorkers: Bool) -> Duration {
    let (lane, now) = (QueuePace.Lane(tenant: tenant, agentSlug: agentSlug, byWorkers: byWorkers), clock.now)
    return state.withLock { .nanoseconds($0.pace.wait(lane, behind: $0.queue.waiting(lane), at: now)) }
  }

  /// Waits for a place. Throws `CancellationError` when the task that waits is cancelled.
  func take(tenant: String, agentSlug: String, session: String, byWorkers: Bool) async throws -> Taken {
    let entry = state.withLock { state in
      state.lastEntry += 1
      return FairQueue.Entry(id: state.lastEntry, tenant: tenant, agentSlug: agentSlug, session: session, byWorkers: byWorkers)
    }
    return try await withTaskCancellationHandler {
      try await withUnsafeThrowingContinuation { continuation in
        let grants = state.withLock { state -> [Grant]? in
          if Task.isCancelled || state.isStopping { return nil }
          state.waiting[entry.id] = continuation
          state.queue.enqueue(entry)
          return Self.dispatch(&state, at: clock.now)
        }
        if let grants { Self.resume(grants) } else { continuation.resume(throwing: CancellationError()) }
      }
    } onCancel: {
      let waiter = state.withLock { state in
        state.queue.remove(entry) ? state.waiting.removeValue(forKey: entry.id) : nil
      }
      waiter?.resume(throwing: CancellationError())
    }
  }

  func give(back taken: Taken) {
    change { state in
      state.queue.end(taken.entry)
      switch taken.place {
      case .builtIn: state.builtInFree += 1
      case .worker(let id): state.workers[id]?.busy -= 1
      }
    }
  }

  // MARK: Workers

  func add(worker id: UInt64, tenant: String?, slugs: Set<String>, capacity: Int) {
    change { $0.workers[id] = Seats(offer: .worker(tenant: tenant, slugs: slugs), capacity: capacity) }
  }

  /// Gives a worker no more tasks, or again.
  func set(worker id: UInt64, isOpen: Bool) { change { $0.workers[id]?.isOpen = isOpen } }

  func remove(worker id: UInt64) { change { $0.workers[id] = nil } }

  /// Lets nobody in any more and wakes all who wait.
  func stop() {
    let waiting = state.withLock { state in
      state.isStopping = true
      defer { state.waiting = [:] }
      return state.waiting.values.map { $0 }
    }
    for waiter in waiting { waiter.resume(throwing: CancellationError()) }
  }

  private func change(_ body: (inout sending State) -> Void) {
    let grants = state.withLock { state in
      body(&state)
      return Self.dispatch(&state, at: clock.now)
    }
    Self.resume(grants)
  }

  /// Fills the free places; the continuations are resumed when the lock is free again.
  private static func dispatch(_ state: inout State, at now: Int64) -> [Grant] {
    var grants: [Grant] = []
    guard !state.isStopping else { return [] }
    while state.builtInFree > 0, let entry = state.queue.next(.builtIn) {
      state.builtInFree -= 1
      grant(entry, .builtIn, &state, &grants, at: now)
    }
    // The least busy worker first, so that a few tasks spread.
    while state.queue.waiting > 0 {
      let free = state.workers.filter { $0.value.isOpen && $0.value.busy < $0.value.capacity }
      var found = false
      for (id, seats) in free.sorted(by: { ($0.value.busy, $0.key) < ($1.value.busy, $1.key) }) {
        guard let entry = state.queue.next(seats.offer) else { continue }
        state.workers[id]?.busy += 1
        grant(entry, .worker(id), &state, &grants, at: now)
        found = true
        break
      }
      if !found { break }
    }
    return grants
  }

  private static func grant(
    _ entry: FairQueue.Entry, _ place: TaskPlace, _ state: inout State, _ grants: inout [Grant], at now: Int64
  ) {
    let lane = QueuePace.Lane(tenant: entry.tenant, agentSlug: entry.agentSlug, byWorkers: entry.byWorkers)
    state.pace.dispatched(lane, leaving: state.queue.waiting(lane), at: now)
    guard let waiter = state.waiting.removeValue(forKey: entry.id) else { preconditionFailure("who waits in the queue has a waiter") }
    grants.append((waiter, Taken(place: place, entry: entry)))
  }

  private static func resume(_ grants: [Grant]) {
    for grant in grants { grant.to.resume(returning: grant.taken) }
  }
}
