/// How messages become JSON.
public struct JSONEncodingOptions: Hashable, Sendable {
  /// `session_id` instead of `sessionId`.
  public var usesProtoNames = false
  /// Fields without presence also when they have their default, empty lists and maps too.
  public var printsDefaults = false
  /// Enums as numbers.
  public var printsEnumNumbers = false
  /// Two spaces a level, a line a value.
  public var isIndented = false

  /// A printer with the options of the JSON mapping; all are off unless said.
  public init(usesProtoNames: Bool = false, printsDefaults: Bool = false, printsEnumNumbers: Bool = false, isIndented: Bool = false) {
    self.usesProtoNames = usesProtoNames
    self.printsDefaults = printsDefaults
    self.printsEnumNumbers = printsEnumNumbers
    self.isIndented = isIndented
  }
}

/// Writes a message in the proto3 JSON mapping.
struct JSONPrinter {
  var text: JSONText
  let options: JSONEncodingOptions
  let pool: DescriptorPool
  /// Messages inside `Any` are decoded while printing, so their depth is counted here.
  private var depth = DecodingLimits.default.depth

  init(options: JSONEncodingOptions, pool: DescriptorPool) {
    self.options = options
    self.pool = pool
    text = JSONText(isIndented: options.isIndented)
  }

  mutating func message(_ message: DynamicMessage) throws(JSONError) {
    guard depth > 0 else { throw JSONError("messages are nested too deep") }
    depth -= 1
    defer { depth += 1 }
    if let known = WellKnownJSON(rawValue: message.schema.fullName) { return try wellKnown(known, message) }
    text.begin("{")
    try fields(of: message)
    text.end("}")
  }

  private mutating func fields(of message: DynamicMessage) throws(JSONError) {
    try declared(message)
    guard !message.unknownFields.isEmpty, let schema = pool.extensionSchema(of: message.schema.fullName) else { return }
    try declared(DynamicMessage(printing: message.unknownFields.bytes, as: schema))
  }

  private mutating func declared(_ message: DynamicMessage) throws(JSONError) {
    for field in message.schema.fields {
      guard let value = message.fields[field.number] ?? standIn(field) else { continue }
      let name = options.usesProtoNames && field.extendee == nil ? field.name : field.jsonName
      text.key(name)
      do throws(JSONError) {
        try self.value(value, field)
      } catch {
        throw error.under(name)
      }
    }
  }

  private func standIn(_ field: FieldSchema) -> DynamicValue? {
    guard options.printsDefaults, !field.hasPresence else { return nil }
    if field.isMap { return .map([:]) }
    if field.isRepeated { return .list([]) }
    return field.type.defaultValue
  }

  private mutating func value(_ value: DynamicValue, _ field: FieldSchema) throws(JSONError) {
    switch value {
    case .list(let values):
      text.begin("[")
      for (index, value) in values.enumerated() {
        text.item()
        do throws(JSONError) { try single(value, field) } catch { throw error.under("[\(index)]") }
      }
      text.end("]")
    case .map(let map):
      guard let item = field.messageType?.field(number: 2) else { throw JSONError("not a map") }
      text.begin("{")
      for (key, value) in map.pairs {
        let name = key.mapKey
        text.key(name)
        do throws(JSONError) { try single(value, item) } catch { throw error.under(name) }
      }
      text.end("}")
    default: try single(value, field)
    }
  }

  private mutating func single(_ value: DynamicValue, _ field: FieldSchema) throws(JSONError) {
    switch value {
    case .int32(let number): text.raw(String(number))
    case .uint32(let number): text.raw(String(number))
    case .int64(let number): text.raw("\"\(number)\"")
    case .uint64(let number): text.raw("\"\(number)\"")
    case .bool(let flag): text.raw(flag ? "true" : "false")
    case .float(let number): text.raw(Self.spell(number))
    case .double(let number): text.raw(Self.spell(number))
    case .string(let string): text.string(string)
    case .bytes(let bytes): text.raw("\"\(Base64.encode(bytes))\"")
    case .enumeration(let number):
      if field.enumType?.fullName == "google.protobuf.NullValue" {
        text.raw("null")
      } else if !options.printsEnumNumbers, let name = field.enumType?.name(of: number) {
        text.string(name)
      } else {
        text.raw(String(number))
      }
    case .message(let message): try self.message(message)
    case .list, .map: throw JSONError("a list or map inside a list or map")
    }
  }

