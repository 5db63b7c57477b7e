/// What can be asked of the store, in a transaction and in a snapshot alike: helper functions take `borrowing some Reader & ~Copyable`.
public protocol Reader: ~Copyable {
  /// All rows, each made into a value. The SQL bounds them: LIMIT, or a key.
  func query<T, each Value: SQLValue>(
    _ sql: StaticString, _ values: repeat each Value, row: (Row) throws -> T
  ) throws -> [T]

  /// The first row, if there is one.
  func first<T, each Value: SQLValue>(
    _ sql: StaticString, _ values: repeat each Value, row: (Row) throws -> T
  ) throws -> T?
}

/// A consistent view of the store for reading. It never outlives the closure that received it.
public struct Snapshot: ~Copyable, Reader {
  let connection: SQLiteConnection

  public func query<T, each Value: SQLValue>(
    _ sql: StaticString, _ values: repeat each Value, row: (Row) throws -> T
  ) throws -> [T] {
    try connection.query(sql, repeat each values, row: row)
  }

  public func first<T, each Value: SQLValue>(
    _ sql: StaticString, _ values: repeat each Value, row: (Row) throws -> T
  ) throws -> T? {
    try connection.first(sql, repeat each values, row: row)
  }
}

/// How many rows a write must touch.
public enum Expectation: Sendable, Hashable {
  case any
  case rows(Int)
}

/// What a transaction's closure may do. It never outlives the closure and never leaves the engine's thread.
public struct Transaction: ~Copyable, Reader {
  let session: SQLiteSession

  /// Also for writes that return rows: `INSERT … RETURNING`.
  public func query<T, each Value: SQLValue>(
    _ sql: StaticString, _ values: repeat each Value, row: (Row) throws -> T
  ) throws -> [T] {
    try session.prepare(sql) { statement in
      try statement.bind(repeat each values)
      return try statement.rows(row)
    }
  }

  public func first<T, each Value: SQLValue>(
    _ sql: StaticString, _ values: repeat each Value, row: (Row) throws -> T
  ) throws -> T? {
    try session.prepare(sql) { statement in
      try statement.bind(repeat each values)
      return try statement.firstRow(row)
    }
  }

  /// A write. Where it must touch a certain number of rows, say so: an engine may queue it and check at the next read or at the commit;
  /// another number throws `DatabaseError.unexpectedRowCount`.
  public func execute<each Value: SQLValue>(
    _ sql: StaticString, _ values: repeat each Value, expecting: Expectation = .any
  ) throws {
    let found = try executeCounting(sql, repeat each values)
    if case .rows(let expected) = expecting, expected != found {
      throw DatabaseError.unexpectedRowCount(expected: expected, found: found, sql: sql.description)
    }
  }

  /// A write whose number of rows decides what comes next. Dearer than `execute` where the engine is across a network.
  public func executeCounting<each Value: SQLValue>(_ sql: StaticString, _ values: repeat each Value) throws -> Int {
    try session.prepare(sql) { statement in
      try statement.bind(repeat each values)
      try statement.run()
      return session.connection.changes
    }
  }

  /// Hands an item to the commit observers if and when this transaction commits.
  public func publish(_ item: any CommitItem) { session.items.append(item) }

  /// How far the transaction has written the log; nil when it has not.
  public var reachedPosition: Int64? { session.position }

  /// Says that the transaction has written the log up to here.
  public func reached(position: Int64) { session.position = position }
}
