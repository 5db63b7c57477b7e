import SpanwireRPC

/// What a transition must cause elsewhere, or later: written in its transaction, performed after it, at least once, in order per stream.
///
/// It is a call of another service, or with a due time alone a timer of the service's own. Its id is the idempotency key of what it
/// causes, so that performing it twice does it once.
public struct Effect: Sendable, Hashable {
  public let id: String
  /// The service that wants it and is told the outcome: `tjm`.
  public let owner: String
  /// Effects of one stream are performed one after the other: the session, the journey.
  public let stream: String
  /// The method's path, `/spanwire.city.v1.Lem/SyncServicePoints`; or a name without a slash, which calls nobody: a timer.
  public let method: String
  /// The encoded request, or what the owner wants to be reminded of.
  public let request: [UInt8]
  /// Not before this moment; 0 for at once.
  public let dueAt: Int64
  public let tenant: String
  /// Whom the owner acts for; nil when nobody asked.
  public let subject: Principal?
  public let trace: TraceContext?
  /// How often it has been tried.
  public internal(set) var attempts: Int = 0
  /// Its place in the order of effects; given when it is stored.
  var number: Int64 = 0

  public init(
    id: String, owner: String, stream: String, method: String, request: [UInt8], dueAt: Int64 = 0, tenant: String,
    subject: Principal? = nil, trace: TraceContext? = nil
  ) {
    self.id = id
    self.owner = owner
    self.stream = stream
    self.method = method
    self.request = request
    self.dueAt = dueAt
    self.tenant = tenant
    self.subject = subject
    self.trace = trace
  }

  /// Whether it calls nobody.
  public var isTimer: Bool { method.utf8.first != UInt8(ascii: "/") }
}

/// How an effect ended.
public enum EffectOutcome: Sendable, Hashable {
  /// The encoded response; empty for a timer.
  case succeeded([UInt8])
  /// The callee's verdict, or that it could not be had in all attempts.
  case failed(RPCError)
  /// It was taken back before it was due.
  case cancelled
}

/// The bounds of effects, each with its reason.
public enum EffectLimits {
  /// Effects in memory; more stay in their rows and are fetched when there is room.
  public static let queued = 4_096
  /// Streams whose effects are under way at a time: each holds a call of another service.
  public static let concurrent = 64
  /// Rows fetched at a time.
  public static let fetch = 256
  /// Attempts before an effect that gets no verdict is left to an operator: with the delays below, about an hour.
  public static let attempts = 128
  /// Effects of a page of the list that operators see.
  public static let listPage = 500
  public static let firstDelay = Duration.milliseconds(50)
  public static let longestDelay = Duration.seconds(30)
  /// How long one attempt may take.
  public static let timeout = Duration.seconds(30)
  /// Kept as long as idempotency keys, so that whoever asks again finds the outcome.
  public static let retention = Duration.seconds(24 * 60 * 60)
}

/// How often, and how soon after each other, an effect is tried that gets no verdict.
public struct EffectRetries: Sendable, Hashable {
  public var attempts: Int
  public var firstDelay: Duration
  public var longestDelay: Duration

  public init(
    attempts: Int = EffectLimits.attempts, firstDelay: Duration = EffectLimits.firstDelay,
    longestDelay: Duration = EffectLimits.longestDelay
  ) {
    self.attempts = attempts
    self.firstDelay = firstDelay
    self.longestDelay = longestDelay
  }
}
