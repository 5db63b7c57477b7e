/// Something that happens on a loop at a moment, unless disarmed. One object may be armed any number of times, once at a time.
///
/// All on the loop. Arming and disarming allocate nothing: a stream keeps one timer for all the calls that it will carry.
public final class LoopTimer {
  private unowned(unsafe) let loop: EventLoop
  private let action: () -> Void
  /// Where it stands in the loop's heap; -1 when it is not armed.
  fileprivate(set) var position = -1

  /// The action is kept as long as the timer: it should not own what owns the timer.
  public init(on loop: EventLoop, _ action: @escaping () -> Void) {
    self.loop = loop
    self.action = action
  }

  deinit { assert(position < 0, "a timer was let go while armed") }

  /// Whether it is to fire.
  public var isArmed: Bool { position >= 0 }

  /// What it is armed for; the end of time if it is not.
  public var moment: UInt64 { position >= 0 ? loop.timers.moment(at: position) : .max }

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

  /// Takes back its firing, if it was to fire. On the loop only.
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
    let (span, overflow2) = nanoseconds.addingReportingOverflow(UInt64(max(0, attoseconds / 1_000_000_000)))
    let (sum, overflow3) = clock.now().addingReportingOverflow(span)
    return overflow || overflow2 || overflow3 ? .max : sum
  }
}

/// A binary heap by moment; each timer knows its place, so that disarming needs no search.
final class TimerHeap {
  private struct Entry {
    var moment: UInt64
    /// Retained while it is in the heap.
    var timer: Unmanaged<LoopTimer>
  }

  private var entries: UnsafeMutablePointer<Entry>
  private var capacity = 64
  private(set) var count = 0

  init() { entries = .allocate(capacity: capacity) }

  deinit {
    for index in 0..<count {
      entries[index].timer._withUnsafeGuaranteedRef { $0.position = -1 }
      entries[index].timer.release()
    }
    entries.deallocate()
  }

  func moment(at position: Int) -> UInt64 { entries[position].moment }

  var next: UInt64? { count > 0 ? entries[0].moment : nil }

  func insert(_ timer: LoopTimer, at moment: UInt64) {
    if count == capacity { grow() }
    count += 1
    rise(count - 1, Entry(moment: moment, timer: .passRetained(timer)))
  }

  func remove(_ timer: LoopTimer) {
    let index = timer.position
    timer.position = -1
    let released = entries[index].timer
    count -= 1
    if index < count {
      let last = entries[count]
      if index > 0, entries[(index - 1) / 2].moment > last.moment { rise(index, last) } else { sink(index, last) }
    }
    released.release()
  }

  /// Takes out the first timer whose moment has come.
  func takeDue(at now: UInt64) -> LoopTimer? {
    guard count > 0, entries[0].moment <= now else { return nil }
    let timer = entries[0].timer.takeUnretainedValue()
    remove(timer)
    return timer
  }

  private func grow() {
    let larger = UnsafeMutablePointer<Entry>.allocate(capacity: capacity * 2)
    larger.moveInitialize(from: entries, count: count)
    entries.deallocate()
    entries = larger
    capacity *= 2
  }

  @inline(__always)
  private func place(_ entry: Entry, at index: Int) {
    (entries + index).initialize(to: entry)
    entry.timer._withUnsafeGuaranteedRef { $0.position = index }
  }

  /// Moves the hole at `start` up to where the entry belongs.
  private func rise(_ start: Int, _ entry: Entry) {
    var index = start
    while index > 0 {
      let parent = (index - 1) / 2
      if entries[parent].moment <= entry.moment { break }
      place(entries[parent], at: index)
      index = parent
    }
    place(entry, at: index)
  }

  /// Moves the hole at `start` down to where the entry belongs.
  private func sink(_ start: Int, _ entry: Entry) {
    var index = start
    while true {
      var child = 2 * index + 1
      if child >= count { break }
      if child + 1 < count, entries[child + 1].moment < entries[child].moment { child += 1 }
      if entry.moment <= entries[child].moment { break }
      place(entries[child], at: index)
      index = child
    }
    place(entry, at: index)
  }
}
