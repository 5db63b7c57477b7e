/// Writes the wire form from its end to its start, so that a length is known when its prefix is written and no size pass is needed.
///
/// Fields go in from the highest number to the lowest; inside a map entry the value before the key. Reusable: `reset()` keeps
/// the buffer.
public struct MessageWriter: ~Copyable {
  @usableFromInline var low: UnsafeMutablePointer<UInt8>
  @usableFromInline var cursor: UnsafeMutablePointer<UInt8>
  @usableFromInline var high: UnsafeMutablePointer<UInt8>

  /// - Parameter capacity: where the buffer starts; it grows by doubling.
  public init(capacity: Int = 512) {
    low = .allocate(capacity: max(capacity, 16))
    high = low + max(capacity, 16)
    cursor = high
  }

  deinit { low.deallocate() }

  /// Empties the writer and keeps its buffer.
  @inlinable
  public mutating func reset() { cursor = high }

  /// Bytes written so far.
  @inlinable
  public var count: Int { high - cursor }

  /// A copy of what was written.
  public func bytes() -> [UInt8] {
    let count = count
    if count == 0 { return [] }
    return Array(unsafeUninitializedCapacity: count) { buffer, initialized in
      buffer.baseAddress.unsafelyUnwrapped.initialize(from: cursor, count: count)
      initialized = count
    }
  }

  /// What was written, valid during `body`.
  @inlinable
  public borrowing func withBytes<Value>(_ body: (UnsafeRawBufferPointer) throws -> Value) rethrows -> Value {
    try body(UnsafeRawBufferPointer(start: cursor, count: high - cursor))
  }

  @inlinable @inline(__always)
  mutating func reserve(_ wanted: Int) { if cursor - low < wanted { grow(wanted) } }

  @inline(never) @usableFromInline
  mutating func grow(_ wanted: Int) {
    let used = high - cursor
    let capacity = max((high - low) * 2, used + wanted + 64)
    let newLow = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
    let newHigh = newLow + capacity
    (newHigh - used).initialize(from: cursor, count: used)
    low.deallocate()
    low = newLow
    high = newHigh
    cursor = newHigh - used
  }
}

// The pieces that fields are made of.
extension MessageWriter {
  @inlinable @inline(__always)
  mutating func varint(_ value: UInt64) {
    reserve(10)
    varint(reserved: value)
  }

  /// Where the ten bytes that it may take are there.
  @inlinable @inline(__always)
  mutating func varint(reserved value: UInt64) {
    if value < 0x80 {
      cursor -= 1
      cursor.pointee = UInt8(truncatingIfNeeded: value)
    } else if value < 0x4000 {
      cursor -= 2
      cursor[0] = UInt8(truncatingIfNeeded: value) | 0x80
      cursor[1] = UInt8(truncatingIfNeeded: value &>> 7)
    } else {
      longVarint(value)
    }
  }

  @inline(never) @usableFromInline
  mutating func longVarint(_ value: UInt64) {
    if value < 0x20_0000 {
      cursor -= 3
      cursor[0] = UInt8(truncatingIfNeeded: value) | 0x80
      cursor[1] = UInt8(truncatingIfNeeded: value &>> 7) | 0x80
      cursor[2] = UInt8(truncatingIfNeeded: value &>> 14)
      return
    }
    var rest = value
    cursor -= (63 &- value.leadingZeroBitCount) / 7 &+ 1
    var place = cursor
    while rest >= 0x80 {
      place.pointee = UInt8(truncatingIfNeeded: rest) | 0x80
      place += 1
      rest &>>= 7
    }
    place.pointee = UInt8(truncatingIfNeeded: rest)
  }

  @inlinable @inline(__always)
  mutating func word(_ value: UInt32) {
    reserve(4)
    cursor -= 4
    UnsafeMutableRawPointer(cursor).storeBytes(of: value.littleEndian, as: UInt32.self)
  }

  @inlinable @inline(__always)
  mutating func doubleWord(_ value: UInt64) {
    reserve(8)
    cursor -= 8
    UnsafeMutableRawPointer(cursor).storeBytes(of: value.littleEndian, as: UInt64.self)
  }

  @inlinable @inline(__always)
  mutating func tag(_ number: UInt32, _ wireType: UInt32) { varint(UInt64(number &<< 3 | wireType)) }

  @inlinable @inline(__always)
  mutating func tag(reserved number: UInt32, _ wireType: UInt32) { varint(reserved: UInt64(number &<< 3 | wireType)) }

  /// Prefixes what was written since `end` with its length and a tag.
  @inlinable @inline(__always)
  mutating func close(_ number: UInt32, _ end: Int) {
    reserve(20)
    varint(reserved: UInt64(UInt(bitPattern: count &- end)))
    tag(reserved: number, 2)
  }

  @inlinable
  mutating func raw(_ bytes: UnsafeRawBufferPointer) {
    guard let start = bytes.baseAddress else { return }
    reserve(bytes.count)
    cursor -= bytes.count
    cursor.initialize(from: start.assumingMemoryBound(to: UInt8.self), count: bytes.count)
  }
}

// Strings and bytes.
extension MessageWriter {
  /// A string without presence: the default is not written.
  @inlinable @inline(__always)
  public mutating func string(_ number: UInt32, _ value: String) { if !value.isEmpty { string(number, always: value) } }

