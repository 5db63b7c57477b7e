import SpanwireProtobuf
import SpanwireRPC
import SpanwireRPCInProcess
import Synchronization

/// How the services of this process reach each other. It exists before the router does, since the router is made of services that
/// hold each other's clients.
final class LocalRouter: Sendable {
  private let router = Mutex<ServerRouter?>(nil)

  /// The router, once every service is made. Before that nobody calls.
  func connect(_ router: ServerRouter) { self.router.withLock { $0 = router } }

  /// A channel on which calls are made as one service, on behalf of whom the ambient context serves.
  func channel(as service: String) -> any Channel { LocalChannel(local: self, service: service) }

  fileprivate func inProcess(as service: String) -> InProcessChannel {
    guard let router = router.withLock({ $0 }) else { preconditionFailure("\(service) called before the platform was put together") }
    return InProcessChannel(router, service: service)
  }
}

private final class LocalChannel: Channel {
  let local: LocalRouter
  let service: String
  private let connected = Mutex<InProcessChannel?>(nil)

  init(local: LocalRouter, service: String) {
    self.local = local
    self.service = service
  }

  private var channel: InProcessChannel {
    connected.withLock { connected in
      if let connected { return connected }
      let channel = local.inProcess(as: service)
      connected = channel
      return channel
    }
  }

  func unary<Request: Message, Response: Message>(
    _ request: Request, _ method: MethodDescriptor, _ options: CallOptions, returning: Response.Type
  ) async throws -> UnaryResponse<Response> {
    try await channel.unary(request, method, options, returning: Response.self)
  }

  func start(_ method: MethodDescriptor, _ options: CallOptions) async throws -> any ClientCall {
    try await channel.start(method, options)
  }
}
