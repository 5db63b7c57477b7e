import SpanwireEventLoop
import SpanwireRPC

/// The latest calls of a loop, as a tracer would keep them until it exports them.
final class SpanRing {
  static let observer: any CallObserver = Observer()

  private static let place = LoopLocal<SpanRing>()
  private static let capacity = 4096

  @exclusivity(unchecked) private var records: [CallRecord] = []
  @exclusivity(unchecked) private var next = 0

  private func add(_ record: consuming CallRecord) {
    if records.count < Self.capacity {
      records.append(record)
    } else {
      records[next] = record
      next = (next + 1) % Self.capacity
    }
  }

  private struct Observer: CallObserver {
    func callStarted(_ call: CallStart) {}

    func callEnded(_ call: consuming CallRecord) {
      EventLoop.current?.local(SpanRing.place) { SpanRing() }.add(call)
    }
  }
}
