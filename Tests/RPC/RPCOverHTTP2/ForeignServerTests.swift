import SpanwireEventLoop
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireRPCTestSupport
import SpanwireTLS
import SpanwireTestCertificates
import Synchronization
import Testing

/// Our client with stock grpcio as the server.
@Suite(.timeLimit(.minutes(15)), .serialized) struct ForeignServerTests {
  /// Where the lines of the server go.
  final class Listener: Sendable {
    let log = Mutex(Log())
  }

  /// Runs the obedient echo in Python for as long as the body takes. What its handlers write down goes to the listener's log.
  static func withEcho(
    isSecure: Bool = false, streams: Int = 1_000, options: HTTP2ChannelOptions = HTTP2ChannelOptions(),
    _ body: (EchoClient, Listener) async throws -> Void
  ) async throws {
    let certificates = TestCertificates.shared
    let server = try ForeignProcess(
      "echo_server.py",
      ["--streams", "\(streams)"]
        + (isSecure ? ["--certificate", certificates.server.certificate, "--key", certificates.server.key] : []))
    defer { server.kill() }
    let listener = Listener()
    let port = try await server.port()
    let listening = Task {
      for await line in server.lines { listener.log.withLock { $0 }.add(line) }
    }
    let tls = isSecure ? TLSClientConfiguration(trust: .authorities(.file(path: certificates.authority))) : nil
    let channel = try HTTP2Channel(.host(isSecure ? "localhost" : "127.0.0.1", port: port), tls: tls, options: options)
    try await body(EchoClient(channel), listener)
    await channel.close()
    server.finish()
    await listening.value
  }

  @Test("keeps the contract of every channel", arguments: [false, true])
  func contract(isSecure: Bool) async throws {
    try await Self.withEcho(isSecure: isSecure) { echo, listener in
      for contract in ChannelContract.all {
        let own = Log()
        listener.log.withLock { $0 = own }
        try await contract.check(echo, own)
      }
    }
  }

  @Test("calls beyond the server's limit of streams wait their turn")
  func streamLimit() async throws {
    try await Self.withEcho(streams: 1) { echo, _ in
      try await withThrowingTaskGroup(of: Void.self) { group in
        for index in 0..<10 {
          group.addTask { () async throws in #expect(try await echo.get(Text(value: "\(index)")).value == "\(index)") }
        }
        try await group.waitForAll()
      }
    }
  }
}
