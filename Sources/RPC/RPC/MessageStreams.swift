import SpanwireProtobuf

/// The requests of a call whose client streams. Taking one gives the client room for more. One reader at a time.
public struct RequestStream<Element: IncomingMessage>: AsyncSequence, Sendable {
  private let call: any ServerCall

  package init(_ call: any ServerCall) { self.call = call }

  /// The next request; nil when the client has sent its last.
  public func next() async throws -> Element? {
    try await call.receive(Element.self)
  }

  /// An iterator; all of them take from the same stream.
  public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(stream: self) }

  /// Takes requests as they are asked for.
  public struct AsyncIterator: AsyncIteratorProtocol {
    let stream: RequestStream

    /// The next request; nil after the last.
    public func next() async throws -> Element? { try await stream.next() }
  }
}

/// Where a handler writes the responses of a call whose server streams. One writer at a time.
public struct ResponseWriter<Element: Message>: Sendable {
  private let call: any ServerCall

  package init(_ call: any ServerCall) { self.call = call }

  /// Writes a response; waits only when the transport has more queued than it likes. Throws once nobody reads.
  public func write(_ message: Element) async throws {
    if try !call.send(message) { try await call.drained() }
  }

  /// Writes a response that is already encoded, so that one encoding can serve many subscribers.
  public func writeEncoded(_ message: [UInt8]) async throws {
    if try !call.send(encoded: message) { try await call.drained() }
  }

  /// Writes a response without ever waiting; false says that the transport has more queued than it likes.
  public func tryWrite(_ message: Element) throws -> Bool {
    try call.send(message)
  }

  /// As `tryWrite`, for a response that is already encoded.
  public func tryWriteEncoded(_ message: [UInt8]) throws -> Bool {
    try call.send(encoded: message)
  }

  /// Waits until the transport has room again.
  public func drained() async throws {
    try await call.drained()
  }

  /// Sends the leading metadata now: a subscriber knows by it that its subscription stands.
  public func sendMetadata() {
    call.sendResponseMetadata()
  }
}

/// Where a client writes the requests of a call that it streams. One writer at a time.
public struct RequestWriter<Element: Message>: Sendable {
  private let call: any ClientCall

  package init(_ call: any ClientCall) { self.call = call }

  /// Writes a request; waits only when the transport has more queued than it likes.
  ///
  /// Throws the status if the server has ended the call with an error; after an early OK the request goes nowhere.
  public func write(_ message: Element) async throws {
    if try !call.send(message) { try await call.drained() }
  }

  /// Writes a request that is already encoded.
  public func writeEncoded(_ message: [UInt8]) async throws {
    if try !call.send(encoded: message) { try await call.drained() }
  }

  /// Whether requests written from now on are compressed, if the call's options say how; true to begin with.
  public var compresses: Bool {
    get { call.compressesRequests }
    nonmutating set { call.compressesRequests = newValue }
  }

  /// Says that this was the last.
  public func finish() { call.finishSending() }
}

/// The responses of a call whose server streams. One reader at a time. Letting go of it, and of its iterators, cancels the call.
public struct ResponseStream<Element: Message>: AsyncSequence, Sendable {
  private let owner: CallOwner

  package init(_ call: any ClientCall) { owner = CallOwner(call) }
  init(owner: CallOwner) { self.owner = owner }

  /// The next response; nil after the last of a call that ended with OK. Throws the status of one that did not.
  public func next() async throws -> Element? {
    try await owner.call.receive(Element.self)
  }

  /// The leading metadata, as soon as it is there.
  public var metadata: Metadata {
    get async throws { try await owner.call.responseMetadata() }
  }

  /// The trailing metadata, after the end.
  public var trailers: Metadata { owner.call.trailers }

  /// Ends the call at once.
  public func cancel() { owner.call.cancel() }

  /// An iterator; all of them take from the same stream.
  public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(stream: self) }

  /// Takes responses as they are asked for.
  public struct AsyncIterator: AsyncIteratorProtocol {
    let stream: ResponseStream

    /// The next response; nil after the last.
    public func next() async throws -> Element? { try await stream.next() }
  }
}

/// A call in which both sides stream. Letting go of it and of its responses cancels the call.
public struct BidirectionalCall<Request: Message, Response: Message>: Sendable {
  /// Ends with `requests.finish()`.
  public let requests: RequestWriter<Request>
  /// What the server sends.
  public let responses: ResponseStream<Response>

  package init(_ call: any ClientCall) {
    requests = RequestWriter(call)
    responses = ResponseStream(call)
  }

  /// Ends the call at once, in both directions.
  public func cancel() { responses.cancel() }
}

/// A response with what came beside it.
public struct UnaryResponse<Response: Message>: Sendable {
  /// The response itself.
  public var message: Response
  /// What came before it.
  public var metadata: Metadata
  /// What came after it.
  public var trailers: Metadata

  /// A response, without metadata unless given.
  public init(_ message: Response, metadata: Metadata = Metadata(), trailers: Metadata = Metadata()) {
    self.message = message
    self.metadata = metadata
    self.trailers = trailers
  }
}

/// Cancels its call when the last reader has gone.
final class CallOwner: Sendable {
  let call: any ClientCall

  init(_ call: any ClientCall) { self.call = call }

  deinit { call.cancel() }
}
