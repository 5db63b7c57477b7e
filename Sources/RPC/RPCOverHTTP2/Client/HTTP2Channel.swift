import SpanwireEventLoop
import SpanwireProtobuf
import SpanwireRPC
import SpanwireTLS

/// How a channel behaves.
public struct HTTP2ChannelOptions: Sendable {
  /// When a silent server is asked for a sign of life.
  public struct Keepalive: Sendable, Hashable {
    /// So long without a byte received, and the server is asked for a sign of life.
    public var interval: Duration
    /// So long for it to answer.
    public var timeout: Duration
    /// Whether it is asked also when no calls are open. Many servers take that for abuse.
    public var withoutCalls: Bool

    /// Keepalive while calls are open, unless said otherwise.
    public init(interval: Duration, timeout: Duration = .seconds(20), withoutCalls: Bool = false) {
      self.interval = interval
      self.timeout = timeout
      self.withoutCalls = withoutCalls
    }
  }

  /// How large messages may be.
  public var limits = MessageLimits.default
  /// Size of the metadata of a response, counted as HTTP/2 counts: the bound of other gRPC libraries.
  public var maxMetadataBytes = 32 * 1024
  /// From the beginning of an attempt to the server's settings.
  public var connectTimeout: Duration = .seconds(20)
  /// The pauses between attempts to connect.
  public var backoff = ChannelBackoff()
  /// When a silent server is asked for a sign of life; nil for never.
  public var keepalive: Keepalive?
  /// In place of the target's own.
  public var authority: String?
  /// Stands before our own, with a space between.
  public var userAgent: String?
  /// How calls are spread over the addresses of the target; the service config may say otherwise.
  public var balancing = LoadBalancing.pickFirst
  /// Whether pick-first takes the addresses in an order of its own.
  public var shufflesAddresses = false
  /// Asks servers for the health of this service, and gives calls only to those that serve it; `""` stands for the whole server, nil asks
  /// nobody. Not with pick-first, which has no choice.
  public var healthService: String?
  /// Retries, hedging and defaults by method.
  public var serviceConfig: ServiceConfig?
  /// Finds the addresses in place of the target's own form.
  public var resolver: Resolver?
  /// So long without calls, and connections are closed until the next one; nil keeps them.
  public var idleTimeout: Duration? = .seconds(30 * 60)
  /// After about so long a connection takes no more calls and another is made: servers that joined meanwhile get their share. nil keeps it.
  public var maxConnectionAge: Duration?
  /// Between two questions to the resolver.
  var resolutionInterval = ClientLimits.resolutionInterval
  /// In 0..<1; for backoff, balancing and jitter.
  var random: @Sendable () -> Double = { .random(in: 0..<1) }

  /// The options that suit most.
  public init() {}
}

/// A channel to a service over HTTP/2, in cleartext or TLS.
///
/// It connects when first used, and again when it must. Calls made on a loop of its group use that loop's own connections, so that a handler
/// that calls on never leaves its thread; all others share those of one loop. Calls wait for a connection being made; while no server can be
/// reached they fail with UNAVAILABLE, unless they say `waitForReady`. What no server has looked at is made again, and so is what the service
/// config lets be made again; every attempt is a call of its own to observers.
public final class HTTP2Channel: Channel {
  /// Where calls go.
  public let target: ChannelTarget
  private let group: EventLoopGroup
  private let pools: [ClientPool]
  /// The pool of callers that are on no loop of the group.
  private let home: ClientPool
  private let observer: (any CallObserver)?
  private let config: ServiceConfig?
  private let throttle: RetryThrottle?
  private let state: ChannelConnectivity
  /// The number by which tools ask for the channel.
  public let inspectionID = InspectionID.next()
  var inspectedPools: [ClientPool] { pools }

