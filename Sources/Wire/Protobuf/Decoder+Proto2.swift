import CProtobufC

// What only proto2 has: groups, closed enums, required fields. All of it stands beside the common path.

extension Decoder {
  /// Reads a field with a rule; returns where it ends.
  @inline(never)
  mutating func readRuled(
    _ field: UnsafeMutablePointer<FieldEntry>, _ message: UnsafeMutableRawPointer, _ wireType: UInt8, _ start: Bytes, _ end: Bytes,
    depth: Int
  ) -> Bytes? {
    let number = field.pointee.number
    // Skipping checks the bounds, and finds where a group ends. Groups inside groups are thus looked at once a level.
    guard let next = skip(start, end, tag: number << 3 | UInt32(wireType), depth: depth) else { return nil }
    switch (field.pointee.rule, wireType) {
    case (.group, 3):
      guard let groupEnd, let slot = slot(for: field, in: message) else { return refuse(.memoryExceeded) }
      guard decodeInner(field, message, slot, start, groupEnd, depth: depth) else { return nil }
    case (.closedEnum, 0):
      guard readClosedEnum(field, message, start, next) else { return refuse(.memoryExceeded) }
    case (.closedEnum, 2) where field.pointee.mode == .repeated:
      var p = start
      guard readVarint(&p, next) != nil else { return refuse(.malformedVarint) }
      while p < next {
        let value = p
        guard readVarint(&p, next) != nil else {
          _ = fail(field, message, .malformedVarint)
          return nil
        }
        guard readClosedEnum(field, message, value, p) else { return refuse(.memoryExceeded) }
      }
    case (.closedEnumMap, 2):
      return readClosedEnumMap(field, message, start, next, depth: depth) ? next : nil
    default:
      guard keepUnknown(message, number, wireType, start, next) else { return refuse(.memoryExceeded) }
    }
    return next
  }

  /// One number that has been checked to be a varint; false when memory runs out.
  private mutating func readClosedEnum(
    _ field: UnsafeMutablePointer<FieldEntry>, _ message: UnsafeMutableRawPointer, _ start: Bytes, _ end: Bytes
  ) -> Bool {
    var p = start
    let value = Int32(truncatingIfNeeded: readVarint(&p, end).unsafelyUnwrapped)
    guard field.pointee.closedEnum.unsafelyUnwrapped.contains(value) else {
      return keepUnknown(message, field.pointee.number, 0, start, end)
    }
    guard let slot = slot(for: field, in: message) else { return false }
    slot.storeBytes(of: value, as: Int32.self)
    return true
  }

  private mutating func readClosedEnumMap(
    _ field: UnsafeMutablePointer<FieldEntry>, _ message: UnsafeMutableRawPointer, _ start: Bytes, _ end: Bytes, depth: Int
  ) -> Bool {
    var content = start
    guard readVarint(&content, end) != nil, let slot = slot(for: field, in: message) else { return fail(.memoryExceeded) }
    guard decodeInner(field, message, slot, content, end, depth: depth) else { return false }
    let entry = slot.load(as: UnsafeMutablePointer<ProtobufCMessage>.self)
    let unknown = UnsafeBufferPointer(start: entry.pointee.unknown_fields, count: Int(entry.pointee.n_unknown_fields))
    guard unknown.contains(where: { $0.tag == 2 && $0.wire_type.rawValue == 0 }) else { return true }
    let counter = message + Int(field.pointee.quantifier)
    counter.storeBytes(of: counter.load(as: Int.self) - 1, as: Int.self)
    return keepUnknown(message, field.pointee.number, 2, start, end) || fail(.memoryExceeded)
  }

  /// Whether every required field came, here and below. Only asked once the outermost message is complete: a message may come in parts.
  mutating func hasRequired(_ message: UnsafeRawPointer, _ table: UnsafeMutablePointer<TableCore>) -> Bool {
    guard table.pointee.mayLackRequired else { return true }
    for index in 0..<table.pointee.count {
      let field = table.pointee.fields + index
      let slot = message + Int(field.pointee.offset)
      guard field.pointee.kind == .message, let child = field.pointee.child else {
        guard field.pointee.isRequired else { continue }
        if (message + Int(field.pointee.quantifier)).load(as: Int32.self) == 0 { return failRequired(field) }
        continue
      }
      if field.pointee.mode == .repeated {
        let count = (message + Int(field.pointee.quantifier)).load(as: Int.self)
        guard count > 0, child.pointee.mayLackRequired else { continue }
        let elements = slot.load(as: UnsafePointer<UnsafeRawPointer>.self)
        for element in 0..<count where !hasRequired(elements[element], child) { return failRequired(field, index: element) }
        continue
      }
      let isElsewhere =
        field.pointee.mode == .oneof && (message + Int(field.pointee.quantifier)).load(as: UInt32.self) != field.pointee.number
      if isElsewhere { continue }
      guard let inner = slot.load(as: UnsafeRawPointer?.self) else {
        if field.pointee.isRequired { return failRequired(field) }
        continue
      }
      if !hasRequired(inner, child) { return failRequired(field) }
    }
    return true
  }
}
