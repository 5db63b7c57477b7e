import Glibc

/// A list of header fields in one block of bytes, reused from block to block: no allocation a field.
public struct HTTP2Headers: ~Copyable {
  /// Records of: name length (4), value length (4), name, value.
  @usableFromInline let bytes = ByteQueue()
  /// A handle, as the queue is.
  @usableFromInline let fieldCount: UnsafeMutablePointer<Int>

  /// Whether the list stays as it is for as long as any session lives that is given it; then nothing of it is copied.
  public let isLasting: Bool

  /// An empty list.
  public init(isLasting: Bool = false) {
    self.isLasting = isLasting
    fieldCount = .allocate(capacity: 1)
    fieldCount.initialize(to: 0)
  }

  deinit { fieldCount.deallocate() }

  /// Fields in the list.
  @inlinable public var count: Int { fieldCount.pointee }

  /// Whether there are none.
  public var isEmpty: Bool { count == 0 }

  /// All fields as they stand in the block, for whoever keeps them so; valid until the next change.
  @inlinable public var records: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: bytes.front, count: bytes.count) }

  /// Empties the list, keeping its memory.
  public func removeAll() {
    bytes.removeAll()
    fieldCount.pointee = 0
  }

  /// Adds a field; names must be lower-case.
  @inlinable @inline(__always)
  public func add(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
    let place = bytes.reserve(8 + name.count + value.count)
    place.storeBytes(of: UInt32(truncatingIfNeeded: name.count), as: UInt32.self)
    place.storeBytes(of: UInt32(truncatingIfNeeded: value.count), toByteOffset: 4, as: UInt32.self)
    if let source = name.baseAddress { (place + 8).copyMemory(from: source, byteCount: name.count) }
    if let source = value.baseAddress { (place + 8 + name.count).copyMemory(from: source, byteCount: value.count) }
    bytes.commit(8 + name.count + value.count)
    fieldCount.pointee &+= 1
  }

  /// Adds a field. Names are lower-case; whatever is added is copied.
  public func add(_ name: StaticString, value: UnsafeRawBufferPointer) {
    add(name: UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount), value: value)
  }

  /// Adds a field whose name and value are constants.
  public func add(_ name: StaticString, _ value: StaticString) {
    add(name, value: UnsafeRawBufferPointer(start: value.utf8Start, count: value.utf8CodeUnitCount))
  }

  /// Adds a field whose value is text.
  public func add(_ name: StaticString, text value: String) {
    var value = value
    value.withUTF8 { add(name, value: UnsafeRawBufferPointer($0)) }
  }

  /// Adds a field whose name is known at run time only.
  public func add(name: String, text value: String) {
    var name = name
    var value = value
    name.withUTF8 { name in
      value.withUTF8 { add(name: UnsafeRawBufferPointer(name), value: UnsafeRawBufferPointer($0)) }
    }
  }

  /// Visits the fields in order; the bytes are valid during the call.
  @inlinable @inline(__always)
  public func forEach(_ body: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void) {
    var place = bytes.front
    for _ in 0..<count {
      let name = Int(place.loadUnaligned(as: UInt32.self))
      let value = Int(place.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
      body(UnsafeRawBufferPointer(start: place + 8, count: name), UnsafeRawBufferPointer(start: place + 8 + name, count: value))
      place += 8 + name + value
    }
  }

  /// The first value of a name, as text.
  public func first(_ wanted: StaticString) -> String? {
    var found: String?
    forEach { name, value in
      if found == nil, name == wanted { found = String(decoding: value, as: UTF8.self) }
    }
    return found
  }

  /// All fields as text, for tests and logs.
  public var fields: [(name: String, value: String)] {
    var fields: [(name: String, value: String)] = []
    forEach { fields.append((String(decoding: $0, as: UTF8.self), String(decoding: $1, as: UTF8.self))) }
    return fields
  }
}

extension UnsafeRawBufferPointer {
  /// Whether the bytes are just those of a literal. Inlined, a short one is compared by a word or two.
  @inlinable @inline(__always)
  public static func == (bytes: UnsafeRawBufferPointer, text: StaticString) -> Bool {
    let count = text.utf8CodeUnitCount
    guard bytes.count == count else { return false }
    guard let left = bytes.baseAddress else { return true }
    let right = UnsafeRawPointer(text.utf8Start)
    @inline(__always) func differ<Word: FixedWidthInteger>(_ type: Word.Type, at offset: Int) -> Word {
      left.loadUnaligned(fromByteOffset: offset, as: type) ^ right.loadUnaligned(fromByteOffset: offset, as: type)
    }
    switch count {
    case 0: return true
    case 1: return differ(UInt8.self, at: 0) == 0
    case 2...3: return differ(UInt16.self, at: 0) | differ(UInt16.self, at: count - 2) == 0
    case 4...7: return differ(UInt32.self, at: 0) | differ(UInt32.self, at: count - 4) == 0
    case 8...16: return differ(UInt64.self, at: 0) | differ(UInt64.self, at: count - 8) == 0
    default: return memcmp(left, right, count) == 0
    }
  }

  /// Without the blanks and tabs at either end, which are no part of a field's value.
  @inline(__always)
  var withoutBlanks: UnsafeRawBufferPointer {
    guard let first, let last, Self.isBlank(first) || Self.isBlank(last) else { return self }
    return cut()
  }

  @inline(never)
  private func cut() -> UnsafeRawBufferPointer {
    var slice = self[...]
    while let byte = slice.first, Self.isBlank(byte) { slice = slice.dropFirst() }
    while let byte = slice.last, Self.isBlank(byte) { slice = slice.dropLast() }
    return UnsafeRawBufferPointer(rebasing: slice)
  }

  @inline(__always)
  private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
}
