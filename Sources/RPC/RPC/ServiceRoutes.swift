import SpanwireProtobuf

/// A service's implementation, ready for a router: its descriptor and a handler a method. Generated code makes it.
public struct ServiceRoutes: Sendable {
  /// What the service is.
  public let descriptor: ServiceDescriptor
  /// A handler for each method.
  public let methods: [MethodRoute]

  /// A service with its handlers.
  public init(_ descriptor: ServiceDescriptor, _ methods: [MethodRoute]) {
    self.descriptor = descriptor
    self.methods = methods
  }

  /// The same service, open to whom the exposure says, whatever its contract says or leaves unsaid.
  public func exposed(_ exposure: MethodExposure) -> ServiceRoutes {
    let methods = methods.map { route in
      let method = route.method
      return MethodRoute(
        MethodDescriptor(
          service: method.service, name: method.name, kind: method.kind, inputType: method.inputType, outputType: method.outputType,
          exposure: exposure, noSideEffects: method.noSideEffects, isIdempotent: method.isIdempotent), route.body)
    }
    return ServiceRoutes(ServiceDescriptor(fullName: descriptor.fullName, methods: methods.map(\.method)), methods)
  }
}

/// One method and the code behind it. An object, because every call holds on to it.
public final class MethodRoute: Sendable {
  /// What the method is.
  public let method: MethodDescriptor
  /// Runs the handler to its end: it takes requests from the call and sends responses into it. Throwing ends the call with an error.
  package let body: nonisolated(nonsending) @Sendable (any ServerCall) async throws -> Void

  /// The same method behind interceptors, the first outermost.
  func intercepted(by interceptors: [any ServerInterceptor]) -> MethodRoute {
    if interceptors.isEmpty { return self }
    let next = NextServerHandler(interceptors: interceptors, index: 0, body: body)
    return MethodRoute(method) { call in try await next(call) }
  }

  /// Generated code makes it so: the closure takes the requests from the call and sends the responses into it; what it throws ends the call.
  public init(_ method: MethodDescriptor, _ body: nonisolated(nonsending) @escaping @Sendable (any ServerCall) async throws -> Void) {
    self.method = method
    self.body = body
  }

  /// A method with one request and one response.
  public static func unary<Request: IncomingMessage, Response: Message>(
    _ method: MethodDescriptor,
    _ handler: nonisolated(nonsending) @escaping @Sendable (Request, ServerContext) async throws -> Response
  ) -> MethodRoute {
    precondition(method.kind == .unary)
    return MethodRoute(method) { call in
      try call.respond(await handler(call.request(), call.context))
    }
  }

  /// A method whose server streams.
  public static func serverStreaming<Request: IncomingMessage, Response: Message>(
    _ method: MethodDescriptor,
    _ handler: nonisolated(nonsending) @escaping @Sendable (Request, ResponseWriter<Response>, ServerContext) async throws -> Void
  ) -> MethodRoute {
    precondition(method.kind == .serverStreaming)
    return MethodRoute(method) { call in
      try await handler(call.request(), call.responses(), call.context)
    }
  }

  /// A method whose client streams.
  public static func clientStreaming<Request: IncomingMessage, Response: Message>(
    _ method: MethodDescriptor,
    _ handler: nonisolated(nonsending) @escaping @Sendable (RequestStream<Request>, ServerContext) async throws -> Response
  ) -> MethodRoute {
    precondition(method.kind == .clientStreaming)
    return MethodRoute(method) { call in
      try call.respond(await handler(call.requests(), call.context))
    }
  }

  /// A method in which both sides stream.
  public static func bidirectional<Request: IncomingMessage, Response: Message>(
    _ method: MethodDescriptor,
    _ handler:
      nonisolated(nonsending) @escaping @Sendable (RequestStream<Request>, ResponseWriter<Response>, ServerContext) async throws -> Void
  ) -> MethodRoute {
    precondition(method.kind == .bidirectional)
    return MethodRoute(method) { call in
      try await handler(call.requests(), call.responses(), call.context)
    }
  }
}

/// A call as a handler of one of the four kinds takes it.
extension ServerCall {
  /// The one request of a call whose client sends one.
  @inlinable
  public func request<Request: IncomingMessage>() throws -> Request { try takeRequest(Request.self) }

  /// The requests of a call whose client streams.
  public func requests<Request: IncomingMessage>() -> RequestStream<Request> { RequestStream(self) }

  /// Sends the one response of a call whose server sends one.
  @inlinable
  public func respond<Response: Message>(_ response: Response) throws { _ = try send(response) }

  /// Where the responses of a call go whose server streams.
  public func responses<Response: Message>() -> ResponseWriter<Response> { ResponseWriter(self) }
}
