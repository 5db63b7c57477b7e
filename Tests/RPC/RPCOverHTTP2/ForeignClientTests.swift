import Foundation
import SpanwireEventLoop
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireRPCServices
import SpanwireRPCTestSupport
import SpanwireTLS
import SpanwireTestCertificates
import Testing

/// Our server with stock grpcio as the client.
@Suite(.timeLimit(.minutes(15)), .serialized) struct ForeignClientTests {
  enum Wire: String, CaseIterable, Sendable { case clear, secure, unix }

  @Test("a stock client finds everything as gRPC has it", arguments: Wire.allCases)
  func checks(wire: Wire) async throws {
    let log = Log()
    let certificates = TestCertificates.shared
    let loopback = EchoServer.Loopback()
    let health = HealthService(services: [Echo.descriptor])
    let services = [Echo.descriptor, Grpc_Health_V1_Health.descriptor]
    let router = ServerRouter(
      [Echo.routes(ObedientEcho(log: log) { loopback.state.withLock { $0 } }), health.routes]
        + ReflectionService.routes(services: services, files: [Grpc_Health_V1_Health.file]))
    let path = FileManager.default.temporaryDirectory.appending(path: "spanwire-\(UUID().uuidString.prefix(8)).sock").path
    var configuration = ServerConfiguration([wire == .unix ? .unix(path: path) : .ip("127.0.0.1", port: 0)])
    if wire == .secure {
      configuration.tls = TLSServerConfiguration(
        certificateChain: .file(path: certificates.server.certificate), privateKey: .file(path: certificates.server.key))
    }
    let server = try HTTP2Server(router, configuration)
    let address = try await server.start()[0]
    let target = wire == .unix ? "unix:\(path)" : "localhost:\(address.port!)"
    let channel = try HTTP2Channel(
      try #require(ChannelTarget(wire == .clear ? "127.0.0.1:\(address.port!)" : target)),
      tls: wire == .secure ? TLSClientConfiguration(trust: .authorities(.file(path: certificates.authority))) : nil)
    loopback.state.withLock { $0 = EchoClient(channel) }

    let client = try ForeignProcess("echo_client.py", [target] + (wire == .secure ? ["--ca", certificates.authority] : []))
    var passed = 0
    for await line in client.lines {
      if line.hasPrefix("ok ") { passed += 1 } else { Issue.record("\(line)") }
    }
    #expect(client.status == 0 && passed >= 20)
    // Every deadline and every cancellation has reached its handler.
    for handler in ["wait", "expand"] {
      await log.wait(for: "\(handler): cancelled", count: log.lines.count { $0 == "\(handler): begun" })
    }
    await log.wait(for: "expand: ended")

    loopback.state.withLock { $0 = nil }
    await channel.close()
    await server.shutDown(grace: .seconds(1))
    #expect(server.connections == 0)
  }
}
