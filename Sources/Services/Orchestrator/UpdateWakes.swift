import Synchronization

/// Wakes those who follow a task when something new was told of it. It carries no content: that is read from the rows, so a wake that is
/// lost in the crowd costs nothing, and one too many costs one read.
final class UpdateWakes: Sendable {
  private struct State {
    var next = 0
    var followers: [AgentTaskKey: [Int: AsyncStream<Void>.Continuation]] = [:]
  }

  private let state = Mutex(State())

  /// Follows a task until the returned value is let go of or ended.
  func follow(_ key: AgentTaskKey) -> Follower {
    let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let id = state.withLock { state in
      state.next += 1
      state.followers[key, default: [:]][state.next] = continuation
      return state.next
    }
    return Follower(stream: stream, continuation: continuation) { [weak self] in self?.remove(id, key) }
  }

  func wake(_ key: AgentTaskKey) {
    let followers = state.withLock { $0.followers[key] ?? [:] }
    for follower in followers.values { follower.yield() }
  }

  /// Ends every follower's waiting: the process stops.
  func close() {
    let all = state.withLock { state in
      defer { state.followers = [:] }
      return state.followers.values.flatMap(\.values)
    }
    for follower in all { follower.finish() }
  }

  var followerCount: Int { state.withLock { $0.followers.values.reduce(0) { $0 + $1.count } } }

  private func remove(_ id: Int, _ key: AgentTaskKey) {
    state.withLock { state in
      state.followers[key]?[id] = nil
      if state.followers[key]?.isEmpty == true { state.followers[key] = nil }
    }
  }

  /// One who follows.
  final class Follower: Sendable {
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
    func next() async -> Bool {
      for await _ in stream { return true }
      return false
    }

    func end() { continuation.finish() }
  }
}
