import SpanwireEventLoop
import SpanwireTestChance

/// A process whose every turn is chosen by chance: which task, loop or thread of the store goes on next, and when time passes.
///
/// One thread does it all, one job at a time, so that a seed makes the same run for ever. The store's threads work only while this one
/// waits for them.
final class Simulator {
  var chance: Chance
  let executor = VirtualExecutor.shared
  let loops = EventLoopGroup(byHand: 2)
  /// Whose transactions and scans wait for their turn.
  var store: SimulatedStore?
  /// Turns so far.
  private(set) var turns = 0

  init(seed: UInt64) {
    chance = Chance(seed: seed)
    BlockingPool.shared.driveByHand()
  }

  private enum Source {
    case task
    case loop(EventLoop)
    case write(SimulatedStore)
    case read(SimulatedStore)
    case offloaded
  }

  /// Lets one of those go on that can; false when nobody can.
  private func turn() -> Bool {
    var sources: [Source] = []
    let ready = executor.readyCount
    if ready > 0 { sources.append(.task) }
    for loop in loops.loops where loop.hasWork { sources.append(.loop(loop)) }
    if let store, store.hasWrites { sources.append(.write(store)) }
    if let store, store.hasReads { sources.append(.read(store)) }
    if BlockingPool.shared.hasWork { sources.append(.offloaded) }
    guard let source = chance.pick(sources) else { return false }
    turns += 1
    switch source {
    // Mostly the one that waits longest, as an executor does; sometimes any.
    case .task: executor.run(chance.once(in: 3) ? chance.below(ready) : 0)
    case .loop(let loop): loop.turnByHand()
    case .write(let store): store.write(&chance)
    case .read(let store): store.read(&chance)
    case .offloaded: BlockingPool.shared.turnByHand()
    }
    return true
  }

  /// Goes on until nobody can without time passing.
  func settle() {
    while turn() {}
  }

  /// Goes on until something holds, letting time pass only when nobody can go on; false when it did not come to hold in that time.
  func run(patience: Duration, until isDone: () -> Bool) -> Bool {
    let end = VirtualTime.now + patience.wholeNanoseconds
    while !isDone() {
      if turn() { continue }
      guard let next = nextMoment, next <= end else { return false }
      pass(to: next)
    }
    return true
  }

  /// Lets time pass, with everything that happens in it.
  func advance(by span: Duration) {
    let end = VirtualTime.now + span.wholeNanoseconds
    settle()
    while let next = nextMoment, next <= end {
      pass(to: next)
      settle()
    }
    pass(to: end)
    settle()
  }

  /// Lets time pass in which nobody is there.
  func skip(_ span: Duration) { pass(to: VirtualTime.now + span.wholeNanoseconds) }

  private var nextMoment: Int64? {
    ([executor.nextWaking] + loops.loops.map { $0.nextTimer.map(Int64.init) }).compactMap { $0 }.min()
  }

  private func pass(to moment: Int64) {
    VirtualTime.now = max(VirtualTime.now, moment)
    executor.wake(at: VirtualTime.now)
  }

  /// Begins a call as it would begin on a server: on one of the loops.
  func begin<Value: Sendable>(_ operation: @escaping @Sendable () async throws -> Value) -> Pending<Value> {
    let pending = Pending<Value>()
    Task(executorPreference: loops.loops[chance.below(loops.loops.count)]) {
      do { pending.result = .success(try await operation()) } catch { pending.result = .failure(error) }
    }
    return pending
  }

  /// Begins a call and goes on until it has ended.
  func await<Value: Sendable>(_ operation: @escaping @Sendable () async throws -> Value) throws -> Value {
    let pending = begin(operation)
    guard run(patience: .seconds(3_600), until: { pending.result != nil }) else { throw Hang() }
    return try pending.result!.get()
  }
}

/// A call that never ends, whatever time passes.
struct Hang: Error, CustomStringConvertible {
  var description: String { "a call has not ended in an hour" }
}

/// What a call will have come to.
final class Pending<Value: Sendable>: @unchecked Sendable {
  // Sendable: the simulation's thread alone runs tasks.
  var result: Result<Value, any Error>?
}
