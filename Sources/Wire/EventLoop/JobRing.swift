/// The tasks that are ready to run on a loop, first in first out, in a ring that grows by doubling and never shrinks.
struct JobRing: ~Copyable {
  private var slots: UnsafeMutablePointer<UnownedJob>
  private var mask: Int
  private var head = 0
  private var tail = 0

  init(capacity: Int = 1024) {
    precondition(capacity > 0 && capacity & (capacity - 1) == 0)
    slots = .allocate(capacity: capacity)
    mask = capacity - 1
  }

  deinit { slots.deallocate() }

  var count: Int { tail &- head }
  var isEmpty: Bool { head == tail }

  @inline(__always)
  mutating func append(_ job: UnownedJob) {
    if count > mask { grow() }
    (slots + (tail & mask)).initialize(to: job)
    tail &+= 1
  }

  @inline(__always)
  mutating func removeFirst() -> UnownedJob {
    let job = slots[head & mask]
    head &+= 1
    return job
  }

  @inline(never)
  private mutating func grow() {
    let capacity = (mask + 1) * 2
    let larger = UnsafeMutablePointer<UnownedJob>.allocate(capacity: capacity)
    // Positions are kept, only their slots move.
    for position in head..<tail { (larger + (position & (capacity - 1))).initialize(to: slots[position & mask]) }
    slots.deallocate()
    slots = larger
    mask = capacity - 1
  }
}
