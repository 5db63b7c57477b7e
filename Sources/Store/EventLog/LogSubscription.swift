import SpanwireEventLoop

/// What a subscriber receives.
public enum LogDelivery: Sendable {
  case event(LogEvent)
  /// Events of a lane that a LIVE subscription lost.
  case discontinuity(lane: EventLane, count: Int64, first: Int64, last: Int64)
  /// How far the log has been read for this subscriber; `isLive` once history is done.
  case heartbeat(position: Int64, isLive: Bool)
}

/// How a subscriber wants to be treated when it is slow.
public enum LogMode: Sendable, Hashable {
  /// Every stored event that matches, however long it takes.
  case complete
  /// Telemetry, then data, may be shed, and it is said.
  case live
}

/// Where a subscription's deliveries go.
public struct LogSink: Sendable {
  /// Takes a delivery without waiting, on a loop; false says that it took it but wants no more before `drained` returns.
  let take: @Sendable (LogDelivery) throws -> Bool
  /// Returns when there is room again.
  let drained: @Sendable () async throws -> Void

  public init(take: @escaping @Sendable (LogDelivery) throws -> Bool, drained: @escaping @Sendable () async throws -> Void) {
    self.take = take
    self.drained = drained
  }
}

/// One reader of the log, from a cursor through history to live: it holds a cursor, not a buffer.
final class LogSubscription: @unchecked Sendable {
  // Sendable: touched on its tail's loop alone.

  let filter: LogFilter
  private let mode: LogMode
  private let untilEnd: Bool
  private let sink: LogSink
  private let log: EventLog
  private let tail: LoopTail
  /// Everything up to here was delivered, did not match, or is told of as lost.
  var cursor: Int64
  private var lost: [EventLane: (count: Int64, first: Int64, last: Int64)] = [:]
  private var isAttached = false
  private var hasBeenLive = false
  private var isQuiet = true
  /// Control events that it was behind by since it last read from the ring.
  private var owedControl = 0
  private var waiting: UnsafeContinuation<Stop, Never>?
  private var isCancelled = false

  /// Why a subscription is no longer offered events.
  enum Stop {
    /// The sink is full: wait, then go on from the cursor.
    case full
    /// Something came before it was attached: go on from the cursor.
    case behind
    case failed(any Error)
  }

  init(_ log: EventLog, _ tail: LoopTail, filter: LogFilter, cursor: Int64, mode: LogMode, untilEnd: Bool, sink: LogSink) {
    self.log = log
    self.tail = tail
    self.filter = filter
    self.cursor = cursor
    self.mode = mode
    self.untilEnd = untilEnd
    self.sink = sink
  }

  /// Delivers until the sink fails, the task is cancelled, or the end that was asked for. On the tail's loop.
  func run() async throws {
    try await withTaskCancellationHandler {
      while true {
        try Task.checkCancellation()
        guard cursor >= tail.floor else {
          if let stop = try await hasBeenLive && mode == .live ? shed() : readHistory() { try await resolve(stop) }
          continue
        }
        owedControl = 0
        // In one turn of the loop: what the ring holds, and then the place among those who are offered what comes.
        if let stop = tail.drain(self) {
          try await resolve(stop)
          continue
        }
        if untilEnd { return try announceEnd() }
        if !hasBeenLive {
          hasBeenLive = true
          if try !sink.take(.heartbeat(position: cursor, isLive: true)) {
            try await sink.drained()
            continue
          }
        }
        try await resolve(await attached())
      }
    } onCancel: {
      tail.loop.execute { [self] in
        isCancelled = true
        stop(.failed(CancellationError()))
        tail.dropLeaving()
      }
    }
  }

  /// Stands among those who are offered what comes, until something stops it.
  private func attached() async -> Stop {
    await withUnsafeContinuation { continuation in
      // Nothing has come in between, unless this task was moved about: then the ring has it.
      if cursor < tail.tail { return continuation.resume(returning: .behind) }
      if isCancelled { return continuation.resume(returning: .failed(CancellationError())) }
      do {
        try tail.attach(self)
        isAttached = true
        waiting = continuation
      } catch {
        continuation.resume(returning: .failed(error))
      }
    }
  }

  private func resolve(_ stop: Stop) async throws {
    tail.dropLeaving()
    switch stop {
    case .full: try await sink.drained()
    case .behind: break
    case .failed(let error): throw error
    }
  }

  private func announceEnd() throws {
    try tellLosses()
    _ = try sink.take(.heartbeat(position: cursor, isLive: false))
  }

  // MARK: Live, called by the tail

  func offer(_ event: LogEvent) {
    guard isAttached, event.position > cursor else { return }
    if let stop = take(event) { self.stop(stop) }
  }

  /// Delivers an event if it matches and moves the cursor past it; says when that was one too many.
  func take(_ event: LogEvent) -> Stop? {
    guard filter.matches(event.header) else { return nil }
    do {
      try tellLosses()
      isQuiet = false
      let hasRoom = try sink.take(.event(event))
      cursor = event.position
      return hasRoom ? nil : .full
    } catch {
      return .failed(error)
    }
  }

  func stop(_ stop: Stop) {
    guard isAttached, let waiting else { return }
    isAttached = false
    self.waiting = nil
    tail.leave(self)
    waiting.resume(returning: stop)
  }

  func beat(at position: Int64) {
    guard isAttached else { return }
    defer { isQuiet = true }
    guard isQuiet else { return }
    do {
      try tellLosses()
      cursor = position
      if try !sink.take(.heartbeat(position: position, isLive: true)) { stop(.full) }
    } catch {
      stop(.failed(error))
    }
  }

  // MARK: History

  private func readHistory() async throws -> Stop? {
    let page = try await log.history(after: cursor, filter, tail: tail.tail)
    for event in page.events where event.position > cursor {
      // Whoever waits keeps its cursor, not the page.
      if let stop = take(event) { return stop }
    }
    cursor = max(cursor, page.through)
    return nil
  }

  /// A LIVE subscription that the ring has left behind: control is delivered, telemetry is not, data only where it is recent.
  private func shed() async throws -> Stop? {
    let floor = tail.floor
    while cursor < floor {
      let page = try await log.history(after: cursor, filter, tail: tail.tail)
      for event in page.events where event.position > cursor && filter.matches(event.header) {
        let lane = event.header.lane
        if lane == .control {
          owedControl += 1
          if owedControl > EventLogLimits.liveControl {
            try tellLosses()
            throw EventLogError.tooSlow(cursor: cursor)
          }
        }
        if lane == .telemetry || lane == .data && floor - event.position > EventLogLimits.liveWindow {
          let before = lost[lane] ?? (0, event.position, 0)
          lost[lane] = (before.count + 1, before.first, event.position)
          cursor = event.position
        } else if let stop = take(event) {
          return stop
        }
      }
      cursor = max(cursor, page.through)
    }
    return nil
  }

  /// Losses are told before the next event, telemetry first.
  private func tellLosses() throws {
    if lost.isEmpty { return }
    for lane in [EventLane.telemetry, .data] {
      guard let loss = lost.removeValue(forKey: lane) else { continue }
      _ = try sink.take(.discontinuity(lane: lane, count: loss.count, first: loss.first, last: loss.last))
    }
  }
}
