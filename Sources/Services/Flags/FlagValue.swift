import SpanwireWellKnown

/// A value as JSON has it: what variants hold, what contexts are made of, and what rules work with.
public enum FlagValue: Sendable, Hashable {
  case null
  case bool(Bool)
  case number(Double)
  case string(String)
  case list([FlagValue])
  case object([String: FlagValue])

  public init(_ value: Google_Protobuf_Value) {
    switch value.kind {
    case nil, .nullValue?: self = .null
    case .boolValue(let value)?: self = .bool(value)
    case .numberValue(let value)?: self = .number(value)
    case .stringValue(let value)?: self = .string(value)
    case .listValue(let list)?: self = .list(list.values.map(FlagValue.init))
    case .structValue(let object)?: self = .object(FlagValue.members(object))
    }
  }

  public static func members(_ object: Google_Protobuf_Struct) -> [String: FlagValue] {
    var members: [String: FlagValue] = [:]
    for (key, value) in object.fields { members[key] = FlagValue(value) }
    return members
  }

  public var contract: Google_Protobuf_Value {
    switch self {
    case .null: Google_Protobuf_Value(kind: .nullValue(.nullValue))
    case .bool(let value): Google_Protobuf_Value(kind: .boolValue(value))
    case .number(let value): Google_Protobuf_Value(kind: .numberValue(value))
    case .string(let value): Google_Protobuf_Value(kind: .stringValue(value))
    case .list(let values): Google_Protobuf_Value(kind: .listValue(.init(values: values.map(\.contract))))
    case .object(let members): Google_Protobuf_Value(kind: .structValue(FlagValue.contract(members)))
    }
  }

  /// In the order of the keys, so that equal objects have equal bytes.
  public static func contract(_ members: [String: FlagValue]) -> Google_Protobuf_Struct {
    var object = Google_Protobuf_Struct()
    for (key, value) in members.sorted(by: { $0.key < $1.key }) { object.fields[key] = value.contract }
    return object
  }
}

extension FlagValue {
  /// As JSON, with the keys in order; as deep as it is, where messages may nest a hundred levels.
  func json() throws -> String {
    switch self {
    case .list(let values): return "[" + (try values.map { try $0.json() }).joined(separator: ",") + "]"
    case .object(let members):
      let pairs = try members.sorted { $0.key < $1.key }.map { "\(try FlagValue.string($0.key).json()):\(try $0.value.json())" }
      return "{" + pairs.joined(separator: ",") + "}"
    case .null, .bool, .number, .string: return try contract.jsonString()
    }
  }
}

// MARK: What JSONLogic makes of values

extension FlagValue {
  /// Whether a rule takes it for true. An object always is, a text unless it is empty, a list unless it is.
  var isTrue: Bool {
    switch self {
    case .null: false
    case .bool(let value): value
    case .number(let value): value != 0 && !value.isNaN
    case .string(let value): !value.isEmpty
    case .list(let values): !values.isEmpty
    case .object: true
    }
  }

  /// Nothing is zero, a list of one is that one; what is no number is not a number.
  var asNumber: Double {
    switch self {
    case .null: return 0
    case .bool(let value): return value ? 1 : 0
    case .number(let value): return value
    case .string(let text):
      let digits = text.drop { $0.isWhitespace }.reversed().drop { $0.isWhitespace }.reversed()
      let trimmed = String(digits)
      // Hexadecimal digits and words for infinity are no numbers in JSON.
      guard trimmed.utf8.allSatisfy({ (48...57).contains($0) || "+-.eE".utf8.contains($0) }) else { return .nan }
      return Double(trimmed) ?? .nan
    case .list(let values): return values.isEmpty ? 0 : values.count == 1 ? values[0].asNumber : .nan
    case .object: return .nan
    }
  }

  var asText: String {
    switch self {
    case .null: "null"
    case .bool(let value): value ? "true" : "false"
    case .number(let value): Self.text(of: value)
    case .string(let value): value
    case .list(let values): values.map(\.asText).joined(separator: ",")
    case .object: "[object Object]"
    }
  }

  /// A number without a fraction has no point.
  static func text(of number: Double) -> String {
    if let whole = Int64(exactly: number) { return String(whole) }
    return "\(number)"
  }

  /// Equal without conversion, but that true is 1 and false 0, as the reference evaluator has it.
  func isIdentical(to other: FlagValue) -> Bool {
    switch (self, other) {
    case (.null, .null): true
    case (.bool, .bool), (.bool, .number), (.number, .bool), (.number, .number): asNumber == other.asNumber
    case (.string(let a), .string(let b)): a.utf8.elementsEqual(b.utf8)
    case (.list(let a), .list(let b)): a.count == b.count && zip(a, b).allSatisfy { $0.isIdentical(to: $1) }
    case (.object(let a), .object(let b)):
      a.count == b.count && a.allSatisfy { key, value in b[key]?.isIdentical(to: value) ?? false }
    default: false
    }
  }

  /// Equal after conversion. Lists and objects equal only themselves, which two values never are.
  func isEqual(to other: FlagValue) -> Bool {
    switch (self, other) {
    case (.null, .null): true
    case (.bool, .bool): self == other
    case (.string(let a), .string(let b)): a.utf8.elementsEqual(b.utf8)
    case (.list, .list), (.object, .object), (.list, .object), (.object, .list): false
    case (.number, _), (_, .number), (.bool, _), (_, .bool): asNumber == other.asNumber
    case (.null, _), (_, .null): false
    case (.string(let text), _): text.utf8.elementsEqual(other.asText.utf8)
    case (_, .string(let text)): text.utf8.elementsEqual(asText.utf8)
    }
  }

  /// Whether it stands in an order before another: by number, but two texts, or a text and what is no number, by their code points.
  func compare(_ other: FlagValue, _ byNumber: (Double, Double) -> Bool, _ byText: (Bool, Bool) -> Bool) -> Bool {
    switch (self, other) {
    case (.number, _), (_, .number), (.bool, _), (_, .bool): return byNumber(asNumber, other.asNumber)
    case (.string, _), (_, .string):
      let (a, b) = (asText, other.asText)
      return byText(a.utf8.lexicographicallyPrecedes(b.utf8), a.utf8.elementsEqual(b.utf8))
    default: return byNumber(asNumber, other.asNumber)
    }
  }
}
