import SpanwireEventLoop
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireRPCTestSupport
import Testing

/// Our client with our server.
@Suite(.timeLimit(.minutes(15))) struct ChannelTests {
  @Test("keeps the contract of every channel in the clear", arguments: ChannelContract.all)
  func contract(contract: ChannelContract) async throws {
    let server = try await EchoServer.start()
    try await contract.check(server.echo, server.log)
    await server.stop()
  }

  @Test("keeps the contract of every channel over TLS", arguments: ChannelContract.all)
  func contractSecure(contract: ChannelContract) async throws {
    let server = try await EchoServer.start(isSecure: true)
    try await contract.check(server.echo, server.log)
    await server.stop()
  }

  @Test("keeps the contract of every channel when called from a loop", arguments: ChannelContract.all)
  func contractOnLoop(contract: ChannelContract) async throws {
    let server = try await EchoServer.start(observer: RecordingObserver(), clientObserver: RecordingObserver())
    try await Task(executorPreference: EventLoopGroup.shared.next()) {
      try await contract.check(server.echo, server.log)
    }.value
    await server.stop()
  }

  @Test("keeps the contract of every channel with compression both ways", arguments: ChannelContract.all)
  func contractCompressed(contract: ChannelContract) async throws {
    let server = try await EchoServer.start(configure: { $0.compression = .gzip })
    try await contract.check(EchoClient(server.channel.intercepted(by: [Compressing()])), server.log)
    await server.stop()
  }

  struct Compressing: ClientInterceptor {
    func intercept(_ method: MethodDescriptor, _ options: CallOptions, next: NextClientCall) async throws -> any ClientCall {
      var options = options
      options.compression = .deflate
      return try await next(method, options)
    }
  }
}
