import SpanwireProtobuf
import SpanwireRPC
import Synchronization

/// A call whose messages queue between two tasks.
///
/// The server's end keeps it alive while the handler runs; the client's end cancels it when its owner lets go.
final class InProcessCall: Sendable {
  let outgoing: OutgoingCall
  let context: ServerContext
  let router: ServerRouter
  let crossing: InProcessChannel.Crossing
  let requests: MessageQueue
  let responses: MessageQueue
  let leading = MetadataGate()

  private let route: MethodRoute
  private let observer: (any CallObserver)?
  private let start = Deadline.now()
  private let state = Mutex(State())

  private struct State {
    var handler: Task<Void, Never>?
    var isStarted = false
    var hasEnded = false
    var timer: DeadlineTimer?
    var parentToken: CancellationToken?
    var trailers = Metadata()
  }

  init(
    _ outgoing: OutgoingCall, _ route: MethodRoute, _ router: ServerRouter, _ context: ServerContext, observer: (any CallObserver)?,
    crossing: InProcessChannel.Crossing
  ) {
    self.outgoing = outgoing
    self.route = route
    self.router = router
    self.context = context
    self.observer = observer
    self.crossing = crossing
    requests = MessageQueue()
    responses = MessageQueue()
  }

  /// Links the call to its deadline and to the work it is part of; a client-streaming handler starts now.
  func open() {
    observer?.callStarted(CallStart(side: .client, method: outgoing.method, trace: outgoing.trace, start: start))
    context.onCancel { [weak self] in self?.cancelled() }
    if outgoing.deadline != .never {
      let timer = DeadlineTimer(context)
      state.withLock { $0.timer = timer }
    }
    if let parent = outgoing.parent {
      let token = parent.onCancel { [weak context, weak parent] in context?.cancel(parent?.cancellationCode ?? .cancelled) }
      state.withLock { $0.parentToken = token }
    }
    if route.method.kind.clientStreams { startHandler() }
  }

  /// The client has sent its last. A handler that takes one request starts now, if there is just one.
  func requestsFinished() {
    requests.close(with: nil)
    guard !route.method.kind.clientStreams else { return }
    if requests.count == 1 {
      startHandler()
    } else if state.withLock({ !$0.isStarted }) {
      end(.unimplemented("\(route.method.path) takes one request, not \(requests.count)"))
    }
  }

  private func startHandler() {
    guard
      state.withLock({ state in
        defer { state.isStarted = true }; return !state.isStarted
      })
    else { return }
    let end = InProcessServerCall(self)
    let handler = Task.immediate(executorPreference: context.executor) { [router, route] in
      let outcome = await router.serve(route, end)
      end.call.end(outcome)
    }
    state.withLock { $0.handler = handler }
    if context.isCancelled { handler.cancel() }
  }

  /// The handler has returned: what it sent is still to be read, then comes the status.
  func end(_ outcome: RPCError?) {
    var outcome = outcome
    var trailers = context.trailers
    if outcome != nil { trailers.add(contentsOf: outcome!.trailers) }
    if outcome == nil, !route.method.kind.serverStreams, responses.pushed != 1 {
      outcome = .unimplemented("the handler gave \(responses.pushed) responses where it should give one")
    }
    if !finish(outcome, trailers) { return }
    outcome?.trailers = trailers
    leading.open(context.responseMetadata)
    responses.close(with: outcome)
    if let outcome { requests.fail(outcome) } else { requests.ignore() }
  }

  /// Somebody wants no more of it: both ends learn at once, queued messages are dropped.
  private func cancelled() {
    let error = RPCError(context.cancellationCode ?? .cancelled)
    let ended = finish(error, Metadata())
    state.withLock { $0.handler }?.cancel()
    guard ended else { return }
    leading.open(Metadata())
    requests.fail(error)
    responses.fail(error)
  }

