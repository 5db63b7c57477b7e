import CSQLite
import Glibc
import Synchronization

/// The thread that owns the only connection that writes. It takes what waits, commits it as one, answers everybody, and checkpoints.
///
/// A group is what has queued up while the last one was being written to disk. Those who were just answered come back at once, so it waits
/// for about as many as they were, for a part of what writing to the disk takes; a caller who is alone waits for nobody.
///
/// A closure that throws disturbs nobody. Nearly all refuse before they write, so a group goes without savepoints, for which SQLite copies
/// every page that each of its closures touches. One that does refuse later costs the group its work: it is run again, and the next ones
/// at once, with a savepoint for each closure, opened at its first write.
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
  /// Groups that are still to be run with savepoints.
  private var careful = 0
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
    var (last, duration) = (0, Int64(0))
    while true {
      let taken = queue.take(
        &group, most: SQLiteLimits.group, gathering: last * 3 / 4, gatherNanoseconds: min(duration / 4, SQLiteLimits.gatherNanoseconds),
        idleNanoseconds: frames >= SQLiteLimits.framesWhenIdle ? SQLiteLimits.idleNanoseconds : nil)
      if taken == .closed { break }
      if taken == .idle {
        checkpoint()
        continue
      }
      let start = Self.nanoseconds()
      if failedReopen != nil { recover() }
      if let failedReopen {
        for work in group { work.finish(failedReopen) }
      } else {
        commit(group)
      }
      (last, duration) = (group.count, Self.nanoseconds() - start)
      group.removeAll(keepingCapacity: true)
      if frames >= SQLiteLimits.framesAlways { checkpoint() }
    }
    _ = sqlite3_wal_checkpoint_v2(session.connection.handle, nil, SQLITE_CHECKPOINT_TRUNCATE, nil, nil)
    // Whoever still holds the database must not hold its file.
    session.connection.close()
    lock.release()
    ended()
  }

  private static func nanoseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }

  private func commit(_ group: [PendingTransaction]) {
    do {
      if careful > 0 {
        careful -= 1
        _ = try run(group, usingSavepoints: true)
      } else if try !run(group, usingSavepoints: false) {
        session.rollback()
        // Who is alone has its outcome: nobody else's work is lost.
        if group.count == 1 { return group[0].finish(nil) }
        careful = SQLiteLimits.carefulGroups
        _ = try run(group, usingSavepoints: true)
      }
    } catch {
      return commitEachAlone(group)
    }
    Failpoint.hit("before-commit")
    switch finishCommit() {
    case .durable: break
    case .lost: return commitEachAlone(group)
    case .unknown(let failure):
      for work in group { work.finish(failure) }
      return recover()
    }
    transactions.wrappingAdd(group.count, ordering: .relaxed)
    announce()
    for work in group { work.finish(nil) }
  }

  /// Runs the closures of a group in one transaction, which stays open; false when it has to be undone because of one of them.
  private func run(_ group: [PendingTransaction], usingSavepoints: Bool) throws -> Bool {
    try session.begin(usingSavepoints: usingSavepoints)
    for work in group {
      let outcome = try session.attempt(work.run)
      if outcome.isSpoiled { return false }
      work.position = outcome.position
    }
    return true
  }

  /// Nothing of the group has happened: each closure gets a transaction and an outcome of its own, so that what fits is not refused for
  /// what does not.
  private func commitEachAlone(_ group: [PendingTransaction]) {
    session.rollback()
    for work in group {
      if let failedReopen { work.finish(failedReopen) } else { commitAlone(work) }
    }
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
    switch finishCommit() {
    case .durable: break
    case .lost(let failure):
      session.rollback()
      return work.finish(failure)
    case .unknown(let failure):
      work.finish(failure)
      return recover()
    }
    transactions.wrappingAdd(1, ordering: .relaxed)
    announce()
    work.finish(nil)
  }

  /// SQLITE_IOERR_WRITE, a macro that Swift does not see. An fsync that failed is another code.
  private static let writeFailed: Int32 = 10 | 3 << 8

  private enum CommitEnd {
    case durable
    /// It did not happen.
    case lost(DatabaseError)
    /// Nobody knows what the disk holds: fsync is not retried.
    case unknown(DatabaseError)
  }

  private func finishCommit() -> CommitEnd {
    do {
      try session.commit()
    } catch let error as DatabaseError {
      // Without all of its frames, the last of which says that it is one, a commit is none, now and after a crash. A write fails for want
      // of room, and also by a quota or the largest size of a file, which SQLite tells as I/O errors.
      switch error {
      case .full, .engine(code: Self.writeFailed, _): return .lost(error)
      default: return .unknown(.outcomeUnknown("\(error)"))
      }
    } catch {
      return .unknown(.outcomeUnknown("\(error)"))
    }
    generation.wrappingAdd(1, ordering: .releasing)
    groups.wrappingAdd(1, ordering: .relaxed)
    Failpoint.hit("after-commit-before-reply")
    return .durable
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
  private func checkpoint() {
    sqlite3_wal_checkpoint_v2(session.connection.handle, nil, SQLITE_CHECKPOINT_PASSIVE, nil, nil)
    frames = 0
  }
}
