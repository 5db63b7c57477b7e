import CLinux
import Synchronization

/// The loops of a process: one thread for each processor it may use.
public final class EventLoopGroup: Sendable {
  /// All of them.
  public let loops: [EventLoop]
  private let turn = Atomic<Int>(0)

  /// Starts the threads.
  public init(loops count: Int = EventLoopGroup.usableProcessors, clock: any LoopClock = SystemLoopClock()) {
    precondition(count > 0, "a group has at least one loop")
    loops = (0..<count).map { EventLoop(name: "loop-\($0)", clock: clock) }
    for loop in loops { loop.start() }
  }

  /// Loops without threads, which their maker turns by hand.
  package init(byHand count: Int) {
    loops = (0..<count).map { EventLoop(name: "loop-\($0)") }
  }

  /// The group of whoever does not care, with a loop a processor; its threads start at first use and never stop.
  public static let shared = EventLoopGroup()

  /// The processors this process may run on; containers narrow them.
  public static var usableProcessors: Int { Int(spanwire_usable_processors()) }

  /// The caller's own loop if it is of this group, else each in turn.
  public func next() -> EventLoop {
    if let current = EventLoop.current, loops.contains(where: { $0 === current }) { return current }
    return loops[turn.wrappingAdd(1, ordering: .relaxed).oldValue % loops.count]
  }

  /// Ends all loops and waits for their threads; what serves on them should have been drained before. Not on a loop.
  public func stop() {
    for loop in loops { loop.stop() }
  }
}
