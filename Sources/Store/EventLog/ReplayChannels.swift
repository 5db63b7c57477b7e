import SpanwireRPC
import Synchronization

/// Where events of the log are heard again, for analysis and simulation: apart from the log, so that nothing that reads the log — consumers,
/// projections, what they cause — can hear them, and marked `replay_only` for whoever takes them elsewhere.
///
/// A channel is those who listen to it. A replay goes at the pace of the slowest of them and keeps nothing.
public final class ReplayChannels: Sendable {
  private struct Listener: Sendable {
    let filter: LogFilter
    let sink: LogSink
    let leave: @Sendable (any Error) -> Void
  }

  private struct State {
    /// By channel, and in it by number.
    var listeners: [String: [Int: Listener]] = [:]
    var playing: Set<String> = []
    var next = 0
    var isEnded = false
  }

  private let state = Mutex(State())

  /// Hears what is replayed to a channel from now on, until the task is cancelled or the sink throws. The first delivery is a heartbeat,
  /// and so is that which ends every replay.
  public func listen(to channel: String, _ filter: LogFilter, sink: LogSink) async throws {
    let (ends, end) = AsyncStream<any Error>.makeStream(bufferingPolicy: .bufferingOldest(1))
    let listener = Listener(filter: filter, sink: sink) {
      end.yield($0)
      end.finish()
    }
    _ = try sink.take(.heartbeat(position: 0, isLive: true))
    let number = try state.withLock { state in
      if state.isEnded { throw EventLogError.ended }
      let others = state.listeners[channel]?.count ?? 0
      guard state.listeners.count < EventLogLimits.replayChannels || others > 0, others < EventLogLimits.replayListeners else {
        throw EventLogError.tooManySubscriptions(limit: EventLogLimits.replayListeners)
      }
      state.next += 1
      state.listeners[channel, default: [:]][state.next] = listener
      return state.next
    }
    defer { drop(number, from: channel) }
    for await error in ends { throw error }
    throw CancellationError()
  }

  /// How many listen, to whatever channel.
  public var listenerCount: Int { state.withLock { $0.listeners.values.reduce(0) { $0 + $1.count } } }

  /// Sends a delivery to all who listen and want it, waits until all have room again, and says how many are left.
  private func send(_ delivery: LogDelivery, to channel: String) async -> Int {
    let listeners = state.withLock { $0.listeners[channel] ?? [:] }
    for (number, listener) in listeners {
      if case .event(let event) = delivery, !listener.filter.matches(event.header) { continue }
      do {
        if try !listener.sink.take(delivery) { try await listener.sink.drained() }
      } catch {
        drop(number, from: channel)
        listener.leave(error)
      }
    }
    return state.withLock { $0.listeners[channel]?.count ?? 0 }
  }

  private func drop(_ number: Int, from channel: String) {
    state.withLock { state in
      state.listeners[channel]?[number] = nil
      if state.listeners[channel]?.isEmpty == true { state.listeners[channel] = nil }
    }
  }

  /// Sends a log's events after a position and up to another to a channel, marked; how many, and to how many who heard them all.
  func play(
    _ log: EventLog, _ filter: LogFilter, after cursor: LogCursor, through last: Int64, to channel: String
  ) async throws -> (events: Int, listeners: Int) {
    let isAlone = state.withLock { $0.playing.insert(channel).inserted }
    guard isAlone else { throw EventLogError.channelBusy(channel) }
    defer { state.withLock { _ = $0.playing.remove(channel) } }
    var listeners = state.withLock { $0.listeners[channel]?.count ?? 0 }
    guard listeners > 0 else { throw EventLogError.channelUnheard(channel) }
    var (place, count) = (cursor, 0)
    while listeners > 0 {
      try Task.checkCancellation()
      let page = try await log.list(filter, after: place, limit: Int(EventLogLimits.page))
      for event in page.events where event.position <= last {
        listeners = min(listeners, await send(.event(try event.forReplay()), to: channel))
        count += 1
        if listeners == 0 { break }
      }
      if page.atEnd || page.through >= last { break }
      place = .after(page.through)
    }
    _ = await send(.heartbeat(position: last, isLive: false), to: channel)
    return (count, listeners)
  }

  /// Ends all who listen, with the log.
  func end() {
    let listeners = state.withLock { state in
      state.isEnded = true
      return state.listeners.values.flatMap(\.values)
    }
    for listener in listeners { listener.leave(EventLogError.ended) }
  }
}

extension EventLog {
  /// Replays events to a channel; see `ReplayChannels`. Throws when nobody listens, or another replay to it is under way.
  public func replay(
    _ filter: LogFilter, after cursor: LogCursor, through last: Int64? = nil, to channel: String
  ) async throws -> (events: Int, listeners: Int) {
    let head = try await database.read { try LogStore.head($0) }
    return try await channels.play(self, filter, after: cursor, through: min(last ?? head, head), to: channel)
  }
}

extension LogEvent {
  /// The same event, marked as one that nobody acts on.
  func forReplay() throws -> LogEvent {
    var envelope = try decoded()
    envelope.replayOnly = true
    return LogEvent(position: position, sequence: sequence, header: header, envelope: envelope.encoded())
  }
}
