import SpanwireProtobuf
import SpanwireRPC
import Synchronization

/// A message on its way between two tasks.
enum QueuedMessage: Sendable {
  case value(any Message)
  case encoded([UInt8])

  init(_ message: some Message, _ crossing: InProcessChannel.Crossing, _ limits: MessageLimits) throws {
    switch crossing {
    case .values: self = .value(message)
    case .bytes: self = .encoded(message.encoded())
    }
  }

  func message<M: IncomingMessage>(_ type: M.Type, _ crossing: InProcessChannel.Crossing, _ limits: MessageLimits) throws -> M {
    switch self {
    case .value(let message):
      if let message = message as? M { return message }
      return try decode(message.encoded(), limits)
    case .encoded(let bytes):
      return try decode(bytes, limits)
    }
  }
}

/// One direction of a call: a queue with one writer and one reader, that asks its writer to wait when it is long.
final class MessageQueue: Sendable {
  /// Values have no size to measure, so the marks count messages: enough that a reader on another thread never starves, few enough that
  /// even messages of the largest allowed size stay bearable.
  static let highWater = 32
  static let lowWater = 16

  private let state = Mutex(State())

  private struct State {
    var items: [QueuedMessage] = []
    var head = 0
    var pushed = 0
    var taken = 0
    /// Set when nothing more comes: nil inside for a plain end.
    var end: RPCError??
    /// Whether the error of the end reached the writer too, at once.
    var hasFailed = false
    var ignoresWriter = false
    var reader: UnsafeContinuation<Void, Never>?
    var writer: UnsafeContinuation<Void, Never>?

    var count: Int { items.count - head }

    mutating func take() -> QueuedMessage? {
      guard head < items.count else { return nil }
      let item = items[head]
      head += 1
      taken += 1
      if head == items.count {
        items.removeAll(keepingCapacity: true)
        head = 0
      } else if head >= MessageQueue.highWater {
        items.removeFirst(head)
        head = 0
      }
      return item
    }
  }

  var count: Int { state.withLock { $0.count } }
  var pushed: Int { state.withLock { $0.pushed } }
  var taken: Int { state.withLock { $0.taken } }

  /// False when the queue is above its high-water mark.
  func push(_ item: QueuedMessage) throws -> Bool {
    let (reader, error, hasRoom) = state.withLock { state -> (UnsafeContinuation<Void, Never>?, RPCError?, Bool) in
      if state.hasFailed, case .some(.some(let error)) = state.end { return (nil, error, true) }
      if state.ignoresWriter { return (nil, nil, true) }
      state.items.append(item)
      state.pushed += 1
      let reader = state.reader
      state.reader = nil
      return (reader, nil, state.count < Self.highWater)
    }
    if let error { throw error }
    reader?.resume()
    return hasRoom
  }

  /// Nothing more comes; what is queued can still be read, then the error if there is one.
  func close(with error: RPCError?) {
    settle { $0.end = .some(error) }
  }

  /// Both sides learn of the error at once; what is queued is gone.
  func fail(_ error: RPCError) {
    settle { state in
      state.end = .some(error)
      state.hasFailed = true
      state.items = []
      state.head = 0
    }
  }

  /// The reader has gone contentedly: what is written from now on goes nowhere.
  func ignore() {
    settle { state in
      state.ignoresWriter = true
      state.items = []
      state.head = 0
    }
  }

  private func settle(_ change: (inout State) -> Void) {
    let waiting = state.withLock { state in
      if !state.hasFailed { change(&state) }
      defer {
        state.reader = nil
        state.writer = nil
      }
      return (state.reader, state.writer)
    }
    waiting.0?.resume()
    waiting.1?.resume()
  }

  /// The next message if one is there.
  func takeNow() throws -> QueuedMessage? {
    try poll().item
  }

  /// The next message; nil after the last. Throws `CancellationError` when the waiting task is cancelled.
  func next() async throws -> QueuedMessage? {
    while true {
      let (item, ended) = try poll()
      if let item { return item }
      if ended { return nil }
      try Task.checkCancellation()
      await wait(\.reader) { $0.count > 0 || $0.end != nil || $0.ignoresWriter }
    }
  }

  private func poll() throws -> (item: QueuedMessage?, ended: Bool) {
    let (item, end, writer) = state.withLock { state -> (QueuedMessage?, RPCError??, UnsafeContinuation<Void, Never>?) in
      if let item = state.take() {
        guard state.count <= Self.lowWater else { return (item, nil, nil) }
        defer { state.writer = nil }
        return (item, nil, state.writer)
      }
      return (nil, state.ignoresWriter ? .some(nil) : state.end, nil)
    }
    writer?.resume()
    if let item { return (item, false) }
    switch end {
    case .some(.some(let error)): throw error
    case .some(.none): return (nil, true)
    case .none: return (nil, false)
    }
  }

  /// Waits until the queue is short again.
  func drained() async throws {
    while true {
      let (error, isDrained) = state.withLock { state -> (RPCError?, Bool) in
        if state.hasFailed, case .some(.some(let error)) = state.end { return (error, true) }
        return (nil, state.ignoresWriter || state.count <= Self.lowWater)
      }
      if let error { throw error }
      if isDrained { return }
      try Task.checkCancellation()
      await wait(\.writer) { $0.hasFailed || $0.ignoresWriter || $0.count <= Self.lowWater }
    }
  }

  /// Suspends until the slot's side has something to look at, or the task is cancelled: a cancelled task finds its flag set under the lock
  /// before it waits, or its handler finds it waiting.
  private func wait(_ slot: WritableKeyPath<State, UnsafeContinuation<Void, Never>?> & Sendable, until ready: @Sendable (State) -> Bool)
    async
  {
    await withTaskCancellationHandler {
      await withUnsafeContinuation { continuation in
        let now = state.withLock { state in
          if ready(state) || Task.isCancelled { return true }
          precondition(state[keyPath: slot] == nil, "two tasks wait at the same end of one call")
          state[keyPath: slot] = continuation
          return false
        }
        if now { continuation.resume() }
      }
    } onCancel: {
      state.withLock { state in
        defer { state[keyPath: slot] = nil }
        return state[keyPath: slot]
      }?.resume()
    }
  }
}
