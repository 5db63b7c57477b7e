/// A Swift value that a column can hold.
///
/// Enums with a raw value conform by declaring it (`extension OrderState: SQLValue {}`); a raw value in a row that the enum does not
/// have is our own bug.
public protocol SQLValue: Sendable {
  /// What goes into the statement.
  var sqlParameter: SQLParameter { get }
  /// What a column holds. A NULL for a type that is not optional is our own bug: the schema says NOT NULL.
  init(column: Column)
}

/// A value on its way into a statement.
public enum SQLParameter: Sendable, Hashable {
  case integer(Int64)
  case real(Double)
  case text(String)
  case blob([UInt8])
  case null
}

/// One row of a result, valid only while the closure that received it runs: `Place(id: row[0], name: row[1])`.
public struct Row {
  let statement: SQLiteStatement

  public subscript<Value: SQLValue>(index: Int) -> Value { Value(column: Column(statement: statement, index: Int32(index))) }

  /// For where the type cannot be inferred.
  public func get<Value: SQLValue>(_ index: Int, as type: Value.Type = Value.self) -> Value { self[index] }
}

/// One column of a row, as a value reads itself from it.
public struct Column {
  let statement: SQLiteStatement
  let index: Int32

  public var isNull: Bool { statement.isNull(index) }
  public var integer: Int64 { statement.integer(index) }
  public var real: Double { statement.real(index) }
  public var text: String { statement.text(index) }
  public var bytes: [UInt8] { statement.bytes(index) }

  func present() { precondition(!isNull, "column \(index) is NULL where the code expects a value: \(statement.sql)") }
}

extension Int64: SQLValue {
  public var sqlParameter: SQLParameter { .integer(self) }
  public init(column: Column) {
    column.present()
    self = column.integer
  }
}

extension Int: SQLValue {
  public var sqlParameter: SQLParameter { .integer(Int64(self)) }
  public init(column: Column) { self = Int(Int64(column: column)) }
}

extension Int32: SQLValue {
  public var sqlParameter: SQLParameter { .integer(Int64(self)) }
  public init(column: Column) { self = Int32(Int64(column: column)) }
}

extension UInt32: SQLValue {
  public var sqlParameter: SQLParameter { .integer(Int64(self)) }
  public init(column: Column) { self = UInt32(Int64(column: column)) }
}

/// Stored as the signed number of the same bits, so that comparisons in SQL hold only below 2^63.
extension UInt64: SQLValue {
  public var sqlParameter: SQLParameter { .integer(Int64(bitPattern: self)) }
  public init(column: Column) { self = UInt64(bitPattern: Int64(column: column)) }
}

extension Double: SQLValue {
  public var sqlParameter: SQLParameter { .real(self) }
  public init(column: Column) {
    column.present()
    self = column.real
  }
}

extension Bool: SQLValue {
  public var sqlParameter: SQLParameter { .integer(self ? 1 : 0) }
  public init(column: Column) { self = Int64(column: column) != 0 }
}

extension String: SQLValue {
  public var sqlParameter: SQLParameter { .text(self) }
  public init(column: Column) {
    column.present()
    self = column.text
  }
}

extension Array: SQLValue where Element == UInt8 {
  public var sqlParameter: SQLParameter { .blob(self) }
  public init(column: Column) {
    column.present()
    self = column.bytes
  }
}

extension Optional: SQLValue where Wrapped: SQLValue {
  public var sqlParameter: SQLParameter { self?.sqlParameter ?? .null }
  public init(column: Column) { self = column.isNull ? nil : Wrapped(column: column) }
}

extension SQLValue where Self: RawRepresentable, RawValue: SQLValue {
  public var sqlParameter: SQLParameter { rawValue.sqlParameter }
  public init(column: Column) {
    let rawValue = RawValue(column: column)
    guard let value = Self(rawValue: rawValue) else { preconditionFailure("a row holds \(rawValue), which is no \(Self.self)") }
    self = value
  }
}
