/// How names of a .proto file become Swift names. The habits are those of swift-protobuf, which readers of generated code know.
enum SwiftName {
  /// `session_id` → `sessionID`, `HTTPServer` → `httpServer`: lower camel case, with abbreviations in capitals unless they come first.
  static func lowerCamel(_ name: String) -> String { camel(name, upperFirst: false) }

  /// `some_oneof` → `SomeOneof`.
  static func upperCamel(_ name: String) -> String { camel(name, upperFirst: true) }

  private static let abbreviations: Set<String> = ["id", "url", "http", "https"]

  private static func camel(_ name: String, upperFirst: Bool) -> String {
    var out = ""
    for (index, word) in words(name).enumerated() {
      let capital = index > 0 || upperFirst
      if abbreviations.contains(word) {
        out += capital ? word.uppercased() : word
      } else {
        out += capital ? word.prefix(1).uppercased() + word.dropFirst() : word
      }
    }
    if out.isEmpty { return "_" }
    return out.first!.isNumber ? "_" + out : out
  }

  /// Words in lower case: cut at underscores, before capitals, and around runs of digits.
  private static func words(_ name: String) -> [String] {
    var words: [String] = []
    var word = ""
    var last: Character = "_"
    for character in name {
      if character == "_" {
        if !word.isEmpty { words.append(word) }
        word = ""
      } else {
        let boundary = (character.isUppercase && !last.isUppercase) || character.isNumber != last.isNumber
        if boundary && !word.isEmpty {
          words.append(word)
          word = ""
        }
        word += character.lowercased()
      }
      last = character
    }
    if !word.isEmpty { words.append(word) }
    return words
  }

  /// A package as the prefix of its types: `google.protobuf` → `Google_Protobuf_`.
  static func prefix(package: String) -> String {
    if package.isEmpty { return "" }
    return package.split(separator: ".").map { component in
      component.split(separator: "_", omittingEmptySubsequences: true).map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined() + "_"
    }.joined()
  }

  /// Every member of an enum without the enum's own name in front: `LANE_CONTROL` of `Lane` → `control`.
  static func enumCase(_ value: String, of enumName: String) -> String {
    var rest = Substring(value)
    var wanted = enumName.filter { $0 != "_" }.lowercased()[...]
    while let letter = wanted.first {
      if rest.first == "_" {
        rest.removeFirst()
        continue
      }
      guard let next = rest.first, next.lowercased() == String(letter) else { return lowerCamel(value) }
      rest.removeFirst()
      wanted.removeFirst()
    }
    while rest.first == "_" { rest.removeFirst() }
    guard let first = rest.first, !first.isNumber else { return lowerCamel(value) }
    return lowerCamel(String(rest))
  }

  /// A name as a declaration: words of the language get backticks.
  static func declared(_ name: String) -> String { keywords.contains(name) ? "`\(name)`" : name }

  /// A field's name, kept clear of what every message has already.
  static func field(_ protoName: String) -> String {
    let name = lowerCamel(protoName)
    return takenByMessages.contains(name) ? name + "_p" : name
  }

  /// A type's name within another type, where `Type` and `Protocol` mean something else.
  static func type(_ name: String, kind: String) -> String {
    takenAsTypes.contains(name) ? name + kind : name
  }

  static let takenAsTypes: Set<String> = ["Type", "Protocol", "Self", "View", "Any"]
  static let takenByMessages: Set<String> = [
    "init", "self", "hashValue", "unknownFields",
  ]
  static let takenByEnums: Set<String> = ["init", "self", "rawValue", "hashValue", "unrecognized", "allCases"]

  static let keywords: Set<String> = [
    "Any", "Protocol", "Self", "Type", "actor", "any", "as", "associatedtype", "await", "break", "case", "catch", "class", "continue",
    "default", "defer", "deinit", "do", "else", "enum", "extension", "fallthrough", "false", "fileprivate", "for", "func", "guard", "if",
    "import", "in", "init", "inout", "internal", "is", "let", "nil", "operator", "precedencegroup", "private", "protocol", "public",
    "repeat", "rethrows", "return", "self", "some", "static", "struct", "subscript", "super", "switch", "throw", "throws", "true", "try",
    "typealias", "var", "where", "while",
  ]
}

/// How protoc-gen-c names things; its rules are not ours to choose.
enum CName {
  /// `spanwire.city.v1.RouteRequest` → `Spanwire__City__V1__RouteRequest`.
  static func type(_ fullName: String) -> String {
    fullName.split(separator: ".").map { camel(String($0)) }.joined(separator: "__")
  }

  /// `spanwire.city.v1.RouteRequest` → `spanwire__city__v1__route_request`.
  static func lower(_ fullName: String) -> String {
    fullName.split(separator: ".").map { piece in
      var out = ""
      var wasUpper = true
      for character in piece {
        if character.isUppercase && !wasUpper { out += "_" }
        out += character.lowercased()
        wasUpper = character.isUppercase
      }
      return out
    }.joined(separator: "__")
  }

  static func camel(_ name: String) -> String {
    var out = ""
    var up = true
    for character in name {
      if character == "_" {
        up = true
      } else {
        out += up ? character.uppercased() : String(character)
        up = false
      }
    }
    return out
  }

  /// Words of C and C++, protobuf-c's own member, macros of the C library, and what Swift cannot say after a dot.
  static let reserved: Set<String> = [
    "base", "alignas", "alignof", "and", "and_eq", "asm", "auto", "bitand", "bitor", "bool", "break", "case", "catch", "char", "class",
    "compl", "concept", "const", "const_cast", "consteval", "constexpr", "constinit", "continue", "decltype", "default", "delete", "do",
    "double", "dynamic_cast", "else", "enum", "explicit", "export", "extern", "false", "float", "for", "friend", "goto", "if", "inline",
    "int", "long", "mutable", "namespace", "new", "noexcept", "not", "not_eq", "nullptr", "operator", "or", "or_eq", "private",
    "protected", "public", "register", "reinterpret_cast", "requires", "restrict", "return", "short", "signed", "sizeof", "static",
    "static_assert", "static_cast", "struct", "switch", "template", "this", "thread_local", "throw", "true", "try", "typedef", "typeid",
    "typename", "typeof", "union", "unsigned", "using", "virtual", "void", "volatile", "wchar_t", "while", "xor", "xor_eq", "errno",
    "stdin", "stdout", "stderr", "init", "self", "linux", "unix", "null", "in", "is", "as", "func", "var", "let", "nil", "any", "some",
    "extension", "import", "guard", "defer", "repeat", "where", "super", "rethrows", "throws", "subscript", "deinit", "inout", "internal",
    "fileprivate", "fallthrough", "protocol", "associatedtype", "typealias", "precedencegroup",
  ]
}
