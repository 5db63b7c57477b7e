/// JSON text as it is written, compact or indented.
struct JSONText {
  private(set) var bytes: [UInt8] = []
  private let isIndented: Bool
  private var level = 0
  /// Whether the innermost array or object has something in it already.
  private var hasItems = false

  init(isIndented: Bool) { self.isIndented = isIndented }

  var string: String { String(decoding: bytes, as: UTF8.self) }

  mutating func raw(_ text: String) { bytes.append(contentsOf: text.utf8) }

  mutating func string(_ text: String) {
    bytes.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""): raw("\\\"")
      case UInt8(ascii: "\\"): raw("\\\\")
      case 0x0a: raw("\\n")
      case 0x0d: raw("\\r")
      case 0x09: raw("\\t")
      case 0x08: raw("\\b")
      case 0x0c: raw("\\f")
      case 0..<0x20, 0x7f:
        let digits = String(byte, radix: 16)
        raw("\\u" + String(repeating: "0", count: 4 - digits.count) + digits)
      default: bytes.append(byte)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }

  mutating func begin(_ bracket: Unicode.Scalar) {
    bytes.append(UInt8(ascii: bracket))
    level += 1
    hasItems = false
  }

  /// Goes before each key of an object and each value of an array.
  mutating func item() {
    if hasItems { bytes.append(UInt8(ascii: ",")) }
    hasItems = true
    newLine()
  }

  mutating func key(_ name: String) {
    item()
    string(name)
    raw(isIndented ? ": " : ":")
  }

  mutating func end(_ bracket: Unicode.Scalar) {
    level -= 1
    if hasItems { newLine() }
    bytes.append(UInt8(ascii: bracket))
    hasItems = true
  }

  private mutating func newLine() {
    guard isIndented else { return }
    bytes.append(UInt8(ascii: "\n"))
    bytes.append(contentsOf: repeatElement(UInt8(ascii: " "), count: 2 * level))
  }
}
