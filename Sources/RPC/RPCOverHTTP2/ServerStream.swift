import SpanwireEventLoop
import SpanwireHTTP2
import SpanwireProtobuf
import SpanwireRPC
import Synchronization

/// One call as the server's transport sees it: the stream below, the handler above. Reused for call after call.
///
/// A call with one request starts when that request is complete, others with their headers. The handler runs on the loop, begun inside the
/// very callback that makes it possible. Its last word and the end of the stream come in any order; when both have, the object is retired.
final class ServerStream: HTTP2Stream, ServerCall, @unchecked Sendable {
  // Sendable: everything mutable belongs to the loop, but what stands under "From other threads".

  let home: ServerLoop
  @exclusivity(unchecked) private(set) var currentContext: ServerContext? {
    didSet { held = currentContext.map { .passUnretained($0) } }
  }
  /// The same, for looks that need count no reference.
  @exclusivity(unchecked) private(set) var held: Unmanaged<ServerContext>?
  /// Not counted: the router keeps it, and outlives the stream.
  @exclusivity(unchecked) var route: Unmanaged<MethodRoute>?
  private var kind = MethodKind.unary
  // Behind pointers, so that no access to them is checked for overlap at run time.
  private let request: UnsafeMutablePointer<RequestHeaders>
  private let assembly: UnsafeMutablePointer<MessageAssembler>
  var assembler: MessageAssembler {
    unsafeAddress { UnsafePointer(assembly) }
    unsafeMutableAddress { assembly }
  }
  /// Links the objects that wait for their next call.
  var nextSpare: Unmanaged<ServerStream>?
  var requestEncoding = RequestEncoding.identity
  var responseCompression: Compression?
  var counts = CallTraffic()
  /// What ended the requests before their time.
  var requestError: RPCError?
  /// The handler waits for a request, or for room.
  var receiver: UnsafeContinuation<Void, Never>?
  var sender: UnsafeContinuation<Void, Never>?

  /// Outlives its streams; not counted.
  private var connection: Unmanaged<ServerConnection>?
  private var task: HandlerTask?
  private var timer: LoopTimer!
  /// When the call must have got further; the end of time if nothing limits it.
  private var limit = UInt64.max
  private var phase = Phase.headers
  private var handlerRuns = false
  private var isRetired = false
  private var outcome: RPCError?
  /// Not gRPC: what HTTP alone says, with a body or, to HEAD, without.
  private var plain: (answer: PlainAnswer, withBody: Bool)?

  enum Phase {
    /// Waits for the request's headers.
    case headers
    /// Waits for the one request.
    case request
    /// Waits for the end of what is no gRPC request, whose errors are to be found before it is answered.
    case plain
    /// The handler runs.
    case handling
    /// The status stands; nothing that comes changes it.
    case ended
  }

  enum RequestEncoding: Equatable {
    case identity
    case compressed(Compression)
  }

  // From other threads: bytes on their way to the loop.
  let underway = Atomic<Int>(0)

  init(_ home: ServerLoop) {
    self.home = home
    request = .allocate(capacity: 1)
    request.initialize(to: RequestHeaders())
    assembly = .allocate(capacity: 1)
    assembly.initialize(to: MessageAssembler(limits: home.router.limits))
    super.init()
    timer = LoopTimer(on: home.loop) { [unowned self] in timeIsUp() }
  }

  deinit {
    request.deinitialize(count: 1)
    request.deallocate()
    assembly.deinitialize(count: 1)
    assembly.deallocate()
  }

  var loop: EventLoop { home.loop }

  func begin(_ connection: ServerConnection) { self.connection = .passUnretained(connection) }

  func prepareForReuse() {
    recycle()
    currentContext = nil
    route = nil
    request.pointee.reset()
    _ = assembler.discard()
    requestEncoding = .identity
    responseCompression = nil
    counts = CallTraffic()
    requestError = nil
    connection = nil
    task = nil
    phase = .headers
    outcome = nil
    plain = nil
    isRetired = false
  }

  // MARK: The request

