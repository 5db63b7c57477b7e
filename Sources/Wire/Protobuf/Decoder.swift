import CProtobufC
import Glibc

typealias Bytes = UnsafePointer<UInt8>

/// One pass from the wire into protobuf-c's structs in an arena. Strings and bytes alias the wire.
///
/// Methods return false (or nil) on bad input after setting `reason`; on the way out each level adds its step to `path`, so that
/// good input pays nothing for good errors. Nothing here allocates but the arena.
struct Decoder {
  var arena: Arena
  private(set) var reason = DecodingError.Reason.truncated
  /// Where the content of the group that was skipped last ends and its end tag begins.
  private(set) var groupEnd: Bytes?
  /// Innermost first; the index is -1 for a single field.
  private var path: [(field: UnsafeMutablePointer<FieldEntry>, index: Int)] = []

  init(arena: Arena) { self.arena = arena }

  /// A message as its sender would have started it: everything unset.
  @inline(__always)
  mutating func makeMessage(_ table: UnsafeMutablePointer<TableCore>) -> UnsafeMutableRawPointer? {
    let size = table.pointee.size
    guard let message = arena.allocate(size) else {
      reason = .memoryExceeded
      return nil
    }
    if let template = table.pointee.template {
      memcpy(message, template, size)
    } else {
      memset(message, 0, size)
      message.storeBytes(of: table.pointee.descriptor, as: UnsafePointer<ProtobufCMessageDescriptor>?.self)
    }
    return message
  }

  /// Decodes an outermost message; nil, with `reason` and the path set, if the bytes are none.
  mutating func decodeWhole(_ bytes: UnsafeBufferPointer<UInt8>, _ table: UnsafeMutablePointer<TableCore>, depth: Int)
    -> UnsafeMutableRawPointer?
  {
    guard let message = makeMessage(table) else { return nil }
    if let start = bytes.baseAddress {
      guard decode(start, start + bytes.count, into: message, table, depth: depth) else { return nil }
    }
    return !table.pointee.mayLackRequired || hasRequired(message, table) ? message : nil
  }

  mutating func decode(
    _ start: Bytes, _ end: Bytes, into message: UnsafeMutableRawPointer, _ table: UnsafeMutablePointer<TableCore>, depth: Int
  ) -> Bool {
    // Read once: as far as the compiler knows, every store into the message might change them.
    let (byTag, fields) = (table.pointee.byTag, table.pointee.fields)
    var p = start
    while p < end {
      // Nearly every tag is one byte of a known field in its own wire type, which stands in the lowest bits of the first byte.
      let wireType = p.pointee & 7
      let field: UnsafeMutablePointer<FieldEntry>
      let index = p.pointee < 0x80 ? byTag[Int(p.pointee)] : 0xff
      if index != 0xff {
        field = fields + Int(index)
        p += 1
      } else {
        let (known, next) = otherField(p, end, message, table, depth: depth)
        guard let next else { return false }
        p = next
        guard let known else { continue }
        field = known
      }
      var length = 0
      if wireType == 2 {
        guard let declared = readVarint(&p, end) else { return fail(field, message, .malformedVarint) }
        guard declared <= UInt64(end - p) else { return fail(field, message, .truncated) }
        length = Int(truncatingIfNeeded: declared)
      }
      var slot = message + Int(field.pointee.offset)
      if field.pointee.mode != .plain {
        if wireType == 2 && field.pointee.packable {
          guard readRun(field, message, p, length) else { return fail(field, message, reason) }
          p += length
          continue
        }
        guard let place = self.slot(for: field, in: message) else { return fail(.memoryExceeded) }
        slot = place
      }
      switch field.pointee.kind {
      case .varint32:
        guard let value = readVarint(&p, end) else { return fail(field, message, .malformedVarint) }
        slot.storeBytes(of: UInt32(truncatingIfNeeded: value), as: UInt32.self)
      case .varint64:
        guard let value = readVarint(&p, end) else { return fail(field, message, .malformedVarint) }
        slot.storeBytes(of: value, as: UInt64.self)
      case .bool:
        guard let value = readVarint(&p, end) else { return fail(field, message, .malformedVarint) }
        slot.storeBytes(of: value == 0 ? 0 : 1, as: Int32.self)
      case .zigzag32:
        guard let value = readVarint(&p, end) else { return fail(field, message, .malformedVarint) }
        slot.storeBytes(of: unzigzag32(value), as: UInt32.self)
      case .zigzag64:
        guard let value = readVarint(&p, end) else { return fail(field, message, .malformedVarint) }
        slot.storeBytes(of: unzigzag64(value), as: UInt64.self)
      case .fixed32:
        guard end - p >= 4 else { return fail(field, message, .truncated) }
        slot.storeBytes(of: UnsafeRawPointer(p).loadUnaligned(as: UInt32.self), as: UInt32.self)
        p += 4
      case .fixed64:
        guard end - p >= 8 else { return fail(field, message, .truncated) }
        slot.storeBytes(of: UnsafeRawPointer(p).loadUnaligned(as: UInt64.self), as: UInt64.self)
        p += 8
      case .string:
        guard isUTF8(p, length) else { return fail(field, message, .invalidUTF8) }
        store(p, length, in: slot)
        p += length
      case .bytes:
        store(p, length, in: slot)
        p += length
      case .message:
        guard decodeInner(field, message, slot, p, p + length, depth: depth) else { return false }
        p += length
      }
    }
    return true
  }

