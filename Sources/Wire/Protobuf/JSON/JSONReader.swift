/// How JSON becomes messages.
public struct JSONDecodingOptions: Hashable, Sendable {
  /// Skips keys and enum names that the message does not have, instead of refusing them.
  public var ignoresUnknown = false
  /// Messages inside the outermost one; as for the wire form.
  public var depth = DecodingLimits.default.depth
  /// Bytes of text. 64 MiB, as for the wire form: transports refuse earlier.
  public var maximumBytes = 64 << 20

  /// A reader; unless told to ignore them, fields that the type does not know are errors.
  public init(ignoresUnknown: Bool = false) { self.ignoresUnknown = ignoresUnknown }
}

/// Reads a message in the proto3 JSON mapping.
struct JSONReader {
  let options: JSONDecodingOptions
  let pool: DescriptorPool

  func message(_ json: JSONValue, _ schema: MessageSchema, depth: Int) throws(JSONError) -> DynamicMessage {
    if let known = WellKnownJSON(rawValue: schema.fullName) { return try wellKnown(known, json, schema, depth) }
    guard case .object(let pairs) = json else { throw JSONError("\(schema.fullName) is an object, not \(json.kind)") }
    return try message(pairs, schema, depth: depth)
  }

  private func message(
    _ pairs: [JSONMember], _ schema: MessageSchema, depth: Int
  ) throws(JSONError) -> DynamicMessage {
    var message = DynamicMessage(schema)
    var seen = Set<UInt32>()
    var chosen: [Int: FieldSchema] = [:]
    let extensions = pool.extensionSchema(of: schema.fullName)
    var extended = extensions.map { DynamicMessage($0) }
    for member in pairs {
      let (key, json) = (member.key, member.value)
      guard let field = schema.fieldsByJSONName[key] ?? extensions?.fieldsByJSONName[key] else {
        if options.ignoresUnknown { continue }
        throw JSONError("\(schema.fullName) has no such field", path: key)
      }
      guard seen.insert(field.number).inserted else { throw JSONError("the field is there twice", path: key) }
      guard let value = try at(key, { () throws(JSONError) in try self.value(json, field, depth) }) else { continue }
      if let oneof = field.oneofIndex {
        if let other = chosen.updateValue(field, forKey: oneof) {
          throw JSONError("\(other.jsonName) and \(field.jsonName) are alternatives; only one may be set", path: key)
        }
      }
      if !field.hasPresence, !field.isRepeated, value.isDefault { continue }
      if field.extendee == nil { message.fields[field.number] = value } else { extended?.fields[field.number] = value }
    }
    // Whoever decodes the message has no declaration for them, so they are written among what is unknown.
    if let extended, !extended.fields.isEmpty { message.unknownFields = UnknownFields(bytes: extended.encoded()) }
    return message
  }

  /// A field's value; nil leaves it unset.
  private func value(_ json: JSONValue, _ field: FieldSchema, _ depth: Int) throws(JSONError) -> DynamicValue? {
    if case .null = json, field.isRepeated || !field.takesNull { return nil }
    if field.isMap { return try map(json, field, depth) }
    guard field.isRepeated else { return try single(json, field, depth) }
    guard case .array(let items) = json else { throw JSONError("a list is expected, not \(json.kind)") }
    var values: [DynamicValue] = []
    for (index, item) in items.enumerated() {
      let value = try at("[\(index)]") { () throws(JSONError) in try element(item, field, depth) }
      if let value { values.append(value) }
    }
    return values.isEmpty ? nil : .list(values)
  }

  private func element(_ json: JSONValue, _ field: FieldSchema, _ depth: Int) throws(JSONError) -> DynamicValue? {
    if case .null = json, !field.takesNull { throw JSONError("null is no element of a list or map") }
    return try single(json, field, depth)
  }

