import CLinux
import Glibc
import Synchronization

/// One thread, one epoll: everything that a connection does, and the handlers of its calls, run here one after the other.
///
/// The loop is a task executor: `Task.immediate(executorPreference: loop)` starts a handler inside the callback that received its
/// request, and whatever it awaits returns it here. State that belongs to a loop needs no lock. What blocks or computes for long
/// leaves it by `offload`; debug builds report who does not (`holdReports`).
///
/// A round: wait for readiness, call the handlers of ready sockets and due timers, run tasks, then the end-of-round work (one send a
/// connection), until nothing is left to run.
public final class EventLoop: TaskExecutor, @unchecked Sendable {
  // Sendable: `remote` is locked, `state` atomic; everything else is touched by the loop's thread alone, or before it starts.

  /// What its thread is called in ps and debuggers.
  public let name: String
  /// What tells it the time.
  public let clock: any LoopClock
  /// Milliseconds of the clock are cheap but not free: this is the moment the present batch of events began.
  @inlinable public var now: UInt64 { present.pointee }
  /// Behind a pointer: read several times a call, and every read of a class's own would be checked for overlap.
  @usableFromInline let present: UnsafeMutablePointer<UInt64>

  let timers = TimerHeap()
  @exclusivity(unchecked) var locals: [AnyObject?] = []

  private let epoll: Int32
  private let wakeup: Int32
  private let key = currentLoopKey
  private let thread = Mutex<pthread_t?>(nil)
  private let state = Atomic<UInt8>(State.created)
  @exclusivity(unchecked) private var jobs = JobRing()
  private var closures: [@Sendable () -> Void] = []
  private let remote = Mutex(Remote())
  private var arrivedJobs: [UnownedJob] = []
  private var arrivedClosures: [@Sendable () -> Void] = []
  private var roundEnd: ContiguousArray<any RoundEndTarget> = []
  private var roundEndSpare: ContiguousArray<any RoundEndTarget> = []
  private var roundHooks: [() -> Void] = []
  /// Registrations closed in this round: events already fetched may still name them.
  private var retired: [Registration] = []
  private var watch = HoldWatch()

  private enum State { static let created: UInt8 = 0, running: UInt8 = 1, stopping: UInt8 = 2, stopped: UInt8 = 3 }

  private struct Remote {
    var jobs: [UnownedJob] = []
    var closures: [@Sendable () -> Void] = []
    var isArmed = false
    /// The loop takes nothing more: what would stay here might hold the loop itself.
    var isClosed = false
  }

  /// Events fetched at a time; more wait in the kernel.
  private static let eventBatch = 256
  /// Rounds of tasks before sockets are looked at again, so that tasks that yield for ever don't starve them.
  private static let taskRounds = 16

