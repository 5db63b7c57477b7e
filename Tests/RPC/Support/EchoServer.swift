import SpanwireEventLoop
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
  /// The server's own time, if it stands still.
  private let time: StoppedTime?

  /// A loop whose time tests move.
  private struct StoppedTime {
    let clock = ManualLoopClock(Deadline.now().nanoseconds)
    let group: EventLoopGroup

    init() { group = EventLoopGroup(loops: 1, clock: clock) }
  }

  package final class Loopback: Sendable {
    package let state = Mutex<EchoClient?>(nil)
    package init() {}
  }

  package var echo: EchoClient { EchoClient(channel) }

  private init(_ server: HTTP2Server, _ channel: HTTP2Channel, _ loopback: Loopback, _ log: Log, _ time: StoppedTime?) {
    self.log = log
    self.server = server
    self.channel = channel
    self.loopback = loopback
    self.time = time
  }

  /// Starts it. With `timeStops`, its timeouts wait for `pass`; calls need no deadline then.
  package static func start(
    service: (any EchoService)? = nil, isSecure: Bool = false, unixPath: String? = nil, limits: MessageLimits = .default,
    interceptors: [any ServerInterceptor] = [], observer: (any CallObserver)? = nil,
    clientObserver: (any CallObserver)? = nil, configure: (inout ServerConfiguration) -> Void = { _ in },
    options: HTTP2ChannelOptions = HTTP2ChannelOptions(), timeStops: Bool = false
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
    let time = timeStops ? StoppedTime() : nil
    let server = try HTTP2Server(router, configuration, group: time?.group ?? .shared)
    let address = try await server.start()[0]
    let target = unixPath.map { ChannelTarget.unix(path: $0) } ?? .host(isSecure ? "localhost" : "127.0.0.1", port: address.port!)
    let tls = isSecure ? TLSClientConfiguration(trust: .authorities(.file(path: certificates.authority))) : nil
    let channel = try HTTP2Channel(target, tls: tls, options: options, observer: clientObserver)
    loopback.state.withLock { $0 = EchoClient(channel) }
    return EchoServer(server, channel, loopback, log, time)
  }

  package func stop() async {
    loopback.state.withLock { $0 = nil }
    await channel.close()
    await withTaskGroup { tasks in
      tasks.addTask { [self] in
        // Who waits for its peer to leave waits on the stopped clock.
        while time != nil, !Task.isCancelled {
          pass(.seconds(1))
          await Task.yield()
        }
      }
      await server.shutDown(grace: .zero)
      tasks.cancelAll()
    }
    time?.group.stop()
  }

  /// Moves the server's time, which stands still.
  package func pass(_ span: Duration) { time!.clock.advance(by: span, waking: time!.group.loops[0]) }

  /// Moves it step by step until something has happened; `hasHappened` waits a little for it. A timer may yet have to be armed when time passes.
  package func pass(_ step: Duration, until hasHappened: () throws -> Bool) rethrows {
    while try !hasHappened() { pass(step) }
  }
}
