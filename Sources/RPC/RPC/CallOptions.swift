/// What a caller may say of one call. The ambient context tightens it: the earlier deadline counts.
public struct CallOptions: Sendable {
  /// From the start of the call; nil leaves it to the deadline and the ambient context.
  public var timeout: Duration?
  /// When the call must have ended; `.never` leaves it to the timeout and the ambient context.
  public var deadline: Deadline
  /// What the server gets beside the request.
  public var metadata: Metadata
  /// Whether the call waits for a connection instead of failing with UNAVAILABLE while there is none. nil leaves it to the channel's service
  /// config, and without one does not wait.
  public var waitForReady: Bool?
  /// How requests are compressed; nil for not at all.
  public var compression: Compression?
  /// nil leaves it to the channel.
  public var maxResponseBytes: Int?
  /// nil leaves it to the channel.
  public var maxRequestBytes: Int?

  /// Options of a call; what is not said is left to the channel and the ambient context.
  public init(
    timeout: Duration? = nil, deadline: Deadline = .never, metadata: Metadata = Metadata(), waitForReady: Bool? = nil,
    compression: Compression? = nil, maxResponseBytes: Int? = nil, maxRequestBytes: Int? = nil
  ) {
    self.timeout = timeout
    self.deadline = deadline
    self.metadata = metadata
    self.waitForReady = waitForReady
    self.compression = compression
    self.maxResponseBytes = maxResponseBytes
    self.maxRequestBytes = maxRequestBytes
  }

  /// Only a timeout.
  public static func timeout(_ timeout: Duration) -> CallOptions { CallOptions(timeout: timeout) }
  /// Only metadata.
  public static func metadata(_ metadata: Metadata) -> CallOptions { CallOptions(metadata: metadata) }
}

/// Message encodings of gRPC.
public enum Compression: String, Sendable, Hashable, CaseIterable {
  case gzip, deflate
}

/// A call about to leave: the caller's options joined with the ambient context. Every channel makes its calls from one.
public struct OutgoingCall: Sendable {
  /// The method called.
  public let method: MethodDescriptor
  /// What the caller said.
  public let options: CallOptions
  /// The earliest of timeout, deadline and the ambient deadline.
  public let deadline: Deadline
  /// The call's own span, below the ambient one.
  public let trace: TraceContext?
  /// Who makes the call, as far as this process knows.
  public let principal: Principal
  /// The context in which the call was made.
  public let parent: CallContext?
  /// Whether one message goes each way, so that the caller's task waits for the whole of it.
  public var isUnary: Bool { method.kind == .unary }

  /// Reads `CallContext.current`. A trace begins here only if `startsTrace`, that is, if somebody observes.
  public init(_ method: MethodDescriptor, _ options: CallOptions, startsTrace: Bool) {
    self.method = method
    self.options = options
    let parent = CallContext.current
    self.parent = parent
    var deadline = options.deadline
    if let timeout = options.timeout { deadline = min(deadline, .after(timeout)) }
    if let parent { deadline = min(deadline, parent.deadline) }
    self.deadline = deadline
    trace = parent?.trace.map { $0.child() } ?? (startsTrace ? .root() : nil)
    principal = parent?.principal ?? .anonymous
  }

  /// The same call for another attempt: a span of its own beside the first one, the same deadline.
  public func again() -> OutgoingCall { OutgoingCall(repeating: self) }

  private init(repeating call: OutgoingCall) {
    method = call.method
    options = call.options
    deadline = call.deadline
    parent = call.parent
    principal = call.principal
    trace = parent?.trace.map { $0.child() } ?? call.trace.map { $0.sibling() }
  }

  /// Why the call need not even start: its deadline has passed, or the work it is part of is unwanted.
  public var refusal: RPCError? {
    if deadline != .never, deadline.hasPassed { return .deadlineExceeded() }
    if let code = parent?.cancellationCode { return RPCError(code) }
    return Task.isCancelled ? .cancelled() : nil
  }
}

extension OutgoingCall {
  /// What a client's observer learns when the call has ended.
  public func record(peer: String, error: RPCError?, start: Deadline, traffic: CallTraffic) -> CallRecord {
    CallRecord(
      side: .client, method: method, trace: trace, peer: peer, principal: principal, error: error, start: start, end: .now(),
      traffic: traffic)
  }
}
