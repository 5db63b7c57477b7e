/// Lines of source text with indentation.
struct Output {
  private(set) var text = ""
  private var depth = 0

  mutating func line(_ line: String = "") {
    if !line.isEmpty { text += String(repeating: "  ", count: depth) + line }
    text += "\n"
  }

  /// `opening {`, what `body` writes, `}`.
  mutating func block(_ opening: String, _ body: (inout Output) -> Void) {
    line(opening + " {")
    depth += 1
    body(&self)
    depth -= 1
    line("}")
  }

  /// Comment lines as documentation.
  mutating func documentation(_ lines: [String]) {
    for each in lines { line(each.isEmpty ? "///" : "/// " + each) }
  }

  mutating func indented(_ body: (inout Output) -> Void) {
    depth += 1
    body(&self)
    depth -= 1
  }
}

extension String {
  /// The text as a Swift, C or JSON string literal.
  var quoted: String {
    var out = "\""
    for scalar in unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\t": out += "\\t"
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out + "\""
  }

  /// The bytes as base64, with padding.
  init(base64 bytes: [UInt8]) {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var out: [UInt8] = []
    var index = 0
    while index < bytes.count {
      let left = bytes.count - index
      let word = Int(bytes[index]) << 16 | (left > 1 ? Int(bytes[index + 1]) << 8 : 0) | (left > 2 ? Int(bytes[index + 2]) : 0)
      out.append(alphabet[word >> 18])
      out.append(alphabet[word >> 12 & 63])
      out.append(left > 1 ? alphabet[word >> 6 & 63] : UInt8(ascii: "="))
      out.append(left > 2 ? alphabet[word & 63] : UInt8(ascii: "="))
      index += 3
    }
    self = String(decoding: out, as: UTF8.self)
  }
}
