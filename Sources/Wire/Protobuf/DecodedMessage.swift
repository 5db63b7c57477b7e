import CProtobufC

/// A decoded message that owns its bytes: one heap object with a copy of the wire form and the C structs that point into it.
///
/// This is what a `MessageView` reads. Copies share the object, and the views of submessages keep it alive.
public struct DecodedMessage: @unchecked Sendable {  // what `storage` holds is written once, in `init`
  @usableFromInline let storage: DecodedStorage
  /// The C struct; valid while this value, or a copy of it, lives.
  public let cStruct: UnsafeRawPointer

  /// Decodes a message of any type into an arena of its own, which lives as long as the object. Throws `DecodingError`.
  public init(decoding bytes: UnsafeRawBufferPointer, table: MessageTable, limits: DecodingLimits = .default) throws(DecodingError) {
    (storage, cStruct) = try DecodedStorage.decode(bytes, table, limits)
  }

  @usableFromInline
  init(storage: DecodedStorage, cStruct: UnsafeRawPointer) {
    self.storage = storage
    self.cStruct = cStruct
  }

  /// A submessage that lies in the same object.
  @inlinable
  public func submessage(_ pointer: UnsafeRawPointer?) -> DecodedMessage? {
    pointer.map { DecodedMessage(storage: storage, cStruct: $0) }
  }

  /// The wire form of the outermost message, as it came: what a relay sends on.
  public func withWireBytes<Value>(_ body: (UnsafeRawBufferPointer) throws -> Value) rethrows -> Value {
    try storage.withUnsafeMutablePointers { header, elements in
      try body(UnsafeRawBufferPointer(start: elements, count: header.pointee.wireCount))
    }
  }

  /// Reads the struct while the object is held.
  @inlinable @inline(__always)
  public func read<CStruct, Value>(as type: CStruct.Type, _ body: (UnsafePointer<CStruct>) -> Value) -> Value {
    withExtendedLifetime(storage) { body(cStruct.assumingMemoryBound(to: type)) }
  }
}

@usableFromInline
struct DecodedHeader {
  var wireCount: Int
  var chunks: UnsafeMutableRawPointer?
}

/// Header, wire copy, bump space; what does not fit goes to the arena's chunks.
@usableFromInline
final class DecodedStorage: ManagedBuffer<DecodedHeader, UInt64> {
  deinit {
    // Through the pointer: `header` itself is checked for exclusive access, at the price of a small message's decoding.
    withUnsafeMutablePointerToHeader { header in
      if let chunks = header.pointee.chunks { Arena.free(chunks) }
    }
  }

  static func decode(
    _ bytes: UnsafeRawBufferPointer, _ table: MessageTable, _ limits: DecodingLimits
  ) throws(DecodingError) -> (DecodedStorage, UnsafeRawPointer) {
    let count = bytes.count
    guard count <= limits.messageBytes else { throw DecodingError(.messageTooLarge, typeName: table.typeName) }
    let core = table.linked
    let wireSpace = (count + 7) & ~7
    let space = wireSpace + core.pointee.size + 64 + 2 * count
    let storage = unsafeDowncast(
      create(minimumCapacity: (space + 7) / 8) { _ in DecodedHeader(wireCount: count, chunks: nil) }, to: DecodedStorage.self)
    var failure: DecodingError?
    let message = storage.withUnsafeMutablePointers { header, elements -> UnsafeMutableRawPointer? in
      let wire = UnsafeMutableRawPointer(elements)
      if let start = bytes.baseAddress { wire.copyMemory(from: start, byteCount: count) }
      var decoder = Decoder(
        arena: Arena(block: wire + wireSpace, count: space - wireSpace, ceiling: limits.arenaBytes(for: count)))
      let copy = UnsafeBufferPointer(start: UnsafePointer(wire.assumingMemoryBound(to: UInt8.self)), count: count)
      let message = decoder.decodeWhole(copy, core, depth: limits.depth)
      header.pointee.chunks = decoder.arena.chunks
      if message == nil { failure = DecodingError(decoder.reason, typeName: table.typeName, path: decoder.describePath()) }
      return message
    }
    if let failure { throw failure }
    return (storage, UnsafeRawPointer(message.unsafelyUnwrapped))
  }
}

/// An immutable message that reads its fields where the decoder put them: for handlers that look at few fields of large messages,
/// or pass a message on. A view is a struct of one stored property, whose fields read the struct:
///
///     struct View: MessageView {
///       typealias Value = Place
///       let decoded: DecodedMessage
///       var placeID: String { decoded.read(as: Spanwire__City__V1__Place.self) { CField.string($0.pointee.place_id) } }
///     }
public protocol MessageView: IncomingMessage {
  associatedtype Value: Message
  var decoded: DecodedMessage { get }
  init(decoded: DecodedMessage)
}

extension MessageView {
  /// The view of the message; it keeps the bytes it reads from alive.
  @inlinable
  public init(decoding bytes: UnsafeRawBufferPointer, limits: DecodingLimits) throws(DecodingError) {
    self.init(decoded: try DecodedMessage(decoding: bytes, table: Value.table, limits: limits))
  }

  /// The message as a plain value.
  @inlinable
  public func value() -> Value { withExtendedLifetime(decoded) { Value(cStruct: decoded.cStruct) } }

  /// Writes the message as it was received, what this build does not know included; the writer is emptied first.
  @inlinable
  public func encode(into writer: inout MessageWriter) {
    writer.reset()
    withExtendedLifetime(decoded) { writer.relay(decoded.cStruct, Value.table) }
  }

  /// The message in its wire form.
  @inlinable
  public func encoded() -> [UInt8] {
    var writer = MessageWriter()
    encode(into: &writer)
    return writer.bytes()
  }
}
