import Glibc

/// Bump memory for one decode: a first block of the caller's, then chunks of its own up to a ceiling.
@usableFromInline
struct Arena {
  private(set) var cursor: UnsafeMutableRawPointer
  private var end: UnsafeMutableRawPointer
  /// The newest chunk, which knows the one before; nil while the first block suffices.
  private(set) var chunks: UnsafeMutableRawPointer?
  private var left: Int
  private var nextChunk: Int

  /// A large message needs few chunks of this size, one that just outgrows its block wastes little.
  private static let chunkBytes = 32 << 10
  private static let chunkHeader = 16

  /// - Parameters:
  ///   - ceiling: bytes that chunks may take beyond the first block.
  ///   - firstChunk: a guess at what the message takes; of real messages, most take about twice their wire form.
  init(block: UnsafeMutableRawPointer, count: Int, ceiling: Int, firstChunk: Int = chunkBytes) {
    cursor = block
    end = block + count
    left = ceiling
    nextChunk = min(max(firstChunk, 1024), 256 << 10)
  }

  /// Eight-byte aligned memory, not zeroed; nil when the ceiling is reached.
  @inline(__always)
  mutating func allocate(_ count: Int) -> UnsafeMutableRawPointer? {
    let rounded = (count &+ 7) & ~7
    if end - cursor >= rounded {
      let result = cursor
      cursor += rounded
      return result
    }
    return allocateChunk(rounded)
  }

  /// Widens the newest allocation where it stands, if that is what ends at the cursor.
  @inline(__always)
  mutating func extend(endingAt tail: UnsafeMutableRawPointer, by count: Int) -> Bool {
    let rounded = (count &+ 7) & ~7
    guard tail == cursor, end - cursor >= rounded else { return false }
    cursor += rounded
    return true
  }

  @inline(never)
  private mutating func allocateChunk(_ count: Int) -> UnsafeMutableRawPointer? {
    let want = max(count, min(nextChunk, left))
    guard want <= left, let memory = malloc(want + Self.chunkHeader) else { return nil }
    left -= want
    nextChunk = max(Self.chunkBytes, nextChunk)
    memory.storeBytes(of: chunks, as: UnsafeMutableRawPointer?.self)
    chunks = memory
    cursor = memory + Self.chunkHeader + count
    end = memory + Self.chunkHeader + want
    return memory + Self.chunkHeader
  }

  /// Frees the chunks; the first block is the caller's.
  mutating func free() {
    if let chunks { Self.free(chunks) }
    chunks = nil
  }

  /// Frees a chunk and those before it.
  @usableFromInline
  static func free(_ newest: UnsafeMutableRawPointer) {
    var next: UnsafeMutableRawPointer? = newest
    while let chunk = next {
      next = chunk.load(as: UnsafeMutableRawPointer?.self)
      Glibc.free(chunk)
    }
  }
}
