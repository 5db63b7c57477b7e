import Glibc

/// Bump memory for one decode: a first block of the caller's, then chunks of its own up to a ceiling.
struct Arena {
  private(set) var cursor: UnsafeMutableRawPointer
  private var end: UnsafeMutableRawPointer
  private var chunks: UnsafeMutableRawPointer?
  private var left: Int

  /// 32 KiB a chunk: few enough mallocs for a large message, little waste for one that just outgrows its block.
  private static let chunkBytes = 32 << 10

  /// - Parameter ceiling: bytes that chunks may take beyond the first block.
  init(block: UnsafeMutableRawPointer, count: Int, ceiling: Int) {
    cursor = block
    end = block + count
    left = ceiling
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
    let want = max(count, min(Self.chunkBytes, left))
    guard want <= left, let memory = malloc(want + 16) else { return nil }
    left -= want
    memory.storeBytes(of: chunks, as: UnsafeMutableRawPointer?.self)
    chunks = memory
    cursor = memory + 16 + count
    end = memory + 16 + want
    return memory + 16
  }

  /// Frees the chunks; the first block is the caller's.
  mutating func free() {
    while let chunk = chunks {
      chunks = chunk.load(as: UnsafeMutableRawPointer?.self)
      Glibc.free(chunk)
    }
  }
}
