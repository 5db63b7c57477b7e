/// Counts what a peer makes us do without using us, and says when it is too much. Time comes in with the bytes.
struct AbuseGuard {
  /// The moment of the bytes at hand.
  var now: UInt64 = 0

  private let minPingInterval: UInt64?
  private let minIdlePingInterval: UInt64?
  private let maxPingStrikes: Int
  private var resets: TokenBucket
  private var idleFrames: TokenBucket
  private var lastPing: UInt64?
  private var pingStrikes = 0
  /// Frames of headers and data that went out, and how many had at the last ping.
  private var sentFrames = 0
  private var sentAtPing = 0
  private var windowUpdates = 0

  init(_ limits: HTTP2Limits) {
    resets = TokenBucket(limits.resets)
    idleFrames = TokenBucket(limits.idleFrames)
    maxPingStrikes = limits.maxPingStrikes
    minPingInterval = limits.minPingInterval.map(Self.nanoseconds)
    minIdlePingInterval = limits.minIdlePingInterval.map(Self.nanoseconds)
  }

  private static func nanoseconds(_ span: Duration) -> UInt64 {
    let (seconds, attoseconds) = span.components
    let (product, overflow) = UInt64(max(0, seconds)).multipliedReportingOverflow(by: 1_000_000_000)
    return overflow ? .max : product.addingReportingOverflow(UInt64(max(0, attoseconds) / 1_000_000_000)).partialValue
  }

  /// Whether some of what the peer may do at once is used up: an eighth, which few honest ones ever use.
  @inline(__always)
  var isStrained: Bool { resets.isTouched(at: now) || idleFrames.isTouched(at: now) }

  /// The peer reset a stream.
  mutating func allowsReset() -> Bool { resets.take(at: now) }

  /// We reset a stream. Those that the peer did not provoke are not counted; those that it did weigh more than its own, since no honest one
  /// breaks the rules by the hundred.
  mutating func allowsOwnReset(_ code: HTTP2ErrorCode) -> Bool {
    switch code {
    case .noError, .cancel, .refusedStream, .internalError: true
    default: (0..<HTTP2Limits.provokedResetWeight).allSatisfy { _ in resets.take(at: now) }
    }
  }

  mutating func allowsIdleFrame() -> Bool { idleFrames.take(at: now) }

  /// The peer pings. Each ping costs it a strike that comes too soon after the one before, with nothing sent to it in between.
  mutating func allowsPing(isIdle: Bool) -> Bool {
    if sentFrames != sentAtPing {
      // Pings that measure or keep a connection on which something was sent are welcome.
      sentAtPing = sentFrames
      pingStrikes = 0
      lastPing = nil
    }
    defer { lastPing = now }
    let interval = isIdle ? minIdlePingInterval : minPingInterval
    guard let interval, let lastPing, now < lastPing || now - lastPing < interval else { return idleFrames.take(at: now) }
    pingStrikes += 1
    return pingStrikes <= maxPingStrikes && idleFrames.take(at: now)
  }

  /// The peer makes room for more. Who reads does so for the stream and the connection as data comes; who does it for nothing is counted.
  mutating func allowsWindowUpdate() -> Bool {
    windowUpdates &+= 1
    return windowUpdates &- 2 &* sentFrames <= HTTP2Limits.freeWindowUpdates || idleFrames.take(at: now)
  }

  /// We sent headers or data.
  @inline(__always)
  mutating func sentSomething() { sentFrames &+= 1 }
}
