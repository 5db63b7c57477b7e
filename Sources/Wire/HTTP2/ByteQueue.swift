/// Bytes that go in at the end and out at the front, in one block that grows by doubling.
///
/// It has no bound of its own: who appends stops at a high-water mark and goes on below a low one.
public struct ByteQueue: ~Copyable {
  private var base: UnsafeMutableRawPointer
  private var head = 0
  private var tail = 0
  private var capacity: Int

  private static let firstCapacity = 512
  /// What a queue keeps when it is emptied for its next user.
  private static let keptCapacity = 16 * 1024

  public init() {
    capacity = Self.firstCapacity
    base = .allocate(byteCount: capacity, alignment: 8)
  }

  deinit { base.deallocate() }

  @inline(__always) public var count: Int { tail &- head }
  @inline(__always) public var isEmpty: Bool { head == tail }

  /// Room for this many bytes at the end; `commit` makes them part of the queue.
  @inline(__always)
  public mutating func reserve(_ count: Int) -> UnsafeMutableRawPointer {
    if tail &+ count > capacity { makeRoom(count) }
    return base + tail
  }

  @inline(__always)
  public mutating func commit(_ count: Int) { tail &+= count }

  @inline(__always)
  public mutating func append(_ bytes: UnsafeRawBufferPointer) {
    guard let source = bytes.baseAddress else { return }
    reserve(bytes.count).copyMemory(from: source, byteCount: bytes.count)
    commit(bytes.count)
  }

  /// The first byte; valid until the next change.
  @inline(__always) public var front: UnsafeRawPointer { UnsafeRawPointer(base + head) }

  @inline(__always)
  public mutating func removeFirst(_ count: Int) {
    head &+= count
    if head == tail {
      head = 0
      tail = 0
    }
  }

  public mutating func removeAll() {
    head = 0
    tail = 0
    if capacity > Self.keptCapacity {
      base.deallocate()
      capacity = Self.firstCapacity
      base = .allocate(byteCount: capacity, alignment: 8)
    }
  }

  @inline(never)
  private mutating func makeRoom(_ wanted: Int) {
    let used = count
    if used + wanted <= capacity, head >= used {
      base.copyMemory(from: base + head, byteCount: used)
    } else {
      capacity = max(capacity * 2, used + wanted)
      let larger = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 8)
      larger.copyMemory(from: base + head, byteCount: used)
      base.deallocate()
      base = larger
    }
    head = 0
    tail = used
  }
}
