import CProtobufC

/// What the wire form of a message can be decoded to: a plain value, or a view that reads it in place.
public protocol IncomingMessage: Sendable {
  /// Decodes from the wire form, and keeps nothing of `bytes`.
  init(decoding bytes: UnsafeRawBufferPointer, limits: DecodingLimits) throws(DecodingError)
}

extension IncomingMessage {
  /// Decodes from the wire form, within the limits that fit nearly everybody; keeps nothing of `bytes`.
  @inlinable
  public init(decoding bytes: UnsafeRawBufferPointer) throws(DecodingError) { try self.init(decoding: bytes, limits: .default) }

  /// Decodes from the wire form.
  @inlinable
  public init(decoding bytes: [UInt8], limits: DecodingLimits = .default) throws(DecodingError) {
    self = try bytes.withUnsafeBufferPointer { buffer throws(DecodingError) in
      try Self(decoding: UnsafeRawBufferPointer(buffer), limits: limits)
    }
  }
}

/// A protobuf message as a plain Swift value.
///
/// Conformances are generated. Decoding goes through the C struct of the message: the decoder has checked everything there,
/// so `init(cStruct:)` only copies.
public protocol Message: IncomingMessage, Hashable {
  /// The message with every field unset.
  init()
  /// The full name on the wire, such as `google.protobuf.Timestamp`.
  static var protoTypeName: String { get }
  /// How to decode the message.
  static var table: MessageTable { get }
  /// The file that declares the message, for reflection and JSON.
  static var file: GeneratedFile { get }
  /// Copies a decoded C struct of this type. The pointer is valid only during the call.
  init(cStruct: UnsafeRawPointer)
  /// Writes the fields from the highest number to the lowest.
  func write(to writer: inout MessageWriter)
  /// What the sender knew and this build does not; kept and sent on.
  var unknownFields: UnknownFields { get set }
}

/// An open enum: a number without a name is kept as `.unrecognized`.
public protocol MessageEnum: Hashable, Sendable, RawRepresentable where RawValue == Int32 {
  init(rawValue: Int32)
}

extension Message {
  /// Decodes the wire form within the limits. Throws `DecodingError`.
  @inlinable
  public init(decoding bytes: UnsafeRawBufferPointer, limits: DecodingLimits) throws(DecodingError) {
    self = try Self.table.withCStruct(decoding: bytes, limits: limits) { Self(cStruct: $0) }
  }

  /// The message in its wire form.
  @inlinable
  public func encoded() -> [UInt8] {
    var writer = MessageWriter()
    write(to: &writer)
    return writer.bytes()
  }

  /// Writes the message into a writer that the caller reuses; the writer is emptied first.
  @inlinable
  public func encode(into writer: inout MessageWriter) {
    writer.reset()
    write(to: &writer)
  }
}
