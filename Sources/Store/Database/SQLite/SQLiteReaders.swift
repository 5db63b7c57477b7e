import SpanwireEventLoop
import Synchronization

/// A loop's own connection. Its snapshot opens with the round's first read and ends with the round, always: a snapshot that is held keeps
/// the write-ahead log from starting over.
final class LoopReader: RoundEndTarget {
  private let connection: SQLiteConnection
  private unowned let loop: EventLoop
  private var generation = 0
  private var isOpen = false

  init(_ connection: SQLiteConnection, loop: EventLoop) {
    self.connection = connection
    self.loop = loop
  }

  /// `generation` counts commits: a snapshot from before the latest is replaced, so that everybody reads their own writes.
  func read<R>(generation now: Int, _ body: (borrowing Snapshot) throws -> R) throws -> R {
    if isOpen && generation != now { end() }
    if !isOpen {
      try connection.run("BEGIN")
      isOpen = true
      generation = now
      loop.atEndOfRound(self)
    }
    return try body(Snapshot(connection: connection))
  }

  func roundEnded() { end() }

  private func end() {
    guard isOpen else { return }
    isOpen = false
    try? connection.run("COMMIT")
  }
}

/// The threads that read what may be long or cold, each with its connection.
final class ScanReaders: Sendable {
  private let queue = BoundedQueue<@Sendable (Result<SQLiteConnection, any Error>) -> Void>(limit: SQLiteLimits.scans)
  private let running = Atomic<Int>(SQLiteLimits.readers)
  private let ended: @Sendable () -> Void

  init(_ file: SQLiteFile, ended: @escaping @Sendable () -> Void) {
    self.ended = ended
    for _ in 0..<SQLiteLimits.readers {
      startThread("store-reader") {
        let connection = Result { try file.openReader() }
        var batch: [@Sendable (Result<SQLiteConnection, any Error>) -> Void] = []
        while self.queue.take(&batch, most: 1) == .elements {
          batch[0](connection)
          batch.removeAll(keepingCapacity: true)
        }
        if self.running.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0 { self.ended() }
      }
    }
  }

  func scan<R: Sendable>(_ body: @escaping @Sendable (borrowing Snapshot) throws -> R) async throws -> R {
    try await withUnsafeThrowingContinuation { continuation in
      let refusal = queue.push { connection in
        continuation.resume(
          with: Result {
            let connection = try connection.get()
            try connection.run("BEGIN")
            defer { try? connection.run("COMMIT") }
            return try body(Snapshot(connection: connection))
          })
      }
      switch refusal {
      case nil: break
      case .full: continuation.resume(throwing: DatabaseError.busy(limit: queue.limit))
      case .closed: continuation.resume(throwing: DatabaseError.closed)
      }
    }
  }

  func close() { queue.close() }
}
