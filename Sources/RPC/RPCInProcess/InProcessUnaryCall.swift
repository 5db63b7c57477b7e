import SpanwireProtobuf
import SpanwireRPC

/// One request, one response, in memory.
final class InProcessUnaryCall<Request: Message, Response: Message>: ServerCall, @unchecked Sendable {
  // Sendable: only the handler's task writes `response`, and it is read after the handler has ended.

  let context: ServerContext
  private let request: Request
  private let crossing: InProcessChannel.Crossing
  private let limits: MessageLimits
  private var response: Response?
  private var responses = 0

  init(_ request: Request, context: ServerContext, crossing: InProcessChannel.Crossing, limits: MessageLimits) {
    self.request = request
    self.context = context
    self.crossing = crossing
    self.limits = limits
  }

  func takeRequest<M: IncomingMessage>(_ type: M.Type) throws -> M {
    try cross(request, to: type, crossing, limits)
  }

  func receive<M: IncomingMessage>(_ type: M.Type) async throws -> M? {
    preconditionFailure("a unary handler takes its request, it does not stream it")
  }

  func send<M: Message>(_ message: M) throws -> Bool {
    responses += 1
    response = try cross(message, to: Response.self, crossing, limits)
    return true
  }

  func send(encoded message: [UInt8]) throws -> Bool {
    responses += 1
    response = try decode(message, limits)
    return true
  }

  func drained() async throws {}

  func sendResponseMetadata() {}

  /// The handler runs in its caller's own task, and is told.
  func end(_ context: ServerContext, with error: RPCError) { context.cancel(error.code) }

  var traffic: CallTraffic { CallTraffic(messagesSent: responses, messagesReceived: 1) }

  func result() throws -> UnaryResponse<Response> {
    guard let response, responses == 1 else {
      throw RPCError.unimplemented("the handler gave \(responses) responses where it should give one")
    }
    return UnaryResponse(response, metadata: context.responseMetadata, trailers: context.trailers)
  }
}

/// Hands a message to the other side: as it is if the types match, else by its bytes.
func cross<From: Message, To: IncomingMessage>(
  _ message: From, to type: To.Type, _ crossing: InProcessChannel.Crossing, _ limits: MessageLimits
) throws -> To {
  if crossing == .values, From.self == To.self {
    return unsafeBitCast(message, to: To.self)
  }
  return try decode(message.encoded(), limits)
}

func decode<M: IncomingMessage>(_ bytes: [UInt8], _ limits: MessageLimits) throws -> M {
  if let refusal = limits.refusal(receiving: bytes.count) { throw refusal }
  do {
    return try bytes.withUnsafeBytes { try M(decoding: $0) }
  } catch let error as DecodingError {
    throw RPCError.undecodable(error)
  }
}
