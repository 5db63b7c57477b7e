import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireTLS
import SpanwireTestCertificates
import Synchronization

/// A server of an obedient echo and a channel to it.
package final class EchoServer: Sendable {
  package let log: Log
  package let server: HTTP2Server
  package let channel: HTTP2Channel
  private let loopback: Loopback

  package final class Loopback: Sendable {
    package let state = Mutex<EchoClient?>(nil)
    package init() {}
  }

  package var echo: EchoClient { EchoClient(channel) }

  private init(_ server: HTTP2Server, _ channel: HTTP2Channel, _ loopback: Loopback, _ log: Log) {
    self.log = log
    self.server = server
    self.channel = channel
    self.loopback = loopback
  }

  package static func start(
    service: (any EchoService)? = nil, isSecure: Bool = false, unixPath: String? = nil, limits: MessageLimits = .default,
    interceptors: [any ServerInterceptor] = [], observer: (any CallObserver)? = nil,
    clientObserver: (any CallObserver)? = nil, configure: (inout ServerConfiguration) -> Void = { _ in },
    options: HTTP2ChannelOptions = HTTP2ChannelOptions()
  ) async throws -> EchoServer {
    let certificates = TestCertificates.shared
    let loopback = Loopback()
    let log = Log()
    let service = service ?? ObedientEcho(log: log) { loopback.state.withLock { $0 } }
    let router = ServerRouter([Echo.routes(service)], interceptors: interceptors, observer: observer, limits: limits)
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

  package func stop() async {
    loopback.state.withLock { $0 = nil }
    await channel.close()
    await server.shutDown(grace: .zero)
  }
}
