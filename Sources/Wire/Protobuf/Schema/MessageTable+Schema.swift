import Glibc

// Tables for types without a C struct. The memory is laid out as protoc-gen-c would: the header, then the fields, a oneof's members
// sharing one place.

extension MessageTable {
  /// sizeof(ProtobufCMessage): descriptor, count and array of unknown fields.
  private static let headerSize = 24

  init(schema: MessageSchema) {
    var size = Self.headerSize
    func place(_ bytes: Int) -> Int32 {
      let offset = (size + bytes - 1) / bytes * bytes
      size = offset + bytes
      return Int32(offset)
    }
    func placeBinary() -> Int32 {
      let offset = place(8)
      size = Int(offset) + 16
      return offset
    }
    var oneofs: [Int: (which: Int32, value: Int32)] = [:]
    var entries: [FieldEntry] = []
    for field in schema.fields {
      let kind = field.type.kind
      var entry = FieldEntry(
        number: field.number, offset: 0, quantifier: 0, kind: kind, mode: .plain, wireType: UInt8(kind.wireType),
        packable: field.isRepeated && kind.wireType != 2, isPacked: field.isPacked, isUnsigned32: field.type == .uint32,
        isRequired: field.isRequired || (schema.isMapEntry && field.needsValue), child: nil, name: strdup(field.name))
      if let values = field.closedEnum { entry.close(values) }
      if field.isMap, field.messageType?.field(number: 2)?.closedEnum != nil { entry.setRule(.closedEnumMap) }
      if field.isRepeated {
        entry.mode = .repeated
        entry.quantifier = place(8)
        entry.offset = place(8)
      } else if let index = field.oneofIndex {
        if oneofs[index] == nil {
          let which = place(4)
          oneofs[index] = (which, placeBinary())
        }
        entry.mode = .oneof
        entry.quantifier = oneofs[index]!.which
        entry.offset = oneofs[index]!.value
      } else {
        if field.hasPresence && kind != .message {
          entry.mode = .flagged
          entry.quantifier = place(4)
        }
        entry.offset = kind.size == 16 ? placeBinary() : place(kind.size)
      }
      entries.append(entry)
    }
    // The core holds no reference to the schema; the closure does, once a type, for ever.
    self.init(
      core: Self.makeCore(schema.fullName, size: (size + 7) & ~7, entries: entries) {
        schema.fields.compactMap { field in
          guard let type = field.messageType else { return nil }
          return field.type == .group ? .group(field.number, type.table) : .message(field.number, type.table)
        }
      })
  }
}

extension FieldSchema {
  /// Whether an empty message here would lack a required field.
  fileprivate var needsValue: Bool { messageType?.fields.contains(where: \.isRequired) ?? false }

  /// The values it may have, if they are all known.
  fileprivate var closedEnum: ClosedEnum? {
    guard let enumType, enumType.isClosed else { return nil }
    return ClosedEnum(enumType.values.map(\.number))
  }
}

extension FieldType {
  var kind: FieldKind {
    switch self {
    case .int32, .uint32, .enumeration: .varint32
    case .int64, .uint64: .varint64
    case .sint32: .zigzag32
    case .sint64: .zigzag64
    case .fixed32, .sfixed32, .float: .fixed32
    case .fixed64, .sfixed64, .double: .fixed64
    case .bool: .bool
    case .string: .string
    case .bytes: .bytes
    case .message, .group: .message
    }
  }
}
