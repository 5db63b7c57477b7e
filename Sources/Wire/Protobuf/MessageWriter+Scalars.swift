// Scalar fields: for each type the five shapes a field can have.

extension MessageWriter {
  /// A int32 without presence: the default is not written.
  @inlinable @inline(__always)
  public mutating func int32(_ number: UInt32, _ value: Int32) { if value != 0 { int32(number, always: value) } }

  /// An int32 that is there, whatever its value.
  @inlinable @inline(__always)
  public mutating func int32(_ number: UInt32, always value: Int32) {
    reserve(20)
    varint(reserved: UInt64(bitPattern: Int64(value)))
    tag(reserved: number, 0)
  }

  /// An int32, if it is there.
  @inlinable
  public mutating func int32(_ number: UInt32, optional value: Int32?) { if let value { int32(number, always: value) } }

  /// Values of int32 packed into one field; nothing for none.
  @inlinable
  public mutating func int32(_ number: UInt32, packed values: [Int32]) {
    if values.isEmpty { return }
    let end = count
    for value in values.reversed() { varint(UInt64(bitPattern: Int64(value))) }
    close(number, end)
  }

  /// Values of int32, a field each.
  @inlinable
  public mutating func int32(_ number: UInt32, repeated values: [Int32]) {
    for value in values.reversed() { int32(number, always: value) }
  }
}

extension MessageWriter {
  /// A int64 without presence: the default is not written.
  @inlinable @inline(__always)
  public mutating func int64(_ number: UInt32, _ value: Int64) { if value != 0 { int64(number, always: value) } }

  /// An int64 that is there, whatever its value.
  @inlinable @inline(__always)
  public mutating func int64(_ number: UInt32, always value: Int64) {
    reserve(20)
    varint(reserved: UInt64(bitPattern: value))
    tag(reserved: number, 0)
  }

  /// An int64, if it is there.
  @inlinable
  public mutating func int64(_ number: UInt32, optional value: Int64?) { if let value { int64(number, always: value) } }

  /// Values of int64 packed into one field; nothing for none.
  @inlinable
  public mutating func int64(_ number: UInt32, packed values: [Int64]) {
    if values.isEmpty { return }
    let end = count
    for value in values.reversed() { varint(UInt64(bitPattern: value)) }
    close(number, end)
  }

  /// Values of int64, a field each.
  @inlinable
  public mutating func int64(_ number: UInt32, repeated values: [Int64]) {
    for value in values.reversed() { int64(number, always: value) }
  }
}

extension MessageWriter {
  /// A uint32 without presence: the default is not written.
  @inlinable @inline(__always)
  public mutating func uint32(_ number: UInt32, _ value: UInt32) { if value != 0 { uint32(number, always: value) } }

  /// A uint32 that is there, whatever its value.
  @inlinable @inline(__always)
  public mutating func uint32(_ number: UInt32, always value: UInt32) {
    reserve(20)
    varint(reserved: UInt64(value))
    tag(reserved: number, 0)
  }

  /// A uint32, if it is there.
  @inlinable
  public mutating func uint32(_ number: UInt32, optional value: UInt32?) { if let value { uint32(number, always: value) } }

  /// Values of uint32 packed into one field; nothing for none.
  @inlinable
  public mutating func uint32(_ number: UInt32, packed values: [UInt32]) {
    if values.isEmpty { return }
    let end = count
    for value in values.reversed() { varint(UInt64(value)) }
    close(number, end)
  }

  /// Values of uint32, a field each.
  @inlinable
  public mutating func uint32(_ number: UInt32, repeated values: [UInt32]) {
    for value in values.reversed() { uint32(number, always: value) }
  }
}

extension MessageWriter {
  /// A uint64 without presence: the default is not written.
  @inlinable @inline(__always)
  public mutating func uint64(_ number: UInt32, _ value: UInt64) { if value != 0 { uint64(number, always: value) } }

  /// A uint64 that is there, whatever its value.
  @inlinable @inline(__always)
  public mutating func uint64(_ number: UInt32, always value: UInt64) {
    reserve(20)
    varint(reserved: value)
    tag(reserved: number, 0)
  }

  /// A uint64, if it is there.
  @inlinable
  public mutating func uint64(_ number: UInt32, optional value: UInt64?) { if let value { uint64(number, always: value) } }

  /// Values of uint64 packed into one field; nothing for none.
  @inlinable
  public mutating func uint64(_ number: UInt32, packed values: [UInt64]) {
    if values.isEmpty { return }
    let end = count
    for value in values.reversed() { varint(value) }
    close(number, end)
  }

  /// Values of uint64, a field each.
  @inlinable
  public mutating func uint64(_ number: UInt32, repeated values: [UInt64]) {
    for value in values.reversed() { uint64(number, always: value) }
  }
}

extension MessageWriter {
  /// A sint32 without presence: the default is not written.
  @inlinable @inline(__always)
  public mutating func sint32(_ number: UInt32, _ value: Int32) { if value != 0 { sint32(number, always: value) } }

