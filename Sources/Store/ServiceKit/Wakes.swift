import Synchronization

/// Wakes those who follow something when news of it were stored. It carries no content: that is read from the rows, so a wake that is
/// lost in the crowd costs nothing, and one too many costs one read.
public final class Wakes<Key: Hashable & Sendable>: Sendable {
  private struct State {
    var next = 0
    var followers: [Key: [Int: AsyncStream<Void>.Continuation]] = [:]
  }

  private let state = Mutex(State())

  /// Nobody follows yet.
  public init() {}

  /// Follows it until the returned value is let go of or ended.
  public func follow(_ key: Key) -> Follower {
    let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let id = state.withLock { state in
      state.next += 1
      state.followers[key, default: [:]][state.next] = continuation
      return state.next
    }
    return Follower(stream: stream, continuation: continuation) { [weak self] in self?.remove(id, key) }
  }

  /// There are news.
  public func wake(_ key: Key) {
    let followers = state.withLock { $0.followers[key] ?? [:] }
    for follower in followers.values { follower.yield() }
  }

  /// Ends every follower's waiting: the process stops.
  public func close() {
    let all = state.withLock { state in
      defer { state.followers = [:] }
      return state.followers.values.flatMap(\.values)
    }
    for follower in all { follower.finish() }
  }

  /// How many follow.
  public var followerCount: Int { state.withLock { $0.followers.values.reduce(0) { $0 + $1.count } } }

  private func remove(_ id: Int, _ key: Key) {
    state.withLock { state in
      state.followers[key]?[id] = nil
      if state.followers[key]?.isEmpty == true { state.followers[key] = nil }
    }
  }

  /// One who follows.
  public final class Follower: Sendable {
    private let stream: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation
    private let removed: @Sendable () -> Void

    fileprivate init(stream: AsyncStream<Void>, continuation: AsyncStream<Void>.Continuation, removed: @escaping @Sendable () -> Void) {
      self.stream = stream
      self.continuation = continuation
      self.removed = removed
    }

    deinit { removed() }

    /// Returns after a wake, at once if there was one since the last; false when there will be none any more.
    public func next() async -> Bool {
      for await _ in stream { return true }
      return false
    }

    /// Ends the waiting.
    public func end() { continuation.finish() }
  }
}
