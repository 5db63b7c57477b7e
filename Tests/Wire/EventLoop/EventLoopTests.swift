import Glibc
import Synchronization
import Testing

@testable import SpanwireEventLoop

/// A loop that runs while a test does.
private func withLoop<Result: Sendable>(
  clock: any LoopClock = SystemLoopClock(), _ body: @Sendable (EventLoop) async throws -> Result
) async throws -> Result {
  let loop = EventLoop(name: "test", clock: clock)
  loop.start()
  do {
    let result = try await body(loop)
    await stop(loop)
    return result
  } catch {
    await stop(loop)
    throw error
  }
}

private func stop(_ loop: EventLoop) async {
  try? await offload { loop.stop() }
}

@Suite struct EventLoopTests {
  @Test("a task stays on its loop through everything that it awaits")
  func executor() async throws {
    try await withLoop { loop in
      let places = Task(executorPreference: loop) { () -> [Bool] in
        var places = [loop.isCurrent]
        await Task.yield()
        places.append(loop.isCurrent)
        _ = await Task.detached { 1 }.value
        places.append(loop.isCurrent)
        _ = try? await offload { #expect(!loop.isCurrent) }
        places.append(EventLoop.current === loop)
        async let child = loop.isCurrent
        places.append(await child)
        return places
      }
      #expect(await places.value == [true, true, true, true, true])
    }
  }

  @Test("work started on the loop runs at once, up to where it first waits")
  func immediate() async throws {
    try await withLoop { loop in
      let order = await Task(executorPreference: loop) { () -> [Int] in
        let order = Collected()
        let task = loop.run { order.append(1) }
        order.append(2)
        await task.value
        return order.values
      }.value
      #expect(order == [1, 2])
    }
  }

  @Test("closures from many threads all run, each thread's in order")
  func execute() async throws {
    try await withLoop { loop in
      let seen = Collected()
      await withTaskGroup(of: Void.self) { group in
        for writer in 0..<8 {
          group.addTask {
            for number in 0..<500 { loop.execute { seen.append(writer * 1000 + number) } }
          }
        }
      }
      await Task(executorPreference: loop) {}.value
      let all = await Task(executorPreference: loop) { seen.values }.value
      #expect(all.count == 4000)
      for writer in 0..<8 { #expect(all.filter { $0 / 1000 == writer } == Array(writer * 1000..<writer * 1000 + 500)) }
    }
  }

  @Test("more tasks than the ring holds make it grow")
  func ringGrows() async throws {
    try await withLoop { loop in
      let count = Collected()
      await Task(executorPreference: loop) {
        await withTaskGroup(of: Void.self) { group in
          for _ in 0..<5000 { group.addTask { count.append(1) } }
        }
      }.value
      #expect(count.values.count == 5000)
    }
  }

  @Test("an object of the loop is made once and stays")
  func locals() async throws {
    let place = LoopLocal<Collected>()
    try await withLoop { loop in
      await Task(executorPreference: loop) {
        #expect(loop.existing(place) == nil)
        loop.local(place) { Collected() }.append(7)
        #expect(loop.local(place) { Collected() }.values == [7])
        loop.removeLocal(place)
        #expect(loop.local(place) { Collected() }.values == [])
      }.value
    }
  }

  @Test("a loop that has stopped lets go of what is given to it, and of itself")
  func afterwards() async throws {
    weak var held: Collected?
    weak var ended: EventLoop?
    do {
      let loop = EventLoop(name: "test")
      ended = loop
      loop.start()
      await stop(loop)
      let seen = Collected()
      held = seen
      loop.execute { [loop] in seen.append(loop.isCurrent ? 1 : 0) }
      // A task is worth more than its place.
      #expect(await Task(executorPreference: loop) { loop.isCurrent }.value == false)
      #expect(seen.values == [])
    }
    #expect(held == nil)
    // The task's last reference may outlive its value by a moment.
    while ended != nil { await Task.yield() }
  }

  @Test("end-of-round work runs after the tasks of the round, hooks after it")
  func roundEnd() async throws {
    final class Sender: RoundEndTarget {
      let order: Collected
      init(_ order: Collected) { self.order = order }
      func roundEnded() { order.append(2) }
    }
    try await withLoop { loop in
      let order = Collected()
      let target = Box(Sender(order))
      await withCheckedContinuation { continuation in
        loop.execute {
          loop.addRoundHook {
            if order.values.last == 2 {
              order.append(3)
              continuation.resume()
            }
          }
          loop.atEndOfRound(target.value)
          order.append(1)
        }
      }
      #expect(order.values == [1, 2, 3])
    }
  }

  @Test("blocking work beyond the queue's bound is refused, not kept")
  func offloadBound() async throws {
    let pool = BlockingPool(threads: 1, queueLimit: 2)
    let gate = DispatchGate()
    let started = DispatchGate()
    #expect(
      pool.submit {
        started.open()
        gate.pass()
      })
    started.pass()
    #expect(pool.submit {})
    #expect(pool.submit {})
    #expect(!pool.submit {})
    await #expect(throws: OffloadError.self) { try await pool.run { 1 } }
    gate.open()
    #expect(try await BlockingPool.shared.run { 2 } == 2)
  }

  @Test("who sleeps on the loop is reported in debug builds")
  func holds() async throws {
    try await withLoop { loop in
      let before = EventLoop.holdCount
      await Task(executorPreference: loop) { usleep(20_000) }.value
      await Task(executorPreference: loop) {}.value
      #if DEBUG
        #expect(EventLoop.holdCount > before)
        #expect(EventLoop.holdReports.contains { $0.loop == "test" && $0.slept })
      #endif
    }
  }
}

/// Values in the order they came. Locked, so that tests may look from outside.
final class Collected: Sendable {
  private let state = Mutex<[Int]>([])
  func append(_ value: Int) { state.withLock { $0.append(value) } }
  var values: [Int] { state.withLock { $0 } }
}

/// Blocks threads until it is opened.
private final class DispatchGate: @unchecked Sendable {
  // Sendable: a POSIX semaphore.
  private let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
  init() { sem_init(semaphore, 0, 0) }
  deinit { semaphore.deallocate() }
  func open() { sem_post(semaphore) }
  func pass() { _ = sem_wait(semaphore) }
}
