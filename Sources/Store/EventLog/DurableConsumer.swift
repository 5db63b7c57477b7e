import SpanwireDatabase
import SpanwireRPC
import SpanwireServiceKit
import Synchronization

/// A reader of the log that keeps its place in the store: it goes on after a restart where it was, and what it makes of an event commits
/// with its place, so that every event counts once.
public final class DurableConsumer: Sendable {
  /// What to make of an event: it may read and call first, and returns what to write, or nil for nothing.
  public typealias Handler = @Sendable (LogEvent) async throws -> (@Sendable (borrowing Transaction) throws -> Void)?

  public let name: String
  private let log: EventLog
  private let filter: LogFilter
  private let handler: Handler
  private let task = Mutex<Task<Void, Never>?>(nil)
  private let failures = Atomic<Int>(0)

  /// `name` is for ever: the place is kept under it. A new consumer begins with the first event.
  public init(_ name: String, _ log: EventLog, _ filter: LogFilter, handler: @escaping Handler) {
    self.name = name
    self.log = log
    self.filter = filter
    self.handler = handler
  }

  /// Begins, or goes on, in the background.
  public func start() {
    task.withLock { task in
      if task == nil { task = Task { await self.run() } }
    }
  }

  /// Ends after the event under way.
  public func stop() async {
    let task = task.withLock { task in
      defer { task = nil }
      return task
    }
    task?.cancel()
    await task?.value
  }

  /// How often an event had to be tried again.
  public var failureCount: Int { failures.load(ordering: .relaxed) }

  private func run() async {
    var delay = EffectLimits.firstDelay
    while !Task.isCancelled {
      do {
        try await follow { delay = EffectLimits.firstDelay }
        return
      } catch is CancellationError {
        return
      } catch EventLogError.ended {
        return
      } catch DatabaseError.closed {
        return
      } catch {
        // The event stays the next one: order matters more than progress.
        failures.wrappingAdd(1, ordering: .relaxed)
        try? await Task.sleep(for: delay)
        delay = min(delay * 2, EffectLimits.longestDelay)
      }
    }
  }

  /// Takes events one at a time from the log; the sink is full while one is worked on.
  private func follow(_ progressed: () -> Void) async throws {
    let name = name
    let stored = try await log.database.scan { try EventConsumers.place($0, name) }
    let inbox = Inbox()
    let reading = Task { [log, filter] in
      do {
        try await log.deliver(filter, from: stored.map { .after($0) } ?? .beginning, to: inbox.sink)
        inbox.end(CancellationError())
      } catch {
        inbox.end(error)
      }
    }
    defer { reading.cancel() }
    var place = stored ?? 0
    while let delivery = try await inbox.next() {
      let position: Int64
      let write: (@Sendable (borrowing Transaction) throws -> Void)?
      switch delivery {
      case .event(let event): (position, write) = (event.position, try await handler(event))
      // What did not concern it need not be read again, and need not be kept for it.
      case .heartbeat(let reached, _) where reached >= place + EventLogLimits.consumerLag: (position, write) = (reached, nil)
      case .heartbeat, .discontinuity: continue
      }
      _ = try await log.database.transaction("consumer") { transaction in
        if try EventConsumers.advance(transaction, name, to: position) { try write?(transaction) }
      }
      place = position
      progressed()
    }
  }
}

/// Holds a few events between the log's loop and the consumer's task.
private final class Inbox: Sendable {
  /// What waits: enough that the loop does not wait for every transaction.
  private static let bound = 64

  private struct State {
    var deliveries: [LogDelivery] = []
    var head = 0
    var failure: (any Error)?
    var reader: UnsafeContinuation<LogDelivery?, any Error>?
    var writer: UnsafeContinuation<Void, Never>?

    var count: Int { deliveries.count - head }
  }

  private let state = Mutex(State())

  var sink: LogSink {
    LogSink(
      take: { delivery in
        let (reader, hasRoom) = self.state.withLock { state -> (UnsafeContinuation<LogDelivery?, any Error>?, Bool) in
          if let reader = state.reader {
            state.reader = nil
            return (reader, true)
          }
          state.deliveries.append(delivery)
          return (nil, state.count < Self.bound)
        }
        reader?.resume(returning: delivery)
        return hasRoom
      },
      drained: {
        await withUnsafeContinuation { continuation in
          let hasRoom = self.state.withLock { state in
            if state.count < Self.bound || state.failure != nil { return true }
            state.writer = continuation
            return false
          }
          if hasRoom { continuation.resume() }
        }
      })
  }

  func end(_ error: any Error) {
    let (reader, writer) = state.withLock { state in
      state.failure = error
      defer { (state.reader, state.writer) = (nil, nil) }
      return (state.reader, state.writer)
    }
    reader?.resume(throwing: error)
    writer?.resume()
  }

  func next() async throws -> LogDelivery? {
    try await withTaskCancellationHandler {
      try await withUnsafeThrowingContinuation { continuation in
        let (result, writer) = state.withLock { state -> (Result<LogDelivery?, any Error>?, UnsafeContinuation<Void, Never>?) in
          if let failure = state.failure { return (.failure(failure), nil) }
          guard state.count > 0 else {
            state.reader = continuation
            return (nil, nil)
          }
          let delivery = state.deliveries[state.head]
          state.head += 1
          if state.head == state.deliveries.count {
            state.deliveries.removeAll(keepingCapacity: true)
            state.head = 0
          }
          defer { state.writer = nil }
          return (.success(delivery), state.writer)
        }
        writer?.resume()
        if let result { continuation.resume(with: result) }
      }
    } onCancel: {
      end(CancellationError())
    }
  }
}
