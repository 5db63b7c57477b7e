import CProtobufC

/// A message whose type is known only at run time.
public struct DynamicMessage: Hashable, Sendable {
  /// The type of the message.
  public let schema: MessageSchema
  /// What is set, by field number. Fields without presence are absent while they have their default.
  public var fields: [UInt32: DynamicValue] = [:]
  /// What was decoded and the type does not know.
  public var unknownFields = UnknownFields()

  /// An empty message of a type.
  public init(_ schema: MessageSchema) { self.schema = schema }

  /// A field by its name in the file.
  public subscript(name: String) -> DynamicValue? {
    get { schema.field(named: name).flatMap { fields[$0.number] } }
    set { if let number = schema.field(named: name)?.number { fields[number] = newValue } }
  }

  /// Equal when type, fields and unknown fields are.
  public static func == (left: Self, right: Self) -> Bool {
    left.schema.fullName == right.schema.fullName && left.fields == right.fields && left.unknownFields == right.unknownFields
  }

  /// Hashes the type and what is set.
  public func hash(into hasher: inout Hasher) {
    hasher.combine(schema.fullName)
    hasher.combine(fields)
  }
}

/// A value of a dynamic message. The several encodings of a number share a case.
public enum DynamicValue: Hashable, Sendable {
  case int32(Int32)
  case int64(Int64)
  case uint32(UInt32)
  case uint64(UInt64)
  case bool(Bool)
  case float(Float)
  case double(Double)
  case string(String)
  case bytes([UInt8])
  case enumeration(Int32)
  case message(DynamicMessage)
  case list([DynamicValue])
  case map(ProtoMap<DynamicValue, DynamicValue>)
}

// MARK: - Decoding

extension DynamicMessage {
  /// Decodes protobuf bytes. Throws `DecodingError`.
  public init(decoding bytes: [UInt8], schema: MessageSchema, limits: DecodingLimits = .default) throws(DecodingError) {
    let table = schema.table
    self = try bytes.withUnsafeBufferPointer { buffer throws(DecodingError) in
      try table.withCStruct(decoding: UnsafeRawBufferPointer(buffer), limits: limits) { DynamicMessage($0, schema, table.core) }
    }
  }

  private init(_ message: UnsafeRawPointer, _ schema: MessageSchema, _ core: UnsafeMutablePointer<TableCore>) {
    self.init(schema)
    unknownFields = CField.unknownFields(message)
    for field in schema.fields {
      guard let entry = core.pointee.field(field.number)?.pointee else { continue }
      let slot = message + Int(entry.offset)
      switch entry.mode {
      case .plain:
        if entry.kind == .message ? slot.load(as: UnsafeRawPointer?.self) != nil : !Self.isDefault(slot, entry.kind) {
          fields[field.number] = Self.value(slot, field, entry)
        }
      case .flagged:
        if (message + Int(entry.quantifier)).load(as: Int32.self) != 0 { fields[field.number] = Self.value(slot, field, entry) }
      case .oneof:
        if (message + Int(entry.quantifier)).load(as: UInt32.self) == field.number { fields[field.number] = Self.value(slot, field, entry) }
      case .repeated:
        let count = (message + Int(entry.quantifier)).load(as: Int.self)
        if count == 0 { continue }
        let start = slot.load(as: UnsafeRawPointer.self)
        let values = (0..<count).map { Self.value(start + $0 * entry.kind.size, field, entry) }
        fields[field.number] = field.isMap ? .map(ProtoMap(pairs: values.map { $0.mapEntry })) : .list(values)
      }
    }
  }

  private static func isDefault(_ slot: UnsafeRawPointer, _ kind: FieldKind) -> Bool {
    switch kind.size {
    case 4: slot.load(as: UInt32.self) == 0
    default: slot.load(as: UInt64.self) == 0  // of strings and bytes, the length
    }
  }

  private static func value(_ slot: UnsafeRawPointer, _ field: FieldSchema, _ entry: FieldEntry) -> DynamicValue {
    switch field.type {
    case .int32, .sint32, .sfixed32: .int32(slot.load(as: Int32.self))
    case .int64, .sint64, .sfixed64: .int64(slot.load(as: Int64.self))
    case .uint32, .fixed32: .uint32(slot.load(as: UInt32.self))
    case .uint64, .fixed64: .uint64(slot.load(as: UInt64.self))
    case .bool: .bool(slot.load(as: Int32.self) != 0)
    case .float: .float(slot.load(as: Float.self))
    case .double: .double(slot.load(as: Double.self))
    case .string: .string(CField.string(slot.load(as: ProtobufCBinaryData.self)))
    case .bytes: .bytes(CField.bytes(slot.load(as: ProtobufCBinaryData.self)))
    case .enumeration: .enumeration(slot.load(as: Int32.self))
    case .message, .group: .message(DynamicMessage(slot.load(as: UnsafeRawPointer.self), field.messageType!, entry.child!))
    }
  }
}

