import CSQLite
import Synchronization

/// The thread that owns the only connection that writes. It takes what waits, commits it as one, answers everybody, and checkpoints.
///
/// A group is what has queued up while the last one was being written to disk: there is no timer. Each closure stands under a savepoint
/// of its own, opened at its first write, so one that throws disturbs nobody.
final class SQLiteWriter: @unchecked Sendable {
  // Sendable: `queue`, `observers` and `generation` are safe to share; all else belongs to the writer's thread once it runs.

  private let queue: BoundedQueue<PendingTransaction>
  private let observers = Mutex<[any CommitObserver]>([])
  /// Counts commits, so that loops know when their snapshot is old.
  let generation = Atomic<Int>(1)
  /// Groups committed and transactions in them, for tests and metrics.
  let groups = Atomic<Int>(0)
  let transactions = Atomic<Int>(0)

  private let session: SQLiteSession
  private let lock: FileLock
  private let reopen: @Sendable () throws -> SQLiteConnection
  private var frames: Int32 = 0
  private var failedReopen: DatabaseError?
  private let ended: @Sendable () -> Void

  init(
    connection: SQLiteConnection, queueLimit: Int, lock: FileLock, reopen: @escaping @Sendable () throws -> SQLiteConnection,
    ended: @escaping @Sendable () -> Void
  ) {
    queue = BoundedQueue(limit: queueLimit)
    session = SQLiteSession(connection)
    self.lock = lock
    self.reopen = reopen
    self.ended = ended
  }

  func start() {
    watchFrames()
    startThread("store-writer") { self.run() }
  }

  func submit(_ work: PendingTransaction) {
    switch queue.push(work) {
    case nil: break
    case .full: work.finish(.busy(limit: queue.limit))
    case .closed: work.finish(.closed)
    }
  }

  func observe(_ observer: any CommitObserver) { observers.withLock { $0.append(observer) } }

  /// The thread ends after what is queued.
  func close() { queue.close() }

  private func run() {
    var group: [PendingTransaction] = []
    while queue.take(&group, most: SQLiteLimits.group) {
      if failedReopen != nil { recover() }
      if let failedReopen {
        for work in group { work.finish(failedReopen) }
      } else {
        commit(group)
      }
      group.removeAll(keepingCapacity: true)
      checkpointIfDue()
    }
    _ = sqlite3_wal_checkpoint_v2(session.connection.handle, nil, SQLITE_CHECKPOINT_TRUNCATE, nil, nil)
    ended()
  }

  private func commit(_ group: [PendingTransaction]) {
    do {
      try session.begin(usingSavepoints: true)
      for work in group { work.position = try session.attempt(work.run).position }
    } catch {
      // Lost before its commit: nothing of it happened, and each closure gets a transaction and an outcome of its own.
      session.rollback()
      for work in group { commitAlone(work) }
      return
    }
    Failpoint.hit("before-commit")
    if let failure = finishCommit() {
      for work in group { work.finish(failure) }
      recover()
      return
    }
    transactions.wrappingAdd(group.count, ordering: .relaxed)
    announce()
    for work in group { work.finish(nil) }
  }

  private func commitAlone(_ work: PendingTransaction) {
    do {
      try session.begin(usingSavepoints: false)
      let outcome = try session.attempt(work.run)
      guard outcome.succeeded else {
        session.rollback()
        return work.finish(nil)
      }
      work.position = outcome.position
    } catch {
      session.rollback()
      return work.finish(error as? DatabaseError ?? .full("the transaction was rolled back: no room, or an I/O error"))
    }
    Failpoint.hit("before-commit")
    if let failure = finishCommit() {
      work.finish(failure)
      return recover()
    }
    transactions.wrappingAdd(1, ordering: .relaxed)
    announce()
    work.finish(nil)
  }

  /// Nil when the transaction is durable. Otherwise nobody knows what the disk holds: fsync is not retried.
  private func finishCommit() -> DatabaseError? {
    do {
      try session.commit()
      generation.wrappingAdd(1, ordering: .releasing)
      groups.wrappingAdd(1, ordering: .relaxed)
      Failpoint.hit("after-commit-before-reply")
      return nil
    } catch {
      return .outcomeUnknown("\(error)")
    }
  }

  private func announce() {
    if session.items.isEmpty { return }
    for observer in observers.withLock({ $0 }) { observer.committed(session.items) }
    session.items.removeAll(keepingCapacity: true)
  }

  /// After a commit of unknown outcome: a new connection reads what the disk really holds, and the observers follow it.
  private func recover() {
    do {
      session.rollback()
      session.replace(connection: try reopen())
      watchFrames()
      generation.wrappingAdd(1, ordering: .releasing)
      for observer in observers.withLock({ $0 }) { observer.recovered(Snapshot(connection: session.connection)) }
      failedReopen = nil
    } catch {
      failedReopen = error as? DatabaseError ?? .engine(code: 0, message: "\(error)")
    }
  }

  // MARK: Checkpoints

  /// `wal_autocheckpoint` uses the same hook and is off.
  private func watchFrames() {
    frames = 0
    sqlite3_wal_hook(
      session.connection.handle,
      { writer, _, _, frames in
        Unmanaged<SQLiteWriter>.fromOpaque(writer!).takeUnretainedValue().frames = frames
        return SQLITE_OK
      }, Unmanaged.passUnretained(self).toOpaque())
  }

  /// On this thread and no other: a checkpoint beside a commit halves the throughput and, before SQLite 3.51.3, can damage the file.
  private func checkpointIfDue() {
    guard frames >= SQLiteLimits.framesAlways || frames >= SQLiteLimits.framesWhenIdle && queue.isEmpty else { return }
    sqlite3_wal_checkpoint_v2(session.connection.handle, nil, SQLITE_CHECKPOINT_PASSIVE, nil, nil)
    frames = 0
  }
}