  /// Where the next value of a field goes, after saying in the struct that the field is there.
  @inline(__always)
  mutating func slot(
    for field: UnsafeMutablePointer<FieldEntry>, in message: UnsafeMutableRawPointer
  ) -> UnsafeMutableRawPointer? {
    let slot = message + Int(field.pointee.offset)
    switch field.pointee.mode {
    case .plain: break
    case .flagged: (message + Int(field.pointee.quantifier)).storeBytes(of: 1, as: Int32.self)
    case .oneof:
      let which = message + Int(field.pointee.quantifier)
      if which.load(as: UInt32.self) != field.pointee.number {
        memset(slot, 0, field.pointee.kind.size)
        which.storeBytes(of: field.pointee.number, as: UInt32.self)
      }
    case .repeated: return appendSlot(field, message)
    }
    return slot
  }

  /// A submessage into its slot, which holds what came of it before.
  @inline(__always)
  mutating func decodeInner(
    _ field: UnsafeMutablePointer<FieldEntry>, _ message: UnsafeMutableRawPointer, _ slot: UnsafeMutableRawPointer, _ start: Bytes,
    _ end: Bytes, depth: Int
  ) -> Bool {
    guard depth > 0 else { return fail(field, message, .depthExceeded) }
    let child = field.pointee.child.unsafelyUnwrapped
    // A singular submessage sent twice is merged; a repeated one starts anew each time.
    var inner = field.pointee.mode == .repeated ? nil : slot.load(as: UnsafeMutableRawPointer?.self)
    if inner == nil {
      // An element must never be left unset: whoever reads the array follows it.
      inner = makeMessage(child)
      guard inner != nil else { return fail(field, message, .memoryExceeded) }
      slot.storeBytes(of: inner, as: UnsafeMutableRawPointer?.self)
    }
    return decode(start, end, into: inner.unsafelyUnwrapped, child, depth: depth &- 1) || fail(field, message, reason)
  }

  /// The field of a longer tag, and where its value begins; no field when one that is unknown has been kept and passed; nothing when that
  /// fails. Apart, so that the loop above has the registers to itself.
  @inline(never)
  private mutating func otherField(
    _ start: Bytes, _ end: Bytes, _ message: UnsafeMutableRawPointer, _ table: UnsafeMutablePointer<TableCore>, depth: Int
  ) -> (field: UnsafeMutablePointer<FieldEntry>?, next: Bytes?) {
    var p = start
    guard let tag = readVarint(&p, end), tag <= UInt64(UInt32.max), tag >= 8 else {
      // A varint that runs into the end is a truncated message; anything else is no tag.
      reason = p == end && end[-1] >= 0x80 && end - start < 10 ? .truncated : .malformedTag
      return (nil, nil)
    }
    let number = UInt32(truncatingIfNeeded: tag) &>> 3
    let wireType = UInt8(truncatingIfNeeded: tag) & 7
    if let field = table.pointee.field(number), wireType == field.pointee.wireType || (wireType == 2 && field.pointee.packable) {
      return (field, p)
    }
    if let field = table.pointee.field(number), field.pointee.rule != .none {
      return (nil, readRuled(field, message, wireType, p, end, depth: depth))
    }
    guard let next = skip(p, end, tag: UInt32(truncatingIfNeeded: tag), depth: depth) else { return (nil, nil) }
    guard keepUnknown(message, number, wireType, p, next) else {
      reason = .memoryExceeded
      return (nil, nil)
    }
    return (nil, next)
  }

  @inline(__always)
  private func store(_ p: Bytes, _ length: Int, in slot: UnsafeMutableRawPointer) {
    slot.storeBytes(of: length, as: Int.self)
    (slot + 8).storeBytes(of: p, as: Bytes.self)
  }
}

extension Decoder {
  @inline(never)
  mutating func fail(_ reason: DecodingError.Reason) -> Bool {
    self.reason = reason
    return false
  }

