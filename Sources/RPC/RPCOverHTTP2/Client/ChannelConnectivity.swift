import SpanwireRPC
import Synchronization

/// The states of a channel's loops as one state, and those who want to know when it changes.
final class ChannelConnectivity: Sendable {
  private let board: Mutex<Board>

  private struct Board {
    var states: [ConnectivityState]
    var watchers: [Int: AsyncStream<ConnectivityState>.Continuation] = [:]
    var nextWatcher = 0

    /// The best of the loops that are used at all.
    var whole: ConnectivityState {
      for state in [ConnectivityState.ready, .connecting, .transientFailure, .idle] where states.contains(state) { return state }
      return .shutdown
    }
  }

  init(loops: Int) { board = Mutex(Board(states: Array(repeating: .idle, count: loops))) }

  var state: ConnectivityState { board.withLock { $0.whole } }

  func set(_ loop: Int, _ state: ConnectivityState) {
    let finished = board.withLock { board -> [AsyncStream<ConnectivityState>.Continuation] in
      let before = board.whole
      board.states[loop] = state
      let after = board.whole
      if after == before { return [] }
      for watcher in board.watchers.values { watcher.yield(after) }
      guard after == .shutdown else { return [] }
      defer { board.watchers = [:] }
      return Array(board.watchers.values)
    }
    // The end of a stream comes back here.
    for watcher in finished { watcher.finish() }
  }

  /// The present state and every one after it, as long as somebody reads. A reader that lags sees the latest ones only.
  func changes() -> AsyncStream<ConnectivityState> {
    let (stream, watcher) = AsyncStream<ConnectivityState>.makeStream(bufferingPolicy: .bufferingNewest(ClientLimits.unreadStates))
    let id = board.withLock { board -> Int in
      watcher.yield(board.whole)
      board.nextWatcher += 1
      if board.whole == .shutdown { watcher.finish() } else { board.watchers[board.nextWatcher] = watcher }
      return board.nextWatcher
    }
    watcher.onTermination = { [weak self] _ in self?.board.withLock { _ = $0.watchers.removeValue(forKey: id) } }
    return stream
  }
}
