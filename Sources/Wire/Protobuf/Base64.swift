/// RFC 4648, as proto3 JSON and `-bin` metadata use it: written with the standard alphabet, read with either alphabet, padded or not.
package enum Base64 {
  private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

  /// The value of each byte; 0xFF for those outside both alphabets.
  private static let values: [UInt8] = {
    var values = [UInt8](repeating: 0xff, count: 256)
    for (value, letter) in alphabet.enumerated() { values[Int(letter)] = UInt8(value) }
    values[Int(UInt8(ascii: "-"))] = 62
    values[Int(UInt8(ascii: "_"))] = 63
    return values
  }()

  package static func encode(_ bytes: some Collection<UInt8>, padding: Bool = true) -> String {
    String(decoding: encodedBytes(bytes, padding: padding), as: UTF8.self)
  }

  package static func encodedBytes(_ bytes: some Collection<UInt8>, padding: Bool = true) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: (bytes.count + 2) / 3 * 4) { text, count in
      var group: UInt32 = 0
      var filled = 0
      func put(_ letters: Int) {
        for index in 0..<letters { text[count + index] = alphabet[Int(group >> UInt32(18 - 6 * index) & 63)] }
        count += letters
      }
      for byte in bytes {
        group = group << 8 | UInt32(byte)
        filled += 1
        if filled == 3 {
          put(4)
          group = 0
          filled = 0
        }
      }
      guard filled > 0 else { return }
      group <<= UInt32(24 - 8 * filled)
      put(filled + 1)
      guard padding else { return }
      for _ in filled..<3 {
        text[count] = UInt8(ascii: "=")
        count += 1
      }
    }
  }

  /// The bytes, or nil for text that is not base64.
  package static func decode(_ text: UnsafeRawBufferPointer) -> [UInt8]? {
    var count = text.count
    var padding = 0
    while count > 0, padding < 2, text[count - 1] == UInt8(ascii: "=") {
      count -= 1
      padding += 1
    }
    if count % 4 == 1 || (padding > 0 && (count + padding) % 4 != 0) { return nil }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count / 4 * 3 + 2)
    var word: UInt32 = 0
    var bits: UInt32 = 0
    for index in 0..<count {
      let value = values[Int(text[index])]
      if value == 0xff { return nil }
      word = word << 6 | UInt32(value)
      bits += 6
      if bits >= 8 {
        bits -= 8
        bytes.append(UInt8(truncatingIfNeeded: word >> bits))
      }
    }
    return bytes
  }
}
