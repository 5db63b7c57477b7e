/// Whether bytes are UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
///
/// Our own because `String(validating:as:)` costs three times a check and an unchecked `String(decoding:as:)`.
@inline(__always)
func isUTF8(_ start: UnsafeRawPointer, _ count: Int) -> Bool {
  isASCII(start, count) || isUTF8Slow(start, count)
}

/// Strings of names and ids are short and ASCII: words that overlap at the end, and no loop over bytes.
@inline(__always)
private func isASCII(_ start: UnsafeRawPointer, _ count: Int) -> Bool {
  let high: UInt64 = 0x8080_8080_8080_8080
  if count >= 8 {
    var offset = 0
    while count &- offset > 8 {
      if start.loadUnaligned(fromByteOffset: offset, as: UInt64.self) & high != 0 { return false }
      offset &+= 8
    }
    return start.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self) & high == 0
  }
  if count >= 4 {
    let both = start.loadUnaligned(as: UInt32.self) | start.loadUnaligned(fromByteOffset: count &- 4, as: UInt32.self)
    return both & UInt32(truncatingIfNeeded: high) == 0
  }
  var offset = 0
  while offset < count {
    if start.load(fromByteOffset: offset, as: UInt8.self) >= 0x80 { return false }
    offset &+= 1
  }
  return true
}

@inline(never)
private func isUTF8Slow(_ start: UnsafeRawPointer, _ count: Int) -> Bool {
  let high: UInt64 = 0x8080_8080_8080_8080
  var offset = 0
  func byte(_ ahead: Int) -> UInt8 { start.load(fromByteOffset: offset &+ ahead, as: UInt8.self) }
  func continues(_ ahead: Int) -> Bool { byte(ahead) & 0xc0 == 0x80 }
  while true {
    while count &- offset >= 8, start.loadUnaligned(fromByteOffset: offset, as: UInt64.self) & high == 0 { offset &+= 8 }
    while offset < count, byte(0) < 0x80 { offset &+= 1 }
    if offset == count { return true }
    let lead = byte(0)
    let left = count &- offset
    switch lead {
    case 0xc2...0xdf:
      guard left >= 2, continues(1) else { return false }
      offset &+= 2
    case 0xe0...0xef:
      guard left >= 3, continues(1), continues(2) else { return false }
      if lead == 0xe0 && byte(1) < 0xa0 || lead == 0xed && byte(1) > 0x9f { return false }
      offset &+= 3
    case 0xf0...0xf4:
      guard left >= 4, continues(1), continues(2), continues(3) else { return false }
      if lead == 0xf0 && byte(1) < 0x90 || lead == 0xf4 && byte(1) > 0x8f { return false }
      offset &+= 4
    default: return false
    }
  }
}