  /// A string that is there, whatever its value.
  @inlinable @inline(__always)
  public mutating func string(_ number: UInt32, always value: String) {
    let length = value.utf8.count
    // The only call that could move the buffer comes before the string's storage is borrowed.
    reserve(length &+ 20)
    cursor -= length
    let place = cursor
    let copied: Void? = value.utf8.withContiguousStorageIfAvailable { bytes in
      if let start = bytes.baseAddress { place.initialize(from: start, count: bytes.count) }
    }
    if copied == nil { _ = UnsafeMutableBufferPointer(start: place, count: length).initialize(from: value.utf8) }
    varint(reserved: UInt64(UInt(bitPattern: length)))
    tag(reserved: number, 2)
  }

  /// A string, if it is there.
  @inlinable
  public mutating func string(_ number: UInt32, optional value: String?) { if let value { string(number, always: value) } }

  /// Strings, a field each.
  @inlinable
  public mutating func string(_ number: UInt32, repeated values: [String]) {
    backward(values) { $0.string(number, always: $1.value) }
  }

  /// A byte string without presence: the default is not written.
  @inlinable @inline(__always)
  public mutating func bytes(_ number: UInt32, _ value: [UInt8]) { if !value.isEmpty { bytes(number, always: value) } }

  /// A byte string that is there, whatever its value.
  @inlinable @inline(__always)
  public mutating func bytes(_ number: UInt32, always value: [UInt8]) {
    let length = value.count
    reserve(length &+ 20)
    cursor -= length
    let place = cursor
    value.withUnsafeBufferPointer { bytes in
      if let start = bytes.baseAddress { place.initialize(from: start, count: bytes.count) }
    }
    varint(reserved: UInt64(UInt(bitPattern: length)))
    tag(reserved: number, 2)
  }

  /// A byte string, if it is there.
  @inlinable
  public mutating func bytes(_ number: UInt32, optional value: [UInt8]?) { if let value { bytes(number, always: value) } }

  /// Byte strings, a field each.
  @inlinable
  public mutating func bytes(_ number: UInt32, repeated values: [[UInt8]]) {
    backward(values) { $0.bytes(number, always: $1.value) }
  }
}

// Elements of arrays.
extension MessageWriter {
  /// The elements from the last to the first, each where it lies. A loop over the array would retain whatever an element holds and
  /// release it again, which costs more than writing it.
  @inlinable @inline(__always)
  mutating func backward<Element>(_ values: [Element], _ write: (inout MessageWriter, borrowing InPlace<Element>) -> Void) {
    values.withUnsafeBufferPointer { buffer in
      guard let start = buffer.baseAddress else { return }
      let places = UnsafeRawPointer(start).assumingMemoryBound(to: InPlace<Element>.self)
      var index = buffer.count
      while index > 0 {
        index &-= 1
        write(&self, places[index])
      }
    }
  }
}

/// A value that the compiler will not copy: it borrows it where it lies. Laid out as the value itself.
@usableFromInline @frozen
struct InPlace<Value>: ~Copyable {
  @usableFromInline let value: Value
}

// Enums, messages, maps, what is unknown.
extension MessageWriter {
  /// An enum value without presence: the default is not written.
  @inlinable @inline(__always)
  public mutating func enumeration(_ number: UInt32, _ value: some MessageEnum) { int32(number, value.rawValue) }

  /// An enum value that is there, whatever its value.
  @inlinable @inline(__always)
  public mutating func enumeration(_ number: UInt32, always value: some MessageEnum) { int32(number, always: value.rawValue) }

  /// An enum value, if it is there.
  @inlinable
  public mutating func enumeration<E: MessageEnum>(_ number: UInt32, optional value: E?) {
    if let value { int32(number, always: value.rawValue) }
  }

  /// Enum values packed into one field; nothing for none.
  @inlinable
  public mutating func enumeration(_ number: UInt32, packed values: [some MessageEnum]) {
    if !values.isEmpty { int32(number, packed: values.map(\.rawValue)) }
  }

  /// Enum values, a field each.
  @inlinable
  public mutating func enumeration(_ number: UInt32, repeated values: [some MessageEnum]) {
    for value in values.reversed() { int32(number, always: value.rawValue) }
  }

  /// A submessage that is there.
  @inlinable @inline(__always)
  public mutating func message(_ number: UInt32, always value: some Message) {
    let end = count
    value.write(to: &self)
    close(number, end)
  }

  /// A submessage, if it is there.
  @inlinable @inline(__always)
  public mutating func message<M: Message>(_ number: UInt32, optional value: M?) { if let value { message(number, always: value) } }

  /// Submessages, a field each.
  @inlinable
  public mutating func message(_ number: UInt32, repeated values: [some Message]) {
    backward(values) { writer, element in
      let end = writer.count
      element.value.write(to: &writer)
      writer.close(number, end)
    }
  }

  /// A map; `entry` writes the value as field 2, then the key as field 1, both always.
  @inlinable
  public mutating func map<Key, Value>(
    _ number: UInt32, _ map: ProtoMap<Key, Value>, entry: (inout MessageWriter, Key, Value) -> Void
  ) {
    backward(map.pairs) { writer, pair in
      let end = writer.count
      entry(&writer, pair.value.key, pair.value.value)
      writer.close(number, end)
    }
  }

  /// Goes first, that is, behind everything known.
  @inlinable @inline(__always)
  public mutating func unknown(_ fields: UnknownFields) {
    if !fields.bytes.isEmpty { fields.bytes.withUnsafeBytes { raw($0) } }
  }
}
