import SpanwireEventLoop
import SpanwireProtobuf
import SpanwireRPC
import SpanwireTLS

/// How a channel behaves.
public struct HTTP2ChannelOptions: Sendable {
  public struct Keepalive: Sendable, Hashable {
    /// So long without a byte received, and the server is asked for a sign of life.
    public var interval: Duration
    /// So long for it to answer.
    public var timeout: Duration
    /// Whether it is asked also when no calls are open. Many servers take that for abuse.
    public var withoutCalls: Bool

    public init(interval: Duration, timeout: Duration = .seconds(20), withoutCalls: Bool = false) {
      self.interval = interval
      self.timeout = timeout
      self.withoutCalls = withoutCalls
    }
  }

  public var limits = MessageLimits.default
  /// Size of the metadata of a response, counted as HTTP/2 counts: the bound of other gRPC libraries.
  public var maxMetadataBytes = 32 * 1024
  /// From the beginning of an attempt to the server's settings.
  public var connectTimeout: Duration = .seconds(20)
  public var backoff = ChannelBackoff()
  public var keepalive: Keepalive?
  /// In place of the target's own.
  public var authority: String?
  public var userAgent: String?

  public init() {}
}

/// A channel to a server over HTTP/2, in cleartext or TLS.
///
/// It connects when first used, and again when it must. Calls made on a loop of its group use that loop's own connection, so that a handler
/// that calls on never leaves its thread; all others share one. Calls wait for a connection being made; while the server cannot be reached
/// they fail with UNAVAILABLE, unless they say `waitForReady`.
public final class HTTP2Channel: Channel {
  public let target: ChannelTarget
  private let group: EventLoopGroup
  private let pools: [ClientPool]
  /// The pool of callers that are on no loop of the group.
  private let home: ClientPool
  private let observer: (any CallObserver)?

  /// Throws when the TLS configuration cannot be used; whether the server can be reached shows with the first call.
  public init(
    _ target: ChannelTarget, tls: TLSClientConfiguration? = nil, options: HTTP2ChannelOptions = HTTP2ChannelOptions(),
    observer: (any CallObserver)? = nil, group: EventLoopGroup = .shared
  ) throws {
    self.target = target
    self.group = group
    self.observer = observer
    let context = try tls.map { try TLSContext(client: $0) }
    pools = group.loops.map { ClientPool($0, target, tls: context, options: options, observer: observer) }
    let loop = group.next()
    home = pools.first { $0.loop === loop }!
  }

  deinit {
    for pool in pools { pool.loop.execute { pool.abort() } }
  }

  public func unary<Request: Message, Response: Message>(
    _ request: Request, _ method: MethodDescriptor, _ options: CallOptions, returning: Response.Type
  ) async throws -> UnaryResponse<Response> {
    var retries = 0
    while true {
      let call = try stream(method, options)
      // The request is there before the call begins, so that fields and body leave together.
      do { _ = try call.send(request) } catch {
        call.cancel()
        throw error
      }
      call.finishSending()
      begin(call)
      do {
        // Anything but a refusal unseen is the caller's to judge.
        return try await call.single(Response.self)
      } catch  where call.isUnseen && retries < Self.maxTransparentRetries {
        retries += 1
      }
    }
  }

  /// A call that no server has looked at is made again: it lost a race against a connection's end, or against a server that counts its
  /// streams otherwise. More than a few in a row say that the server is overloaded, and that the caller should know.
  private static let maxTransparentRetries = 3

  public func start(_ method: MethodDescriptor, _ options: CallOptions) async throws -> any ClientCall {
    let call = try stream(method, options)
    begin(call)
    return call
  }

  private func stream(_ method: MethodDescriptor, _ options: CallOptions) throws -> ClientStream {
    let outgoing = OutgoingCall(method, options, startsTrace: observer != nil)
    if let refusal = outgoing.refusal { throw refusal }
    let pool = EventLoop.current.flatMap { loop in pools.first { $0.loop === loop } } ?? home
    return ClientStream(outgoing, pool: pool)
  }

  private func begin(_ call: ClientStream) {
    if call.loop.isCurrent { call.begin() } else { call.loop.execute { call.begin() } }
  }

  /// Takes no more calls, lets those under way end, and closes the connections.
  public func close() async {
    await withTaskGroup(of: Void.self) { group in
      for pool in pools { group.addTask { await pool.close() } }
    }
  }
}
