import SpanwireProtobuf
import SpanwireRPC

/// A channel to a router in the same process: the semantics of a network without one.
///
/// Deadlines, cancellation, metadata, statuses with details, interceptors and observers behave as they do remotely. Messages are handed
/// over as values; only where the types of the two sides differ are they encoded. A unary call with no deadline of its own runs its
/// handler in the caller's task, so it costs little more than a function call and stays on the caller's loop.
public final class InProcessChannel: Channel {
  /// How messages cross.
  public enum Crossing: Sendable {
    /// As values. Their sizes are not known, so the router's message limits count only for messages sent encoded.
    case values
    /// As bytes, every one under the router's limits: what a test wants to see.
    case bytes
  }

  let router: ServerRouter
  let observer: (any CallObserver)?
  let crossing: Crossing
  private let identity: String?

  /// With `service`, calls are made as that service, on behalf of whom the ambient context serves; without, as the ambient principal itself.
  public init(
    _ router: ServerRouter, service: String? = nil, observer: (any CallObserver)? = nil, crossing: Crossing = .values
  ) {
    self.router = router
    identity = service
    self.observer = observer
    self.crossing = crossing
  }

  /// Calls the handler in the caller's own task where the deadline allows it. Throws `RPCError`.
  public func unary<Request: Message, Response: Message>(
    _ request: Request, _ method: MethodDescriptor, _ options: CallOptions, returning: Response.Type
  ) async throws -> UnaryResponse<Response> {
    let outgoing = outgoing(method, options)
    guard let route = router.route(of: method.path), route.method.kind == .unary else {
      let call = try start(outgoing)
      return try await call.exchange(request, returning: Response.self)
    }
    return try await observed(outgoing) {
      if let refusal = outgoing.refusal { throw refusal }
      let context = serverContext(of: outgoing, route.method)
      let call = InProcessUnaryCall<Request, Response>(request, context: context, crossing: crossing, limits: router.limits)
      let parentDeadline = outgoing.parent?.deadline ?? .never
      let outcome =
        outgoing.deadline < parentDeadline
        ? await serveInOwnTask(route, call, context) : await serveInline(route, call, context, outgoing.parent)
      if let outcome { throw outcome }
      return try call.result()
    } traffic: {
      CallTraffic(messagesSent: 1, messagesReceived: $0 == nil ? 1 : 0)
    }
  }

  /// Begins a call of any kind.
  public func start(_ method: MethodDescriptor, _ options: CallOptions) async throws -> any ClientCall {
    try start(outgoing(method, options))
  }

  private func start(_ outgoing: OutgoingCall) throws -> any ClientCall {
    if let refusal = outgoing.refusal { throw refusal }
    guard let route = router.route(of: outgoing.method.path) else { throw router.refusal(ofPath: outgoing.method.path) }
    let call = InProcessCall(outgoing, route, router, serverContext(of: outgoing, route.method), observer: observer, crossing: crossing)
    call.open()
    return InProcessClientCall(call)
  }

  private func outgoing(_ method: MethodDescriptor, _ options: CallOptions) -> OutgoingCall {
    OutgoingCall(method, options, startsTrace: observer != nil || router.observer != nil)
  }

  private func serverContext(of outgoing: OutgoingCall, _ method: MethodDescriptor) -> ServerContext {
    ServerContext(
      method: method, metadata: outgoing.options.metadata, peer: .inProcess, deadline: outgoing.deadline,
      principal: identity.map { .service($0, onBehalfOf: outgoing.parent?.principal) } ?? outgoing.principal,
      // Where only the server observes, the call is one span; where both do, two.
      trace: observer == nil ? outgoing.trace : outgoing.trace?.child(), executor: outgoing.parent?.executor)
  }

  /// The caller's own cancellation is the call's: the handler runs in the caller's task.
  private nonisolated(nonsending) func serveInline(
    _ route: MethodRoute, _ call: any ServerCall, _ context: ServerContext, _ parent: CallContext?
  ) async -> RPCError? {
    await withTaskCancellationHandler {
      await router.serve(route, call)
    } onCancel: {
      context.cancel(parent?.cancellationCode ?? .cancelled)
    }
  }

  /// The call's deadline is its own: the caller returns when it passes, whatever the handler does.
  private nonisolated(nonsending) func serveInOwnTask(_ route: MethodRoute, _ call: any ServerCall, _ context: ServerContext) async
    -> RPCError?
  {
    let end = CallEnd()
    let timer = DeadlineTimer(context)
    let router = router
    let handler = Task.immediate(executorPreference: context.executor) {
      end.settle(await router.serve(route, call))
    }
    let token = context.onCancel {
      end.settle(RPCError(context.cancellationCode ?? .cancelled))
      handler.cancel()
    }
    let outcome = await withTaskCancellationHandler {
      await end.outcome()
    } onCancel: {
      context.cancel()
    }
    timer.stop()
    // The action holds the context that holds it.
    context.forget(token)
    return outcome
  }

  /// Tells the client's observer of a call that is one expression.
  private nonisolated(nonsending) func observed<Result>(
    _ outgoing: OutgoingCall, _ operation: nonisolated(nonsending) () async throws -> Result, traffic: (RPCError?) -> CallTraffic
  ) async throws -> Result {
    guard let observer else { return try await operation() }
    let start = Deadline.now()
    observer.callStarted(CallStart(side: .client, method: outgoing.method, trace: outgoing.trace, start: start))
    var failure: RPCError?
    defer {
      observer.callEnded(outgoing.record(peer: Peer.inProcess.address, error: failure, start: start, traffic: traffic(failure)))
    }
    do {
      return try await operation()
    } catch {
      failure = RPCError.outcome(of: error, in: nil)
      throw error
    }
  }
}
