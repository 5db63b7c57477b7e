/// When work that failed is tried again. Pure: chance comes in as a value.
public struct RetryPolicy: Sendable {
  /// Attempts after the first.
  public var maxRetries: UInt64
  /// After the first attempt.
  public var firstPause: Duration
  /// Beyond which pauses grow no more.
  public var longestPause: Duration

  /// Three retries unless told: what fails four times with pauses between does not fail by chance.
  public init(maxRetries: UInt64 = 3, firstPause: Duration = .milliseconds(100), longestPause: Duration = .seconds(5)) {
    self.maxRetries = maxRetries
    self.firstPause = firstPause
    self.longestPause = longestPause
  }

  /// How long to wait after an attempt that failed, the first being 1; nil when that was the last.
  ///
  /// Pauses double, and each is cut by up to a half, so that what failed together does not come back together.
  ///
  /// - Parameter chance: from 0 up to 1.
  public func pause(after attempt: UInt64, chance: Double) -> Duration? {
    guard attempt <= maxRetries else { return nil }
    let doubled = firstPause * (1 << Int(min(max(attempt, 1) - 1, 20)))
    return min(doubled, longestPause) * (1 - chance / 2)
  }
}
