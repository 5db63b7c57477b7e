/// What a field is by itself, whichever message it stands in.
struct FieldRule {
  let field: HTTP2FieldName
  /// What the message must not have had before.
  let excluded: MessageRules.Seen
  /// What it has had from now on.
  let added: MessageRules.Seen
  /// What `:status` and `content-length` say; negative for all others.
  let number: Int64

  /// nil when no message of the kind may have such a field.
  init?(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, in kind: MessageRules.Kind) {
    let field = HTTP2FieldName(name)
    self.field = field
    let itself: MessageRules.Seen
    var more: MessageRules.Seen = []
    var number: Int64 = -1
    let isLegal: Bool
    switch field {
    case .method:
      itself = .method
      if value == "CONNECT" { more = .connect } else if value == "OPTIONS" { more = .options }
      isLegal = kind == .request && FieldText.isToken(value)
    case .scheme:
      itself = .scheme
      if Self.is("http", value) || Self.is("https", value) { more = .web }
      isLegal = kind == .request && FieldText.isScheme(value)
    case .path:
      itself = .path
      if value.first == UInt8(ascii: "/") { more = .slash } else if value == "*" { more = .asterisk }
      isLegal = kind == .request && !value.isEmpty && FieldText.isVisible(value)
    case .authority:
      itself = .authority
      isLegal = kind == .request && FieldText.isAuthority(value)
    case .status:
      itself = .status
      number = FieldText.number(value) ?? -1
      // 101 would change the protocol, which HTTP/2 doesn't know.
      isLegal = kind == .response && value.count == 3 && number >= 0 && number != 101
    case .contentLength:
      itself = .length
      number = FieldText.number(value) ?? -1
      isLegal = number >= 0
    case .host where kind == .request:
      itself = .host
      isLegal = FieldText.isAuthority(value)
    case .te:
      itself = []
      isLegal = Self.is("trailers", value)
    case .host, .other:
      itself = []
      isLegal = FieldText.isName(name) && FieldText.isValue(value)
    case .unknownPseudo, .ofConnection: return nil
    }
    if !isLegal { return nil }
    let isPseudo = name[0] == UInt8(ascii: ":")
    // Pseudo-headers come first, each once, and never in trailers.
    excluded = isPseudo ? itself.union([.field, .head]) : itself
    added = itself.union(isPseudo ? more : .field)
    self.number = number
  }

  /// Whether a value is a word in lower case, but for its own case.
  private static func `is`(_ word: StaticString, _ value: UnsafeRawBufferPointer) -> Bool {
    if value.count != word.utf8CodeUnitCount { return false }
    return value.indices.allSatisfy { index in
      (UInt8(ascii: "A")...UInt8(ascii: "Z") ~= value[index] ? value[index] | 0x20 : value[index]) == word.utf8Start[index]
    }
  }
}
