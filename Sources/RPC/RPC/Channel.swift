import SpanwireProtobuf

/// Where calls go: a server in this process, or one behind a network. Clients look the same over both.
public protocol Channel: Sendable {
  /// Makes a call with one request and one response.
  func unary<Request: Message, Response: Message>(
    _ request: Request, _ method: MethodDescriptor, _ options: CallOptions, returning: Response.Type
  ) async throws -> UnaryResponse<Response>

  /// Begins a call of any kind. It goes on in the background: whoever takes the call must see it to its end or cancel it.
  func start(_ method: MethodDescriptor, _ options: CallOptions) async throws -> any ClientCall
}

/// What generated clients call.
extension Channel {
  /// Makes a call with one request and one response, and returns the response's message. Throws `RPCError`.
  public func unary<Request: Message, Response: Message>(
    _ request: Request, _ method: MethodDescriptor, _ options: CallOptions
  ) async throws -> Response {
    try await unary(request, method, options, returning: Response.self).message
  }

  /// Sends the one request; the responses come as they are read.
  public func serverStreaming<Request: Message, Response: Message>(
    _ request: Request, _ method: MethodDescriptor, _ options: CallOptions
  ) async throws -> ResponseStream<Response> {
    let call = try await start(method, options)
    let responses = ResponseStream<Response>(call)
    _ = try call.send(request)
    call.finishSending()
    return responses
  }

  /// Lets a closure write requests, and returns the one response. An error of the closure cancels the call.
  public func clientStreaming<Request: Message, Response: Message>(
    _ method: MethodDescriptor, _ options: CallOptions, _ send: (RequestWriter<Request>) async throws -> Void
  ) async throws -> Response {
    let call = try await start(method, options)
    do {
      try await send(RequestWriter(call))
    } catch {
      call.cancel()
      throw error
    }
    call.finishSending()
    return try await call.single(Response.self).message
  }

  /// Begins a call in which both sides stream.
  public func bidirectional<Request: Message, Response: Message>(
    _ method: MethodDescriptor, _ options: CallOptions
  ) async throws -> BidirectionalCall<Request, Response> {
    BidirectionalCall(try await start(method, options))
  }
}

extension ClientCall {
  /// Sends the one request and waits for the one response.
  package nonisolated(nonsending) func exchange<Request: Message, Response: Message>(
    _ request: Request, returning: Response.Type
  ) async throws -> UnaryResponse<Response> {
    do {
      _ = try send(request)
    } catch {
      cancel()
      throw error
    }
    finishSending()
    return try await single(Response.self)
  }

  /// Waits for the one response. None, or a second, with OK is UNIMPLEMENTED, as gRPC has it.
  package nonisolated(nonsending) func single<Response: Message>(_ type: Response.Type) async throws -> UnaryResponse<Response> {
    try await withTaskCancellationHandler {
      guard let message = try await receive(Response.self) else {
        throw RPCError.unimplemented("the server ended a call without the one response it should have")
      }
      if try await receive(Response.self) != nil {
        cancel()
        throw RPCError.unimplemented("the server sent more than the one response it should have")
      }
      return UnaryResponse(message, metadata: try await responseMetadata(), trailers: trailers)
    } onCancel: {
      cancel()
    }
  }
}
