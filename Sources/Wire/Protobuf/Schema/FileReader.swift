// A reader of FileDescriptorProto by field numbers. It knows just what a pool needs, so that the pool, which the well-known types'
// JSON rests on, does not rest on the well-known types.

struct RawFile {
  var name = ""
  var package = ""
  var syntax = ""
  var dependencies: [String] = []
  var publicDependencies: [Int] = []
  var messages: [RawMessage] = []
  var enums: [RawEnum] = []
  var services: [ServiceSchema] = []
  var extensions: [RawField] = []
  var bytes: [UInt8]
}

struct RawMessage {
  var name = ""
  var fields: [RawField] = []
  var nested: [RawMessage] = []
  var enums: [RawEnum] = []
  var extensions: [RawField] = []
  var oneofs: [String] = []
  var isMapEntry = false
}

struct RawField {
  var name = ""
  var extendee = ""
  var number: UInt32 = 0
  var label = 1
  var type = FieldType.int32
  var typeName = ""
  var jsonName = ""
  var oneofIndex: Int?
  var proto3Optional = false
  var packed: Bool?
}

struct RawEnum {
  var name = ""
  var values: [(name: String, number: Int32)] = []
}

/// Bytes that are not a FileDescriptorProto, or one we don't understand.
struct MalformedDescriptor: Error { var problem: String }

extension RawFile {
  init(_ bytes: [UInt8]) throws(MalformedDescriptor) {
    self.init(bytes: bytes)
    for field in try WireField.all(in: bytes[...]) {
      switch field.number {
      case 1: name = field.string
      case 2: package = field.string
      case 3: dependencies.append(field.string)
      case 4: messages.append(try RawMessage(field.bytes, depth: 0))
      case 5: enums.append(try RawEnum(field.bytes))
      case 6: services.append(try ServiceSchema(field.bytes))
      case 7: extensions.append(try RawField(field.bytes))
      case 10: publicDependencies.append(Int(truncatingIfNeeded: field.value))
      case 12: syntax = field.string
      default: break
      }
    }
    for index in services.indices {
      services[index].fullName = package.isEmpty ? services[index].fullName : "\(package).\(services[index].fullName)"
      services[index].fileName = name
    }
  }
}

extension RawMessage {
  init(_ bytes: ArraySlice<UInt8>, depth: Int) throws(MalformedDescriptor) {
    guard depth < DecodingLimits.default.depth else { throw MalformedDescriptor(problem: "messages are nested too deep") }
    for field in try WireField.all(in: bytes) {
      switch field.number {
      case 1: name = field.string
      case 2: fields.append(try RawField(field.bytes))
      case 3: nested.append(try RawMessage(field.bytes, depth: depth + 1))
      case 4: enums.append(try RawEnum(field.bytes))
      case 6: extensions.append(try RawField(field.bytes))
      case 7: for option in try WireField.all(in: field.bytes) where option.number == 7 { isMapEntry = option.value != 0 }
      case 8: for part in try WireField.all(in: field.bytes) where part.number == 1 { oneofs.append(part.string) }
      default: break
      }
    }
    var numbers: Set<UInt32> = []
    for field in fields where !numbers.insert(field.number).inserted {
      throw MalformedDescriptor(problem: "message \(name) has two fields of the number \(field.number)")
    }
  }
}

extension RawField {
  init(_ bytes: ArraySlice<UInt8>) throws(MalformedDescriptor) {
    for field in try WireField.all(in: bytes) {
      switch field.number {
      case 1: name = field.string
      case 2: extendee = field.string
      case 3: number = UInt32(truncatingIfNeeded: field.value)
      case 4: label = Int(truncatingIfNeeded: field.value)
      case 5:
        guard let known = FieldType(rawValue: UInt8(truncatingIfNeeded: field.value)) else {
          throw MalformedDescriptor(problem: "field \(name) has the unknown type \(field.value)")
        }
        type = known
      case 6: typeName = field.string
      case 8: for option in try WireField.all(in: field.bytes) where option.number == 2 { packed = option.value != 0 }
      case 9: oneofIndex = Int(truncatingIfNeeded: field.value)
      case 10: jsonName = field.string
      case 17: proto3Optional = field.value != 0
      default: break
      }
    }
    guard number > 0, number < 1 << 29 else { throw MalformedDescriptor(problem: "field \(name) has the number \(number)") }
  }
}

extension RawEnum {
  init(_ bytes: ArraySlice<UInt8>) throws(MalformedDescriptor) {
    for field in try WireField.all(in: bytes) {
      switch field.number {
      case 1: name = field.string
      case 2:
        var value = (name: "", number: Int32(0))
        for part in try WireField.all(in: field.bytes) {
          if part.number == 1 { value.name = part.string }
          if part.number == 2 { value.number = Int32(truncatingIfNeeded: part.value) }
        }
        values.append(value)
      default: break
      }
    }
    if values.isEmpty { throw MalformedDescriptor(problem: "enum \(name) has no values") }
  }
}

extension ServiceSchema {
  init(_ bytes: ArraySlice<UInt8>) throws(MalformedDescriptor) {
    self.init(fullName: "", fileName: "", methods: [])
    for field in try WireField.all(in: bytes) {
      switch field.number {
      case 1: fullName = field.string
      case 2: methods.append(try MethodSchema(field.bytes))
      default: break
      }
    }
  }
}

extension MethodSchema {
  init(_ bytes: ArraySlice<UInt8>) throws(MalformedDescriptor) {
    self.init(name: "", inputType: "", outputType: "", clientStreaming: false, serverStreaming: false, options: [])
    for field in try WireField.all(in: bytes) {
      switch field.number {
      case 1: name = field.string
      case 2: inputType = String(field.string.drop { $0 == "." })
      case 3: outputType = String(field.string.drop { $0 == "." })
      case 4: options = Array(field.bytes)
      case 5: clientStreaming = field.value != 0
      case 6: serverStreaming = field.value != 0
      default: break
      }
    }
  }
}

/// One field of a message without a schema.
struct WireField {
  var number: UInt32
  /// A varint's or fixed field's value.
  var value: UInt64 = 0
  var bytes: ArraySlice<UInt8> = []
  var string: String { String(decoding: bytes, as: UTF8.self) }

  static func all(in bytes: ArraySlice<UInt8>) throws(MalformedDescriptor) -> [WireField] {
    let fields: [WireField]? = bytes.withUnsafeBufferPointer { buffer in
      guard var p = buffer.baseAddress else { return [] }
      let start = p
      let end = p + buffer.count
      var fields: [WireField] = []
      while p < end {
        guard let tag = readVarint(&p, end), tag >= 8, tag <= UInt64(UInt32.max) else { return nil }
        var field = WireField(number: UInt32(truncatingIfNeeded: tag) >> 3)
        switch tag & 7 {
        case 0:
          guard let value = readVarint(&p, end) else { return nil }
          field.value = value
        case 1:
          guard end - p >= 8 else { return nil }
          field.value = UnsafeRawPointer(p).loadUnaligned(as: UInt64.self)
          p += 8
        case 2:
          guard let length = readVarint(&p, end), length <= UInt64(end - p) else { return nil }
          let from = bytes.startIndex + (p - start)
          field.bytes = bytes[from..<from + Int(length)]
          p += Int(length)
        case 5:
          guard end - p >= 4 else { return nil }
          field.value = UInt64(UnsafeRawPointer(p).loadUnaligned(as: UInt32.self))
          p += 4
        default: return nil
        }
        fields.append(field)
      }
      return fields
    }
    guard let fields else { throw MalformedDescriptor(problem: "not a FileDescriptorProto") }
    return fields
  }
}