  @inline(never)
  mutating func fail(
    _ field: UnsafeMutablePointer<FieldEntry>, _ message: UnsafeMutableRawPointer, _ reason: DecodingError.Reason
  ) -> Bool {
    self.reason = reason
    var index = -1
    if field.pointee.mode == .repeated {
      // The element that failed has been counted already, unless it stood in a packed run.
      let count = (message + Int(field.pointee.quantifier)).load(as: Int.self)
      index = field.pointee.packable ? count : count - 1
    }
    path.append((field, index))
    return false
  }

  /// Says that a field was missing, or that it was missing within a field.
  mutating func failRequired(_ field: UnsafeMutablePointer<FieldEntry>, index: Int = -1) -> Bool {
    reason = .missingRequired
    path.append((field, index))
    return false
  }

  /// The path as a reader would write it: `rows[3].text`.
  func describePath() -> String {
    path.reversed().map { step in
      let name = step.field.pointee.name.map { String(cString: $0) } ?? String(step.field.pointee.number)
      return step.index < 0 ? name : "\(name)[\(step.index)]"
    }.joined(separator: ".")
  }
}

extension Decoder {
  /// A new element of a repeated field. The capacity is implied by the count: 4, then powers of two.
  @inline(__always)
  mutating func appendSlot(
    _ field: UnsafeMutablePointer<FieldEntry>, _ message: UnsafeMutableRawPointer
  ) -> UnsafeMutableRawPointer? {
    let counter = message + Int(field.pointee.quantifier)
    let count = counter.load(as: Int.self)
    let size = field.pointee.kind.size
    if count == 0 || (count >= 4 && count & (count &- 1) == 0) {
      guard grow(message + Int(field.pointee.offset), count, to: count == 0 ? 4 : count &* 2, size) else { return nil }
    }
    counter.storeBytes(of: count &+ 1, as: Int.self)
    let element = (message + Int(field.pointee.offset)).load(as: UnsafeMutableRawPointer.self) + count &* size
    return element
  }

  private mutating func grow(_ slot: UnsafeMutableRawPointer, _ count: Int, to capacity: Int, _ size: Int) -> Bool {
    let old = slot.load(as: UnsafeMutableRawPointer?.self)
    if let old, count > 0 {
      // Arrays hold a power of two of 4-, 8- or 16-byte elements, at least four: they end on an eight-byte boundary.
      if arena.extend(endingAt: old + count &* size, by: (capacity &- count) &* size) { return true }
    }
    guard let new = arena.allocate(capacity &* size) else { return false }
    if let old, count > 0 { memcpy(new, old, count &* size) }
    slot.storeBytes(of: new, as: UnsafeMutableRawPointer.self)
    return true
  }

  /// A packed run of scalars.
  private mutating func readRun(
    _ field: UnsafeMutablePointer<FieldEntry>, _ message: UnsafeMutableRawPointer, _ start: Bytes, _ length: Int
  ) -> Bool {
    if length == 0 { return true }
    let kind = field.pointee.kind
    let size = kind.size
    var added = 0
    if kind.wireType == 0 {
      for offset in 0..<length where start[offset] < 0x80 { added &+= 1 }
      if start[length &- 1] >= 0x80 { return fail(.malformedVarint) }
    } else {
      guard length % size == 0 else { return fail(.truncated) }
      added = length / size
    }
    let counter = message + Int(field.pointee.quantifier)
    let count = counter.load(as: Int.self)
    let total = count &+ added
    let slot = message + Int(field.pointee.offset)
    let capacity = count == 0 ? 0 : max(4, powerOfTwo(count))
    if total > capacity {
      let wanted = max(4, powerOfTwo(total))
      // Growing in place is only for arrays that are full; a run moves.
      guard let new = arena.allocate(wanted &* size) else { return fail(.memoryExceeded) }
      if count > 0 { memcpy(new, slot.load(as: UnsafeMutableRawPointer.self), count &* size) }
      slot.storeBytes(of: new, as: UnsafeMutableRawPointer.self)
    }
    var out = slot.load(as: UnsafeMutableRawPointer.self) + count &* size
    if kind.wireType != 0 {
      memcpy(out, start, length)
      counter.storeBytes(of: total, as: Int.self)
      return true
    }
    var p = start
    let end = start + length
    while p < end {
      guard let value = readVarint(&p, end) else { return fail(.malformedVarint) }
      switch kind {
      case .bool: out.storeBytes(of: value == 0 ? 0 : 1, as: Int32.self)
      case .zigzag32: out.storeBytes(of: unzigzag32(value), as: UInt32.self)
      case .varint32: out.storeBytes(of: UInt32(truncatingIfNeeded: value), as: UInt32.self)
      case .zigzag64: out.storeBytes(of: unzigzag64(value), as: UInt64.self)
      default: out.storeBytes(of: value, as: UInt64.self)
      }
      out += size
    }
    counter.storeBytes(of: total, as: Int.self)
    return true
  }

