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
    let first = table.pointee.fields
    var field = first + table.pointee.count
    while field > first {
      field -= 1
      let slot = message + Int(field.pointee.offset)
      if field.pointee.mode == .plain {
        // Of strings and bytes the first eight bytes are the length, of messages the pointer.
        let isDefault = field.pointee.kind.size == 4 ? slot.load(as: UInt32.self) == 0 : slot.load(as: UInt64.self) == 0
        if isDefault { continue }
      } else {
        let quantifier = message + Int(field.pointee.quantifier)
        if field.pointee.mode == .repeated {
          let count = quantifier.load(as: Int.self)
          if count > 0 { elements(field, slot.load(as: UnsafeRawPointer.self), count) }
          continue
        }
        // The flag of one field, or the case of a oneof.
        let state = quantifier.load(as: UInt32.self)
        if field.pointee.mode == .flagged ? state == 0 : state != field.pointee.number { continue }
      }
      one(field, slot)
    }
  }

  private mutating func elements(_ field: UnsafeMutablePointer<FieldEntry>, _ start: UnsafeRawPointer, _ count: Int) {
    let size = field.pointee.kind.size
    let end = self.count
    var slot = start + count &* size
    while slot > start {
      slot -= size
      if field.pointee.isPacked {
        reserve(10)
        number(field, slot)
      } else {
        one(field, slot)
      }
    }
    if field.pointee.isPacked { close(field.pointee.number, end) }
  }

  /// One value with its tag. Room is asked for once, for all of it.
  @inline(__always)
  private mutating func one(_ field: UnsafeMutablePointer<FieldEntry>, _ slot: UnsafeRawPointer) {
    switch field.pointee.kind {
    case .bytes, .string:
      let value = slot.load(as: ProtobufCBinaryData.self)
      reserve(value.len &+ 20)
      cursor -= value.len
      if let data = value.data { UnsafeMutableRawPointer(cursor).copyMemory(from: data, byteCount: value.len) }
      varint(reserved: UInt64(UInt(bitPattern: value.len)))
    case .message:
      if field.pointee.rule == .group { return group(field, slot) }
      let end = count
      // A oneof of a message may be set while there is none: an empty one.
      if let inner = slot.load(as: UnsafeRawPointer?.self) { fields(of: inner, field.pointee.child.unsafelyUnwrapped) }
      reserve(20)
      varint(reserved: UInt64(UInt(bitPattern: count &- end)))
    default:
      reserve(20)
      number(field, slot)
    }
    varint(reserved: UInt64(field.pointee.tag))
  }

  @inline(never)
  private mutating func group(_ field: UnsafeMutablePointer<FieldEntry>, _ slot: UnsafeRawPointer) {
    tag(field.pointee.number, 4)
    if let inner = slot.load(as: UnsafeRawPointer?.self) { fields(of: inner, field.pointee.child.unsafelyUnwrapped) }
    tag(field.pointee.number, 3)
  }

  /// One number without its tag, where ten bytes are there for it.
  @inline(__always)
  private mutating func number(_ field: UnsafeMutablePointer<FieldEntry>, _ slot: UnsafeRawPointer) {
    switch field.pointee.kind {
    case .varint32:
      let value = slot.load(as: UInt32.self)
      // A negative int32 takes ten bytes, as if it were an int64.
      varint(reserved: field.pointee.isUnsigned32 ? UInt64(value) : UInt64(bitPattern: Int64(Int32(bitPattern: value))))
    case .varint64: varint(reserved: slot.load(as: UInt64.self))
    case .bool: varint(reserved: slot.load(as: Int32.self) == 0 ? 0 : 1)
    case .zigzag32:
      let value = slot.load(as: Int32.self)
      varint(reserved: UInt64(UInt32(bitPattern: (value &<< 1) ^ (value &>> 31))))
    case .zigzag64:
      let value = slot.load(as: Int64.self)
      varint(reserved: UInt64(bitPattern: (value &<< 1) ^ (value &>> 63)))
    case .fixed32: word(slot.load(as: UInt32.self))
    case .fixed64: doubleWord(slot.load(as: UInt64.self))
    case .bytes, .string, .message: break
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
