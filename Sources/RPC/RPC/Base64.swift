/// Base64 of the standard alphabet, for `-bin` metadata.
package enum Base64 {
  private static let alphabet: [UInt8] = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

  /// The value of each byte; 0xFF for those outside the alphabet. Both alphabets are read: some peers send the URL one.
  private static let values: [UInt8] = {
    var values = [UInt8](repeating: 0xFF, count: 256)
    for (value, byte) in alphabet.enumerated() { values[Int(byte)] = UInt8(value) }
    values[Int(UInt8(ascii: "-"))] = 62
    values[Int(UInt8(ascii: "_"))] = 63
    return values
  }()

  package static func encode(_ bytes: some Collection<UInt8>, padding: Bool) -> String {
    let text = encodedBytes(bytes, padding: padding)
    return String(decoding: text, as: UTF8.self)
  }

  package static func encodedBytes(_ bytes: some Collection<UInt8>, padding: Bool) -> [UInt8] {
    var text: [UInt8] = []
    text.reserveCapacity((bytes.count + 2) / 3 * 4)
    var group: UInt32 = 0, filled = 0
    for byte in bytes {
      group = group << 8 | UInt32(byte)
      filled += 1
      if filled == 3 {
        for shift in [18, 12, 6, 0] as [UInt32] { text.append(alphabet[Int(group >> shift & 63)]) }
        group = 0
        filled = 0
      }
    }
    if filled > 0 {
      group <<= UInt32(24 - 8 * filled)
      for index in 0...UInt32(filled) { text.append(alphabet[Int(group >> (18 - 6 * index) & 63)]) }
      if padding { for _ in filled..<3 { text.append(UInt8(ascii: "=")) } }
    }
    return text
  }

  /// Reads padded and unpadded text; nil when it is neither.
  package static func decode(_ text: UnsafeRawBufferPointer) -> [UInt8]? {
    var end = text.count
    while end > 0, text.count - end < 2, text[end - 1] == UInt8(ascii: "=") { end -= 1 }
    if end < text.count, text.count % 4 != 0 { return nil }
    if end % 4 == 1 { return nil }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(end / 4 * 3 + 2)
    var group: UInt32 = 0, bits: UInt32 = 0
    for index in 0..<end {
      let value = values[Int(text[index])]
      if value == 0xFF { return nil }
      group = group << 6 | UInt32(value)
      bits += 6
      if bits >= 8 {
        bits -= 8
        bytes.append(UInt8(truncatingIfNeeded: group >> bits))
      }
    }
    return bytes
  }
}
