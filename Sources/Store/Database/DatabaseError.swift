/// What the store can do to a caller. An engine's own codes appear nowhere else.
public enum DatabaseError: Error, Sendable, Hashable {
  /// As many transactions or scans wait as are allowed; nothing was begun.
  case busy(limit: Int)
  /// The commit failed at the last step: the transaction may have happened or not. A retry with the same idempotency key is safe.
  case outcomeUnknown(String)
  /// A write touched another number of rows than it expected to: somebody else was there first.
  case unexpectedRowCount(expected: Int, found: Int, sql: String)
  /// A constraint of the schema stands against it.
  case constraint(String)
  /// No room on the disk: it did not happen.
  case full(String)
  /// The file or its folder may not be written.
  case readOnly(String)
  /// Anything else that the engine said.
  case engine(code: Int32, message: String)
  /// Text with a NUL in it, which not every engine can hold.
  case textHoldsNUL
  /// Another process has the database open.
  case locked(path: String)
  /// The file is damaged.
  case corrupt(String)
  /// The file was written by a newer release, or its history is another one.
  case schema(String)
  case closed
}

extension DatabaseError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .busy(let limit): "the store is busy: \(limit) calls wait already"
    case .outcomeUnknown(let reason): "the outcome of the commit is unknown: \(reason)"
    case .unexpectedRowCount(let expected, let found, let sql): "expected \(expected) rows, found \(found): \(sql)"
    case .constraint(let message): "constraint failed: \(message)"
    case .full(let message): "no room left: \(message)"
    case .readOnly(let message): "it may not be written: \(message)"
    case .engine(let code, let message): "database error \(code): \(message)"
    case .textHoldsNUL: "text holds a NUL"
    case .locked(let path): "\(path) is in use by another server"
    case .corrupt(let message): "the database is damaged: \(message)"
    case .schema(let message): "the schema does not fit: \(message)"
    case .closed: "the database is closed"
    }
  }
}