  @inline(__always)
  private func powerOfTwo(_ count: Int) -> Int { count <= 1 ? 1 : 1 &<< (Int.bitWidth &- (count &- 1).leadingZeroBitCount) }

  /// Keeps a field in the struct's unknown array. protobuf-c writes tag, wire type and data as they stand, so a group fits too: its
  /// data reaches to the end of its end tag.
  @inline(never)
  mutating func keepUnknown(
    _ message: UnsafeMutableRawPointer, _ number: UInt32, _ wireType: UInt8, _ start: Bytes, _ end: Bytes
  ) -> Bool {
    let base = message.assumingMemoryBound(to: ProtobufCMessage.self)
    let count = Int(base.pointee.n_unknown_fields)
    let size = MemoryLayout<ProtobufCMessageUnknownField>.stride
    if count == 0 || (count >= 4 && count & (count &- 1) == 0) {
      guard let new = arena.allocate((count == 0 ? 4 : count &* 2) &* size) else { return false }
      if count > 0 { memcpy(new, base.pointee.unknown_fields, count &* size) }
      base.pointee.unknown_fields = new.assumingMemoryBound(to: ProtobufCMessageUnknownField.self)
    }
    base.pointee.unknown_fields[count] = ProtobufCMessageUnknownField(
      tag: number, wire_type: ProtobufCWireType(rawValue: UInt32(wireType)), len: end - start, data: UnsafeMutablePointer(mutating: start))
    base.pointee.n_unknown_fields = UInt32(truncatingIfNeeded: count &+ 1)
    return true
  }

  /// The end of the field whose tag has been read.
  @inline(never)
  mutating func skip(_ start: Bytes, _ end: Bytes, tag: UInt32, depth: Int) -> Bytes? {
    var p = start
    switch tag & 7 {
    case 0:
      guard readVarint(&p, end) != nil else { return refuse(.malformedVarint) }
      return p
    case 1: return end - p >= 8 ? p + 8 : refuse(.truncated)
    case 5: return end - p >= 4 ? p + 4 : refuse(.truncated)
    case 2:
      guard let length = readVarint(&p, end) else { return refuse(.malformedVarint) }
      return length <= UInt64(end - p) ? p + Int(truncatingIfNeeded: length) : refuse(.truncated)
    case 3:
      guard depth > 0 else { return refuse(.depthExceeded) }
      while p < end {
        let content = p
        guard let inner = readVarint(&p, end), inner <= UInt64(UInt32.max), inner >= 8 else { return refuse(.malformedTag) }
        let innerTag = UInt32(truncatingIfNeeded: inner)
        if innerTag & 7 == 4 {
          groupEnd = content
          return innerTag &>> 3 == tag &>> 3 ? p : refuse(.mismatchedGroup)
        }
        guard let next = skip(p, end, tag: innerTag, depth: depth &- 1) else { return nil }
        p = next
      }
      return refuse(.mismatchedGroup)
    case 4: return refuse(.mismatchedGroup)
    default: return refuse(.malformedTag)
    }
  }

  mutating func refuse(_ reason: DecodingError.Reason) -> Bytes? {
    self.reason = reason
    return nil
  }
}

/// Reads a varint of at most ten bytes that fits 64 bits and moves past it; nil, with `p` anywhere, if there is none.
@inline(__always)
func readVarint(_ p: inout Bytes, _ end: Bytes) -> UInt64? {
  if p < end {
    let first = p.pointee
    if first < 0x80 {
      p += 1
      return UInt64(first)
    }
    if end - p >= 2, p[1] < 0x80 {
      let value = UInt64(first & 0x7f) | UInt64(p[1]) &<< 7
      p += 2
      return value
    }
  }
  let (value, next) = readLongVarint(p, end)
  guard let next else {
    p = end
    return nil
  }
  p = next
  return value
}

@inline(never)
private func readLongVarint(_ start: Bytes, _ end: Bytes) -> (UInt64, Bytes?) {
  var p = start
  var value: UInt64 = 0
  var shift: UInt64 = 0
  while p < end {
    let byte = p.pointee
    p += 1
    if shift == 63 && byte > 1 { return (0, nil) }
    value |= UInt64(byte & 0x7f) &<< shift
    if byte < 0x80 { return (value, p) }
    shift &+= 7
    if shift > 63 { return (0, nil) }
  }
  return (0, nil)
}

@inline(__always)
private func unzigzag32(_ value: UInt64) -> UInt32 {
  let low = UInt32(truncatingIfNeeded: value)
  return (low &>> 1) ^ (0 &- (low & 1))
}

@inline(__always)
private func unzigzag64(_ value: UInt64) -> UInt64 { (value &>> 1) ^ (0 &- (value & 1)) }
