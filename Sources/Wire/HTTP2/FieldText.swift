/// Which bytes the names and values of fields may hold (RFC 9110, section 5; RFC 9113, section 8.2.1), looked at by eight.
enum FieldText {
  /// Anything but control characters; tabs are none. Bytes above ASCII are let through, as they always were.
  @inline(__always)
  static func isValue(_ text: UnsafeRawBufferPointer) -> Bool {
    allWords(of: text) { hasLess($0, than: 0x20) | hasDelete($0) == 0 } || isValueWithTabs(text)
  }

  @inline(never)
  private static func isValueWithTabs(_ text: UnsafeRawBufferPointer) -> Bool { text.allSatisfy { $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 } }

  /// The same without blanks and tabs: a path.
  @inline(__always)
  static func isVisible(_ text: UnsafeRawBufferPointer) -> Bool {
    allWords(of: text) { hasLess($0, than: 0x21) | hasDelete($0) == 0 }
  }

  /// A token in lower case.
  @inline(__always)
  static func isName(_ text: UnsafeRawBufferPointer) -> Bool {
    if text.isEmpty { return false }
    return allWords(of: text) { isPlain($0, digitsTo: UInt8(ascii: "9")) } || isRareName(text)
  }

  @inline(never)
  private static func isRareName(_ text: UnsafeRawBufferPointer) -> Bool { text.allSatisfy { isToken($0) && !isUpper($0) } }

  /// A token: a method.
  static func isToken(_ text: UnsafeRawBufferPointer) -> Bool { !text.isEmpty && text.allSatisfy(isToken) }

  /// A host with a port, as far as its bytes go. A Unix socket's path stands there with `%2F`.
  @inline(__always)
  static func isAuthority(_ text: UnsafeRawBufferPointer) -> Bool {
    // The colon follows the nine.
    allWords(of: text) { isPlain($0, digitsTo: UInt8(ascii: ":")) } || isRareAuthority(text)
  }

  @inline(never)
  private static func isRareAuthority(_ text: UnsafeRawBufferPointer) -> Bool { text.allSatisfy(isOfAuthority) }

  /// A letter, and letters, digits and `+-.` behind it.
  static func isScheme(_ text: UnsafeRawBufferPointer) -> Bool {
    guard let first = text.first, isLower(first) || isUpper(first) else { return false }
    return text.allSatisfy {
      isLower($0) || isUpper($0) || isDigit($0) || $0 == UInt8(ascii: "+") || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".")
    }
  }

  /// The number that digits alone write; nil for all else, and for what 63 bits don't hold.
  static func number(_ text: UnsafeRawBufferPointer) -> Int64? {
    if text.isEmpty { return nil }
    var number: Int64 = 0
    for byte in text {
      guard isDigit(byte) else { return nil }
      let (tenfold, overflow) = number.multipliedReportingOverflow(by: 10)
      let (sum, overflow2) = tenfold.addingReportingOverflow(Int64(byte &- UInt8(ascii: "0")))
      if overflow || overflow2 { return nil }
      number = sum
    }
    return number
  }

  // MARK: One byte

  private static func isLower(_ byte: UInt8) -> Bool { UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte }
  private static func isUpper(_ byte: UInt8) -> Bool { UInt8(ascii: "A")...UInt8(ascii: "Z") ~= byte }
  private static func isDigit(_ byte: UInt8) -> Bool { UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte }

  private static func isToken(_ byte: UInt8) -> Bool {
    isLower(byte) || isUpper(byte) || isDigit(byte) || "!#$%&'*+-.^_`|~".utf8.contains(byte)
  }

  private static func isOfAuthority(_ byte: UInt8) -> Bool {
    isLower(byte) || isUpper(byte) || isDigit(byte) || "!$%&'()*+,-.:;=@[]_~".utf8.contains(byte)
  }

  // MARK: Eight

  /// Not 0 if a byte is less than a bound.
  @inline(__always)
  private static func hasLess(_ word: UInt64, than bound: UInt64) -> UInt64 {
    (word &- 0x0101_0101_0101_0101 &* bound) & ~word & 0x8080_8080_8080_8080
  }

  /// Not 0 if a byte is DEL.
  @inline(__always)
  private static func hasDelete(_ word: UInt64) -> UInt64 { hasLess(word ^ 0x7F7F_7F7F_7F7F_7F7F, than: 1) }

  /// Whether all are of those that nearly every name and host is made of: small letters, digits, and `-._`.
  @inline(__always)
  private static func isPlain(_ word: UInt64, digitsTo last: UInt8) -> Bool {
    let marks =
      among(word, UInt8(ascii: "a"), UInt8(ascii: "z")) | among(word, UInt8(ascii: "-"), UInt8(ascii: "."))
      | among(word, UInt8(ascii: "0"), last) | among(word, UInt8(ascii: "_"), UInt8(ascii: "_"))
    return (marks & ~word) & 0x8080_8080_8080_8080 == 0x8080_8080_8080_8080
  }

  /// Marks the bytes of a range at their top bits; those above ASCII are marked at random, and disturb others.
  @inline(__always)
  private static func among(_ word: UInt64, _ first: UInt8, _ last: UInt8) -> UInt64 {
    (word &+ 0x0101_0101_0101_0101 &* UInt64(0x80 - first)) & ~(word &+ 0x0101_0101_0101_0101 &* UInt64(0x7F - last))
  }

  /// Whether a condition holds for all bytes. A word may hold some of the one before, or a byte several times, never any others.
  @inline(__always)
  private static func allWords(of text: UnsafeRawBufferPointer, _ holds: (UInt64) -> Bool) -> Bool {
    guard let base = text.baseAddress else { return true }
    let count = text.count
    if count >= 8 {
      var offset = 0
      while offset < count &- 8 {
        if !holds(base.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) { return false }
        offset &+= 8
      }
      return holds(base.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self))
    }
    if count >= 4 {
      let last = base.loadUnaligned(fromByteOffset: count &- 4, as: UInt32.self)
      return holds(UInt64(base.loadUnaligned(as: UInt32.self)) | UInt64(last) << 32)
    }
    if count == 0 { return true }
    let first = base.load(as: UInt8.self), middle = base.load(fromByteOffset: count / 2, as: UInt8.self)
    let last = base.load(fromByteOffset: count &- 1, as: UInt8.self)
    let half = UInt32(first) &* 0x0100_0001 | UInt32(middle) << 8 | UInt32(last) << 16
    return holds(UInt64(half) &* 0x1_0000_0001)
  }
}
