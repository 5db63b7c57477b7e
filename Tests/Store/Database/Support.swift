import Glibc
import SpanwireDatabase

/// A folder of its own for a test, gone with it.
final class TemporaryFolder: Sendable {
  let path: String

  init() {
    var template = Array("/tmp/spanwire-store-XXXXXX".utf8CString)
    path = String(cString: mkdtemp(&template)!)
  }

  deinit {
    if let folder = opendir(path) {
      while let entry = readdir(folder) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
          String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
        }
        unlink(path + "/" + name)
      }
      closedir(folder)
    }
    rmdir(path)
  }

  var file: String { path + "/test.db" }

  /// What this process has open in it.
  var openFiles: [String] {
    var found: [String] = []
    guard let descriptors = opendir("/proc/self/fd") else { return [] }
    while let entry = readdir(descriptors) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
      }
      var target = [CChar](repeating: 0, count: Int(PATH_MAX))
      guard readlink("/proc/self/fd/" + name, &target, target.count - 1) > 0 else { continue }
      let file = String(cString: target)
      if file.hasPrefix(path + "/") { found.append(file) }
    }
    closedir(descriptors)
    return found
  }
}

let counters = Migrations(
  "test",
  [
    .init(
      "counters", sqlite: "CREATE TABLE counter (id TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL, note BLOB) STRICT, WITHOUT ROWID")
  ])

/// A database with one table of counters.
func counterDatabase(_ folder: TemporaryFolder, queueLimit: Int = SQLiteLimits.queue) async throws -> SQLiteDatabase {
  try await SQLiteDatabase.open(path: folder.file, durability: .off, queueLimit: queueLimit, migrations: [counters])
}

struct Refused: Error, Equatable {}

extension Database {
  func value(_ id: String) async throws -> Int64? {
    try await read { try $0.first("SELECT value FROM counter WHERE id = ?1", id) { $0[0] } }
  }

  func add(_ amount: Int64, to id: String) async throws {
    _ = try await transaction("add") { transaction in
      try transaction.execute(
        "INSERT INTO counter (id, value) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET value = counter.value + excluded.value", id, amount)
    }
  }
}
