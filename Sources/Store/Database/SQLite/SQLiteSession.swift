import CSQLite

/// SQLite has ended the whole transaction by itself: disk full, I/O error, no memory. Nothing may be written as if it were still open.
struct TransactionLost: Error {}

/// The writer's open transaction, as one caller's closure sees it: which connection, whether it has written, what it wants published.
@usableFromInline
final class SQLiteSession {
  private(set) var connection: SQLiteConnection
  /// What closures of this batch want published, in order.
  var items: [any CommitItem] = []
  /// The log position that the present closure reached.
  var position: Int64?
  /// The one that was reached last and stands, as long as nothing was rolled back since.
  private(set) var head: Int64?
  private var hasWritten = false
  /// Whether each closure that writes has a savepoint to go back to. Without, what one has written can be undone only with all the rest.
  private var usesSavepoints = true

  init(_ connection: SQLiteConnection) { self.connection = connection }

  func replace(connection: SQLiteConnection) {
    self.connection = connection
    head = nil
  }

  func begin(usingSavepoints: Bool) throws {
    usesSavepoints = usingSavepoints
    items.removeAll(keepingCapacity: true)
    try connection.run("BEGIN IMMEDIATE")
  }

  func commit() throws { try connection.run("COMMIT") }

  func rollback() {
    items.removeAll(keepingCapacity: true)
    head = nil
    if connection.isInTransaction { try? connection.run("ROLLBACK") }
  }

  /// How a closure went.
  struct Outcome {
    var succeeded: Bool
    var position: Int64?
    /// It refused after it had written, and there was no savepoint: the transaction holds what nobody wants.
    var isSpoiled = false
  }

  /// Runs one closure, which says whether it succeeded. Its writes stay or go as one; throws only if the whole transaction is gone.
  ///
  /// Never inlined: the optimiser of Swift 6.3 aborts when it inlines a borrowed noncopyable argument into a loop.
  @inline(never)
  func attempt(_ body: (borrowing Transaction) -> Bool) throws -> Outcome {
    hasWritten = false
    position = nil
    let published = items.count
    let succeeded = body(Transaction(session: self))
    guard connection.isInTransaction else { throw TransactionLost() }
    if !succeeded { items.removeLast(items.count - published) }
    if hasWritten && usesSavepoints {
      if !succeeded { try connection.run("ROLLBACK TO caller") }
      try connection.run("RELEASE caller")
    }
    if succeeded, let position { head = position }
    return Outcome(succeeded: succeeded, position: succeeded ? position : nil, isSpoiled: !succeeded && hasWritten && !usesSavepoints)
  }

  /// A statement for the present closure. The first that writes opens the savepoint, so that a closure that only reads and then refuses
  /// costs nothing to undo.
  @usableFromInline
  func begin(_ sql: StaticString) throws -> SQLiteStatement {
    guard connection.isInTransaction else { throw TransactionLost() }
    let statement = try connection.begin(sql)
    if !hasWritten && !statement.isReadOnly {
      do {
        if usesSavepoints { try connection.run("SAVEPOINT caller") }
      } catch {
        statement.end()
        throw error
      }
      hasWritten = true
    }
    return statement
  }
}

/// A transaction that waits for its turn, with its caller.
class PendingTransaction: @unchecked Sendable {
  // Sendable: handed from the caller to the writer's thread, touched by one at a time.
  let name: StaticString
  var position: Int64?

  init(_ name: StaticString) { self.name = name }

  /// Runs the closure and keeps what it returned or threw; false when it threw.
  func run(_ transaction: borrowing Transaction) -> Bool { preconditionFailure("abstract") }
  /// Answers the caller: with what the closure returned or threw, or with the failure of the commit.
  func finish(_ failure: DatabaseError?) { preconditionFailure("abstract") }
}

final class PendingWork<R: Sendable>: PendingTransaction, @unchecked Sendable {
  // Sendable: as its superclass.
  private let body: @Sendable (borrowing Transaction) throws -> R
  private let continuation: UnsafeContinuation<Committed<R>, any Error>
  private var result: Result<R, any Error>?

  init(
    _ name: StaticString, _ body: @escaping @Sendable (borrowing Transaction) throws -> R,
    _ continuation: UnsafeContinuation<Committed<R>, any Error>
  ) {
    self.body = body
    self.continuation = continuation
    super.init(name)
  }

  override func run(_ transaction: borrowing Transaction) -> Bool {
    do {
      result = .success(try body(transaction))
      return true
    } catch {
      result = .failure(error)
      return false
    }
  }

  override func finish(_ failure: DatabaseError?) {
    switch (result, failure) {
    case (.failure(let error), _) where !(error is TransactionLost): continuation.resume(throwing: error)
    case (.success(let value), nil): continuation.resume(returning: Committed(value: value, position: position))
    default: continuation.resume(throwing: failure ?? .full("the transaction could not be completed"))
    }
  }
}