  private func map(_ json: JSONValue, _ field: FieldSchema, _ depth: Int) throws(JSONError) -> DynamicValue? {
    guard case .object(let pairs) = json else { throw JSONError("a map is expected, not \(json.kind)") }
    guard let key = field.messageType?.field(number: 1), let item = field.messageType?.field(number: 2) else {
      throw JSONError("not a map")
    }
    var entries: [ProtoMap<DynamicValue, DynamicValue>.Element] = []
    for member in pairs {
      let (name, json) = (member.key, member.value)
      let entry: ProtoMap<DynamicValue, DynamicValue>.Element? = try at(name) { () throws(JSONError) in
        let key = try mapKey(name, key)
        guard let value = try element(json, item, depth) else { return nil }
        return (key, value)
      }
      if let entry { entries.append(entry) }
    }
    let map = ProtoMap(pairs: entries)
    // "1" and "1.0" are different keys of JSON and the same one of the map.
    if map.count < entries.count { throw JSONError("a key is there twice") }
    return map.isEmpty ? nil : .map(map)
  }

  private func mapKey(_ name: String, _ key: FieldSchema) throws(JSONError) -> DynamicValue {
    switch key.type {
    case .string: return .string(name)
    case .bool:
      guard name == "true" || name == "false" else { throw JSONError("the key is not a bool") }
      return .bool(name == "true")
    default:
      guard let value = try single(.string(name), key, 0) else { throw JSONError("the key is null") }
      return value
    }
  }

  /// One value that is not null, or null where the type has a value for it. Nil for an enum name to be ignored.
  private func single(_ json: JSONValue, _ field: FieldSchema, _ depth: Int) throws(JSONError) -> DynamicValue? {
    switch field.type {
    case .int32, .sint32, .sfixed32: return .int32(try integer(json))
    case .int64, .sint64, .sfixed64: return .int64(try integer(json))
    case .uint32, .fixed32: return .uint32(try integer(json))
    case .uint64, .fixed64: return .uint64(try integer(json))
    case .float: return .float(try floatingPoint(json))
    case .double: return .double(try floatingPoint(json))
    case .bool:
      guard case .bool(let flag) = json else { throw JSONError("a bool is expected, not \(json.kind)") }
      return .bool(flag)
    case .string:
      guard case .string(let text) = json else { throw JSONError("a string is expected, not \(json.kind)") }
      return .string(text)
    case .bytes:
      guard case .string(var text) = json else { throw JSONError("base64 is expected, not \(json.kind)") }
      guard let bytes = text.withUTF8({ Base64.decode(UnsafeRawBufferPointer($0)) }) else { throw JSONError("not base64") }
      return .bytes(bytes)
    case .enumeration: return try enumeration(json, field)
    case .message, .group:
      guard let schema = field.messageType else { throw JSONError("a field without a type") }
      guard depth > 0 else { throw JSONError("messages are nested too deep") }
      return .message(try message(json, schema, depth: depth - 1))
    }
  }

  private func enumeration(_ json: JSONValue, _ field: FieldSchema) throws(JSONError) -> DynamicValue? {
    guard let schema = field.enumType else { throw JSONError("a field without a type") }
    switch json {
    case .null: return .enumeration(0)
    case .string(let name):
      if let number = schema.number(of: name) { return .enumeration(number) }
      if options.ignoresUnknown { return nil }
      throw JSONError("\(schema.fullName) has no value \(name)")
    case .number:
      let number: Int32 = try integer(json)
      guard schema.isClosed, schema.name(of: number) == nil else { return .enumeration(number) }
      if options.ignoresUnknown { return nil }
      throw JSONError("\(schema.fullName) has no value \(number)")
    default: throw JSONError("an enum's name is expected, not \(json.kind)")
    }
  }

  private func integer<T: FixedWidthInteger>(_ json: JSONValue) throws(JSONError) -> T {
    let text: String
    switch json {
    case .number(let spelling): text = spelling
    case .string(let string): text = string
    default: throw JSONError("an integer is expected, not \(json.kind)")
    }
    guard let number = JSONNumber(text) else { throw JSONError("\"\(text)\" is no integer") }
    guard let value = number.integer(T.self) else { throw JSONError("\(text) does not fit an integer of \(T.bitWidth) bits") }
    return value
  }

  private func floatingPoint<T: BinaryFloatingPoint & LosslessStringConvertible>(_ json: JSONValue) throws(JSONError) -> T {
    let text: String
    switch json {
    case .number(let spelling): text = spelling
    case .string("NaN"): return .nan
    case .string("Infinity"): return .infinity
    case .string("-Infinity"): return -.infinity
    case .string(let string): text = string
    default: throw JSONError("a number is expected, not \(json.kind)")
    }
    guard JSONNumber(text) != nil, let value = T(text) else { throw JSONError("\"\(text)\" is no number") }
    guard value.isFinite else { throw JSONError("\(text) is out of range") }
    return value
  }
}