  /// True the first time.
  private func finish(_ outcome: RPCError?, _ trailers: Metadata) -> Bool {
    let link = state.withLock { state -> (timer: DeadlineTimer?, token: CancellationToken?)? in
      if state.hasEnded { return nil }
      state.hasEnded = true
      state.trailers = trailers
      return (state.timer, state.parentToken)
    }
    guard let link else { return false }
    link.timer?.stop()
    if let token = link.token { outgoing.parent?.forget(token) }
    if let observer {
      // What the handler sent before its end will be read; of a call cut short, only what was taken counts.
      let received = context.isCancelled ? responses.taken : responses.pushed
      let traffic = CallTraffic(messagesSent: requests.pushed, messagesReceived: received)
      observer.callEnded(outgoing.record(peer: Peer.inProcess.address, error: outcome, start: start, traffic: traffic))
    }
    return true
  }

  var trailers: Metadata { state.withLock { $0.trailers } }
  var hasEnded: Bool { state.withLock { $0.hasEnded } }
}

/// The handler's end of an in-process call.
final class InProcessServerCall: ServerCall {
  let call: InProcessCall

  init(_ call: InProcessCall) { self.call = call }

  var context: ServerContext { call.context }

  func takeRequest<M: IncomingMessage>(_ type: M.Type) throws -> M {
    guard let item = try call.requests.takeNow() else { throw RPCError.internal("a handler took its one request twice") }
    return try item.message(type, call.crossing, call.router.limits)
  }

  func receive<M: IncomingMessage>(_ type: M.Type) async throws -> M? {
    try await call.requests.next()?.message(type, call.crossing, call.router.limits)
  }

  func send<M: Message>(_ message: M) throws -> Bool {
    sendResponseMetadata()
    return try call.responses.push(QueuedMessage(message, call.crossing, call.router.limits))
  }

  func send(encoded message: [UInt8]) throws -> Bool {
    sendResponseMetadata()
    return try call.responses.push(.encoded(message))
  }

  func drained() async throws { try await call.responses.drained() }

  func sendResponseMetadata() { call.leading.open(call.context.responseMetadata) }

  func end(_ context: ServerContext, with error: RPCError) {
    call.end(error)
    call.context.cancel(error.code)
  }

  var traffic: CallTraffic { CallTraffic(messagesSent: call.responses.pushed, messagesReceived: call.requests.taken) }
}

/// The caller's end of an in-process call. A task that is cancelled while it waits here cancels the call.
final class InProcessClientCall: ClientCall {
  let call: InProcessCall

  init(_ call: InProcessCall) { self.call = call }

  func send<M: Message>(_ message: M) throws -> Bool {
    try call.requests.push(QueuedMessage(message, call.crossing, call.router.limits))
  }

  func send(encoded message: [UInt8]) throws -> Bool { try call.requests.push(.encoded(message)) }

  func drained() async throws { try await cancelling { try await call.requests.drained() } }

  func receive<M: IncomingMessage>(_ type: M.Type) async throws -> M? {
    try await cancelling {
      try await call.responses.next()?.message(type, call.crossing, call.router.limits)
    }
  }

  func responseMetadata() async throws -> Metadata { try await cancelling { try await call.leading.metadata() } }

  func finishSending() { call.requestsFinished() }

  /// Nothing is compressed that never becomes bytes on a wire.
  var compressesRequests: Bool {
    get { false }
    set {}
  }

  func cancel() { if !call.hasEnded { call.context.cancel() } }

  var trailers: Metadata { call.trailers }
  var traffic: CallTraffic { CallTraffic(messagesSent: call.requests.pushed, messagesReceived: call.responses.taken) }

  private func cancelling<Result>(_ operation: () async throws -> Result) async throws -> Result {
    try await withTaskCancellationHandler {
      do {
        return try await operation()
      } catch is CancellationError {
        throw RPCError.cancelled()
      }
    } onCancel: {
      cancel()
    }
  }
}
