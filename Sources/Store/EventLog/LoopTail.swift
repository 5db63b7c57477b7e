import SpanwireEventLoop

/// What one loop knows of the log's end: the last batches, all of them, in order, and who wants what comes next.
///
/// Who is attached has been offered everything up to the tail. Whoever cannot take an event is detached with its cursor and comes back
/// by way of the ring, or of history: nobody has a buffer.
final class LoopTail: @unchecked Sendable {
  // Sendable: everything is touched on the loop alone, apart from the constants.

  let loop: EventLoop
  private let bound: Int
  private(set) var tail: Int64 = 0
  private(set) var isStarted = false
  private var ring: [LogBatch] = []
  private var held = 0
  private var heldBytes = 0
  private var bySession: [String: [LogSubscription]] = [:]
  private var others: [LogSubscription] = []
  private var leaving: [LogSubscription] = []
  private(set) var attached = 0
  private var heartbeat: LoopTimer?

  init(loop: EventLoop, bound: Int = EventLogLimits.ring) {
    self.loop = loop
    self.bound = bound
  }

  /// Everything after this position is in the ring.
  var floor: Int64 { ring.first?.previous ?? tail }

  func begin(at head: Int64, heartbeatEvery interval: Duration) {
    tail = head
    isStarted = true
    let timer = LoopTimer(on: loop) { [unowned self] in
      for subscription in others { subscription.beat(at: tail) }
      for subscription in bySession.values.joined() { subscription.beat(at: tail) }
      dropLeaving()
      heartbeat?.arm(after: interval)
    }
    heartbeat = timer
    timer.arm(after: interval)
  }

  func end(_ error: any Error) {
    isStarted = false
    heartbeat?.disarm()
    heartbeat = nil
    for subscription in others { subscription.stop(.failed(error)) }
    for subscription in bySession.values.joined() { subscription.stop(.failed(error)) }
    dropLeaving()
  }

  func receive(_ batch: LogBatch) {
    guard isStarted else { return }
    precondition(batch.previous == tail, "a batch is missing: \(batch.previous) after \(tail)")
    ring.append(batch)
    held += batch.events.count
    heldBytes += batch.cost
    tail = batch.last
    for event in batch.events {
      if !event.header.session.isEmpty, let subscriptions = bySession[event.header.session] {
        for subscription in subscriptions { subscription.offer(event) }
      }
      for subscription in others { subscription.offer(event) }
    }
    dropLeaving()
    while held > bound || heldBytes > EventLogLimits.ringBytes, ring.count > 1 {
      let oldest = ring.removeFirst()
      held -= oldest.events.count
      heldBytes -= oldest.cost
    }
  }

  // MARK: Subscriptions

  /// From the subscription's cursor, which must not lie before the floor, to the tail; what stops it on the way, if anything does.
  func drain(_ subscription: LogSubscription) -> LogSubscription.Stop? {
    // Batches are in order: the first that reaches beyond the cursor is found by halving.
    var low = 0
    var high = ring.count
    while low < high {
      let middle = (low + high) / 2
      if ring[middle].last > subscription.cursor { high = middle } else { low = middle + 1 }
    }
    for batch in ring[low...] {
      for event in batch.events where event.position > subscription.cursor {
        if let stop = subscription.take(event) { return stop }
      }
    }
    subscription.cursor = max(subscription.cursor, tail)
    return nil
  }

  /// For a subscription that has been drained in the same turn.
  func attach(_ subscription: LogSubscription) throws(EventLogError) {
    guard isStarted else { throw .ended }
    guard attached < EventLogLimits.subscriptionsPerLoop else { throw .tooManySubscriptions(limit: EventLogLimits.subscriptionsPerLoop) }
    attached += 1
    let session = subscription.filter.session
    if session.isEmpty { others.append(subscription) } else { bySession[session, default: []].append(subscription) }
  }

  /// Takes effect when the present batch has been offered to everybody.
  func leave(_ subscription: LogSubscription) { leaving.append(subscription) }

  func dropLeaving() {
    if leaving.isEmpty { return }
    for subscription in leaving {
      let session = subscription.filter.session
      if session.isEmpty {
        if let index = others.firstIndex(where: { $0 === subscription }) {
          others.swapAt(index, others.count - 1)
          others.removeLast()
        }
      } else if var rest = bySession[session] {
        rest.removeAll { $0 === subscription }
        bySession[session] = rest.isEmpty ? nil : rest
      }
      attached -= 1
    }
    leaving.removeAll(keepingCapacity: true)
  }
}

/// What the log refuses its readers.
public enum EventLogError: Error, Sendable, Hashable {
  /// The cursor is not one of this log.
  case cursorInvalid(String)
  /// The cursor lies before the first event that is kept.
  case cursorTooOld(first: Int64)
  case tooManySubscriptions(limit: Int)
  /// A LIVE subscription was too slow even for control; it may come back with this cursor.
  case tooSlow(cursor: Int64)
  /// Nobody listens to the channel that a replay is for.
  case channelUnheard(String)
  /// Another replay to the channel is under way.
  case channelBusy(String)
  /// The log has ended, with the server.
  case ended
}