extension FieldSchema {
  /// Types for which null is a value.
  fileprivate var takesNull: Bool {
    messageType?.fullName == WellKnownJSON.value.rawValue || enumType?.fullName == "google.protobuf.NullValue"
  }
}

extension DynamicValue {
  /// Whether a field without presence would be left out. -0.0 is not the default.
  fileprivate var isDefault: Bool {
    switch self {
    case .int32(let number), .enumeration(let number): number == 0
    case .int64(let number): number == 0
    case .uint32(let number): number == 0
    case .uint64(let number): number == 0
    case .bool(let flag): !flag
    case .float(let number): number.bitPattern == 0
    case .double(let number): number.bitPattern == 0
    case .string(let text): text.isEmpty
    case .bytes(let bytes): bytes.isEmpty
    case .message, .list, .map: false
    }
  }
}

// MARK: - Well-known types

extension JSONReader {
  private func wellKnown(
    _ type: WellKnownJSON, _ json: JSONValue, _ schema: MessageSchema, _ depth: Int
  ) throws(JSONError) -> DynamicMessage {
    var message = DynamicMessage(schema)
    func text() throws(JSONError) -> String {
      guard case .string(let text) = json else { throw JSONError("\(schema.fullName) is a string, not \(json.kind)") }
      return text
    }
    switch type {
    case .any: return try any(json, schema, depth)
    case .timestamp:
      let (seconds, nanos) = try JSONTime.timestamp(text())
      message.setTime(seconds, nanos)
    case .duration:
      let (seconds, nanos) = try JSONTime.duration(text())
      message.setTime(seconds, nanos)
    case .fieldMask:
      let paths = try JSONFieldMask.parse(text())
      if !paths.isEmpty { message.fields[1] = .list(paths.map { .string($0) }) }
    case .structure, .listValue,
      .doubleValue, .floatValue, .int64Value, .uint64Value, .int32Value, .uint32Value, .boolValue, .stringValue, .bytesValue:
      guard let field = schema.field(number: 1) else { throw JSONError("\(schema.fullName) is not what it should be") }
      if case .null = json { throw JSONError("null is no \(schema.fullName)") }
      if let value = try value(json, field, depth), !value.isDefault { message.fields[1] = value }
    case .value:
      let number: UInt32 =
        switch json {
        case .null: 1
        case .number: 2
        case .string: 3
        case .bool: 4
        case .object: 5
        case .array: 6
        }
      guard let field = schema.field(number: number) else { throw JSONError("\(schema.fullName) is not what it should be") }
      message.fields[number] = try single(json, field, depth)
    }
    return message
  }

  private func any(_ json: JSONValue, _ schema: MessageSchema, _ depth: Int) throws(JSONError) -> DynamicMessage {
    guard case .object(var pairs) = json else { throw JSONError("an Any is an object, not \(json.kind)") }
    var message = DynamicMessage(schema)
    if pairs.isEmpty { return message }
    guard let index = pairs.firstIndex(where: { $0.key == "@type" }) else { throw JSONError("an Any without @type") }
    guard case .string(let url) = pairs.remove(at: index).value else { throw JSONError("not a type URL", path: "@type") }
    let type: MessageSchema = try at("@type") { () throws(JSONError) in try AnyType.resolve(url, in: pool) }
    guard depth > 0 else { throw JSONError("messages are nested too deep") }
    let inner: DynamicMessage
    if WellKnownJSON(rawValue: type.fullName) != nil {
      guard pairs.count == 1, pairs[0].key == "value" else { throw JSONError("an Any of \(type.fullName) has @type and value") }
      inner = try at("value") { () throws(JSONError) in try self.message(pairs[0].value, type, depth: depth - 1) }
    } else {
      inner = try self.message(pairs, type, depth: depth - 1)
    }
    message.fields[1] = .string(url)
    let content = inner.encoded()
    if !content.isEmpty { message.fields[2] = .bytes(content) }
    return message
  }
}

extension DynamicMessage {
  fileprivate mutating func setTime(_ seconds: Int64, _ nanos: Int32) {
    if seconds != 0 { fields[1] = .int64(seconds) }
    if nanos != 0 { fields[2] = .int32(nanos) }
  }
}
