import SpanwireRPC

/// Puts length-prefixed messages together from the bytes of DATA frames, whose boundaries mean nothing, and says what may be credited to the
/// sender's window.
///
/// What it holds is bounded by the stream's window and, for a message longer than that, by the size limit: a prefix that announces more is
/// refused before anything is allocated for it. Bytes of complete messages are credited when the message is taken, so that a slow reader
/// stops the sender; those of an incomplete one at once, since nobody can take it yet.
package struct MessageAssembler: ~Copyable {
  /// One message of the stream, valid until the next change.
  package struct Frame {
    package let isCompressed: Bool
    package let bytes: UnsafeRawBufferPointer
  }

  /// The compressed flag and four bytes of length.
  package static let prefix = 5
  /// Small messages come in one read; more is taken as the length of the message demands.
  private static let firstCapacity = 256
  /// A buffer that one large message made is not kept for the rest of a stream of small ones.
  private static let keptCapacity = 64 * 1024

  private var base: UnsafeMutableRawPointer? = nil
  private var capacity = 0
  private var head = 0
  private var tail = 0
  private var uncredited = 0
  /// The largest message, without its prefix; may be lowered or raised between messages.
  package var limits: MessageLimits

  package init(limits: MessageLimits) { self.limits = limits }

  deinit { base?.deallocate() }

  /// Writes what stands before a message.
  package static func writePrefix(to target: UnsafeMutableRawPointer, count: Int, isCompressed: Bool) {
    target.storeBytes(of: isCompressed ? 1 : 0, as: UInt8.self)
    target.storeBytes(of: UInt32(truncatingIfNeeded: count).bigEndian, toByteOffset: 1, as: UInt32.self)
  }

  /// Bytes that no complete message has taken away yet.
  package var buffered: Int { tail - head }

  /// Adds bytes as they came. Throws RESOURCE_EXHAUSTED as soon as a prefix announces too much, INTERNAL if it is none.
  ///
  /// The result is how many bytes to credit now.
  package mutating func append(_ bytes: UnsafeRawBufferPointer) throws(RPCError) -> Int {
    reserve(bytes.count)
    base!.advanced(by: tail).copyMemory(from: bytes.baseAddress!, byteCount: bytes.count)
    tail += bytes.count
    uncredited += bytes.count
    if let length = try announcedLength(), buffered >= Self.prefix + length { return 0 }
    defer { uncredited = 0 }
    return uncredited
  }

  /// Whether a complete message stands first.
  package var hasMessage: Bool {
    guard buffered >= Self.prefix else { return false }
    return buffered >= Self.prefix + lengthAtHead
  }

  /// Whether a complete message stands first and anything behind it.
  package var hasMore: Bool { hasMessage && buffered > Self.prefix + lengthAtHead }

  /// How many complete messages are at hand, how many of them compressed, and whether nothing else is.
  package var census: (messages: Int, compressed: Int, isWhole: Bool) {
    var place = head
    var messages = 0
    var compressed = 0
    while place < tail {
      guard tail - place >= Self.prefix else { return (messages, compressed, false) }
      let length = Int(UInt32(bigEndian: base!.loadUnaligned(fromByteOffset: place + 1, as: UInt32.self)))
      guard tail - place >= Self.prefix + length else { return (messages, compressed, false) }
      if base!.load(fromByteOffset: place, as: UInt8.self) != 0 { compressed += 1 }
      place += Self.prefix + length
      messages += 1
    }
    return (messages, compressed, true)
  }

  /// The first complete message, valid until it is dropped; nil when there is none.
  package var first: Frame? {
    guard hasMessage else { return nil }
    return Frame(
      isCompressed: base!.load(fromByteOffset: head, as: UInt8.self) != 0,
      bytes: UnsafeRawBufferPointer(start: base! + head + Self.prefix, count: lengthAtHead))
  }

  /// Drops the first complete message, which there must be; the result is how many bytes to credit.
  package mutating func dropFirst() -> Int {
    head += Self.prefix + lengthAtHead
    if head == tail { reset() }
    // The prefix of what follows is checked when its bytes come or when it becomes first.
    let rest = hasMessage ? min(uncredited, buffered) : 0
    defer { uncredited = rest }
    return uncredited - rest
  }

  /// Gives the first complete message to the closure and drops it; nil when there is none. `credit` gets the bytes to credit.
  package mutating func take<Result>(_ credit: inout Int, _ body: (Frame) throws -> Result) throws -> Result? {
    guard let first else { return nil }
    defer { credit += dropFirst() }
    return try body(first)
  }

  /// Throws if what now stands first announces too much, or what no prefix can say.
  package func checkNext() throws(RPCError) { _ = try announcedLength() }

  /// Drops everything; the result is how many bytes to credit.
  package mutating func discard() -> Int {
    reset()
    defer { uncredited = 0 }
    return uncredited
  }

  // MARK: -

  private var lengthAtHead: Int {
    Int(UInt32(bigEndian: base!.loadUnaligned(fromByteOffset: head + 1, as: UInt32.self)))
  }

  private func announcedLength() throws(RPCError) -> Int? {
    guard buffered >= Self.prefix else { return nil }
    guard base!.load(fromByteOffset: head, as: UInt8.self) <= 1 else { throw .internal("a message is neither compressed nor not") }
    let length = lengthAtHead
    if let refusal = limits.refusal(receiving: length) { throw refusal }
    return length
  }

  private mutating func reset() {
    head = 0
    tail = 0
    if capacity > Self.keptCapacity {
      base?.deallocate()
      base = nil
      capacity = 0
    }
  }

  private mutating func reserve(_ count: Int) {
    if tail + count <= capacity { return }
    var wanted = buffered + count
    // One step to the announced size instead of many doublings; the limit has been checked, or will be by `append`.
    if buffered >= Self.prefix, lengthAtHead <= limits.maxReceivedBytes { wanted = max(wanted, Self.prefix + lengthAtHead) }
    if wanted <= capacity, head >= capacity / 2 {
      base!.copyMemory(from: base! + head, byteCount: buffered)
    } else {
      let larger = max(wanted, min(2 * capacity, capacity + Self.keptCapacity), Self.firstCapacity)
      let fresh = UnsafeMutableRawPointer.allocate(byteCount: larger, alignment: 1)
      if let base {
        fresh.copyMemory(from: base + head, byteCount: buffered)
        base.deallocate()
      }
      base = fresh
      capacity = larger
    }
    tail -= head
    head = 0
  }
}
