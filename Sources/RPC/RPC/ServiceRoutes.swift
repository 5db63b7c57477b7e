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

/// One method and the code behind it.
public struct MethodRoute: Sendable {
  /// What the method is.
  public let method: MethodDescriptor
  /// Runs the handler to its end: it takes requests from the call and sends responses into it. Throwing ends the call with an error.
  let body: nonisolated(nonsending) @Sendable (any ServerCall) async throws -> Void

  init(_ method: MethodDescriptor, _ body: nonisolated(nonsending) @escaping @Sendable (any ServerCall) async throws -> Void) {
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
      _ = try call.send(try await handler(try call.takeRequest(Request.self), call.context))
    }
  }

  /// A method whose server streams.
  public static func serverStreaming<Request: IncomingMessage, Response: Message>(
    _ method: MethodDescriptor,
    _ handler: nonisolated(nonsending) @escaping @Sendable (Request, ResponseWriter<Response>, ServerContext) async throws -> Void
  ) -> MethodRoute {
    precondition(method.kind == .serverStreaming)
    return MethodRoute(method) { call in
      try await handler(try call.takeRequest(Request.self), ResponseWriter(call), call.context)
    }
  }

  /// A method whose client streams.
  public static func clientStreaming<Request: IncomingMessage, Response: Message>(
    _ method: MethodDescriptor,
    _ handler: nonisolated(nonsending) @escaping @Sendable (RequestStream<Request>, ServerContext) async throws -> Response
  ) -> MethodRoute {
    precondition(method.kind == .clientStreaming)
    return MethodRoute(method) { call in
      _ = try call.send(try await handler(RequestStream(call), call.context))
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
      try await handler(RequestStream(call), ResponseWriter(call), call.context)
    }
  }
}
