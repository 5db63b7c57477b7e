import CSQLite
import Glibc

/// One connection and its prepared statements. SQLite's own codes become `DatabaseError` here and nowhere else.
final class SQLiteConnection: @unchecked Sendable {
  // Sendable: opened with NOMUTEX and used by one thread at a time: the writer's, a reader's, or a loop's.
  let handle: OpaquePointer
  /// By the address of the literal: a lookup is one small hash. As many as the program has literals.
  private var statements: [UnsafePointer<UInt8>: SQLiteStatement] = [:]
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

  /// Runs `body` with a statement and resets it after. A statement that is in use further up the stack is prepared once more.
  @inline(__always)
  func with<T>(_ sql: StaticString, _ body: (SQLiteStatement) throws -> T) throws -> T {
    let statement = try prepare(sql)
    statement.isInUse = true
    defer {
      statement.reset()
      statement.isInUse = false
    }
    return try body(statement)
  }

  private func prepare(_ sql: StaticString) throws -> SQLiteStatement {
    if let statement = statements[sql.utf8Start] {
      return statement.isInUse ? try SQLiteStatement(self, sql.description) : statement
    }
    let statement = try SQLiteStatement(self, sql.description)
    statements[sql.utf8Start] = statement
    return statement
  }

  func query<T, each Value: SQLValue>(_ sql: StaticString, _ values: repeat each Value, row: (Row) throws -> T) throws -> [T] {
    try with(sql) { statement in
      precondition(statement.isReadOnly, "a snapshot cannot write: \(sql)")
      try statement.bind(repeat each values)
      return try statement.rows(row)
    }
  }

  func first<T, each Value: SQLValue>(_ sql: StaticString, _ values: repeat each Value, row: (Row) throws -> T) throws -> T? {
    try with(sql) { statement in
      precondition(statement.isReadOnly, "a snapshot cannot write: \(sql)")
      try statement.bind(repeat each values)
      return try statement.firstRow(row)
    }
  }

  var changes: Int { Int(sqlite3_changes64(handle)) }
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

/// One prepared statement. It keeps its connection's place, not the connection.
final class SQLiteStatement {
  private let handle: OpaquePointer
  private unowned let connection: SQLiteConnection
  let isReadOnly: Bool
  var isInUse = false

  init(_ connection: SQLiteConnection, _ sql: String) throws {
    var sql = sql
    var made: OpaquePointer?
    let (code, complete) = sql.withUTF8 { text in
      text.withMemoryRebound(to: CChar.self) { text in
        var tail: UnsafePointer<CChar>?
        let code = sqlite3_prepare_v3(
          connection.handle, text.baseAddress, Int32(text.count), UInt32(SQLITE_PREPARE_PERSISTENT), &made, &tail)
        return (code, tail.map { text.baseAddress! + text.count - $0 <= 0 } ?? true)
      }
    }
    guard code == SQLITE_OK, let made else { throw connection.error(code) }
    precondition(complete, "more than one statement: \(sql)")
    handle = made
    self.connection = connection
    isReadOnly = sqlite3_stmt_readonly(made) != 0
  }

  deinit { sqlite3_finalize(handle) }

  var sql: String { String(cString: sqlite3_sql(handle)) }

  func bind<each Value: SQLValue>(_ values: repeat each Value) throws {
    var index: Int32 = 0
    for value in repeat each values {
      index += 1
      try bind(index, value.sqlParameter)
    }
    precondition(index == sqlite3_bind_parameter_count(handle), "\(index) values for \(sqlite3_bind_parameter_count(handle)): \(sql)")
  }

  private func bind(_ index: Int32, _ parameter: SQLParameter) throws {
    let code: Int32
    switch parameter {
    case .integer(let value): code = sqlite3_bind_int64(handle, index, value)
    case .real(let value): code = sqlite3_bind_double(handle, index, value)
    case .null: code = sqlite3_bind_null(handle, index)
    case .blob(let value):
      // An empty array may have no address, which SQLite would take for NULL.
      code =
        value.isEmpty
        ? sqlite3_bind_zeroblob(handle, index, 0)
        : value.withUnsafeBytes { sqlite3_bind_blob(handle, index, $0.baseAddress, Int32($0.count), Self.transient) }
    case .text(var value):
      code = try value.withUTF8 { text in
        if text.isEmpty { return sqlite3_bind_text(handle, index, "", 0, Self.transient) }
        if memchr(text.baseAddress!, 0, text.count) != nil { throw DatabaseError.textHoldsNUL }
        return text.withMemoryRebound(to: CChar.self) {
          sqlite3_bind_text(handle, index, $0.baseAddress, Int32($0.count), Self.transient)
        }
      }
    }
    if code != SQLITE_OK { throw connection.error(code) }
  }

  private static var transient: sqlite3_destructor_type { unsafeBitCast(-1, to: sqlite3_destructor_type.self) }

  /// True when there is a row.
  private func step() throws -> Bool {
    switch sqlite3_step(handle) {
    case SQLITE_ROW: return true
    case SQLITE_DONE: return false
    case let code: throw connection.error(code)
    }
  }

  func run() throws { while try step() {} }

  func rows<T>(_ make: (Row) throws -> T) throws -> [T] {
    var rows: [T] = []
    while try step() { rows.append(try make(Row(statement: self))) }
    return rows
  }

  /// Runs to the end when it writes, since a RETURNING that is not finished has not happened.
  func firstRow<T>(_ make: (Row) throws -> T) throws -> T? {
    guard try step() else { return nil }
    let value = try make(Row(statement: self))
    if !isReadOnly { while try step() {} }
    return value
  }

  func reset() { sqlite3_reset(handle) }

  func isNull(_ column: Int32) -> Bool { sqlite3_column_type(handle, column) == SQLITE_NULL }
  func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(handle, column) }
  func real(_ column: Int32) -> Double { sqlite3_column_double(handle, column) }

  func text(_ column: Int32) -> String {
    guard let start = sqlite3_column_text(handle, column) else { return "" }
    return String(decoding: UnsafeBufferPointer(start: start, count: Int(sqlite3_column_bytes(handle, column))), as: UTF8.self)
  }

  func bytes(_ column: Int32) -> [UInt8] {
    guard let start = sqlite3_column_blob(handle, column) else { return [] }
    return Array(UnsafeRawBufferPointer(start: start, count: Int(sqlite3_column_bytes(handle, column))))
  }
}
