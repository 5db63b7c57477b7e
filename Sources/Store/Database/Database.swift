/// The one SQL surface of every service. Engines differ behind it, portable SQL in front of it does not.
///
/// SQL is a `StaticString` with `?1` placeholders in the dialect that SQLite and PostgreSQL share: `ON CONFLICT`, `RETURNING`, no rowid,
/// no AUTOINCREMENT, GLOB or LIKE. Text holds no NUL; booleans are 0 and 1; times are nanoseconds.
public protocol Database: Sendable {
  /// Runs `body` in a transaction and returns after it is durable.
  ///
  /// `body` is synchronous and may run more than once from the start: ids, times and randomness come in as captured values, it touches
  /// nothing but the transaction, and caches are changed only after this returns. What it throws rolls back its own writes and reaches
  /// the caller as it is. Also throws `DatabaseError.busy` when too much waits already (nothing has happened), and `.outcomeUnknown`
  /// when the commit itself failed: retry with the same idempotency key.
  func transaction<R: Sendable>(
    _ name: StaticString, _ body: @escaping @Sendable (borrowing Transaction) throws -> R
  ) async throws -> Committed<R>

  /// Point reads, by key and small. On an event loop they run there, at once, on the loop's own connection, in a snapshot that sees at
  /// least everything committed before the call; elsewhere on a reader's thread.
  func read<R: Sendable>(_ body: @escaping @Sendable (borrowing Snapshot) throws -> R) async throws -> R

  /// Ranges, history, whatever may be cold or long: on a reader's thread. Throws `DatabaseError.busy` when too many wait.
  func scan<R: Sendable>(_ body: @escaping @Sendable (borrowing Snapshot) throws -> R) async throws -> R

  /// Registers what learns of every commit. Before the first transaction that concerns it.
  func observe(_ observer: any CommitObserver)

  /// Applies what is not applied yet of a room's migrations, each in a transaction of its own, after checking the history.
  func migrate(_ migrations: Migrations) async throws

  /// Ends the engine after what is queued. Calls that come later throw `DatabaseError.closed`.
  func close() async
}

/// What a transaction returned, now that it is durable.
public struct Committed<R: Sendable>: Sendable {
  public let value: R
  /// The last position in the log that the transaction wrote; nil when it wrote none, or on engines that give positions later.
  public let position: Int64?

  public init(value: R, position: Int64?) {
    self.value = value
    self.position = position
  }
}

/// What a transaction tells the observers of its commit. A class, so that each observer knows its own by one comparison: every item of
/// every commit passes all of them on the writer's thread.
public protocol CommitItem: AnyObject, Sendable {}

/// Learns of commits on the engine's own thread, in commit order, before the callers get their answers.
///
/// It must be quick and may not call the database: it hands on to loops.
public protocol CommitObserver: Sendable {
  /// Items that committed transactions gave to `Transaction.publish`, in order; one call a group of commits.
  func committed(_ items: [any CommitItem])

  /// The engine lost track of a commit and found its feet again: whatever is derived from the items must be read anew.
  func recovered(_ snapshot: borrowing Snapshot)
}
