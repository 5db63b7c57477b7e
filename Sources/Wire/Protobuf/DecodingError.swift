/// Why bytes are not a message of the expected type.
public struct DecodingError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What was wrong with the bytes.
  public enum Reason: UInt8, Hashable, Sendable {
    /// A field ends beyond its message.
    case truncated
    /// A varint is longer than ten bytes or does not fit 64 bits.
    case malformedVarint
    /// A tag has field number 0, a reserved wire type or does not fit 32 bits.
    case malformedTag
    /// A group ends that was not begun, or begins and does not end.
    case mismatchedGroup
    /// A string is not UTF-8.
    case invalidUTF8
    /// A field that a proto2 file declares as required did not come.
    case missingRequired
    /// Messages are nested deeper than `DecodingLimits.depth`.
    case depthExceeded
    /// The decoded form takes more memory than `DecodingLimits` allows for these bytes.
    case memoryExceeded
    /// The wire form is larger than `DecodingLimits.messageBytes`.
    case messageTooLarge
  }

  /// What was wrong.
  public let reason: Reason
  /// The full name of the outermost message.
  public let typeName: String
  /// Where, as in `rows[3].text`; empty when the fault lies in the outermost message itself.
  public let path: String

  /// An error at a field's path; empty for the message itself.
  public init(_ reason: Reason, typeName: String, path: String = "") {
    self.reason = reason
    self.typeName = typeName
    self.path = path
  }

  /// The reason, the message's type and the path of the field.
  public var description: String {
    let what =
      switch reason {
      case .truncated: "a field ends beyond its message"
      case .malformedVarint: "malformed varint"
      case .malformedTag: "malformed tag"
      case .mismatchedGroup: "mismatched group"
      case .invalidUTF8: "a string is not UTF-8"
      case .missingRequired: "a required field is missing"
      case .depthExceeded: "messages are nested too deep"
      case .memoryExceeded: "the decoded form takes too much memory"
      case .messageTooLarge: "the message is too large"
      }
    return path.isEmpty ? "\(typeName): \(what)" : "\(typeName).\(path): \(what)"
  }
}

/// What one decode may take; each bound keeps a hostile sender from spending our memory or stack.
public struct DecodingLimits: Hashable, Sendable {
  /// Messages and groups inside the outermost one. 100 is what every protobuf runtime allows, and what peers rely on.
  public var depth = 100
  /// Bytes of the wire form. 64 MiB stands far above any transport's own bound, which refuses earlier.
  public var messageBytes = 64 << 20
  /// Decoded memory per byte of wire. Two bytes of wire can ask for a whole struct; of what is honest, long lists of one-letter strings
  /// and of sparse messages take most, about 20, and others below 12.
  public var arenaFactor = 32
  /// What a small message may take regardless of the factor.
  public var arenaFloor = 256 << 10

  /// The limits that suit input off the network.
  public init() {}
  /// Other limits: how deep messages may nest, and how many bytes its wire form may have.
  public init(depth: Int, messageBytes: Int = 64 << 20) {
    self.depth = depth
    self.messageBytes = messageBytes
  }

  /// A hundred levels, as every protobuf library, and 64 MiB.
  public static let `default` = DecodingLimits()
}
