import CProtobufC

// From the C struct to the wire, by the table that decoded it: what passes a message on, or a part of one.

extension MessageWriter {
  /// Writes what a C struct of this type holds, unknown fields included, before what the writer has.
  ///
  /// - Parameter cStruct: as our decoder or a C program filled it; valid during the call.
  public mutating func relay(_ cStruct: UnsafeRawPointer, _ table: MessageTable) { fields(of: cStruct, table.linked) }

  private mutating func fields(of message: UnsafeRawPointer, _ table: UnsafeMutablePointer<TableCore>) {
    let base = message.assumingMemoryBound(to: ProtobufCMessage.self)
    if base.pointee.n_unknown_fields != 0 { unknownFields(of: base) }
    let fields = table.pointee.fields
    var index = table.pointee.count
    while index > 0 {
      index &-= 1
      let field = fields + index
      let slot = message + Int(field.pointee.offset)
      switch field.pointee.mode {
      case .plain:
        // Of strings and bytes the first eight bytes are the length, of messages the pointer.
        let isDefault = field.pointee.kind.size == 4 ? slot.load(as: UInt32.self) == 0 : slot.load(as: UInt64.self) == 0
        if isDefault { continue }
      case .flagged: if (message + Int(field.pointee.quantifier)).load(as: Int32.self) == 0 { continue }
      case .oneof: if (message + Int(field.pointee.quantifier)).load(as: UInt32.self) != field.pointee.number { continue }
      case .repeated:
        let count = (message + Int(field.pointee.quantifier)).load(as: Int.self)
        if count > 0 { elements(field, slot.load(as: UnsafeRawPointer.self), count) }
        continue
      }
      field.pointee.rule == .group ? group(field, slot) : tagged(field, slot)
    }
  }

  @inline(__always)
  private mutating func tagged(_ field: UnsafeMutablePointer<FieldEntry>, _ slot: UnsafeRawPointer) {
    value(field, slot)
    tag(field.pointee.number, field.pointee.kind.wireType)
  }

  private mutating func group(_ field: UnsafeMutablePointer<FieldEntry>, _ slot: UnsafeRawPointer) {
    tag(field.pointee.number, 4)
    if let inner = slot.load(as: UnsafeRawPointer?.self) { fields(of: inner, field.pointee.child.unsafelyUnwrapped) }
    tag(field.pointee.number, 3)
  }

  private mutating func elements(_ field: UnsafeMutablePointer<FieldEntry>, _ start: UnsafeRawPointer, _ count: Int) {
    let size = field.pointee.kind.size
    let end = self.count
    let isPacked = field.pointee.isPacked
    var slot = start + count &* size
    while slot > start {
      slot -= size
      if isPacked {
        value(field, slot)
      } else if field.pointee.rule == .group {
        group(field, slot)
      } else {
        tagged(field, slot)
      }
    }
    if isPacked { close(field.pointee.number, end) }
  }

  /// One value without its tag.
  @inline(__always)
  private mutating func value(_ field: UnsafeMutablePointer<FieldEntry>, _ slot: UnsafeRawPointer) {
    switch field.pointee.kind {
    case .varint32:
      let value = slot.load(as: UInt32.self)
      // A negative int32 takes ten bytes, as if it were an int64.
      varint(field.pointee.isUnsigned32 ? UInt64(value) : UInt64(bitPattern: Int64(Int32(bitPattern: value))))
    case .varint64: varint(slot.load(as: UInt64.self))
    case .bool: varint(slot.load(as: Int32.self) == 0 ? 0 : 1)
    case .zigzag32:
      let value = slot.load(as: Int32.self)
      varint(UInt64(UInt32(bitPattern: (value &<< 1) ^ (value &>> 31))))
    case .zigzag64:
      let value = slot.load(as: Int64.self)
      varint(UInt64(bitPattern: (value &<< 1) ^ (value &>> 63)))
    case .fixed32: word(slot.load(as: UInt32.self))
    case .fixed64: doubleWord(slot.load(as: UInt64.self))
    case .bytes, .string:
      let value = slot.load(as: ProtobufCBinaryData.self)
      raw(UnsafeRawBufferPointer(start: value.data, count: value.len))
      varint(UInt64(UInt(bitPattern: value.len)))
    case .message:
      let end = count
      // A oneof of a message may be set while there is none: an empty one.
      if let inner = slot.load(as: UnsafeRawPointer?.self) { fields(of: inner, field.pointee.child.unsafelyUnwrapped) }
      varint(UInt64(UInt(bitPattern: count &- end)))
    }
  }

  /// Behind everything known.
  @inline(never)
  mutating func unknownFields(of base: UnsafePointer<ProtobufCMessage>) {
    for index in (0..<Int(base.pointee.n_unknown_fields)).reversed() {
      let field = base.pointee.unknown_fields[index]
      raw(UnsafeRawBufferPointer(start: field.data, count: field.len))
      tag(field.tag, UInt32(field.wire_type.rawValue))
    }
  }
}
