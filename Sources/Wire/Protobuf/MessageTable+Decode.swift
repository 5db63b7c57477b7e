import Glibc

extension MessageTable {
  /// Decodes for the moment: `body` reads the C struct, which aliases `bytes` and is gone when `body` returns.
  ///
  /// Small messages need no memory but the stack's.
  /// - Parameter body: gets the struct that the C compiler declares for this message; it must not let it out.
  @inlinable @inline(__always)
  public func withCStruct<Value>(
    decoding bytes: UnsafeRawBufferPointer, limits: DecodingLimits = .default, _ body: (UnsafeRawPointer) -> Value
  ) throws(DecodingError) -> Value {
    // What is on the stack must have a size that the compiler knows, and 1024 is the most that it puts there without asking.
    let result = withUnsafeTemporaryAllocation(byteCount: 1024, alignment: 8) { block -> Result<Value, DecodingError> in
      do throws(DecodingError) {
        var scope = try decode(bytes, in: block, limits: limits)
        defer { scope.free() }
        return .success(body(scope.cStruct))
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  /// Not generic, so that it is compiled once.
  /// - Parameter block: outlives the scope.
  @usableFromInline
  func decode(
    _ bytes: UnsafeRawBufferPointer, in block: UnsafeMutableRawBufferPointer, limits: DecodingLimits
  ) throws(DecodingError) -> DecodedScope {
    let count = bytes.count
    guard count <= limits.messageBytes else { throw DecodingError(.messageTooLarge, typeName: typeName) }
    let core = linked
    let base = block.baseAddress.unsafelyUnwrapped
    var decoder = Decoder(
      arena: Arena(block: base, count: block.count, ceiling: limits.arenaBytes(for: count), firstChunk: core.pointee.size + 2 * count))
    guard let message = decoder.decodeWhole(bytes.assumingMemoryBound(to: UInt8.self), core, depth: limits.depth) else {
      decoder.arena.free()
      throw DecodingError(decoder.reason, typeName: typeName, path: decoder.describePath())
    }
    return DecodedScope(cStruct: message, chunks: decoder.arena.chunks)
  }
}

/// A C struct decoded for the moment: it lives until `free()`.
@usableFromInline
struct DecodedScope {
  @usableFromInline let cStruct: UnsafeRawPointer
  @usableFromInline let chunks: UnsafeMutableRawPointer?

  @usableFromInline
  init(cStruct: UnsafeRawPointer, chunks: UnsafeMutableRawPointer?) {
    self.cStruct = cStruct
    self.chunks = chunks
  }

  @inlinable @inline(__always)
  mutating func free() {
    if let chunks { Arena.free(chunks) }
  }
}

extension DecodingLimits {
  /// What the arena may take beyond its first block.
  func arenaBytes(for count: Int) -> Int {
    let (scaled, overflow) = arenaFactor.multipliedReportingOverflow(by: count)
    return (overflow ? Int.max / 2 : min(scaled, Int.max / 2)) + arenaFloor
  }
}