  /// The shortest spelling that reads back the same.
  static func spell<Number: BinaryFloatingPoint & LosslessStringConvertible>(_ number: Number) -> String {
    if number.isNaN { return "\"NaN\"" }
    if number.isInfinite { return number < 0 ? "\"-Infinity\"" : "\"Infinity\"" }
    let text = number.description
    // "-0" is an integer to many parsers, and loses its sign there.
    return text.hasSuffix(".0") && text != "-0.0" ? String(text.dropLast(2)) : text
  }
}

extension DynamicValue {
  /// A map key as JSON spells it.
  fileprivate var mapKey: String {
    switch self {
    case .int32(let number): String(number)
    case .uint32(let number): String(number)
    case .int64(let number): String(number)
    case .uint64(let number): String(number)
    case .bool(let flag): flag ? "true" : "false"
    case .string(let string): string
    default: ""
    }
  }
}

// MARK: - Well-known types

extension JSONPrinter {
  private mutating func wellKnown(_ type: WellKnownJSON, _ message: DynamicMessage) throws(JSONError) {
    switch type {
    case .any: try any(message)
    case .timestamp: text.string(try JSONTime.timestamp(seconds: message.int64(1), nanos: message.int32(2)))
    case .duration: text.string(try JSONTime.duration(seconds: message.int64(1), nanos: message.int32(2)))
    case .fieldMask: text.string(try JSONFieldMask.print(message.strings(1)))
    case .structure:
      guard let field = message.schema.field(number: 1) else { throw JSONError("not a Struct") }
      try value(message.fields[1] ?? .map([:]), field)
    case .listValue:
      guard let field = message.schema.field(number: 1) else { throw JSONError("not a ListValue") }
      try value(message.fields[1] ?? .list([]), field)
    case .value:
      guard let field = message.schema.fields.first(where: { message.fields[$0.number] != nil }), let inner = message.fields[field.number]
      else { throw JSONError("a Value without a kind has no JSON form") }
      if case .double(let number) = inner, !number.isFinite { throw JSONError("a Value cannot hold \(number) in JSON") }
      try value(inner, field)
    case .doubleValue, .floatValue, .int64Value, .uint64Value, .int32Value, .uint32Value, .boolValue, .stringValue, .bytesValue:
      guard let field = message.schema.field(number: 1), let inner = message.fields[1] ?? field.type.defaultValue else {
        throw JSONError("not a wrapper")
      }
      try value(inner, field)
    }
  }

  private mutating func any(_ message: DynamicMessage) throws(JSONError) {
    guard case .string(let url)? = message.fields[1] else {
      guard message.fields[2] == nil else { throw JSONError("an Any with a value and no type_url") }
      text.begin("{")
      text.end("}")
      return
    }
    let schema = try AnyType.resolve(url, in: pool)
    var content: [UInt8] = []
    if case .bytes(let bytes)? = message.fields[2] { content = bytes }
    let inner = try DynamicMessage(printing: content, as: schema)
    text.begin("{")
    text.key("@type")
    text.string(url)
    if WellKnownJSON(rawValue: schema.fullName) != nil {
      text.key("value")
      try self.message(inner)
    } else {
      guard depth > 0 else { throw JSONError("messages are nested too deep") }
      depth -= 1
      defer { depth += 1 }
      try fields(of: inner)
    }
    text.end("}")
  }
}

extension DynamicMessage {
  /// Bytes that are to be written as JSON.
  init(printing bytes: [UInt8], as schema: MessageSchema) throws(JSONError) {
    do {
      try self.init(decoding: bytes, schema: schema)
    } catch {
      throw JSONError(error.description)
    }
  }

  fileprivate func int64(_ number: UInt32) -> Int64 { if case .int64(let value)? = fields[number] { value } else { 0 } }
  fileprivate func int32(_ number: UInt32) -> Int32 { if case .int32(let value)? = fields[number] { value } else { 0 } }

  fileprivate func strings(_ number: UInt32) -> [String] {
    guard case .list(let values)? = fields[number] else { return [] }
    return values.compactMap { if case .string(let string) = $0 { string } else { nil } }
  }
}