  /// A sint32 that is there, whatever its value.
  @inlinable @inline(__always)
  public mutating func sint32(_ number: UInt32, always value: Int32) {
    reserve(20)
    varint(reserved: UInt64(UInt32(bitPattern: (value &<< 1) ^ (value &>> 31))))
    tag(reserved: number, 0)
  }

  /// A sint32, if it is there.
  @inlinable
  public mutating func sint32(_ number: UInt32, optional value: Int32?) { if let value { sint32(number, always: value) } }

  /// Values of sint32 packed into one field; nothing for none.
  @inlinable
  public mutating func sint32(_ number: UInt32, packed values: [Int32]) {
    if values.isEmpty { return }
    let end = count
    for value in values.reversed() { varint(UInt64(UInt32(bitPattern: (value &<< 1) ^ (value &>> 31)))) }
    close(number, end)
  }

  /// Values of sint32, a field each.
  @inlinable
  public mutating func sint32(_ number: UInt32, repeated values: [Int32]) {
    for value in values.reversed() { sint32(number, always: value) }
  }
}

extension MessageWriter {
  /// A sint64 without presence: the default is not written.
  @inlinable @inline(__always)
  public mutating func sint64(_ number: UInt32, _ value: Int64) { if value != 0 { sint64(number, always: value) } }

  /// A sint64 that is there, whatever its value.
  @inlinable @inline(__always)
  public mutating func sint64(_ number: UInt32, always value: Int64) {
    reserve(20)
    varint(reserved: UInt64(bitPattern: (value &<< 1) ^ (value &>> 63)))
    tag(reserved: number, 0)
  }

  /// A sint64, if it is there.
  @inlinable
  public mutating func sint64(_ number: UInt32, optional value: Int64?) { if let value { sint64(number, always: value) } }

  /// Values of sint64 packed into one field; nothing for none.
  @inlinable
  public mutating func sint64(_ number: UInt32, packed values: [Int64]) {
    if values.isEmpty { return }
    let end = count
    for value in values.reversed() { varint(UInt64(bitPattern: (value &<< 1) ^ (value &>> 63))) }
    close(number, end)
  }

  /// Values of sint64, a field each.
  @inlinable
  public mutating func sint64(_ number: UInt32, repeated values: [Int64]) {
    for value in values.reversed() { sint64(number, always: value) }
  }
}

extension MessageWriter {
  /// A bool without presence: the default is not written.
  @inlinable @inline(__always)
  public mutating func bool(_ number: UInt32, _ value: Bool) { if value { bool(number, always: value) } }

  /// A bool that is there, whatever its value.
  @inlinable @inline(__always)
  public mutating func bool(_ number: UInt32, always value: Bool) {
    reserve(20)
    varint(reserved: value ? 1 : 0)
    tag(reserved: number, 0)
  }

  /// A bool, if it is there.
  @inlinable
  public mutating func bool(_ number: UInt32, optional value: Bool?) { if let value { bool(number, always: value) } }

  /// Values of bool packed into one field; nothing for none.
  @inlinable
  public mutating func bool(_ number: UInt32, packed values: [Bool]) {
    if values.isEmpty { return }
    let end = count
    for value in values.reversed() { varint(value ? 1 : 0) }
    close(number, end)
  }

  /// Values of bool, a field each.
  @inlinable
  public mutating func bool(_ number: UInt32, repeated values: [Bool]) {
    for value in values.reversed() { bool(number, always: value) }
  }
}

extension MessageWriter {
  /// A fixed32 without presence: the default is not written.
  @inlinable @inline(__always)
  public mutating func fixed32(_ number: UInt32, _ value: UInt32) { if value != 0 { fixed32(number, always: value) } }

  /// A fixed32 that is there, whatever its value.
  @inlinable @inline(__always)
  public mutating func fixed32(_ number: UInt32, always value: UInt32) {
    word(value)
    tag(number, 5)
  }

  /// A fixed32, if it is there.
  @inlinable
  public mutating func fixed32(_ number: UInt32, optional value: UInt32?) { if let value { fixed32(number, always: value) } }

  /// Values of fixed32 packed into one field; nothing for none.
  @inlinable
  public mutating func fixed32(_ number: UInt32, packed values: [UInt32]) {
    if values.isEmpty { return }
    let end = count
    for value in values.reversed() { word(value) }
    close(number, end)
  }

  /// Values of fixed32, a field each.
  @inlinable
  public mutating func fixed32(_ number: UInt32, repeated values: [UInt32]) {
    for value in values.reversed() { fixed32(number, always: value) }
  }
}

extension MessageWriter {
  /// A fixed64 without presence: the default is not written.
  @inlinable @inline(__always)
  public mutating func fixed64(_ number: UInt32, _ value: UInt64) { if value != 0 { fixed64(number, always: value) } }

  /// A fixed64 that is there, whatever its value.
  @inlinable @inline(__always)
  public mutating func fixed64(_ number: UInt32, always value: UInt64) {
    doubleWord(value)
    tag(number, 1)
  }

  /// A fixed64, if it is there.
  @inlinable
  public mutating func fixed64(_ number: UInt32, optional value: UInt64?) { if let value { fixed64(number, always: value) } }

