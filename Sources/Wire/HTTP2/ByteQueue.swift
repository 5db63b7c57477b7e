/// Bytes that go in at the end and out at the front, in one block that grows by doubling.
///
/// It has no bound of its own: who appends stops at a high-water mark and goes on below a low one. A handle: its state stands behind a
/// pointer, so that a class can hold it as a constant and no access to it is checked for overlap at run time.
public struct ByteQueue: ~Copyable {
  @usableFromInline struct State {
    @usableFromInline var base: UnsafeMutableRawPointer
    @usableFromInline var head = 0
    @usableFromInline var tail = 0
    @usableFromInline var capacity: Int

    @usableFromInline init(base: UnsafeMutableRawPointer, capacity: Int) {
      self.base = base
      self.capacity = capacity
    }
  }

  @usableFromInline let state: UnsafeMutablePointer<State>

  private static let firstCapacity = 512
  /// Up to here it doubles, beyond it grows by a quarter: a queue that its reader leaves full should not take twice what it holds.
  private static let steepCapacity = 64 * 1024
  /// What a queue keeps when it is emptied for its next user.
  private static let keptCapacity = 16 * 1024

  /// An empty queue.
  public init() {
    state = .allocate(capacity: 1)
    state.initialize(to: State(base: .allocate(byteCount: Self.firstCapacity, alignment: 8), capacity: Self.firstCapacity))
  }

  deinit {
    state.pointee.base.deallocate()
    state.deallocate()
  }

  /// Bytes in the queue.
  @inlinable @inline(__always) public var count: Int { state.pointee.tail &- state.pointee.head }
  /// Whether nothing is queued.
  @inlinable @inline(__always) public var isEmpty: Bool { state.pointee.head == state.pointee.tail }

  /// Room for this many bytes at the end; `commit` makes them part of the queue.
  @inlinable @inline(__always)
  public func reserve(_ count: Int) -> UnsafeMutableRawPointer {
    if state.pointee.tail &+ count > state.pointee.capacity { makeRoom(count) }
    return state.pointee.base + state.pointee.tail
  }

  /// Makes bytes part of the queue that were written into what `reserve` gave.
  @inlinable @inline(__always)
  public func commit(_ count: Int) { state.pointee.tail &+= count }

  /// Copies bytes to the end.
  @inlinable @inline(__always)
  public func append(_ bytes: UnsafeRawBufferPointer) {
    guard let source = bytes.baseAddress else { return }
    reserve(bytes.count).copyMemory(from: source, byteCount: bytes.count)
    commit(bytes.count)
  }

  /// The first byte; valid until the next change.
  @inlinable @inline(__always) public var front: UnsafeRawPointer { UnsafeRawPointer(state.pointee.base + state.pointee.head) }

  /// Drops so many bytes from the front; there must be as many.
  @inlinable @inline(__always)
  public func removeFirst(_ count: Int) {
    state.pointee.head &+= count
    if isEmpty {
      state.pointee.head = 0
      state.pointee.tail = 0
    }
  }

  /// Empties the queue.
  public func removeAll() {
    state.pointee.head = 0
    state.pointee.tail = 0
    if state.pointee.capacity > Self.keptCapacity {
      state.pointee.base.deallocate()
      state.pointee.capacity = Self.firstCapacity
      state.pointee.base = .allocate(byteCount: Self.firstCapacity, alignment: 8)
    }
  }

  @inline(never) @usableFromInline
  func makeRoom(_ wanted: Int) {
    let used = count
    let source = state.pointee.base + state.pointee.head
    if used + wanted <= state.pointee.capacity, state.pointee.head >= state.pointee.capacity / 4 {
      state.pointee.base.copyMemory(from: source, byteCount: used)
    } else {
      let growth = state.pointee.capacity < Self.steepCapacity ? state.pointee.capacity : state.pointee.capacity / 4
      state.pointee.capacity = max(state.pointee.capacity + growth, used + wanted)
      let larger = UnsafeMutableRawPointer.allocate(byteCount: state.pointee.capacity, alignment: 8)
      larger.copyMemory(from: source, byteCount: used)
      state.pointee.base.deallocate()
      state.pointee.base = larger
    }
    state.pointee.head = 0
    state.pointee.tail = used
  }
}
