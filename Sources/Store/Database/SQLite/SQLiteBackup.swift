import CSQLite
import Glibc

/// Copies of a database that is in use, and the check of every page. Each runs on a thread of its own, with connections of its own: the
/// writer goes on meanwhile, and only its log cannot start over.
extension SQLiteDatabase: FileDatabase {
  public func backup(to path: String) async throws {
    try await onThread("store-backup") { [file] in
      guard access(path, F_OK) != 0 else { throw DatabaseError.engine(code: EEXIST, message: "\(path) is there already") }
      do {
        try Self.copy(try file.openReader(), to: path)
        let copy = try SQLiteConnection(path: path, mode: .readOnly)
        let problems = try Self.problems(of: copy)
        guard problems.isEmpty else { throw DatabaseError.corrupt("the copy of \(file.path): \(problems[0])") }
      } catch {
        for suffix in ["", "-journal", "-wal", "-shm"] { unlink(path + suffix) }
        throw error
      }
    }
  }

  public func examine() async throws -> [String] {
    try await onThread("store-examine") { [file] in try Self.problems(of: file.openReader()) }
  }

  /// All in one step: the source's snapshot is of one moment, and writes between steps would begin the copy anew.
  private static func copy(_ source: SQLiteConnection, to path: String) throws {
    let target = try SQLiteConnection(path: path, mode: .readWrite)
    guard let backup = sqlite3_backup_init(target.handle, "main", source.handle, "main") else {
      throw target.error(sqlite3_errcode(target.handle))
    }
    let step = sqlite3_backup_step(backup, -1)
    let end = sqlite3_backup_finish(backup)
    guard step == SQLITE_DONE, end == SQLITE_OK else { throw target.error(step == SQLITE_DONE ? end : step) }
    // A file that stands alone, without a log beside it.
    guard try target.scalar("PRAGMA journal_mode = DELETE") == "delete" else {
      throw DatabaseError.engine(code: 0, message: "\(path) could not be closed as a single file")
    }
  }

  private static func problems(of connection: SQLiteConnection) throws -> [String] {
    do {
      return try SQLiteStatement(connection, "PRAGMA integrity_check(100)").rows { $0.get(0, as: String.self) }.filter { $0 != "ok" }
    } catch DatabaseError.corrupt(let message) {
      return [message]
    }
  }

  private func onThread<R: Sendable>(_ name: String, _ body: @escaping @Sendable () throws -> R) async throws -> R {
    try await withUnsafeThrowingContinuation { continuation in
      startThread(name) { continuation.resume(with: Result { try body() }) }
    }
  }
}
