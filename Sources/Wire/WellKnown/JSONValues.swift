import SpanwireProtobuf

/// JSON objects as Swift writes them: `["stops": 3, "names": ["Central"]]`.
extension Google_Protobuf_Struct: ExpressibleByDictionaryLiteral {
  /// An object of the members given, in their order.
  public init(dictionaryLiteral elements: (String, Google_Protobuf_Value)...) {
    self.init()
    for (key, value) in elements { fields[key] = value }
  }

  /// A member; nil when there is none. Setting nil removes it.
  public subscript(key: String) -> Google_Protobuf_Value? {
    get { fields[key] }
    set { fields[key] = newValue }
  }

  /// As JSON with its members in the order of their names, so that equal objects are equal texts. Throws for a number that JSON has not.
  public func canonicalJSON() throws -> String { try Google_Protobuf_Value(kind: .structValue(self)).canonicalJSON() }
}

extension Google_Protobuf_Value: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
  ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
  /// A text.
  public init(stringLiteral value: String) { self.init(value) }
  /// A number.
  public init(integerLiteral value: Int) { self.init(Double(value)) }
  /// A number.
  public init(floatLiteral value: Double) { self.init(value) }
  /// True or false.
  public init(booleanLiteral value: Bool) { self.init(value) }
  /// A list.
  public init(arrayLiteral elements: Google_Protobuf_Value...) { self.init(elements) }
  /// An object of the members given, in their order.
  public init(dictionaryLiteral elements: (String, Google_Protobuf_Value)...) {
    var object = Google_Protobuf_Struct()
    for (key, value) in elements { object.fields[key] = value }
    self.init(object)
  }

  /// A text.
  public init(_ value: String) { self.init(kind: .stringValue(value)) }
  /// A number.
  public init(_ value: Double) { self.init(kind: .numberValue(value)) }
  /// True or false.
  public init(_ value: Bool) { self.init(kind: .boolValue(value)) }
  /// A list.
  public init(_ values: [Google_Protobuf_Value]) { self.init(kind: .listValue(.init(values: values))) }
  /// An object.
  public init(_ object: Google_Protobuf_Struct) { self.init(kind: .structValue(object)) }

  /// The text that it is; nil for anything else.
  public var text: String? { if case .stringValue(let value)? = kind { value } else { nil } }
  /// The number that it is; nil for anything else.
  public var number: Double? { if case .numberValue(let value)? = kind { value } else { nil } }
  /// The truth that it is; nil for anything else.
  public var truth: Bool? { if case .boolValue(let value)? = kind { value } else { nil } }
  /// The list that it is; nil for anything else.
  public var list: [Google_Protobuf_Value]? { if case .listValue(let value)? = kind { value.values } else { nil } }
  /// The object that it is; nil for anything else.
  public var object: Google_Protobuf_Struct? { if case .structValue(let value)? = kind { value } else { nil } }

  /// As JSON, the members of objects in the order of their names. Throws for a number that JSON has not.
  public func canonicalJSON() throws -> String {
    switch kind {
    case .structValue(let object)?:
      let members = try object.fields.pairs.sorted { $0.key < $1.key }.map {
        "\(try Google_Protobuf_Value($0.key).jsonString()):\(try $0.value.canonicalJSON())"
      }
      return "{" + members.joined(separator: ",") + "}"
    case .listValue(let list)?: return "[" + (try list.values.map { try $0.canonicalJSON() }).joined(separator: ",") + "]"
    case nil: return "null"
    default: return try jsonString()
    }
  }
}