extension FieldType {
  /// What an unset field of the type reads as. Messages have no default value of their own.
  var defaultValue: DynamicValue? {
    switch self {
    case .int32, .sint32, .sfixed32: .int32(0)
    case .int64, .sint64, .sfixed64: .int64(0)
    case .uint32, .fixed32: .uint32(0)
    case .uint64, .fixed64: .uint64(0)
    case .bool: .bool(false)
    case .float: .float(0)
    case .double: .double(0)
    case .string: .string("")
    case .bytes: .bytes([])
    case .enumeration: .enumeration(0)
    case .message, .group: nil
    }
  }
}

extension FieldSchema {
  /// What the field reads as when it is unset, a default of its own (proto2) aside; nil for messages.
  var defaultValue: DynamicValue? {
    if let enumType, enumType.isClosed { return .enumeration(enumType.values.first?.number ?? 0) }
    return type.defaultValue
  }
}

extension DynamicValue {
  /// A map entry's message as a pair; either side may have been left out.
  fileprivate var mapEntry: ProtoMap<DynamicValue, DynamicValue>.Element {
    guard case .message(let entry) = self else { preconditionFailure("a map entry is a message") }
    return (entry.valueOrDefault(1), entry.valueOrDefault(2))
  }
}

extension DynamicMessage {
  fileprivate func valueOrDefault(_ number: UInt32) -> DynamicValue {
    if let value = fields[number] { return value }
    guard let field = schema.field(number: number) else { preconditionFailure("\(schema.fullName) is no map entry") }
    return field.defaultValue ?? .message(DynamicMessage(field.messageType!))
  }
}

// MARK: - Encoding

extension DynamicMessage {
  /// The message as protobuf bytes, fields in order of their numbers.
  public func encoded() -> [UInt8] {
    var writer = MessageWriter()
    write(to: &writer)
    return writer.bytes()
  }

  func write(to writer: inout MessageWriter) {
    writer.unknown(unknownFields)
    for field in schema.fields.reversed() {
      guard let value = fields[field.number] else { continue }
      switch value {
      case .list(let values): Self.write(values, field, &writer)
      case .map(let map):
        guard let key = field.messageType?.field(number: 1), let item = field.messageType?.field(number: 2) else { continue }
        writer.map(field.number, map) {
          Self.write($2, item, &$0)
          Self.write($1, key, &$0)
        }
      default: Self.write(value, field, &writer)
      }
    }
  }

  private static func write(_ values: [DynamicValue], _ field: FieldSchema, _ writer: inout MessageWriter) {
    if field.isPacked && !values.isEmpty {
      let end = writer.count
      for value in values.reversed() { writeBare(value, field.type, &writer) }
      writer.close(field.number, end)
    } else {
      for value in values.reversed() { write(value, field, &writer) }
    }
  }

  private static func write(_ value: DynamicValue, _ field: FieldSchema, _ writer: inout MessageWriter) {
    switch value {
    case .string(let text): writer.string(field.number, always: text)
    case .bytes(let bytes): writer.bytes(field.number, always: bytes)
    case .message(let message) where field.type == .group:
      writer.tag(field.number, 4)
      message.write(to: &writer)
      writer.tag(field.number, 3)
    case .message(let message):
      let end = writer.count
      message.write(to: &writer)
      writer.close(field.number, end)
    default:
      writeBare(value, field.type, &writer)
      writer.tag(field.number, field.type.kind.wireType)
    }
  }

  /// A number as the field's type wants it, without a tag.
  private static func writeBare(_ value: DynamicValue, _ type: FieldType, _ writer: inout MessageWriter) {
    switch value {
    case .int32(let number):
      switch type {
      case .sint32: writer.varint(UInt64(UInt32(bitPattern: (number &<< 1) ^ (number &>> 31))))
      case .sfixed32: writer.word(UInt32(bitPattern: number))
      default: writer.varint(UInt64(bitPattern: Int64(number)))
      }
    case .int64(let number):
      switch type {
      case .sint64: writer.varint(UInt64(bitPattern: (number &<< 1) ^ (number &>> 63)))
      case .sfixed64: writer.doubleWord(UInt64(bitPattern: number))
      default: writer.varint(UInt64(bitPattern: number))
      }
    case .uint32(let number): if type == .fixed32 { writer.word(number) } else { writer.varint(UInt64(number)) }
    case .uint64(let number): if type == .fixed64 { writer.doubleWord(number) } else { writer.varint(number) }
    case .bool(let flag): writer.varint(flag ? 1 : 0)
    case .float(let number): writer.word(number.bitPattern)
    case .double(let number): writer.doubleWord(number.bitPattern)
    case .enumeration(let number): writer.varint(UInt64(bitPattern: Int64(number)))
    case .string, .bytes, .message, .list, .map: preconditionFailure("a number was expected")
    }
  }
}