  override func receivedRequestField(_ field: HTTP2FieldName, _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Bool {
    request.pointee.read(field, name, value, self)
  }

  override func receivedHeaders() {
    switch request.pointee.refusal(self) {
    case .none: break
    case .plain(let answer):
      plain = (answer, withBody: !request.pointee.isHead)
      route = nil
      phase = .plain
      watch(until: loop.now &+ home.requestTimeout)
      return
    case .status(let error, let acceptsEncodings): return answer(error, acceptsEncodings: acceptsEncodings)
    }
    guard let route, let connection else { preconditionFailure("a request belongs to no connection") }
    let deadline = request.pointee.deadline
    let method = route._withUnsafeGuaranteedRef { $0.method }
    kind = method.kind
    let context = ServerContext(
      method: method, metadata: Metadata(records: headers.records, count: headers.count),
      peer: connection._withUnsafeGuaranteedRef { $0.peer }, deadline: deadline,
      trace: request.pointee.trace ?? (home.router.observer == nil ? nil : .root()), executor: loop)
    currentContext = context
    if deadline != .never, deadline.nanoseconds <= loop.now { return answer(.deadlineExceeded()) }
    if kind.clientStreams {
      startHandler()
    } else {
      phase = .request
      watch(until: min(deadline.nanoseconds, loop.now &+ home.requestTimeout))
    }
  }

  override func receivedData(_ bytes: UnsafeRawBufferPointer) {
    guard phase == .request || phase == .handling, requestError == nil else { return consume(bytes.count) }
    do throws(RPCError) {
      consume(try assembler.append(bytes))
      wakeReceiver()
    } catch {
      failRequests(error)
    }
  }

  override func receivedEnd() {
    switch phase {
    case .request:
      let census = assembler.census
      if !census.isWhole {
        answer(Self.truncated)
      } else if census.messages != 1 {
        answer(.unimplemented("\(context.method.path) takes one request, not \(census.messages)"))
      } else {
        startHandler()
      }
    case .plain: answerPlain()
    case .handling:
      // Complete messages are still taken before the error shows.
      if requestError == nil, !assembler.census.isWhole { requestError = Self.truncated }
      wakeReceiver()
    case .headers, .ended: break
    }
  }

  private static let truncated = RPCError.internal("the request ends inside a message")

  /// What comes from now on is of no use.
  func failRequests(_ error: RPCError) {
    consume(assembler.discard())
    switch phase {
    case .request: answer(error)
    case .handling:
      requestError = requestError ?? error
      wakeReceiver()
    case .headers, .plain, .ended: break
    }
  }

  @inline(__always)
  func wakeReceiver() {
    if let receiver {
      self.receiver = nil
      receiver.resume()
    }
  }

  @inline(__always)
  func wakeSender() {
    if let sender {
      self.sender = nil
      sender.resume()
    }
  }

  // MARK: The handler

  private func startHandler() {
    phase = .handling
    handlerRuns = true
    let task = home.handlerTask()
    self.task = task
    watch(until: held?._withUnsafeGuaranteedRef { $0.deadline.nanoseconds } ?? .max)
    task.serve(self)
  }

  /// Takes what the handler's task came to.
  func handlerEnded(_ outcome: RPCError?) {
    guard loop.isCurrent else {
      // The handler left by a task executor of its own.
      loop.execute { self.handlerEnded(outcome) }
      return
    }
    task = nil
    if phase == .handling {
      phase = .ended
      unwatch()
      var outcome = outcome
      if outcome == nil, !kind.serverStreams, counts.messagesSent != 1 {
        outcome = .unimplemented("the handler gave \(counts.messagesSent) responses where it should give one")
      }
      sendStatus(outcome)
      consume(assembler.discard())
    }
    handlerRuns = false
    retireIfOver()
  }

  /// Ends the call without its handler, or in spite of it.
  private func answer(_ error: RPCError, acceptsEncodings: Bool = false) {
    let wasHandling = phase == .handling
    phase = .ended
    unwatch()
    consume(assembler.discard())
    if wasHandling { cancelHandler(error.code) }
    sendStatus(error, acceptsEncodings: acceptsEncodings)
  }

  func end(_ context: ServerContext, with error: RPCError) {
    loop.execute {
      guard self.phase == .handling, self.currentContext === context else { return }
      self.giveUp(error)
    }
  }

  /// Ends a call whose handler goes on.
  private func giveUp(_ error: RPCError) {
    let isStalled = hasSentHeaders && isStalled
    // The status would wait for a reader who does not read; a client takes the reset for what it is.
    if isStalled { output.removeAll() }
    answer(error)
    if isStalled { reset(.cancel) }
  }

  private func cancelHandler(_ code: RPCError.Code) {
    currentContext?.cancel(code)
    task?.cancel()
    wakeReceiver()
    wakeSender()
  }

  /// The timer goes on from call to call: one that is armed for an earlier moment is left, and when it goes off it is armed anew. So calls
  /// that end in time, nearly all, neither arm nor disarm.
  private func watch(until moment: UInt64) {
    limit = moment
    if moment < timer.moment { timer.arm(at: moment) }
  }

  private func unwatch() { limit = .max }

  /// Before the object is let go.
  func stopTimer() { timer.disarm() }

  private func timeIsUp() {
    if loop.now < limit {
      if limit != .max { timer.arm(at: limit) }
      return
    }
    if phase == .plain { return answerPlain() }
    guard phase == .request || phase == .handling, let context = currentContext else { return }
    if context.deadline == .never || context.deadline.nanoseconds > loop.now {
      answer(.unavailable("the request did not arrive in time"))
    } else {
      // What is queued of the response is of no use any more.
      let isStalled = hasSentHeaders && isStalled
      if hasSentHeaders { output.removeAll() }
      answer(.deadlineExceeded())
      // The status would wait for a reader who does not read; a client takes the reset for what it is.
      if isStalled { reset(.cancel) }
    }
  }

  // MARK: The response

  /// Sends the leading headers, once.
  func sendLeadingHeaders() {
    guard !hasSentHeaders, isOpen, let held else { return }
    let metadata = held._withUnsafeGuaranteedRef { $0.responseMetadata }
    if responseCompression == nil, requestEncoding == .identity, metadata.isEmpty {
      return respond(home.plainHeaders, endsStream: false)
    }
    home.headers.removeAll()
    home.headers.add(":status", "200")
    home.headers.add("content-type", "application/grpc")
    if let responseCompression { home.headers.add("grpc-encoding", text: responseCompression.rawValue) }
    if requestEncoding != .identity { home.headers.add("grpc-accept-encoding", text: MessageCompression.accepted) }
    home.headers.add(metadata: metadata)
    respond(home.headers, endsStream: false)
  }

  private func sendStatus(_ outcome: RPCError?, acceptsEncodings: Bool = false) {
    guard isOpen else { return }
    self.outcome = outcome
    if hasSentHeaders || outcome == nil {
      sendLeadingHeaders()
      finish()
      return
    }
    home.headers.removeAll()
    home.headers.add(":status", "200")
    home.headers.add("content-type", "application/grpc")
    if acceptsEncodings { home.headers.add("grpc-accept-encoding", text: MessageCompression.accepted) }
    if let metadata = currentContext?.responseMetadata { home.headers.add(metadata: metadata) }
    addStatus(to: home.headers)
    respond(home.headers, endsStream: true)
  }

  override func addTrailers(to trailers: borrowing HTTP2Headers) {
    if plain == nil { addStatus(to: trailers) }
  }

  private func addStatus(to headers: borrowing HTTP2Headers) {
    if let outcome {
      headers.add(outcome)
    } else {
      headers.add("grpc-status", "0")
    }
    if let held { headers.add(metadata: held._withUnsafeGuaranteedRef { $0.trailers }) }
  }

  private func answerPlain() {
    guard let (answer, withBody) = plain else { return }
    phase = .ended
    unwatch()
    home.headers.removeAll()
    home.headers.add(":status", answer.status)
    home.headers.add("content-type", "text/plain; charset=utf-8")
    if case .methodNotAllowed = answer { home.headers.add("allow", "POST") }
    if withBody {
      output.append(UnsafeRawBufferPointer(start: answer.body.utf8Start, count: answer.body.utf8CodeUnitCount))
      finish()
    }
    respond(home.headers, endsStream: !withBody)
  }

  override func outputDrained() { wakeSender() }

  // MARK: The end

  override func receivedTooLargeHeaders() {
    phase = .ended
    route = nil
    unwatch()
  }

  override func closed(_ code: HTTP2ErrorCode) {
    let wasHandling = phase == .handling
    phase = .ended
    unwatch()
    if wasHandling || handlerRuns { cancelHandler(.cancelled) }
    connection?._withUnsafeGuaranteedRef {
      $0.streamEnded(counts, succeeded: code == .noError && outcome == nil && route != nil)
    }
    connection = nil
    retireIfOver()
  }

  private func retireIfOver() {
    guard closeCode != nil, !handlerRuns, !isRetired else { return }
    isRetired = true
    home.retire(self)
  }
}
