import Glibc
import SpanwireEventLoop
import Synchronization

/// The embedded engine: a file in WAL mode, one thread that writes in groups, a read connection on every loop, two threads for scans.
public final class SQLiteDatabase: Database {
  /// How much of a power cut a commit survives.
  public enum Durability: String, Sendable {
    /// What `transaction` returned is on the disk.
    case full = "FULL"
    /// The latest commits may be lost with the power, never the order. For what is only a copy: spans, caches.
    case normal = "NORMAL"
    /// For tests that don't cut power.
    case off = "OFF"
  }

  public let path: String
  private let writer: SQLiteWriter
  private let readers: ScanReaders
  let file: SQLiteFile
  private let place = LoopLocal<LoopReader>()
  private let closing: Closing

  /// Opens a file or makes it, and takes its lock; throws `DatabaseError.locked` while another process has it.
  public init(path: String, durability: Durability = .full, queueLimit: Int = SQLiteLimits.queue) throws {
    Failpoint.prepare()
    self.path = path
    let lock = try FileLock(path: path + ".lock")
    let file = SQLiteFile(path: path, synchronous: durability)
    let connection = try file.openWriter()
    try file.check(connection)
    try connection.run(
      script: """
        CREATE TABLE IF NOT EXISTS migration (
          room TEXT NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, checksum INTEGER NOT NULL,
          PRIMARY KEY (room, number)
        ) STRICT, WITHOUT ROWID
        """)
    self.file = file
    let closing = Closing()
    self.closing = closing
    // The writer holds the lock, since it outlives this object while it works off its queue.
    writer = SQLiteWriter(connection: connection, queueLimit: queueLimit, lock: lock, reopen: file.openWriter, ended: closing.oneEnded)
    readers = ScanReaders(file, ended: closing.oneEnded)
    writer.start()
  }

  deinit { end() }

  private func end() {
    writer.close()
    readers.close()
    // A loop lives longer than a database: what it reads with would stay open.
    for loop in closing.begin() { loop.execute { [place] in loop.removeLocal(place) } }
  }

  /// Opens the file and applies the migrations of the store itself and of the rooms.
  public static func open(
    path: String, durability: Durability = .full, queueLimit: Int = SQLiteLimits.queue, migrations: [Migrations] = []
  ) async throws -> SQLiteDatabase {
    let database = try SQLiteDatabase(path: path, durability: durability, queueLimit: queueLimit)
    do {
      let rooms = [Migrations.own] + migrations
      try await database.check(rooms)
      for room in rooms { try await database.migrate(room) }
    } catch {
      await database.close()
      throw error
    }
    return database
  }

  public func transaction<R: Sendable>(
    _ name: StaticString, _ body: @escaping @Sendable (borrowing Transaction) throws -> R
  ) async throws -> Committed<R> {
    try await withUnsafeThrowingContinuation { continuation in
      writer.submit(PendingWork(name, body, continuation))
    }
  }

  public func read<R: Sendable>(_ body: @escaping @Sendable (borrowing Snapshot) throws -> R) async throws -> R {
    guard let loop = EventLoop.current else { return try await readers.scan(body) }
    if closing.hasBegun { throw DatabaseError.closed }
    let reader = try loop.local(place) {
      let reader = LoopReader(try file.openReader(), loop: loop)
      guard closing.concerns(loop) else { throw DatabaseError.closed }
      return reader
    }
    return try reader.read(generation: writer.generation.load(ordering: .acquiring), body)
  }

  public func scan<R: Sendable>(_ body: @escaping @Sendable (borrowing Snapshot) throws -> R) async throws -> R {
    try await readers.scan(body)
  }

  public func observe(_ observer: any CommitObserver) { writer.observe(observer) }

  public func migrate(_ migrations: Migrations) async throws {
    let room = migrations.room
    let applied = try await transaction("migrate") { transaction in
      try migrations.check(
        transaction.query("SELECT number, name, checksum FROM migration WHERE room = ?1 ORDER BY number", room) {
          Migrations.Applied(number: $0[0], name: $0[1], checksum: $0[2])
        })
    }.value
    for (index, step) in migrations.steps.enumerated().dropFirst(applied) {
      _ = try await transaction("migrate") { transaction in
        try transaction.run(script: step.sqlite)
        try transaction.execute(
          "INSERT INTO migration (room, number, name, checksum) VALUES (?1, ?2, ?3, ?4)", room, index + 1, step.name, step.checksum)
      }
    }
  }

  /// Throws unless the file's whole history is a beginning of what these rooms have: before the first of them changes anything.
  private func check(_ rooms: [Migrations]) async throws {
    let known = Dictionary(uniqueKeysWithValues: rooms.map { ($0.room, $0) })
    let applied = try await scan { snapshot in
      try snapshot.query("SELECT room, number, name, checksum FROM migration ORDER BY room, number") { row in
        (room: row.get(0, as: String.self), step: Migrations.Applied(number: row[1], name: row[2], checksum: row[3]))
      }
    }
    for (room, steps) in Dictionary(grouping: applied, by: \.room) {
      guard let known = known[room] else {
        throw DatabaseError.schema("it holds the tables of \(room), which this release does not know: it is older")
      }
      _ = try known.check(steps.map(\.step))
    }
  }

  public func close() async {
    end()
    await closing.wait()
  }

  /// Groups committed and transactions in them so far.
  public var commits: (groups: Int, transactions: Int) {
    (writer.groups.load(ordering: .relaxed), writer.transactions.load(ordering: .relaxed))
  }
}

extension Transaction {
  /// A migration's statements, under the savepoint that the transaction's own write has opened.
  fileprivate func run(script: String) throws {
    try execute("UPDATE migration SET number = number WHERE room = ''")
    try session.connection.run(script: script)
  }
}

/// Waits for the engine's threads: the writer, and the readers together. Knows the loops that read.
private final class Closing: Sendable {
  private let state = Mutex((running: 2, begun: false, waiting: [UnsafeContinuation<Void, Never>](), loops: [EventLoop]()))

  var hasBegun: Bool { state.withLock { $0.begun } }

  /// A loop has a connection; false when it is too late for one.
  func concerns(_ loop: EventLoop) -> Bool {
    state.withLock { state in
      if !state.begun { state.loops.append(loop) }
      return !state.begun
    }
  }

  /// No more reading on loops; those that have a connection still.
  func begin() -> [EventLoop] {
    state.withLock { state in
      state.begun = true
      defer { state.loops = [] }
      return state.loops
    }
  }

  func oneEnded() {
    let waiting = state.withLock { state in
      state.begun = true
      state.running -= 1
      defer { if state.running == 0 { state.waiting = [] } }
      return state.running == 0 ? state.waiting : []
    }
    for continuation in waiting { continuation.resume() }
  }

  func wait() async {
    await withUnsafeContinuation { continuation in
      let isDone = state.withLock { state in
        state.begun = true
        if state.running > 0 { state.waiting.append(continuation) }
        return state.running == 0
      }
      if isDone { continuation.resume() }
    }
  }
}