  /// Values of fixed64 packed into one field; nothing for none.
  @inlinable
  public mutating func fixed64(_ number: UInt32, packed values: [UInt64]) {
    if values.isEmpty { return }
    let end = count
    for value in values.reversed() { doubleWord(value) }
    close(number, end)
  }

  /// Values of fixed64, a field each.
  @inlinable
  public mutating func fixed64(_ number: UInt32, repeated values: [UInt64]) {
    for value in values.reversed() { fixed64(number, always: value) }
  }
}

extension MessageWriter {
  /// A sfixed32 without presence: the default is not written.
  @inlinable @inline(__always)
  public mutating func sfixed32(_ number: UInt32, _ value: Int32) { if value != 0 { sfixed32(number, always: value) } }

  /// A sfixed32 that is there, whatever its value.
  @inlinable @inline(__always)
  public mutating func sfixed32(_ number: UInt32, always value: Int32) {
    word(UInt32(bitPattern: value))
    tag(number, 5)
  }

  /// A sfixed32, if it is there.
  @inlinable
  public mutating func sfixed32(_ number: UInt32, optional value: Int32?) { if let value { sfixed32(number, always: value) } }

  /// Values of sfixed32 packed into one field; nothing for none.
  @inlinable
  public mutating func sfixed32(_ number: UInt32, packed values: [Int32]) {
    if values.isEmpty { return }
    let end = count
    for value in values.reversed() { word(UInt32(bitPattern: value)) }
    close(number, end)
  }

  /// Values of sfixed32, a field each.
  @inlinable
  public mutating func sfixed32(_ number: UInt32, repeated values: [Int32]) {
    for value in values.reversed() { sfixed32(number, always: value) }
  }
}

extension MessageWriter {
  /// A sfixed64 without presence: the default is not written.
  @inlinable @inline(__always)
  public mutating func sfixed64(_ number: UInt32, _ value: Int64) { if value != 0 { sfixed64(number, always: value) } }

  /// A sfixed64 that is there, whatever its value.
  @inlinable @inline(__always)
  public mutating func sfixed64(_ number: UInt32, always value: Int64) {
    doubleWord(UInt64(bitPattern: value))
    tag(number, 1)
  }

  /// A sfixed64, if it is there.
  @inlinable
  public mutating func sfixed64(_ number: UInt32, optional value: Int64?) { if let value { sfixed64(number, always: value) } }

  /// Values of sfixed64 packed into one field; nothing for none.
  @inlinable
  public mutating func sfixed64(_ number: UInt32, packed values: [Int64]) {
    if values.isEmpty { return }
    let end = count
    for value in values.reversed() { doubleWord(UInt64(bitPattern: value)) }
    close(number, end)
  }

  /// Values of sfixed64, a field each.
  @inlinable
  public mutating func sfixed64(_ number: UInt32, repeated values: [Int64]) {
    for value in values.reversed() { sfixed64(number, always: value) }
  }
}

extension MessageWriter {
  /// A float without presence: the default is not written.
  @inlinable @inline(__always)
  public mutating func float(_ number: UInt32, _ value: Float) { if value.bitPattern != 0 { float(number, always: value) } }

  /// A float that is there, whatever its value.
  @inlinable @inline(__always)
  public mutating func float(_ number: UInt32, always value: Float) {
    word(value.bitPattern)
    tag(number, 5)
  }

  /// A float, if it is there.
  @inlinable
  public mutating func float(_ number: UInt32, optional value: Float?) { if let value { float(number, always: value) } }

  /// Values of float packed into one field; nothing for none.
  @inlinable
  public mutating func float(_ number: UInt32, packed values: [Float]) {
    if values.isEmpty { return }
    let end = count
    for value in values.reversed() { word(value.bitPattern) }
    close(number, end)
  }

  /// Values of float, a field each.
  @inlinable
  public mutating func float(_ number: UInt32, repeated values: [Float]) {
    for value in values.reversed() { float(number, always: value) }
  }
}

extension MessageWriter {
  /// A double without presence: the default is not written.
  @inlinable @inline(__always)
  public mutating func double(_ number: UInt32, _ value: Double) { if value.bitPattern != 0 { double(number, always: value) } }

  /// A double that is there, whatever its value.
  @inlinable @inline(__always)
  public mutating func double(_ number: UInt32, always value: Double) {
    doubleWord(value.bitPattern)
    tag(number, 1)
  }

  /// A double, if it is there.
  @inlinable
  public mutating func double(_ number: UInt32, optional value: Double?) { if let value { double(number, always: value) } }

  /// Values of double packed into one field; nothing for none.
  @inlinable
  public mutating func double(_ number: UInt32, packed values: [Double]) {
    if values.isEmpty { return }
    let end = count
    for value in values.reversed() { doubleWord(value.bitPattern) }
    close(number, end)
  }

  /// Values of double, a field each.
  @inlinable
  public mutating func double(_ number: UInt32, repeated values: [Double]) {
    for value in values.reversed() { double(number, always: value) }
  }
}
