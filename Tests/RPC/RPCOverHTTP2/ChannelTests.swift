import SpanwireEventLoop
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireRPCTestSupport
import SpanwireTLS
import SpanwireTestCertificates
import Synchronization
import Testing

/// A server of an obedient echo and a channel to it.
final class EchoServer: Sendable {
  let log: Log
  let server: HTTP2Server
  let channel: HTTP2Channel
  private let loopback: Loopback

  final class Loopback: Sendable {
    let state = Mutex<EchoClient?>(nil)
  }

  var echo: EchoClient { EchoClient(channel) }

  private init(_ server: HTTP2Server, _ channel: HTTP2Channel, _ loopback: Loopback, _ log: Log) {
    self.log = log
    self.server = server
    self.channel = channel
    self.loopback = loopback
  }

  static func start(
    isSecure: Bool = false, unixPath: String? = nil, interceptors: [any ServerInterceptor] = [], observer: (any CallObserver)? = nil,
    clientObserver: (any CallObserver)? = nil, configure: (inout ServerConfiguration) -> Void = { _ in },
    options: HTTP2ChannelOptions = HTTP2ChannelOptions()
  ) async throws -> EchoServer {
    let certificates = TestCertificates.shared
    let loopback = Loopback()
    let log = Log()
    let router = ServerRouter(
      [Echo.routes(ObedientEcho(log: log) { loopback.state.withLock { $0 } })], interceptors: interceptors, observer: observer)
    var configuration = ServerConfiguration(
      [unixPath.map { .unix(path: $0) } ?? .ip("127.0.0.1", port: 0)],
      tls: isSecure
        ? TLSServerConfiguration(
          certificateChain: .file(path: certificates.server.certificate), privateKey: .file(path: certificates.server.key)) : nil)
    configure(&configuration)
    let server = try HTTP2Server(router, configuration)
    let address = try await server.start()[0]
    let target = unixPath.map { ChannelTarget.unix(path: $0) } ?? .host(isSecure ? "localhost" : "127.0.0.1", port: address.port!)
    let tls = isSecure ? TLSClientConfiguration(trust: .authorities(.file(path: certificates.authority))) : nil
    let channel = try HTTP2Channel(target, tls: tls, options: options, observer: clientObserver)
    loopback.state.withLock { $0 = EchoClient(channel) }
    return EchoServer(server, channel, loopback, log)
  }

  func stop() async {
    loopback.state.withLock { $0 = nil }
    await channel.close()
    await server.shutDown(grace: .zero)
  }
}

/// Our client with our server.
@Suite(.timeLimit(.minutes(2))) struct ChannelTests {
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
