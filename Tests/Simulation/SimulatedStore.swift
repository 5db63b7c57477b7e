import Glibc
import SpanwireDatabase
import SpanwireEventLoop
import SpanwireTestChance
import Synchronization

/// The real engine, whose transactions and scans take place when the simulation says so, and go wrong when it says so.
///
/// After a crash it is gone for everybody who had it: what was committed is in the file, nobody learns of anything any more.
final class SimulatedStore: Database, @unchecked Sendable {
  // Sendable: the simulation's thread alone touches its state; the engine's threads work while that one waits.

  /// How a transaction can end otherwise than well.
  enum Fault: String, CaseIterable {
    /// Refused before it began.
    case busy
    /// Rolled back for want of room.
    case full
    /// The commit failed; nothing of it happened, but nobody knows.
    case lost
    /// The commit failed; it did happen, but nobody knows.
    case unknown
  }

  private let engine: SQLiteDatabase
  private var writes: [(name: String, perform: (Fault?) -> Void)] = []
  private var reads: [() -> Void] = []
  private var observers: [any CommitObserver] = []
  private var isForgetful = false
  private(set) var isDead = false
  /// Transactions that came to their end so far.
  private(set) var commits = 0

  /// One transaction in so many goes wrong; none for 0.
  var faultRate = 0
  /// The crash comes with this commit from now, before it or right after.
  var crashIn: Int?
  /// What a planted bug makes of a transaction's rows, called within every transaction of that name.
  var tamper: (@Sendable (_ name: String, borrowing Transaction) throws -> Void)?

  init(_ engine: SQLiteDatabase) {
    self.engine = engine
    engine.observe(Relay(store: self))
  }

  // MARK: The simulation's side

  var hasWrites: Bool { !writes.isEmpty }
  var hasReads: Bool { !reads.isEmpty }

  /// Performs the transaction that waits longest, as the writer's thread would.
  func write(_ chance: inout Chance) {
    let work = writes.removeFirst()
    if let left = crashIn {
      crashIn = left - 1
      if left <= 0 {
        let isDurable = chance.once(in: 2)
        isDead = true
        if isDurable { work.perform(nil) } else { work.perform(.busy) }
        return crash()
      }
    }
    let isFaulty = faultRate > 0 && chance.once(in: faultRate)
    work.perform(isFaulty ? chance.pick(Fault.allCases) : nil)
  }

  /// Performs a scan, in any order: there are several readers.
  func read(_ chance: inout Chance) { reads.remove(at: chance.below(reads.count))() }

  /// Everybody who waits, or will come, is told that the store is closed.
  func crash() {
    isDead = true
    while !writes.isEmpty || !reads.isEmpty {
      if !writes.isEmpty { writes.removeFirst().perform(.busy) }
      if !reads.isEmpty { reads.removeFirst()() }
    }
  }

  /// Reads the file at once, beside the simulated process.
  func look<R: Sendable>(_ body: @escaping @Sendable (borrowing Snapshot) throws -> R) throws -> R {
    try Self.now { [engine] in try await engine.scan(body) }.get()
  }

  /// Ends the engine, after a crash or at the end.
  func close() {
    isDead = true
    _ = Self.now { [engine] in await engine.close() }
  }

  // MARK: The process's side

  func transaction<R: Sendable>(
    _ name: StaticString, _ body: @escaping @Sendable (borrowing Transaction) throws -> R
  ) async throws -> Committed<R> {
    if isDead { throw DatabaseError.closed }
    return try await withUnsafeThrowingContinuation { continuation in
      writes.append(
        (
          name.description,
          { [self] fault in continuation.resume(with: perform(name, body, fault)) }
        ))
    }
  }

