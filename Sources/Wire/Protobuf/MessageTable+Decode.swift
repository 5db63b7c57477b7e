import Glibc

extension MessageTable {
  /// Decodes into a C struct that lives during `body`, aliasing `bytes`.
  func withDecoded<Value>(
    _ bytes: UnsafeRawBufferPointer, limits: DecodingLimits, _ body: (UnsafeRawPointer) -> Value
  ) throws(DecodingError) -> Value {
    let count = bytes.count
    guard count <= limits.messageBytes else { throw DecodingError(.messageTooLarge, typeName: typeName) }
    let core = linked
    // Structs of real messages take about twice their wire form, so that most messages need this one block.
    let blockBytes = min(core.pointee.size + 64 + 2 * count, 256 << 10)
    guard let block = malloc(blockBytes) else { throw DecodingError(.memoryExceeded, typeName: typeName) }
    defer { free(block) }
    var decoder = Decoder(
      arena: Arena(block: block, count: blockBytes, ceiling: limits.arenaFactor * count + limits.arenaFloor))
    defer { decoder.arena.free() }
    let start = bytes.baseAddress.map { $0.assumingMemoryBound(to: UInt8.self) } ?? UnsafePointer(block.assumingMemoryBound(to: UInt8.self))
    guard let message = decoder.makeMessage(core), decoder.decode(start, start + count, into: message, core, depth: limits.depth) else {
      throw DecodingError(decoder.reason, typeName: typeName, path: decoder.describePath())
    }
    return body(message)
  }
}
