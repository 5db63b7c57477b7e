/// Something that happens on a loop at a moment, unless disarmed. One object may be armed any number of times, once at a time.
///
/// All on the loop. Arming and disarming allocate nothing: a stream keeps one timer for all the calls that it will carry.
public final class LoopTimer {
  private unowned let loop: EventLoop
  private let action: () -> Void
  /// Where it stands in the loop's heap; -1 when it is not armed.
  fileprivate(set) var position = -1

  /// The action is kept as long as the timer: it should not own what owns the timer.
  public init(on loop: EventLoop, _ action: @escaping () -> Void) {
    self.loop = loop
    self.action = action
  }

  deinit { assert(position < 0, "a timer was let go while armed") }

  public var isArmed: Bool { position >= 0 }

  /// Calls the action once at a moment of the loop's clock, in place of what it was armed for before.
  public func arm(at moment: UInt64) {
    assert(loop.isCurrent)
    if position >= 0 { loop.timers.remove(self) }
    loop.timers.insert(self, at: moment)
  }

  /// As `arm(at:)`, a span from now.
  public func arm(after span: Duration) {
    arm(at: loop.moment(after: span))
  }

  public func disarm() {
    assert(loop.isCurrent)
    if position >= 0 { loop.timers.remove(self) }
  }

  func fire() { action() }
}

extension EventLoop {
  /// The moment of the loop's clock that lies a span from now; the end of time if it lies beyond.
  public func moment(after span: Duration) -> UInt64 {
    let (seconds, attoseconds) = span.components
    if seconds < 0 { return 0 }
    let (nanoseconds, overflow) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
    let (sum, overflow2) = clock.now().addingReportingOverflow(overflow ? .max : nanoseconds + UInt64(max(0, attoseconds / 1_000_000_000)))
    return overflow || overflow2 ? .max : sum
  }
}

/// A binary heap by moment; each timer knows its place, so that disarming needs no search.
struct TimerHeap {
  private struct Entry {
    var moment: UInt64
    /// Retained while it is in the heap.
    var timer: Unmanaged<LoopTimer>
  }

  private var entries: [Entry] = []

  var next: UInt64? { entries.first?.moment }
  var count: Int { entries.count }

  mutating func insert(_ timer: LoopTimer, at moment: UInt64) {
    entries.append(Entry(moment: moment, timer: .passRetained(timer)))
    timer.position = entries.count - 1
    rise(entries.count - 1)
  }

  mutating func remove(_ timer: LoopTimer) {
    let index = timer.position
    timer.position = -1
    let entry = entries[index]
    let last = entries.removeLast()
    if index < entries.count {
      place(last, at: index)
      rise(index)
      sink(index)
    }
    entry.timer.release()
  }

  /// Takes out the first timer whose moment has come.
  mutating func takeDue(at now: UInt64) -> LoopTimer? {
    guard let first = entries.first, first.moment <= now else { return nil }
    let timer = first.timer.takeUnretainedValue()
    remove(timer)
    return timer
  }

  private mutating func place(_ entry: Entry, at index: Int) {
    entries[index] = entry
    entry.timer._withUnsafeGuaranteedRef { $0.position = index }
  }

  private mutating func rise(_ start: Int) {
    var index = start
    let entry = entries[start]
    while index > 0 {
      let parent = (index - 1) / 2
      if entries[parent].moment <= entry.moment { break }
      place(entries[parent], at: index)
      index = parent
    }
    if index != start { place(entry, at: index) }
  }

  private mutating func sink(_ start: Int) {
    var index = start
    let entry = entries[start]
    while true {
      var child = 2 * index + 1
      if child >= entries.count { break }
      if child + 1 < entries.count, entries[child + 1].moment < entries[child].moment { child += 1 }
      if entry.moment <= entries[child].moment { break }
      place(entries[child], at: index)
      index = child
    }
    if index != start { place(entry, at: index) }
  }
}
