import CProtobufC

/// A decoded message that owns its bytes: one heap object with a copy of the wire form and the C structs that point into it.
///
/// This is what a `MessageView` reads. Copies share the object, and the views of submessages keep it alive.
public struct DecodedMessage: @unchecked Sendable {  // what `storage` holds is written once, in `init`
  private let storage: Storage
  /// The C struct; valid while this value, or a copy of it, lives.
  public let cStruct: UnsafeRawPointer

  public init(decoding bytes: UnsafeRawBufferPointer, table: MessageTable, limits: DecodingLimits = .default) throws(DecodingError) {
    (storage, cStruct) = try Storage.decode(bytes, table, limits)
  }

  private init(storage: Storage, cStruct: UnsafeRawPointer) {
    self.storage = storage
    self.cStruct = cStruct
  }

  /// A submessage that lies in the same object.
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
  @inline(__always)
  public func read<CStruct, Value>(as type: CStruct.Type, _ body: (UnsafePointer<CStruct>) -> Value) -> Value {
    withExtendedLifetime(storage) { body(cStruct.assumingMemoryBound(to: type)) }
  }

  fileprivate struct Header {
    var wireCount = 0
    var arena: Arena?
  }

  /// Header, wire copy, bump space; what does not fit goes to the arena's chunks.
  fileprivate final class Storage: ManagedBuffer<Header, UInt64> {
    deinit {
      withUnsafeMutablePointerToHeader { $0.pointee.arena?.free() }
    }

    static func decode(
      _ bytes: UnsafeRawBufferPointer, _ table: MessageTable, _ limits: DecodingLimits
    ) throws(DecodingError) -> (Storage, UnsafeRawPointer) {
      let count = bytes.count
      guard count <= limits.messageBytes else { throw DecodingError(.messageTooLarge, typeName: table.typeName) }
      let core = table.linked
      let wireSpace = (count + 7) & ~7
      let space = wireSpace + core.pointee.size + 64 + 2 * count
      let storage = unsafeDowncast(Storage.create(minimumCapacity: (space + 7) / 8) { _ in Header() }, to: Storage.self)
      let result: Result<UnsafeRawPointer, DecodingError> = storage.withUnsafeMutablePointers { header, elements in
        let wire = UnsafeMutableRawPointer(elements)
        if let start = bytes.baseAddress { wire.copyMemory(from: start, byteCount: count) }
        header.pointee.wireCount = count
        var decoder = Decoder(
          arena: Arena(
            block: wire + wireSpace, count: space - wireSpace, ceiling: limits.arenaBytes(for: count)))
        defer { header.pointee.arena = decoder.arena }
        let copy = UnsafeBufferPointer(start: UnsafePointer(wire.assumingMemoryBound(to: UInt8.self)), count: count)
        guard let message = decoder.decodeWhole(copy, core, depth: limits.depth) else {
          return .failure(DecodingError(decoder.reason, typeName: table.typeName, path: decoder.describePath()))
        }
        return .success(UnsafeRawPointer(message))
      }
      return (storage, try result.get())
    }
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
public protocol MessageView: Sendable {
  associatedtype Value: Message
  var decoded: DecodedMessage { get }
  init(decoded: DecodedMessage)
}

extension MessageView {
  public init(decoding bytes: UnsafeRawBufferPointer, limits: DecodingLimits = .default) throws(DecodingError) {
    self.init(decoded: try DecodedMessage(decoding: bytes, table: Value.table, limits: limits))
  }

  /// The message as a plain value.
  public func value() -> Value { withExtendedLifetime(decoded) { Value(cStruct: decoded.cStruct) } }
}
