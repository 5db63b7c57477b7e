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
///
/// Here and in `Transaction`, what depends on the caller's types is inlined into the caller: a value is then bound, and a row read, by a
/// direct call, and not by asking at run time what the types are.
public struct Snapshot: ~Copyable, Reader {
  @usableFromInline let connection: SQLiteConnection

  init(connection: SQLiteConnection) { self.connection = connection }

  @inlinable
  public func query<T, each Value: SQLValue>(
    _ sql: StaticString, _ values: repeat each Value, row: (Row) throws -> T
  ) throws -> [T] {
    let statement = try connection.begin(reading: sql)
    defer { statement.end() }
    repeat try (each values).bind(to: Parameter(statement: statement))
    return try statement.rows(row)
  }

  @inlinable
  public func first<T, each Value: SQLValue>(
    _ sql: StaticString, _ values: repeat each Value, row: (Row) throws -> T
  ) throws -> T? {
    let statement = try connection.begin(reading: sql)
    defer { statement.end() }
    repeat try (each values).bind(to: Parameter(statement: statement))
    return try statement.firstRow(row)
  }
}

/// How many rows a write must touch.
@frozen
public enum Expectation: Sendable, Hashable {
  case any
  case rows(Int)
}

/// What a transaction's closure may do. It never outlives the closure and never leaves the engine's thread.
public struct Transaction: ~Copyable, Reader {
  @usableFromInline let session: SQLiteSession

  init(session: SQLiteSession) { self.session = session }

  /// Also for writes that return rows: `INSERT … RETURNING`.
  @inlinable
  public func query<T, each Value: SQLValue>(
    _ sql: StaticString, _ values: repeat each Value, row: (Row) throws -> T
  ) throws -> [T] {
    let statement = try session.begin(sql)
    defer { statement.end() }
    repeat try (each values).bind(to: Parameter(statement: statement))
    return try statement.rows(row)
  }

  @inlinable
  public func first<T, each Value: SQLValue>(
    _ sql: StaticString, _ values: repeat each Value, row: (Row) throws -> T
  ) throws -> T? {
    let statement = try session.begin(sql)
    defer { statement.end() }
    repeat try (each values).bind(to: Parameter(statement: statement))
    return try statement.firstRow(row)
  }

  /// A write. Where it must touch a certain number of rows, say so: an engine may queue it and check at the next read or at the commit;
  /// another number throws `DatabaseError.unexpectedRowCount`.
  @inlinable
  public func execute<each Value: SQLValue>(
    _ sql: StaticString, _ values: repeat each Value, expecting: Expectation = .any
  ) throws {
    let statement = try session.begin(sql)
    defer { statement.end() }
    repeat try (each values).bind(to: Parameter(statement: statement))
    let found = try statement.runCounting()
    if case .rows(let expected) = expecting, expected != found {
      throw DatabaseError.unexpectedRowCount(expected: expected, found: found, sql: sql.description)
    }
  }

  /// A write whose number of rows decides what comes next. Dearer than `execute` where the engine is across a network.
  @inlinable
  public func executeCounting<each Value: SQLValue>(_ sql: StaticString, _ values: repeat each Value) throws -> Int {
    let statement = try session.begin(sql)
    defer { statement.end() }
    repeat try (each values).bind(to: Parameter(statement: statement))
    return try statement.runCounting()
  }

  /// Hands an item to the commit observers if and when this transaction commits.
  public func publish(_ item: any CommitItem) { session.items.append(item) }

  /// How far the log goes, as this transaction or one before it has left it; nil when it has to be asked. Nobody else writes meanwhile.
  public var knownPosition: Int64? { session.position ?? session.head }

  /// Says that the transaction has written the log up to here.
  public func reached(position: Int64) { session.position = position }
}