  /// A loop that has not started.
  public init(name: String = "loop", clock: any LoopClock = SystemLoopClock()) {
    self.name = name
    self.clock = clock
    present = .allocate(capacity: 1)
    present.initialize(to: clock.now())
    epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
    wakeup = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))
    precondition(epoll >= 0 && wakeup >= 0, "no file descriptors left for a loop")
    _ = spanwire_epoll_control(epoll, EPOLL_CTL_ADD, wakeup, EPOLLIN.rawValue, 0)
  }

  deinit {
    present.deallocate()
    close(epoll)
    close(wakeup)
  }

  // MARK: Where am I

  /// The loop whose thread this is; nil elsewhere.
  public static var current: EventLoop? {
    guard let pointer = pthread_getspecific(currentLoopKey) else { return nil }
    return Unmanaged<EventLoop>.fromOpaque(pointer).takeUnretainedValue()
  }

  /// Whether the calling thread is this loop's.
  public var isCurrent: Bool {
    pthread_getspecific(key) == Unmanaged.passUnretained(self).toOpaque()
  }

  // MARK: Work

  /// Queues a job of a task, from any thread. After the loop's end it runs on the global executor.
  public func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    if isCurrent {
      jobs.append(job)
      return
    }
    let wake = remote.withLock { remote -> Bool? in
      if remote.isClosed { return nil }
      remote.jobs.append(job)
      defer { remote.isArmed = true }
      return !remote.isArmed
    }
    // Too late for this loop: elsewhere is better than never.
    guard let wake else { return globalConcurrentExecutor.enqueue(job) }
    if wake { self.wake() }
  }

  /// The loop as tasks refer to it.
  public func asUnownedTaskExecutor() -> UnownedTaskExecutor { UnownedTaskExecutor(ordinary: self) }

  /// Runs a closure on the loop, soon; from any thread. Nothing happens on a loop that has stopped, and the closure is let go.
  public func execute(_ body: @escaping @Sendable () -> Void) {
    if isCurrent {
      closures.append(body)
      return
    }
    let wake = remote.withLock { remote in
      if remote.isClosed { return false }
      remote.closures.append(body)
      defer { remote.isArmed = true }
      return !remote.isArmed
    }
    if wake { self.wake() }
  }

  /// Runs an async operation on the loop, starting at once if the caller is there.
  @discardableResult
  public func run(_ operation: @escaping @Sendable () async -> Void) -> Task<Void, Never> {
    if isCurrent { return Task.immediate(executorPreference: self) { await operation() } }
    return Task(executorPreference: self) { await operation() }
  }

  /// Makes the loop look at its clock and queues.
  public func wake() {
    var one: UInt64 = 1
    _ = write(wakeup, &one, 8)
  }

  /// Calls the target once, after the tasks that are ready have run and before the loop waits. On the loop only.
  ///
  /// This is where a connection sends what the round produced. The target guards against asking twice.
  @inline(__always)
  public func atEndOfRound(_ target: any RoundEndTarget) {
    assert(isCurrent)
    roundEnd.append(target)
  }

  /// Calls the hook at the end of every round from now on, after all sends: a store ends its read snapshot there. On the loop only.
  public func addRoundHook(_ hook: @escaping () -> Void) {
    assert(isCurrent)
    roundHooks.append(hook)
  }

  /// Runs the tasks that are ready, without waiting for the round to come to them: from a socket's handler, so that what it began can be
  /// answered while its buffers are at hand. On the loop only, and not from a task.
  public func runReadyTasks() {
    if !jobs.isEmpty { runJobs() }
  }

  // MARK: Readiness

  /// Watches a descriptor, level-triggered. The loop keeps the handler until the registration is closed. On the loop only.
  public func register(_ descriptor: Int32, _ interest: Readiness, _ handler: any ReadinessHandler) throws(SystemError) -> Registration {
    assert(isCurrent)
    let registration = Registration(loop: self, descriptor: descriptor, interest: interest, handler: handler)
    let token = UInt64(UInt(bitPattern: Unmanaged.passUnretained(registration).toOpaque()))
    guard spanwire_epoll_control(epoll, EPOLL_CTL_ADD, descriptor, interest.mask, token) == 0 else { throw SystemError("epoll_ctl") }
    registration.keepAlive()
    return registration
  }

  func change(_ registration: Registration) {
    let token = UInt64(UInt(bitPattern: Unmanaged.passUnretained(registration).toOpaque()))
    _ = spanwire_epoll_control(epoll, EPOLL_CTL_MOD, registration.descriptor, registration.interest.mask, token)
  }

  func remove(_ registration: Registration) {
    assert(isCurrent)
    _ = spanwire_epoll_control(epoll, EPOLL_CTL_DEL, registration.descriptor, 0, 0)
    retired.append(registration)
  }

  // MARK: Life

  /// Starts the loop's thread. Once.
  public func start() {
    let first = state.compareExchange(expected: State.created, desired: State.running, ordering: .acquiringAndReleasing).exchanged
    precondition(first, "a loop starts once")
    var thread = pthread_t()
    let result = pthread_create(
      &thread, nil,
      { argument in
        let loop = Unmanaged<EventLoop>.fromOpaque(argument!).takeRetainedValue()
        loop.turn()
        return nil
      }, Unmanaged.passRetained(self).toOpaque())
    precondition(result == 0, "no thread for a loop")
    self.thread.withLock { $0 = thread }
  }

  /// Ends the loop after its present round and waits for its thread. Connections should have been drained before. Not on the loop.
  public func stop() {
    precondition(!isCurrent, "a loop cannot wait for its own end")
    let running = state.compareExchange(expected: State.running, desired: State.stopping, ordering: .acquiringAndReleasing).exchanged
    if !running { return }
    wake()
    let thread = self.thread.withLock { thread in
      defer { thread = nil }
      return thread
    }
    if let thread { pthread_join(thread, nil) }
  }

  private func turn() {
    spanwire_name_thread(name)
    pthread_setspecific(currentLoopKey, Unmanaged.passUnretained(self).toOpaque())
    let events = UnsafeMutablePointer<epoll_event>.allocate(capacity: Self.eventBatch)
    defer { events.deallocate() }
    while state.load(ordering: .relaxed) == State.running { round(events) }
    // What is queued may hold other tasks' continuations: run it out before the thread goes.
    var rest = Self.taskRounds
    repeat {
      takeRemote()
      runTasks()
      rest -= 1
    } while (!jobs.isEmpty || !closures.isEmpty) && rest > 0
    locals = []
    roundHooks = []
    state.store(State.stopped, ordering: .releasing)
    // From here on the thread is not the loop's: what objects queue as they go is refused like everybody else's.
    pthread_setspecific(currentLoopKey, nil)
    let late = remote.withLock { remote in
      defer { remote = Remote(isClosed: true) }
      return remote
    }
    for job in late.jobs { globalConcurrentExecutor.enqueue(job) }
    while !jobs.isEmpty { globalConcurrentExecutor.enqueue(jobs.removeFirst()) }
    closures = []
    roundEnd = []
    retired = []
  }

  // MARK: By hand

  /// Whether a round would find something to run: for whoever drives a loop that was never started.
  package var hasWork: Bool {
    if !jobs.isEmpty || !closures.isEmpty || !roundEnd.isEmpty { return true }
    if remote.withLock({ !$0.jobs.isEmpty || !$0.closures.isEmpty }) { return true }
    return nextTimer.map { $0 <= clock.now() } ?? false
  }

  /// When its next timer is due, by the loop's clock.
  package var nextTimer: UInt64? { timers.next }

  /// One round on the calling thread that waits for nothing. Only of a loop that was never started, and always on the same thread: a
  /// simulation decides with it which loop runs when.
  package func turnByHand() {
    assert(state.load(ordering: .relaxed) == State.created)
    let before = pthread_getspecific(currentLoopKey)
    pthread_setspecific(currentLoopKey, Unmanaged.passUnretained(self).toOpaque())
    defer { pthread_setspecific(currentLoopKey, before) }
    takeRemote()
    withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: Self.eventBatch) { round($0.baseAddress!, waits: false) }
  }

  private func round(_ events: UnsafeMutablePointer<epoll_event>, waits: Bool = true) {
    let count = epoll_wait(epoll, events, Int32(Self.eventBatch), waits ? waitMilliseconds() : 0)
    present.pointee = clock.now()
    watch.begin()
    for index in 0..<max(0, count) {
      let token = spanwire_epoll_token(events, index)
      if token == 0 {
        var value: UInt64 = 0
        _ = read(wakeup, &value, 8)
        takeRemote()
        continue
      }
      let pointer = UnsafeRawPointer(bitPattern: UInt(token))!
      let registration = Unmanaged<Registration>.fromOpaque(pointer).takeUnretainedValue()
      registration.handler?.ready(Readiness(mask: spanwire_epoll_mask(events, index)))
      watch.check(self) { "a socket's handler" }
    }
    fireTimers()
    var rounds = 0
    repeat {
      runTasks()
      endRound()
      rounds += 1
    } while (!jobs.isEmpty || !closures.isEmpty || !roundEnd.isEmpty) && rounds < Self.taskRounds
    for hook in roundHooks { hook() }
    if !retired.isEmpty { retired.removeAll(keepingCapacity: true) }
  }

  private func waitMilliseconds() -> Int32 {
    if !jobs.isEmpty || !closures.isEmpty || !roundEnd.isEmpty { return 0 }
    guard let next = timers.next else { return -1 }
    let now = clock.now()
    if next <= now { return 0 }
    guard clock.isReal else { return -1 }
    return Int32(clamping: (next - now + 999_999) / 1_000_000)
  }

  private func takeRemote() {
    // The arrays change places, so that neither side allocates in the steady state.
    remote.withLock { remote in
      swap(&remote.jobs, &arrivedJobs)
      swap(&remote.closures, &arrivedClosures)
      remote.isArmed = false
    }
    for job in arrivedJobs { jobs.append(job) }
    closures.append(contentsOf: arrivedClosures)
    arrivedJobs.removeAll(keepingCapacity: true)
    arrivedClosures.removeAll(keepingCapacity: true)
  }

  private func runJobs() {
    let executor = asUnownedTaskExecutor()
    var left = jobs.count  // those enqueued meanwhile wait for the next time
    while left > 0 {
      jobs.removeFirst().runSynchronously(on: executor)
      watch.check(self) { "a task" }
      left -= 1
    }
  }

  private func runTasks() {
    runJobs()
    if !closures.isEmpty {
      let batch = closures
      closures.removeAll(keepingCapacity: true)
      for closure in batch {
        closure()
        watch.check(self) { "a closure" }
      }
    }
  }

  private func endRound() {
    if roundEnd.isEmpty { return }
    swap(&roundEnd, &roundEndSpare)
    for target in roundEndSpare {
      target.roundEnded()
      watch.check(self) { "an end-of-round send" }
    }
    roundEndSpare.removeAll(keepingCapacity: true)
  }

  private func fireTimers() {
    while let timer = timers.takeDue(at: now) {
      timer.fire()
      watch.check(self) { "a timer" }
    }
  }
}

/// What wants to be called when the tasks of a round have run.
public protocol RoundEndTarget: AnyObject {
  func roundEnded()
}

/// Made before any loop's thread; holds an unretained pointer, valid while the thread runs.
private let currentLoopKey: pthread_key_t = {
  var key = pthread_key_t()
  precondition(pthread_key_create(&key, nil) == 0)
  return key
}()
