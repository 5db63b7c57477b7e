/// What one connection may ask of us. nghttp2 1.52 leaves most of this to its user.
public struct HTTP2Limits: Sendable {
  /// Streams that the peer may have open at a time.
  public var maxConcurrentStreams: UInt32 = 1000
  /// Bytes that the peer may send on a stream before they are consumed: enough for one message of the usual size at a time.
  public var streamWindow: Int32 = 1 << 20
  /// The same over all streams: it bounds what a connection can make us hold.
  public var connectionWindow: Int32 = 4 << 20
  /// The size of a header list, name + value + 32 for each field; larger fails its stream. gRPC libraries send at most 8 KiB by default.
  public var maxHeaderListSize = 32 * 1024
  /// A header list so many times too large is an attack on the decoder and ends the connection.
  public var headerBombFactor = 16
  /// Streams that the peer resets, or provokes us to reset (CVE-2023-44487, CVE-2025-8671): so many at once, then so many a second.
  /// Impatient clients cancel in bursts; no honest one keeps it up.
  public var resets = Rate(burst: 1000, perSecond: 100)
  /// Frames that cost us work and move nothing: SETTINGS, empty DATA, PRIORITY.
  public var idleFrames = Rate(burst: 1000, perSecond: 100)
  /// A server's patience with PINGs that come sooner than this after the last while it has sent nothing [K].
  public var minPingInterval: Duration? = .seconds(300)
  /// The same while no stream is open: keeping a connection that serves nothing is the server's affair [K].
  public var minIdlePingInterval: Duration? = .seconds(7200)
  /// Impatient PINGs forgiven.
  public var maxPingStrikes = 2

  /// What a reset that the peer provoked takes of `resets`.
  static let provokedResetWeight = 10
  /// WINDOW_UPDATEs beyond two for each frame sent before they count as idle frames: a client may open the windows of its streams early.
  static let freeWindowUpdates = 2_000
  /// Gaps in the numbers of a client's streams that are watched: honest clients leave none.
  static let rememberedGaps = 8

  /// The limits of a server on the open network.
  public init() {}

  /// So many at once, then so many a second.
  public struct Rate: Sendable {
    /// What may come at once.
    public var burst: Int
    /// What may come in the long run.
    public var perSecond: Int
    /// A rate by its burst and its long run.
    public init(burst: Int, perSecond: Int) {
      self.burst = burst
      self.perSecond = perSecond
    }
  }
}

/// Counts what a peer may do so often in a burst and so often in the long run.
struct TokenBucket {
  private let rate: HTTP2Limits.Rate
  /// With less left the bucket counts as touched.
  private let mark: UInt64
  /// Tokens left, in nanoseconds of refilling.
  private var credit: UInt64
  private var last: UInt64 = 0

  init(_ rate: HTTP2Limits.Rate) {
    self.rate = rate
    credit = UInt64(rate.burst) * Self.cost(rate)
    mark = credit - credit / 8
  }

  /// Whether more than an eighth of the burst was taken and has not come back since.
  @inline(__always)
  func isTouched(at now: UInt64) -> Bool { credit < mark && credit + (now > last ? now - last : 0) < mark }

  /// Takes one; false when none is left.
  mutating func take(at now: UInt64) -> Bool {
    let cost = Self.cost(rate)
    if last > 0, now > last { credit = min(credit + (now - last), UInt64(rate.burst) * cost) }
    last = max(last, now)
    guard credit >= cost else { return false }
    credit -= cost
    return true
  }

  private static func cost(_ rate: HTTP2Limits.Rate) -> UInt64 { 1_000_000_000 / UInt64(max(1, rate.perSecond)) }
}
