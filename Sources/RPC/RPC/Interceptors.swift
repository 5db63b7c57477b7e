import SpanwireProtobuf

/// Code around every call of a server: credentials, exposure, rate limits, logs.
///
/// It runs before the request is decoded; it may refuse by throwing, set the principal, change response metadata, and see how the call
/// ended. Whatever a handler throws passes through here before it becomes a status.
public protocol ServerInterceptor: Sendable {
  /// Goes on with `try await next(call)`, or ends the call by throwing.
  func intercept(_ call: any ServerCall, next: NextServerHandler) async throws
}

/// The rest of a server's chain, ending with the handler. Holds no heap memory of its own.
public struct NextServerHandler: Sendable {
  let interceptors: [any ServerInterceptor]
  let index: Int
  let body: nonisolated(nonsending) @Sendable (any ServerCall) async throws -> Void

  /// Runs the rest of the chain.
  public func callAsFunction(_ call: any ServerCall) async throws {
    if index < interceptors.count {
      try await interceptors[index].intercept(call, next: NextServerHandler(interceptors: interceptors, index: index + 1, body: body))
    } else {
      try await body(call)
    }
  }
}

/// Code around every call of a client: metadata, credentials, logs.
public protocol ClientInterceptor: Sendable {
  /// Goes on with `try await next(method, options)`; may change the options, refuse by throwing, or wrap the call that comes back.
  func intercept(_ method: MethodDescriptor, _ options: CallOptions, next: NextClientCall) async throws -> any ClientCall
}

/// Gives every call its credentials: metadata that is looked up, renewed, or made for the method. What a caller sets itself stays.
///
/// Credentials go wherever the channel goes: give them only to channels whose transport keeps them secret.
public struct CallCredentials: ClientInterceptor {
  private let metadata: @Sendable (MethodDescriptor) async throws -> Metadata

  /// Asked before every call. A call without credentials is not made: what the closure throws is its outcome, UNAUTHENTICATED unless it is a
  /// status itself.
  public init(_ metadata: @escaping @Sendable (MethodDescriptor) async throws -> Metadata) { self.metadata = metadata }

  /// `authorization: Bearer …`
  public static func bearer(_ token: String) -> CallCredentials {
    let metadata: Metadata = ["authorization": "Bearer \(token)"]
    return CallCredentials { _ in metadata }
  }

  /// Adds what the closure gives to the call's metadata.
  public func intercept(_ method: MethodDescriptor, _ options: CallOptions, next: NextClientCall) async throws -> any ClientCall {
    var options = options
    do {
      var credentials = try await metadata(method)
      let own = Set(options.metadata.names)
      if !own.isEmpty { credentials.removeAll { own.contains($0) } }
      options.metadata.add(contentsOf: credentials)
    } catch {
      let outcome = RPCError.outcome(of: error, in: CallContext.current)
      throw outcome.code == .unknown ? RPCError.unauthenticated("there are no credentials for \(method.path)") : outcome
    }
    return try await next(method, options)
  }
}

/// The rest of a client's chain, ending with the channel.
public struct NextClientCall: Sendable {
  let interceptors: [any ClientInterceptor]
  let index: Int
  let channel: any Channel

  /// Runs the rest of the chain.
  public func callAsFunction(_ method: MethodDescriptor, _ options: CallOptions) async throws -> any ClientCall {
    if index < interceptors.count {
      let next = NextClientCall(interceptors: interceptors, index: index + 1, channel: channel)
      return try await interceptors[index].intercept(method, options, next: next)
    }
    return try await channel.start(method, options)
  }
}

/// A channel with interceptors before it.
struct InterceptedChannel: Channel {
  let channel: any Channel
  let interceptors: [any ClientInterceptor]

  func unary<Request: Message, Response: Message>(
    _ request: Request, _ method: MethodDescriptor, _ options: CallOptions, returning: Response.Type
  ) async throws -> UnaryResponse<Response> {
    let call = try await start(method, options)
    return try await call.exchange(request, returning: Response.self)
  }

  func start(_ method: MethodDescriptor, _ options: CallOptions) async throws -> any ClientCall {
    try await NextClientCall(interceptors: interceptors, index: 0, channel: channel)(method, options)
  }
}

extension Channel {
  /// The same channel with interceptors before it, the first outermost.
  public func intercepted(by interceptors: [any ClientInterceptor]) -> any Channel {
    interceptors.isEmpty ? self : InterceptedChannel(channel: self, interceptors: interceptors)
  }
}

/// Refuses every call whose method is not open to its caller, before the request is decoded.
///
/// Stands after the interceptor that establishes the principal.
public struct ExposureInterceptor: ServerInterceptor {
  /// Services open to everybody although their contracts, being others', say nothing: health, reflection.
  private let openServices: Set<String>

  /// Refuses whatever a contract does not open, but for services that are open to everybody.
  public init(openServices: Set<String> = []) { self.openServices = openServices }

  /// Refuses, or goes on.
  public func intercept(_ call: any ServerCall, next: NextServerHandler) async throws {
    if let refusal = refusal(of: call.context.principal, by: call.context.method) { throw refusal }
    try await next(call)
  }

  /// Why a caller may not call a method; nil when it may.
  public func refusal(of caller: Principal, by method: MethodDescriptor) -> RPCError? {
    guard let exposure = method.exposure else {
      if openServices.contains(method.service) { return nil }
      return .permissionDenied("\(method.path) is open to nobody")
    }
    if exposure.admits(caller) { return nil }
    if caller.kind == .anonymous { return .unauthenticated("\(method.path) needs a credential") }
    let rule = exposure.agentRule
    switch caller.kind {
    case .agent where !rule.isEmpty, .worker where !rule.isEmpty, .service where !rule.isEmpty:
      return .permissionDenied("\(method.path) is not open to \(caller.kind) \(caller.id): rule \(rule)")
    default:
      return .permissionDenied("\(method.path) is not open to \(caller.kind) on the \(caller.surface) surface")
    }
  }
}
