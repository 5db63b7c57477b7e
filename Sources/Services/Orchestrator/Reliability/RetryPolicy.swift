/// When a task that failed is tried again. Pure: chance comes in as a value.
struct RetryPolicy: Sendable {
  /// Attempts after the first.
  var maxRetries: UInt64 = OrchestratorLimits.retries
  var firstPause = Duration.milliseconds(100)
  var longestPause = Duration.seconds(5)

  /// How long to wait after an attempt that failed, the first being 1; nil when that was the last.
  ///
  /// Pauses double, and each is cut by up to a half, so that tasks that failed together do not come back together.
  ///
  /// - Parameter chance: from 0 up to 1.
  func pause(after attempt: UInt64, chance: Double) -> Duration? {
    guard attempt <= maxRetries else { return nil }
    let doubled = firstPause * (1 << Int(min(max(attempt, 1) - 1, 20)))
    return min(doubled, longestPause) * (1 - chance / 2)
  }
}
