import Synchronization

/// Stops retries and hedges while too many calls fail: tokens that failures take and successes give back in parts (gRFC A6).
final class RetryThrottle: Sendable {
  private let maxTokens: Double
  private let tokenRatio: Double
  private let tokens: Mutex<Double>

  init(maxTokens: Double, tokenRatio: Double) {
    self.maxTokens = maxTokens
    self.tokenRatio = tokenRatio
    tokens = Mutex(maxTokens)
  }

  /// Whether more than half of the tokens are there.
  var allows: Bool { tokens.withLock { $0 > maxTokens / 2 } }

  func failed() { tokens.withLock { $0 = max(0, $0 - 1) } }
  func succeeded() { tokens.withLock { $0 = min(maxTokens, $0 + tokenRatio) } }
}

/// Counts the bytes that a channel keeps so that calls can be made again.
final class ReplayBytes: Sendable {
  private let bytes = Atomic<Int>(0)

  /// False when the channel keeps as much as it may.
  func add(_ count: Int) -> Bool {
    bytes.wrappingAdd(count, ordering: .relaxed).newValue <= ClientLimits.channelReplayBytes
  }

  func remove(_ count: Int) { bytes.wrappingSubtract(count, ordering: .relaxed) }

  var count: Int { bytes.load(ordering: .relaxed) }
}
