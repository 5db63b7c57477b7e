/// A Swift value that a column can hold.
///
/// Enums with a raw value conform by declaring it (`extension OrderState: SQLValue {}`); a raw value in a row that the enum does not
/// have is our own bug.
public protocol SQLValue: Sendable {
  /// Puts the value into a statement.
  func bind(to parameter: Parameter) throws
  /// What a column holds. A NULL for a type that is not optional is our own bug: the schema says NOT NULL.
  init(column: Column)
}

/// A statement's next parameter, as a value puts itself there.
public struct Parameter {
  @usableFromInline let statement: SQLiteStatement

  @usableFromInline init(statement: SQLiteStatement) { self.statement = statement }

  public func bind(_ integer: Int64) throws { try statement.bindNext(integer) }
  public func bind(_ real: Double) throws { try statement.bindNext(real) }
  /// Text that holds NUL is refused: engines cut it off there.
  public func bind(_ text: String) throws { try statement.bindNext(text) }
  public func bind(_ bytes: [UInt8]) throws { try statement.bindNext(bytes) }
  public func bindNull() throws { try statement.bindNextNull() }
}

/// One row of a result, valid only while the closure that received it runs: `Place(id: row[0], name: row[1])`.
public struct Row {
  @usableFromInline let statement: SQLiteStatement

  @usableFromInline init(statement: SQLiteStatement) { self.statement = statement }

  @inlinable
  public subscript<Value: SQLValue>(index: Int) -> Value { Value(column: Column(statement: statement, index: Int32(index))) }

  /// For where the type cannot be inferred.
  @inlinable
  public func get<Value: SQLValue>(_ index: Int, as type: Value.Type = Value.self) -> Value { self[index] }
}

/// One column of a row, as a value reads itself from it.
public struct Column {
  @usableFromInline let statement: SQLiteStatement
  @usableFromInline let index: Int32

  @usableFromInline
  init(statement: SQLiteStatement, index: Int32) {
    self.statement = statement
    self.index = index
  }

  public var isNull: Bool { statement.isNull(index) }
  public var integer: Int64 { statement.integer(index) }
  public var real: Double { statement.real(index) }
  public var text: String { statement.text(index) }
  public var bytes: [UInt8] { statement.bytes(index) }

  func present() { precondition(!isNull, "column \(index) is NULL where the code expects a value: \(statement.sql)") }
}

extension Int64: SQLValue {
  public func bind(to parameter: Parameter) throws { try parameter.bind(self) }
  public init(column: Column) {
    column.present()
    self = column.integer
  }
}

extension Int: SQLValue {
  public func bind(to parameter: Parameter) throws { try parameter.bind(Int64(self)) }
  public init(column: Column) { self = Int(Int64(column: column)) }
}

extension Int32: SQLValue {
  public func bind(to parameter: Parameter) throws { try parameter.bind(Int64(self)) }
  public init(column: Column) { self = Int32(Int64(column: column)) }
}

extension UInt32: SQLValue {
  public func bind(to parameter: Parameter) throws { try parameter.bind(Int64(self)) }
  public init(column: Column) { self = UInt32(Int64(column: column)) }
}

/// Stored as the signed number of the same bits, so that comparisons in SQL hold only below 2^63.
extension UInt64: SQLValue {
  public func bind(to parameter: Parameter) throws { try parameter.bind(Int64(bitPattern: self)) }
  public init(column: Column) { self = UInt64(bitPattern: Int64(column: column)) }
}

extension Double: SQLValue {
  public func bind(to parameter: Parameter) throws { try parameter.bind(self) }
  public init(column: Column) {
    column.present()
    self = column.real
  }
}

extension Bool: SQLValue {
  public func bind(to parameter: Parameter) throws { try parameter.bind(self ? 1 : Int64(0)) }
  public init(column: Column) { self = Int64(column: column) != 0 }
}

extension String: SQLValue {
  public func bind(to parameter: Parameter) throws { try parameter.bind(self) }
  public init(column: Column) {
    column.present()
    self = column.text
  }
}

extension Array: SQLValue where Element == UInt8 {
  public func bind(to parameter: Parameter) throws { try parameter.bind(self) }
  public init(column: Column) {
    column.present()
    self = column.bytes
  }
}

extension Optional: SQLValue where Wrapped: SQLValue {
  public func bind(to parameter: Parameter) throws {
    if let self { try self.bind(to: parameter) } else { try parameter.bindNull() }
  }
  public init(column: Column) { self = column.isNull ? nil : Wrapped(column: column) }
}

extension SQLValue where Self: RawRepresentable, RawValue: SQLValue {
  public func bind(to parameter: Parameter) throws { try rawValue.bind(to: parameter) }
  public init(column: Column) {
    let rawValue = RawValue(column: column)
    guard let value = Self(rawValue: rawValue) else { preconditionFailure("a row holds \(rawValue), which is no \(Self.self)") }
    self = value
  }
}
