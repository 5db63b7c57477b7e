/// Why JSON is not a message, or a message not JSON.
public struct JSONError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Where, in JSON names, as in `rows[3].text`; empty for the outermost value.
  public var path: String
  /// What is wrong there.
  public let problem: String

  init(_ problem: String, path: String = "") {
    self.problem = problem
    self.path = path
  }

  /// The path, and what is wrong there.
  public var description: String { path.isEmpty ? problem : "\(path): \(problem)" }

  /// The same error seen from one level further out.
  func under(_ step: String) -> JSONError {
    let inner = path.isEmpty || path.hasPrefix("[") ? path : "." + path
    return JSONError(problem, path: step + inner)
  }
}

/// Runs `body` and puts `step` before the path of an error it throws.
func at<Value>(_ step: @autoclosure () -> String, _ body: () throws(JSONError) -> Value) throws(JSONError) -> Value {
  do {
    return try body()
  } catch {
    throw error.under(step())
  }
}

/// JSON text as a tree. Numbers keep their spelling: int64 and double read different things into it.
enum JSONValue {
  case null
  case bool(Bool)
  case number(String)
  case string(String)
  case array([JSONValue])
  /// In the text's order; keys are unique.
  case object([JSONMember])

  var kind: String {
    switch self {
    case .null: "null"
    case .bool: "a bool"
    case .number: "a number"
    case .string: "a string"
    case .array: "an array"
    case .object: "an object"
    }
  }
}

/// A key of an object and what stands there.
struct JSONMember {
  var key: String
  var value: JSONValue
}

extension JSONValue {
  /// Parses RFC 8259 text, strictly; keys may not repeat.
  static func parse(_ text: String, depth: Int = JSONParser.depth) throws(JSONError) -> JSONValue {
    var parser = JSONParser(Array(text.utf8))
    return try parser.document(depth: depth)
  }
}

struct JSONParser {
  /// Arrays and objects inside each other. Messages may nest 100 deep, and a level of messages is at most two of JSON (a map or list).
  static let depth = 200

  private let text: [UInt8]
  private var place = 0

  init(_ text: [UInt8]) { self.text = text }

  mutating func document(depth: Int) throws(JSONError) -> JSONValue {
    let value = try value(depth)
    skipSpace()
    if place < text.count { throw problem("text after the value") }
    return value
  }

  private func problem(_ what: String) -> JSONError { JSONError("malformed JSON at byte \(place): \(what)") }

  private var next: UInt8? { place < text.count ? text[place] : nil }

  private mutating func skipSpace() {
    while let byte = next, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { place += 1 }
  }

  private mutating func take(_ expected: Unicode.Scalar) -> Bool {
    skipSpace()
    guard next == UInt8(ascii: expected) else { return false }
    place += 1
    return true
  }

  private mutating func value(_ depth: Int) throws(JSONError) -> JSONValue {
    skipSpace()
    guard let byte = next else { throw problem("a value is missing") }
    switch byte {
    case UInt8(ascii: "{"): return try object(depth)
    case UInt8(ascii: "["): return try array(depth)
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    default: return .number(try number())
    }
  }

  private mutating func word(_ word: StaticString, _ value: JSONValue) throws(JSONError) -> JSONValue {
    let count = word.utf8CodeUnitCount
    let matches = place + count <= text.count && (0..<count).allSatisfy { text[place + $0] == word.utf8Start[$0] }
    guard matches else { throw problem("not a value") }
    place += count
    return value
  }

  private mutating func object(_ depth: Int) throws(JSONError) -> JSONValue {
    guard depth > 0 else { throw problem("nested too deep") }
    place += 1
    var pairs: [JSONMember] = []
    var keys = Set<String>()
    if take("}") { return .object(pairs) }
    while true {
      skipSpace()
      guard next == UInt8(ascii: "\"") else { throw problem("a key is missing") }
      let key = try string()
      guard keys.insert(key).inserted else { throw problem("the key \"\(key)\" repeats") }
      guard take(":") else { throw problem("a colon is missing") }
      pairs.append(JSONMember(key: key, value: try value(depth - 1)))
      if take("}") { return .object(pairs) }
      guard take(",") else { throw problem("a comma is missing") }
    }
  }

  private mutating func array(_ depth: Int) throws(JSONError) -> JSONValue {
    guard depth > 0 else { throw problem("nested too deep") }
    place += 1
    var values: [JSONValue] = []
    if take("]") { return .array(values) }
    while true {
      values.append(try value(depth - 1))
      if take("]") { return .array(values) }
      guard take(",") else { throw problem("a comma is missing") }
    }
  }

  private mutating func number() throws(JSONError) -> String {
    let start = place
    let rest = text[start...].prefix { byte in
      byte >= 0x30 && byte <= 0x39 || byte == 0x2b || byte == 0x2d || byte == 0x2e || byte == 0x45 || byte == 0x65
    }
    let spelling = String(decoding: rest, as: UTF8.self)
    guard JSONNumber(spelling) != nil else { throw problem("not a value") }
    place += rest.count
    return spelling
  }

  private mutating func string() throws(JSONError) -> String {
    place += 1
    var bytes: [UInt8] = []
    while let byte = next {
      switch byte {
      case UInt8(ascii: "\""):
        place += 1
        // The text came as a String, so what was copied is UTF-8, and escapes add only whole scalars.
        return String(decoding: bytes, as: UTF8.self)
      case UInt8(ascii: "\\"):
        place += 1
        try escape(into: &bytes)
      case 0..<0x20: throw problem("a control character in a string")
      default:
        bytes.append(byte)
        place += 1
      }
    }
    throw problem("a string does not end")
  }

  private mutating func escape(into bytes: inout [UInt8]) throws(JSONError) {
    guard let letter = next else { throw problem("a string does not end") }
    place += 1
    switch letter {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): bytes.append(letter)
    case UInt8(ascii: "b"): bytes.append(0x08)
    case UInt8(ascii: "f"): bytes.append(0x0c)
    case UInt8(ascii: "n"): bytes.append(0x0a)
    case UInt8(ascii: "r"): bytes.append(0x0d)
    case UInt8(ascii: "t"): bytes.append(0x09)
    case UInt8(ascii: "u"):
      var code = try hexadecimal()
      if code >= 0xd800 && code < 0xdc00 {
        guard next == UInt8(ascii: "\\"), place + 1 < text.count, text[place + 1] == UInt8(ascii: "u") else {
          throw problem("half a surrogate pair")
        }
        place += 2
        let low = try hexadecimal()
        guard low >= 0xdc00 && low < 0xe000 else { throw problem("half a surrogate pair") }
        code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
      }
      guard let scalar = Unicode.Scalar(code) else { throw problem("half a surrogate pair") }
      bytes.append(contentsOf: String(scalar).utf8)
    default: throw problem("an unknown escape")
    }
  }

  private mutating func hexadecimal() throws(JSONError) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
        throw problem("four hexadecimal digits are missing")
      }
      value = value << 4 | UInt32(digit)
      place += 1
    }
    return value
  }
}
