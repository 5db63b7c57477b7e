import SpanwireRPC

/// How a service wants to be called: retries, hedging, deadlines, sizes, balancing; gRPC's service config.
///
/// Its usual form is JSON (`init(json:)`).
public struct ServiceConfig: Sendable, Hashable {
  /// What holds for some methods. `nil` leaves a matter to the caller and the channel.
  public struct Method: Sendable, Hashable {
    /// How a call is made more than once.
    public enum Repetition: Sendable, Hashable {
      case retry(RetryPolicy)
      case hedge(HedgingPolicy)
    }

    /// For callers who do not say themselves.
    public var waitForReady: Bool?
    /// At most; a caller's own earlier deadline counts.
    public var timeout: Duration?
    /// At most; a caller's own smaller limit counts.
    public var maxRequestBytes: Int?
    /// The largest response; nil leaves it to the channel.
    public var maxResponseBytes: Int?
    /// How the method's calls are made more than once; nil for not at all.
    public var repetition: Repetition?

    /// What is said of some methods; what is not said is left to the channel.
    public init(
      waitForReady: Bool? = nil, timeout: Duration? = nil, maxRequestBytes: Int? = nil, maxResponseBytes: Int? = nil,
      repetition: Repetition? = nil
    ) {
      self.waitForReady = waitForReady
      self.timeout = timeout
      self.maxRequestBytes = maxRequestBytes
      self.maxResponseBytes = maxResponseBytes
      self.repetition = repetition
    }
  }

  /// Stops retries while too many calls fail.
  public struct Throttling: Sendable, Hashable {
    /// Tokens at the start, and at most. Each failure takes one.
    public var maxTokens: Double
    /// Tokens that each success gives back.
    public var tokenRatio: Double

    /// A bucket; retries stop while half of the tokens or fewer are left.
    public init(maxTokens: Double, tokenRatio: Double) {
      self.maxTokens = maxTokens
      self.tokenRatio = tokenRatio
    }
  }

  /// By path: `/service/method`, `/service/` for the service's other methods, the empty text for all others.
  public var methods: [String: Method] = [:]
  /// When retries stop for a while; nil for never.
  public var throttling: Throttling?
  /// nil leaves it to the channel's options.
  public var balancing: LoadBalancing?
  /// Whether pick-first takes the addresses in an order of its own.
  public var shufflesAddresses = false
  /// The service whose health decides which servers take calls; `""` stands for the whole server. nil asks nobody.
  public var healthService: String?

  /// Says nothing.
  public init() {}

  /// The entry that fits a method best.
  public func method(_ method: MethodDescriptor) -> Method? {
    methods[method.path] ?? methods["/\(method.service)/"] ?? methods[""]
  }
}

extension ServiceConfig.Method {
  /// The caller's options within what the service wants.
  func applied(to options: CallOptions) -> CallOptions {
    var options = options
    options.waitForReady = options.waitForReady ?? waitForReady
    options.timeout = Self.least(options.timeout, timeout)
    options.maxRequestBytes = Self.least(options.maxRequestBytes, maxRequestBytes)
    options.maxResponseBytes = Self.least(options.maxResponseBytes, maxResponseBytes)
    return options
  }

  private static func least<Value: Comparable>(_ one: Value?, _ other: Value?) -> Value? {
    guard let one, let other else { return one ?? other }
    return min(one, other)
  }
}
