import CSQLite
import Glibc

/// One connection and its prepared statements. SQLite's own codes become `DatabaseError` here and nowhere else.
@usableFromInline
final class SQLiteConnection: @unchecked Sendable {
  // Sendable: opened with NOMUTEX and used by one thread at a time: the writer's, a reader's, or a loop's.
  let handle: OpaquePointer
  private var statements = StatementTable()
  private var isClosed = false

  enum Mode { case readWrite, readOnly }

  private static let configured: Void = spanwire_configure_sqlite()

  init(path: String, mode: Mode) throws {
    _ = Self.configured
    var opened: OpaquePointer?
    let flags = (mode == .readOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) | SQLITE_OPEN_NOMUTEX
    let code = sqlite3_open_v2(path, &opened, flags, nil)
    guard code == SQLITE_OK, let opened else {
      let message = opened.map { String(cString: sqlite3_errmsg($0)) } ?? "no memory"
      sqlite3_close_v2(opened)
      throw Self.error(code, message)
    }
    handle = opened
    sqlite3_extended_result_codes(handle, 1)
    // Only the moment in which a checkpoint swaps the log's header can make a reader wait.
    sqlite3_busy_timeout(handle, 5_000)
  }

  deinit { close() }

  /// Lets the file go, also where somebody still holds this object. Nothing may be asked of it any more.
  func close() {
    if isClosed { return }
    isClosed = true
    statements.removeAll()  // their deinit finalises them, before the connection goes
    sqlite3_close_v2(handle)
  }

  /// Several statements without parameters, for pragmas and migrations.
  func run(script: String) throws {
    let code = sqlite3_exec(handle, script, nil, nil, nil)
    if code != SQLITE_OK { throw error(code) }
  }

  /// The first column of the first row, for pragmas.
  func scalar(_ sql: String) throws -> String? {
    try SQLiteStatement(self, sql).firstRow { $0[0] }
  }

  /// A statement, to be ended after its use. One that is in use further up the stack is prepared once more.
  func begin(_ sql: StaticString) throws -> SQLiteStatement {
    let statement: SQLiteStatement
    if let known = statements[sql.utf8Start] {
      statement = known.isInUse ? try SQLiteStatement(self, sql.description) : known
    } else {
      statement = try SQLiteStatement(self, sql.description)
      statements.add(statement, for: sql.utf8Start)
    }
    statement.begin()
    return statement
  }

  @usableFromInline
  func begin(reading sql: StaticString) throws -> SQLiteStatement {
    let statement = try begin(sql)
    precondition(statement.isReadOnly, "a snapshot cannot write: \(sql)")
    return statement
  }

  /// A statement without parameters, to its end.
  func run(_ sql: StaticString) throws {
    let statement = try begin(sql)
    defer { statement.end() }
    _ = try statement.runCounting()
  }

  /// False once a transaction has ended, by us or by SQLite itself.
  var isInTransaction: Bool { sqlite3_get_autocommit(handle) == 0 }

  func error(_ code: Int32) -> DatabaseError { Self.error(code, String(cString: sqlite3_errmsg(handle))) }

  static func error(_ code: Int32, _ message: String) -> DatabaseError {
    switch code & 0xFF {
    case SQLITE_CONSTRAINT: .constraint(message)
    case SQLITE_FULL: .full(message)
    case SQLITE_READONLY, SQLITE_CANTOPEN, SQLITE_PERM: .readOnly(message)
    case SQLITE_CORRUPT, SQLITE_NOTADB: .corrupt(message)
    default: .engine(code: code, message: message)
    }
  }
}

/// Statements by the address of their literal: a dictionary's hash took as long as what a small statement does. As many as the program has
/// literals.
private struct StatementTable {
  /// Open addressing, half full at most.
  private var slots: [(key: UnsafePointer<UInt8>, statement: SQLiteStatement)?] = .init(repeating: nil, count: 64)
  private var count = 0

  subscript(key: UnsafePointer<UInt8>) -> SQLiteStatement? {
    var slot = place(key)
    while let entry = slots[slot] {
      if entry.key == key { return entry.statement }
      slot = (slot + 1) & (slots.count - 1)
    }
    return nil
  }

  /// `key` is not there yet.
  mutating func add(_ statement: SQLiteStatement, for key: UnsafePointer<UInt8>) {
    count += 1
    if count * 2 > slots.count {
      let old = slots
      slots = .init(repeating: nil, count: old.count * 2)
      for case let entry? in old { insert(entry.statement, for: entry.key) }
    }
    insert(statement, for: key)
  }

  mutating func removeAll() { self = StatementTable() }

  private mutating func insert(_ statement: SQLiteStatement, for key: UnsafePointer<UInt8>) {
    var slot = place(key)
    while slots[slot] != nil { slot = (slot + 1) & (slots.count - 1) }
    slots[slot] = (key, statement)
  }

  private func place(_ key: UnsafePointer<UInt8>) -> Int {
    let mixed = UInt64(UInt(bitPattern: key)) &* 0x9E37_79B9_7F4A_7C15
    return Int(truncatingIfNeeded: mixed >> 32) & (slots.count - 1)
  }
}
