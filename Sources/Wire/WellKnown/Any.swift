import SpanwireProtobuf

extension Google_Protobuf_Any {
  /// Packs a message under `type.googleapis.com/` and its full name.
  public init(packing message: some Message) {
    self.init(typeURL: "type.googleapis.com/" + type(of: message).protoTypeName, value: message.encoded())
  }

  /// The full name of the packed message's type.
  public var packedTypeName: String {
    typeURL.lastIndex(of: "/").map { String(typeURL[typeURL.index(after: $0)...]) } ?? typeURL
  }

  /// The packed message. Throws `AnyMismatch` when another type is packed, and `DecodingError`.
  public func unpack<M: Message>(as type: M.Type = M.self) throws -> M {
    guard packedTypeName == M.protoTypeName else { throw AnyMismatch(expected: M.protoTypeName, found: packedTypeName) }
    return try M(decoding: value)
  }
}

/// An `Any` holds another type than was asked for.
public struct AnyMismatch: Error, Hashable, CustomStringConvertible {
  /// The full name of the type that was asked for.
  public let expected: String
  /// The full name of the type that is there; empty for none.
  public let found: String

  /// What was asked for, and what is there.
  public var description: String { "the Any holds \(found.isEmpty ? "nothing" : found), not \(expected)" }
}
