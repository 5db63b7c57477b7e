import CSQLite
import Glibc

/// One prepared statement. It keeps its connection's place, not the connection.
@usableFromInline
final class SQLiteStatement {
  private let handle: OpaquePointer
  private unowned(unsafe) let connection: SQLiteConnection
  let isReadOnly: Bool
  private let parameters: Int32
  private(set) var isInUse = false
  /// Parameters that have a value for this use.
  private var bound: Int32 = 0
  /// Where SQLite finds the texts and bytes of this use: the statement's own, so that it need not allocate a copy of each.
  private var place: UnsafeMutableRawPointer?
  private var (room, taken, wanted) = (0, 0, 0)

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
    parameters = sqlite3_bind_parameter_count(made)
  }

  deinit {
    sqlite3_finalize(handle)
    place?.deallocate()
  }

  var sql: String { String(cString: sqlite3_sql(handle)) }

  // MARK: A use

  func begin() {
    isInUse = true
    bound = 0
    // What did not fit the last time, fits this time.
    if wanted > room, room < SQLiteLimits.statementBytes {
      place?.deallocate()
      room = min(max(256, wanted.nextPowerOfTwo), SQLiteLimits.statementBytes)
      place = .allocate(byteCount: room, alignment: 8)
    }
    (taken, wanted) = (0, 0)
  }

  @usableFromInline
  func end() {
    sqlite3_reset(handle)
    isInUse = false
  }

  // MARK: Parameters

  func bindNext(_ value: Int64) throws {
    bound += 1
    try check(sqlite3_bind_int64(handle, bound, value))
  }

  func bindNext(_ value: Double) throws {
    bound += 1
    try check(sqlite3_bind_double(handle, bound, value))
  }

  func bindNextNull() throws {
    bound += 1
    try check(sqlite3_bind_null(handle, bound))
  }

  func bindNext(_ value: [UInt8]) throws {
    bound += 1
    // An empty array may have no address, which SQLite would take for NULL.
    if value.isEmpty { return try check(sqlite3_bind_zeroblob(handle, bound, 0)) }
    try check(
      value.withUnsafeBytes { bytes in
        let (start, destroy) = keep(bytes)
        return sqlite3_bind_blob(handle, bound, start, Int32(bytes.count), destroy)
      })
  }

  func bindNext(_ value: String) throws {
    bound += 1
    var value = value
    let code: Int32? = value.withUTF8 { text in
      guard let base = text.baseAddress, !text.isEmpty else { return sqlite3_bind_text(handle, bound, "", 0, Self.transient) }
      if memchr(base, 0, text.count) != nil { return nil }
      let (start, destroy) = keep(UnsafeRawBufferPointer(text))
      return sqlite3_bind_text(handle, bound, start.assumingMemoryBound(to: CChar.self), Int32(text.count), destroy)
    }
    guard let code else { throw DatabaseError.textHoldsNUL }
    try check(code)
  }

  /// Where bytes stay until the next use; those for which there is no room SQLite copies itself.
  private func keep(_ bytes: UnsafeRawBufferPointer) -> (start: UnsafeRawPointer, destroy: sqlite3_destructor_type?) {
    wanted += bytes.count
    guard let place, bytes.count <= room - taken else { return (bytes.baseAddress!, Self.transient) }
    let start = place + taken
    start.copyMemory(from: bytes.baseAddress!, byteCount: bytes.count)
    taken += bytes.count
    return (UnsafeRawPointer(start), nil)
  }

  private static var transient: sqlite3_destructor_type { unsafeBitCast(-1, to: sqlite3_destructor_type.self) }

  private func check(_ code: Int32) throws { if code != SQLITE_OK { throw connection.error(code) } }

  // MARK: Steps

  /// True when there is a row.
  @usableFromInline
  func step() throws -> Bool {
    precondition(bound == parameters, "\(bound) values for \(parameters): \(sql)")
    switch sqlite3_step(handle) {
    case SQLITE_ROW: return true
    case SQLITE_DONE: return false
    case let code: throw connection.error(code)
    }
  }

  /// To the end; how many rows it has changed, if it is a statement that changes any.
  @usableFromInline
  func runCounting() throws -> Int {
    while try step() {}
    return Int(sqlite3_changes64(connection.handle))
  }

  @inlinable
  func rows<T>(_ make: (Row) throws -> T) throws -> [T] {
    var rows: [T] = []
    while try step() { rows.append(try make(Row(statement: self))) }
    return rows
  }

  /// Runs to the end when it writes, since a RETURNING that is not finished has not happened.
  @inlinable
  func firstRow<T>(_ make: (Row) throws -> T) throws -> T? {
    guard try step() else { return nil }
    let value = try make(Row(statement: self))
    try finishWriting()
    return value
  }

  @usableFromInline
  func finishWriting() throws { if !isReadOnly { while try step() {} } }

  // MARK: Columns

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

extension Int {
  /// Of a number above 1.
  fileprivate var nextPowerOfTwo: Int { 1 << (Int.bitWidth - (self - 1).leadingZeroBitCount) }
}