  private func perform<R: Sendable>(
    _ name: StaticString, _ body: @escaping @Sendable (borrowing Transaction) throws -> R, _ fault: Fault?
  ) -> Result<Committed<R>, any Error> {
    let dies = isDead
    let tamper = tamper
    switch fault {
    case .busy: return .failure(dies ? DatabaseError.closed : DatabaseError.busy(limit: 0))
    case .full, .lost:
      let undone: Result<Committed<R>, any Error> = Self.now { [engine] in
        try await engine.transaction(name) { transaction in
          _ = try body(transaction)
          throw Undone()
        }
      }
      // What the closure itself refuses, it refuses before anything is lost.
      if case .failure(let error) = undone, !(error is Undone) { return undone }
      if fault == .full { return .failure(DatabaseError.full("simulated")) }
      recover()
      return .failure(DatabaseError.outcomeUnknown("simulated"))
    case .unknown, nil:
      isForgetful = fault != nil || dies
      let result: Result<Committed<R>, any Error> = Self.now { [engine] in
        try await engine.transaction(name) { transaction in
          let value = try body(transaction)
          try tamper?(name.description, transaction)
          return value
        }
      }
      isForgetful = false
      commits += 1
      guard case .success = result else { return result }
      if dies { return .failure(DatabaseError.closed) }
      if fault == nil { return result }
      recover()
      return .failure(DatabaseError.outcomeUnknown("simulated"))
    }
  }

  private struct Undone: Error {}

  func read<R: Sendable>(_ body: @escaping @Sendable (borrowing Snapshot) throws -> R) async throws -> R {
    if isDead { throw DatabaseError.closed }
    if EventLoop.current != nil { return try await engine.read(body) }
    return try await scan(body)
  }

  func scan<R: Sendable>(_ body: @escaping @Sendable (borrowing Snapshot) throws -> R) async throws -> R {
    if isDead { throw DatabaseError.closed }
    return try await withUnsafeThrowingContinuation { continuation in
      reads.append { [self] in
        continuation.resume(with: isDead ? .failure(DatabaseError.closed) : Self.now { [engine] in try await engine.scan(body) })
      }
    }
  }

  func observe(_ observer: any CommitObserver) { observers.append(observer) }

  func migrate(_ migrations: Migrations) async throws { try await engine.migrate(migrations) }

  func close() async {}

  /// As the writer after a commit of unknown outcome: whoever follows the commits reads anew what there is.
  private func recover() {
    let observers = observers
    _ = Self.now { [engine] in
      try await engine.scan { snapshot in
        for observer in observers { observer.recovered(snapshot) }
      }
    }
  }

  /// Hands on what the engine committed, unless nobody may learn of it. On the engine's thread, while the simulation's waits.
  private final class Relay: CommitObserver {
    private let store: Unowned

    init(store: SimulatedStore) { self.store = Unowned(store) }

    func committed(_ items: [any CommitItem]) {
      guard let store = store.value, !store.isForgetful, !store.isDead else { return }
      for observer in store.observers { observer.committed(items) }
    }

    func recovered(_ snapshot: borrowing Snapshot) {}
  }

  private final class Unowned: @unchecked Sendable {
    // Sendable: written once.
    weak var value: SimulatedStore?
    init(_ value: SimulatedStore) { self.value = value }
  }

  // MARK: At once

  /// Runs what the engine's threads do and waits for it, on a thread that does nothing else meanwhile.
  static func now<R: Sendable>(_ operation: @escaping @Sendable () async throws -> R) -> Result<R, any Error> {
    let slot = Slot<R>()
    Task(executorPreference: InPlace.executor) {
      do { slot.result = .success(try await operation()) } catch { slot.result = .failure(error) }
      sem_post(slot.semaphore)
    }
    while sem_wait(slot.semaphore) != 0 {}
    return slot.result!
  }

  private final class Slot<R: Sendable>: @unchecked Sendable {
    // Sendable: the semaphore orders the write before the read.
    var result: Result<R, any Error>?
    let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    init() { sem_init(semaphore, 0, 0) }

    deinit {
      sem_destroy(semaphore)
      semaphore.deallocate()
    }
  }

  /// Runs a job where it was enqueued: on the thread that began, then on the engine's that resumes.
  private final class InPlace: TaskExecutor {
    static let executor = InPlace()

    func enqueue(_ job: consuming ExecutorJob) { UnownedJob(job).runSynchronously(on: asUnownedTaskExecutor()) }
  }
}