  /// Throws when the TLS configuration cannot be used; whether the server can be reached shows with the first call.
  public init(
    _ target: ChannelTarget, tls: TLSClientConfiguration? = nil, options: HTTP2ChannelOptions = HTTP2ChannelOptions(),
    observer: (any CallObserver)? = nil, group: EventLoopGroup = .shared
  ) throws {
    self.target = target
    self.group = group
    self.observer = observer
    var options = options
    config = options.serviceConfig
    if let config {
      if let balancing = config.balancing { options.balancing = balancing }
      if config.shufflesAddresses { options.shufflesAddresses = true }
      if let service = config.healthService { options.healthService = service }
    }
    throttle = config?.throttling.map { RetryThrottle(maxTokens: $0.maxTokens, tokenRatio: $0.tokenRatio) }
    let context = try tls.map { try TLSContext(client: $0) }
    let state = ChannelConnectivity(loops: group.loops.count), replayBytes = ReplayBytes(), settled = options
    self.state = state
    pools = group.loops.enumerated().map { number, loop in
      ClientPool(
        loop, number: number, target, tls: context, options: settled, observer: observer, connectivity: state, replayBytes: replayBytes)
    }
    let loop = group.next()
    home = pools.first { $0.loop === loop }!
  }

  deinit {
    for pool in pools { pool.loop.execute { pool.abort() } }
  }

  // MARK: Calls

  /// Makes a call with one request and one response. Throws `RPCError`.
  public func unary<Request: Message, Response: Message>(
    _ request: Request, _ method: MethodDescriptor, _ options: CallOptions, returning: Response.Type
  ) async throws -> UnaryResponse<Response> {
    let settings = config?.method(method)
    var outgoing = try outgoing(method, options, settings)
    let pool = pool
    if let repetition = settings?.repetition {
      let call = RetriableCall(outgoing, pool: pool, policy: .init(repetition), throttle: throttle)
      call.begin()
      return try await call.exchange(request, returning: Response.self)
    }
    var hasBeenUnseen = false
    while true {
      let call = ClientStream(outgoing, pool: pool)
      // The request is there before the call begins, so that fields and body leave together.
      do { _ = try call.send(request) } catch {
        call.cancel()
        throw error
      }
      call.finishSending()
      if pool.loop.isCurrent { call.begin() } else { pool.loop.execute { call.begin() } }
      do {
        return try await call.response(Response.self)
      } catch {
        // What no server has looked at is made again; anything else is the caller's to judge.
        switch call.exposure {
        case .unsent: break
        case .unseen where !hasBeenUnseen: hasBeenUnseen = true
        case .unseen, .seen: throw error
        }
        outgoing = outgoing.again()
      }
    }
  }

  /// Begins a call of any kind.
  public func start(_ method: MethodDescriptor, _ options: CallOptions) async throws -> any ClientCall {
    let settings = config?.method(method)
    let policy = settings?.repetition.map { AttemptPlan.Policy($0) } ?? .once
    let call = RetriableCall(try outgoing(method, options, settings), pool: pool, policy: policy, throttle: throttle)
    call.begin()
    return call
  }

  private func outgoing(_ method: MethodDescriptor, _ options: CallOptions, _ settings: ServiceConfig.Method?) throws -> OutgoingCall {
    let outgoing = OutgoingCall(method, settings?.applied(to: options) ?? options, startsTrace: observer != nil)
    if let refusal = outgoing.refusal { throw refusal }
    return outgoing
  }

  private var pool: ClientPool { EventLoop.current.flatMap { loop in pools.first { $0.loop === loop } } ?? home }

  // MARK: Connectivity

  /// How the channel stands with its servers; the best of its loops.
  public var connectivity: ConnectivityState { state.state }

  /// The present state and every change of it, until the channel is closed.
  public func connectivityChanges() -> AsyncStream<ConnectivityState> { state.changes() }

  /// Leaves IDLE without a call, so that the first one finds a connection.
  public func connect() {
    let pool = pool
    pool.loop.execute { pool.connect() }
  }

  /// What the channel holds, loop by loop.
  func census() async -> [ClientPool.Census] {
    var found: [ClientPool.Census] = []
    for pool in pools { found.append(await Task(executorPreference: pool.loop) { pool.census() }.value) }
    return found
  }

  /// Takes no more calls, lets those under way end, and closes the connections.
  public func close() async {
    await withTaskGroup(of: Void.self) { group in
      for pool in pools { group.addTask { await pool.close() } }
    }
  }
}

extension AttemptPlan.Policy {
  init(_ repetition: ServiceConfig.Method.Repetition) {
    switch repetition {
    case .retry(let policy): self = .retry(policy)
    case .hedge(let policy): self = .hedge(policy)
    }
  }
}
