import SpanwireDatabase
import SpanwireEventLoop
import Synchronization

/// The one log of everything that happened: written in the transactions of the changes it tells of, read by cursor, followed live.
public final class EventLog: Sendable {
  public let database: any Database
  /// What was refused entry.
  public let rejections = EventRejections()
  /// Where its events are heard again.
  public let channels = ReplayChannels()
  private let tails: [LoopTail]
  let pages: PageCache
  let lastPage = OpenPage()
  private let turn = Atomic<Int>(0)
  private let heartbeat: Duration
  /// Of the writer's thread: how far events have been handed to the loops; nil before the start.
  private let published = Mutex<Int64?>(nil)

  /// `loops` are those that serve subscribers. Nothing is delivered before `start`.
  public init(
    database: any Database, loops: EventLoopGroup = .shared, ring: Int = EventLogLimits.ring,
    pageCacheBytes: Int = EventLogLimits.pageCacheBytes, heartbeat: Duration = EventLogLimits.heartbeat
  ) {
    self.database = database
    self.heartbeat = heartbeat
    tails = loops.loops.map { LoopTail(loop: $0, bound: ring) }
    pages = PageCache(bound: pageCacheBytes)
  }

  /// Begins to follow the log. After the migrations, before anybody subscribes.
  public func start() async throws {
    database.observe(self)
    // The item comes back through the observer, on the writer's thread, between the commits before it and those after.
    _ = try await database.transaction("log.start") { transaction in
      transaction.publish(LogStart(head: try LogStore.head(transaction)))
    }
    for tail in tails { await tail.onLoop {} }
  }

  /// Ends every subscription with `EventLogError.ended`.
  public func stop() async {
    channels.end()
    for tail in tails { await tail.onLoop { tail.end(EventLogError.ended) } }
  }

  /// Delivers events to a sink: from after `cursor` through history to live, without gap or duplicate, in the order of positions.
  ///
  /// Returns at the end of the log if `untilEnd`; else goes on until the task is cancelled or the sink throws. On a loop of the log the
  /// sink is called there; otherwise on one of them.
  public func deliver(
    _ filter: LogFilter, from cursor: LogCursor, mode: LogMode = .complete, untilEnd: Bool = false, to sink: LogSink
  ) async throws {
    let current = EventLoop.current
    let tail = tails.first { $0.loop === current } ?? tails[turn.wrappingAdd(1, ordering: .relaxed).oldValue % tails.count]
    if tail.loop === current {
      try await run(filter, cursor, mode, untilEnd, sink, tail)
    } else {
      try await withTaskExecutorPreference(tail.loop) { try await run(filter, cursor, mode, untilEnd, sink, tail) }
    }
  }

  private func run(_ filter: LogFilter, _ cursor: LogCursor, _ mode: LogMode, _ untilEnd: Bool, _ sink: LogSink, _ tail: LoopTail)
    async throws
  {
    let from = try await resolve(cursor, tail)
    let subscription = LogSubscription(self, tail, filter: filter, cursor: from, mode: mode, untilEnd: untilEnd, sink: sink)
    try await subscription.run()
  }

  private func resolve(_ cursor: LogCursor, _ tail: LoopTail) async throws -> Int64 {
    switch cursor {
    case .now: return tail.tail
    case .beginning: return 0
    case .after(let position):
      if position > tail.tail { throw EventLogError.cursorInvalid("\(position) lies beyond the log's end") }
      let first = try await database.read { try LogStore.first($0) }
      if position < first - 1 { throw EventLogError.cursorTooOld(first: first) }
      return position
    }
  }

  /// The position of the last event that is committed; 0 when there is none.
  public func head() async throws -> Int64 { try await database.read { try LogStore.head($0) } }

