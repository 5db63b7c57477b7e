import CNghttp2
import Glibc

/// What the sessions of one thread share of nghttp2's memory, so that ten thousand idle ones fit where they should.
///
/// nghttp2 gives every session a block for the frame that it is writing, 16 KiB, and a table of its streams, 4 KiB. The frame is copied
/// away before `send` returns, so one block serves all servers' sessions of a thread (a client's holds its preface from the beginning); the
/// table comes from pages that cost nothing before a stream is opened. The small objects of streams and frames, eight for each call, wait in
/// lists by size for the next call. Whoever makes sessions on a thread keeps one of these there.
public final class HTTP2Memory {
  /// Large enough for a frame of 16 KiB with its head: nghttp2 asks for a few bytes more than that.
  static let frameBytes = 20 * 1024
  /// nghttp2's first table of streams.
  static let tableBytes = 4096
  /// Tables mapped at a time.
  private static let tablesInBlock = 64

  fileprivate let frame = UnsafeMutableRawPointer.allocate(byteCount: frameBytes, alignment: 64)
  fileprivate let pool: UnsafeMutablePointer<spanwire_pool>
  private var tables: [UnsafeMutableRawPointer] = []
  private var blocks: [UnsafeMutableRawPointer] = []

  /// Empty: everything is made when it is first wanted.
  public init() {
    guard let pool = spanwire_pool_new() else { preconditionFailure("no memory for a pool") }
    self.pool = pool
  }

  deinit {
    spanwire_pool_delete(pool)
    frame.deallocate()
    for block in blocks { munmap(block, Self.tablesInBlock * Self.tableBytes) }
  }

  /// Zeros; nil when the system has no memory.
  fileprivate func takeTable() -> UnsafeMutableRawPointer? {
    if let table = tables.popLast() { return table }
    let size = Self.tablesInBlock * Self.tableBytes
    guard let block = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), block != MAP_FAILED else { return nil }
    blocks.append(block)
    for number in 1..<Self.tablesInBlock { tables.append(block + number * Self.tableBytes) }
    return block
  }

  /// The page goes back to the system, and comes back as zeros.
  fileprivate func giveBack(table: UnsafeMutableRawPointer) {
    madvise(table, Self.tableBytes, MADV_DONTNEED)
    tables.append(table)
  }
}

/// One session's view of it: nghttp2's allocator.
struct SessionMemory {
  private let shared: Unmanaged<HTTP2Memory>
  private let pool: UnsafeMutablePointer<spanwire_pool>
  /// The shared frame, whether it is in use here or not.
  private let frame: UnsafeMutableRawPointer
  private let sharesFrame: Bool
  private var hasFrame = false
  private var table: UnsafeMutableRawPointer?

  /// Kept until `destroy`, which comes after the session's end.
  static func make(_ shared: HTTP2Memory, sharesFrame: Bool) -> UnsafeMutablePointer<SessionMemory> {
    let memory = UnsafeMutablePointer<SessionMemory>.allocate(capacity: 1)
    memory.initialize(to: SessionMemory(.passRetained(shared), sharesFrame))
    return memory
  }

  private init(_ shared: Unmanaged<HTTP2Memory>, _ sharesFrame: Bool) {
    self.shared = shared
    pool = shared._withUnsafeGuaranteedRef { $0.pool }
    frame = shared._withUnsafeGuaranteedRef { $0.frame }
    self.sharesFrame = sharesFrame
  }

  static func destroy(_ memory: UnsafeMutablePointer<SessionMemory>) {
    memory.pointee.shared.release()
    memory.deallocate()
  }

  static func allocator(_ memory: UnsafeMutablePointer<SessionMemory>) -> nghttp2_mem {
    nghttp2_mem(
      mem_user_data: memory,
      malloc: { size, memory in at(memory).pointee.allocate(size) },
      free: { block, memory in at(memory).pointee.free(block) },
      calloc: { count, size, memory in at(memory).pointee.allocateZeros(count, size) },
      realloc: { block, size, memory in at(memory).pointee.reallocate(block, size) })
  }

  /// The first block for a frame is the shared one; what a header block beyond 16 KiB needs besides is the session's own.
  @inline(__always)
  private mutating func allocate(_ size: Int) -> UnsafeMutableRawPointer? {
    guard size > 16 * 1024, size <= HTTP2Memory.frameBytes, sharesFrame, !hasFrame else { return spanwire_pool_malloc(size, pool) }
    hasFrame = true
    return frame
  }

  private mutating func allocateZeros(_ count: Int, _ size: Int) -> UnsafeMutableRawPointer? {
    guard table == nil, count * size == HTTP2Memory.tableBytes else { return spanwire_pool_calloc(count, size, pool) }
    table = shared._withUnsafeGuaranteedRef { $0.takeTable() }
    return table
  }

  @inline(__always)
  private mutating func free(_ block: UnsafeMutableRawPointer?) {
    if block != table, block != frame { return spanwire_pool_free(block, pool) }
    guard let block else { return }
    if block == table {
      table = nil
      shared._withUnsafeGuaranteedRef { $0.giveBack(table: block) }
    } else {
      hasFrame = false
    }
  }

  private mutating func reallocate(_ block: UnsafeMutableRawPointer?, _ size: Int) -> UnsafeMutableRawPointer? {
    guard let block else { return allocate(size) }
    let isTable = block == table
    let isFrame = block == frame
    guard isTable || isFrame else { return spanwire_pool_realloc(block, size, pool) }
    guard let larger = spanwire_pool_malloc(size, pool) else { return nil }
    larger.copyMemory(from: block, byteCount: min(size, isTable ? HTTP2Memory.tableBytes : HTTP2Memory.frameBytes))
    free(block)
    return larger
  }
}

@inline(__always)
private func at(_ memory: UnsafeMutableRawPointer?) -> UnsafeMutablePointer<SessionMemory> {
  memory!.assumingMemoryBound(to: SessionMemory.self)
}
