import Glibc
import Synchronization

/// A database file: its path, its lock, how connections to it are made.
struct SQLiteFile: Sendable {
  let path: String
  let synchronous: SQLiteDatabase.Durability

  func openWriter() throws -> SQLiteConnection {
    let connection = try SQLiteConnection(path: path, mode: .readWrite)
    try connection.run(script: "PRAGMA page_size = 4096")
    guard try connection.scalar("PRAGMA journal_mode = WAL") == "wal" else {
      throw DatabaseError.engine(code: 0, message: "\(path): the file system does not allow a write-ahead log")
    }
    try connection.run(
      script: """
        PRAGMA synchronous = \(synchronous.rawValue);
        PRAGMA wal_autocheckpoint = 0;
        PRAGMA cache_size = -\(SQLiteLimits.writerCache);
        PRAGMA mmap_size = 0;
        PRAGMA foreign_keys = ON;
        PRAGMA trusted_schema = OFF;
        """)
    return connection
  }

  func openReader() throws -> SQLiteConnection {
    let connection = try SQLiteConnection(path: path, mode: .readOnly)
    try connection.run(
      script: "PRAGMA cache_size = -\(SQLiteLimits.readerCache); PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF; PRAGMA query_only = ON")
    return connection
  }

  /// Reads every page when the file is small enough.
  func check(_ connection: SQLiteConnection) throws {
    var information = stat()
    guard stat(path, &information) == 0, information.st_size <= SQLiteLimits.checkedBytes else { return }
    guard let answer = try connection.scalar("PRAGMA quick_check(1)"), answer == "ok" else {
      throw DatabaseError.corrupt("\(path) fails its integrity check")
    }
  }
}

/// Keeps other processes out of a database: they would checkpoint under the writer's feet.
final class FileLock: Sendable {
  private let descriptor: Atomic<Int32>

  init(path: String) throws {
    let descriptor = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      let code = errno
      let message = "\(path): \(String(cString: strerror(code)))"
      switch code {
      case EROFS, EACCES, EPERM: throw DatabaseError.readOnly(message)
      case ENOSPC, EDQUOT: throw DatabaseError.full(message)
      default: throw DatabaseError.engine(code: code, message: message)
      }
    }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      close(descriptor)
      throw DatabaseError.locked(path: path)
    }
    self.descriptor = Atomic(descriptor)
  }

  deinit { release() }

  /// Lets others have the database, once.
  func release() {
    let held = descriptor.exchange(-1, ordering: .acquiringAndReleasing)
    if held >= 0 { close(held) }
  }
}