  /// Events after a position that match, at most `limit`, and the position up to which the log was read for them.
  ///
  /// There may be more although fewer than `limit` came, or none: one call reads only so many pages. `atEnd` says when there are not.
  public func list(_ filter: LogFilter, after cursor: LogCursor, limit: Int) async throws -> (
    events: [LogEvent], through: Int64, atEnd: Bool
  ) {
    let head = try await database.read { try LogStore.head($0) }
    var position: Int64
    switch cursor {
    case .now: position = head
    case .beginning: position = 0
    case .after(let after):
      let first = try await database.read { try LogStore.first($0) }
      if after < first - 1 { throw EventLogError.cursorTooOld(first: first) }
      if after > head { throw EventLogError.cursorInvalid("\(after) lies beyond the log's end") }
      position = after
    }
    var events: [LogEvent] = []
    var looked = 0
    while position < head {
      if looked == EventLogLimits.pagesPerList { return (events, position, false) }
      looked += 1
      let page = try await history(after: position, filter, tail: head)
      for event in page.events where event.position > position && filter.matches(event.header) {
        if events.count == limit { return (events, events[limit - 1].position, false) }
        events.append(event)
      }
      position = max(position, page.through)
    }
    return (events, position, true)
  }

  /// A page of events after a position, matching or not, and the last position that it covers.
  func history(after cursor: Int64, _ filter: LogFilter, tail: Int64) async throws -> (events: [LogEvent], through: Int64) {
    if !filter.session.isEmpty, let tenant = filter.tenant {
      return try await database.scan { try LogStore.page($0, session: filter.session, tenant: tenant, after: cursor) }
    }
    let size = EventLogLimits.page
    var number = cursor / size
    let full = tail / size
    if let wanted = PageSummary.Wanted(filter), number < full {
      let from = number
      let step = try await database.scan { try LogStore.firstPage($0, from: from, before: full, wanted) }
      guard let found = step.found ?? (step.through == full ? full : nil) else { return ([], step.through * size) }
      number = found
    }
    let end = (number + 1) * size
    guard end <= tail else {
      let after = max(cursor, number * size)
      let events = try await database.scan { try LogStore.page($0, after: after, through: tail) }
      return (events, tail)
    }
    let (database, page) = (database, number)
    let events = try await pages.page(page) { try await database.scan { try LogStore.page($0, after: page * size, through: end) } }
    return (events, end)
  }

  /// Bytes of history kept for sharing.
  public var cachedBytes: Int { pages.bytes }
}

/// Where a reader begins.
public enum LogCursor: Sendable, Hashable {
  case beginning
  /// After this position.
  case after(Int64)
  /// After everything that this process has seen committed.
  case now

  /// A cursor as the wire carries it; empty is the beginning.
  public init(text: String) throws(EventLogError) {
    if text.isEmpty {
      self = .beginning
      return
    }
    guard let position = Int64(text), position >= 0, String(position) == text else { throw .cursorInvalid("no cursor of this log") }
    self = .after(position)
  }

  /// How a position is written.
  public static func text(_ position: Int64) -> String { String(position) }
}

/// Marks in the order of commits where following the log begins.
private final class LogStart: CommitItem {
  let head: Int64

  init(head: Int64) { self.head = head }
}

extension EventLog: CommitObserver {
  public func committed(_ items: [any CommitItem]) {
    var events: [LogEvent] = []
    events.reserveCapacity(items.count)
    for item in items {
      if let event = item as? LogEvent {
        events.append(event)
      } else if let start = item as? LogStart {
        published.withLock { $0 = start.head }
        let interval = heartbeat
        for tail in tails { tail.loop.execute { tail.begin(at: start.head, heartbeatEvery: interval) } }
        events.removeAll()
      }
    }
    hand(events)
  }

  public func recovered(_ snapshot: borrowing Snapshot) {
    guard var position = published.withLock({ $0 }) else { return }
    // A head that cannot be read ends the process rather than the truth: the next transaction would fail as well.
    guard let head = try? LogStore.head(snapshot) else { return }
    while position < head {
      let through = min(head, position + EventLogLimits.page)
      guard let events = try? LogStore.page(snapshot, after: position, through: through) else { return }
      hand(events)
      position = through
    }
  }

  private func hand(_ events: [LogEvent]) {
    guard let last = events.last else { return }
    let previous = published.withLock { published -> Int64? in
      defer { if published != nil { published = last.position } }
      return published
    }
    guard let previous else { return }
    let batch = LogBatch(previous: previous, events: events)
    for tail in tails { tail.loop.execute { tail.receive(batch) } }
  }
}

extension LoopTail {
  /// Runs a closure on the loop and waits for it.
  func onLoop(_ body: @escaping @Sendable () -> Void) async {
    await withUnsafeContinuation { continuation in
      loop.execute {
        body()
        continuation.resume()
      }
    }
  }
}
