import Glibc

/// A C struct decoded for the moment: it lives until `free()`, and aliases the bytes it was decoded from.
@usableFromInline
struct DecodedScope {
  @usableFromInline let cStruct: UnsafeRawPointer
  private let block: UnsafeMutableRawPointer
  private var arena: Arena

  fileprivate init(cStruct: UnsafeRawPointer, block: UnsafeMutableRawPointer, arena: Arena) {
    self.cStruct = cStruct
    self.block = block
    self.arena = arena
  }

  @usableFromInline
  mutating func free() {
    arena.free()
    Glibc.free(block)
  }
}

extension MessageTable {
  /// Decodes for somebody who copies what he needs and then calls `free()`. Not generic, so that it is compiled once.
  @usableFromInline
  func decode(_ bytes: UnsafeRawBufferPointer, limits: DecodingLimits) throws(DecodingError) -> DecodedScope {
    let count = bytes.count
    guard count <= limits.messageBytes else { throw DecodingError(.messageTooLarge, typeName: typeName) }
    let core = linked
    // Structs of real messages take about twice their wire form, so that most messages need this one block.
    let blockBytes = min(core.pointee.size + 64 + 2 * count, 256 << 10)
    guard let block = malloc(blockBytes) else { throw DecodingError(.memoryExceeded, typeName: typeName) }
    var decoder = Decoder(arena: Arena(block: block, count: blockBytes, ceiling: limits.arenaBytes(for: count)))
    guard let message = decoder.decodeWhole(bytes.assumingMemoryBound(to: UInt8.self), core, depth: limits.depth) else {
      decoder.arena.free()
      free(block)
      throw DecodingError(decoder.reason, typeName: typeName, path: decoder.describePath())
    }
    return DecodedScope(cStruct: message, block: block, arena: decoder.arena)
  }
}

extension DecodingLimits {
  /// What the arena may take beyond its first block.
  func arenaBytes(for count: Int) -> Int {
    let (scaled, overflow) = arenaFactor.multipliedReportingOverflow(by: count)
    return (overflow ? Int.max / 2 : min(scaled, Int.max / 2)) + arenaFloor
  }
}
