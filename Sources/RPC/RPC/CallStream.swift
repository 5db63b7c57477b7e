import SpanwireProtobuf

/// Messages in and messages out: what a transport gives for one call, on either side.
///
/// A transport keeps messages as it likes, as bytes or as values; typed code sees them only through the generic methods here.
/// All methods may be called from any task. Two tasks may use it at a time if one only sends and one only receives.
public protocol CallStream: AnyObject, Sendable {
  /// Queues a message. False says that more is queued than the transport's high-water mark: wait for `drained()` before the next.
  ///
  /// Throws what ended the call when it has ended with an error. After an end with OK a client's message goes nowhere, silently.
  func send<M: Message>(_ message: M) throws -> Bool

  /// Queues a message that is already encoded, so that one encoding can serve many calls.
  func send(encoded message: [UInt8]) throws -> Bool

  /// Returns once the queue is below the low-water mark; throws what ended the call.
  func drained() async throws

  /// The next message of the other side; nil when it has sent its last. Taking a message is what gives the sender room for more.
  ///
  /// On a client, throws the status of a call that failed; on a server, what cancelled the call.
  func receive<M: IncomingMessage>(_ type: M.Type) async throws -> M?

  /// What has crossed so far.
  var traffic: CallTraffic { get }
}

/// The server's end of one call, as a transport implements it and `ServerRouter` drives it.
public protocol ServerCall: CallStream {
  var context: ServerContext { get }

  /// The one request of a call whose client sends one, without waiting: the transport starts such a call once it has the whole message.
  func takeRequest<M: IncomingMessage>(_ type: M.Type) throws -> M

  /// Sends the leading metadata now, where otherwise it would go with the first message.
  func sendResponseMetadata()

  /// Ends the call with a status in spite of its handler, which is cancelled; from any task. Nothing happens if it has ended.
  ///
  /// - Parameter context: the call's own, since what carries one call may carry another after it.
  func end(_ context: ServerContext, with error: RPCError)
}

/// The client's end of one call, as a transport implements it and `Channel` hands it out.
public protocol ClientCall: CallStream {
  /// Whether messages sent from now on are compressed, if the call's options say how; true to begin with.
  var compressesRequests: Bool { get set }

  /// Says that no more messages will be sent.
  func finishSending()

  /// Ends the call at once, at both ends; nothing happens if it has ended.
  func cancel()

  /// The leading metadata of the response; empty when the server answered with a status alone.
  func responseMetadata() async throws -> Metadata

  /// The trailing metadata; empty until the call has ended.
  var trailers: Metadata { get }
}

/// Counts of what crossed in one call. Bytes are those of messages before compression, but for those that a client received: they count as
/// they came. A transport that moves values counts none.
public struct CallTraffic: Sendable, Hashable {
  /// Messages that this side has sent.
  public var messagesSent = 0
  /// Messages that this side has received.
  public var messagesReceived = 0
  /// Bytes of those sent.
  public var bytesSent = 0
  /// Bytes of those received.
  public var bytesReceived = 0
  /// Those of the messages that crossed compressed.
  public var compressedSent = 0
  /// Messages received that came compressed.
  public var compressedReceived = 0

  /// Counts; all zero unless said.
  public init(
    messagesSent: Int = 0, messagesReceived: Int = 0, bytesSent: Int = 0, bytesReceived: Int = 0, compressedSent: Int = 0,
    compressedReceived: Int = 0
  ) {
    self.messagesSent = messagesSent
    self.messagesReceived = messagesReceived
    self.bytesSent = bytesSent
    self.bytesReceived = bytesReceived
    self.compressedSent = compressedSent
    self.compressedReceived = compressedReceived
  }
}

/// How large a message may be. The bound is on the uncompressed size; a message of just that size passes.
public struct MessageLimits: Sendable, Hashable {
  /// Beyond it RESOURCE_EXHAUSTED. The default of 4 MiB is that of every gRPC library.
  public var maxReceivedBytes = 4 * 1024 * 1024
  /// Beyond it RESOURCE_EXHAUSTED, before anything is sent. The wire's own limit is four bytes of length.
  public var maxSentBytes = Int(UInt32.max)

  /// Limits in bytes.
  public init(maxReceivedBytes: Int = 4 * 1024 * 1024, maxSentBytes: Int = Int(UInt32.max)) {
    self.maxReceivedBytes = maxReceivedBytes
    self.maxSentBytes = maxSentBytes
  }

  /// 4 MiB received, and whatever the wire allows sent.
  public static let `default` = MessageLimits()

  /// With what one call's options say instead.
  public func overridden(by options: CallOptions) -> MessageLimits {
    var limits = self
    if let bytes = options.maxResponseBytes { limits.maxReceivedBytes = bytes }
    if let bytes = options.maxRequestBytes { limits.maxSentBytes = bytes }
    return limits
  }

  /// The refusal of a received message of this size; nil when it passes.
  public func refusal(receiving size: Int) -> RPCError? {
    size <= maxReceivedBytes ? nil : .resourceExhausted("received a message of \(size) bytes; the limit is \(maxReceivedBytes)")
  }

  /// The refusal of an outgoing message of this size; nil when it passes.
  public func refusal(sending size: Int) -> RPCError? {
    size <= maxSentBytes ? nil : .resourceExhausted("a message of \(size) bytes is not sent; the limit is \(maxSentBytes)")
  }
}
