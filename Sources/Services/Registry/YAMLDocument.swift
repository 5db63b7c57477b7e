import Yams

/// A YAML document, parsed under bounds: one document, no anchors and no aliases, limited depth and size.
///
/// Anchors are refused rather than bounded: a bundle is data that people review, and what it says should stand where it is read. It
/// also keeps a short text from unfolding into a huge one.
struct YAMLDocument {
  let root: Node

  /// What stands against reading the text at all, with its line where one is known.
  struct Refusal: Error {
    var line: Int?
    var text: String
  }

  init(parsing text: String) throws(Refusal) {
    guard text.utf8.count <= RegistryLimits.bundleBytes else {
      throw Refusal(text: "the bundle has \(text.utf8.count) bytes; the limit is \(RegistryLimits.bundleBytes)")
    }
    try Self.scan(text)
    do {
      guard let root = try Parser(yaml: text, encoding: .utf8).singleRoot() else { throw Refusal(text: "the bundle is empty") }
      self.root = root
    } catch let refusal as Refusal {
      throw refusal
    } catch let error as YamlError {
      throw Self.refusal(of: error)
    } catch {
      throw Refusal(text: "not YAML")
    }
  }

  /// Looks at the bare text before the parser does, so that no alias is ever followed.
  ///
  /// It sees bytes, not meaning: a `&` or `*` counts wherever a value could begin, in quotes and comments too, because whoever
  /// wants to hide an alias could hide it from a scan that follows quotes. Only a text with both is refused.
  private static func scan(_ text: String) throws(Refusal) {
    var line = 1
    var previous = UInt8(ascii: "\n")
    var anchor: Int?
    var alias: Int?
    var waiting: UInt8 = 0
    for byte in text.utf8 {
      defer { previous = byte }
      if waiting != 0 {
        let named = byte > 32 && byte != UInt8(ascii: ",")
        if named, waiting == UInt8(ascii: "&") { anchor = anchor ?? line }
        if named, waiting == UInt8(ascii: "*") { alias = alias ?? line }
        waiting = 0
      }
      switch byte {
      case UInt8(ascii: "\n"): line += 1
      case UInt8(ascii: "&"), UInt8(ascii: "*"):
        switch previous {
        case 9, 10, 13, 32, 0x80..., UInt8(ascii: "["), UInt8(ascii: "{"), UInt8(ascii: ","), UInt8(ascii: ":"): waiting = byte
        default: break
        }
      default: break
      }
    }
    if anchor != nil, let alias { throw Refusal(line: alias, text: "anchors and aliases are not taken: write the value out") }
  }

  private static func refusal(of error: YamlError) -> Refusal {
    switch error {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _), .composer(_, let problem, let mark, _):
      return Refusal(line: mark.line, text: "not YAML: \(problem)")
    case .duplicatedKeysInMapping(let keys, let context):
      return Refusal(line: context.mark.line, text: "the same key twice: \(keys.joined(separator: ", "))")
    default:
      return Refusal(text: "not YAML")
    }
  }
}

/// A part of the document that has no JSON form.
struct YAMLProblem: Error {
  var line: Int?
  var text: String
}

extension Node {
  var line: Int? { mark?.line }

  /// The node as JSON.
  ///
  /// Plain numbers are written as JSON strings: the codec takes them for numbers and for text alike, so that `version: 1.0` stays the
  /// text it is in a text field, and no digit passes through a floating-point number. Only plain `true` and `false` are booleans.
  /// Where JSON is free, in `free` fields of a mapping and below them, nothing says what is meant: there a plain number is a number.
  func json(free: Set<String> = [], isFree: Bool = false, depth: Int = 0) throws(YAMLProblem) -> String {
    guard depth <= RegistryLimits.yamlDepth else {
      throw YAMLProblem(line: line, text: "nested deeper than \(RegistryLimits.yamlDepth)")
    }
    switch self {
    case .scalar(let scalar):
      guard scalar.style == .plain || scalar.style == .any else { return jsonQuoted(scalar.string) }
      switch scalar.string {
      case "", "~", "null": return "null"
      case "true", "false": return scalar.string
      default: return isFree && isJSONNumber(scalar.string) ? scalar.string : jsonQuoted(scalar.string)
      }
    case .sequence(let sequence):
      var items: [String] = []
      for item in sequence { items.append(try item.json(isFree: isFree, depth: depth + 1)) }
      return "[" + items.joined(separator: ",") + "]"
    case .mapping(let mapping):
      var members: [String] = []
      for (key, value) in mapping {
        let name = try key.key()
        members.append(jsonQuoted(name) + ":" + (try value.json(isFree: isFree || free.contains(name), depth: depth + 1)))
      }
      return "{" + members.joined(separator: ",") + "}"
    case .alias:
      throw YAMLProblem(line: line, text: "aliases are not taken: write the value out")
    }
  }

  /// The text of a key. YAML 1.1 would read the plain key `on` as a truth value; here a key is what is written.
  func key() throws(YAMLProblem) -> String {
    guard case .scalar(let scalar) = self else { throw YAMLProblem(line: line, text: "a key must be plain text") }
    return scalar.string
  }
}

/// Whether a plain scalar is a number as JSON writes one (RFC 8259 §6).
private func isJSONNumber(_ text: String) -> Bool {
  text.wholeMatch(of: /-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/) != nil
}

/// A JSON string literal.
func jsonQuoted(_ text: String) -> String {
  var quoted = "\""
  for scalar in text.unicodeScalars {
    switch scalar {
    case "\"": quoted += "\\\""
    case "\\": quoted += "\\\\"
    case "\n": quoted += "\\n"
    case "\r": quoted += "\\r"
    case "\t": quoted += "\\t"
    case _ where scalar.value < 0x20:
      let digits = String(scalar.value, radix: 16)
      quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
    default: quoted.unicodeScalars.append(scalar)
    }
  }
  return quoted + "\""
}
