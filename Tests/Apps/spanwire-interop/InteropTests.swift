import SpanwireRPC
import SpanwireRPCInProcess
import SpanwireRPCOverHTTP2
import SpanwireTLS
import SpanwireTestCertificates
import Testing

@testable import spanwire_interop

/// Our client against our server; against others' both are put by `tools/interop`.
@Suite(.timeLimit(.minutes(15))) struct InteropTests {
  struct Row: Sendable, CustomTestStringConvertible {
    let name: String
    let isSecure: Bool
    var testDescription: String { "\(name)\(isSecure ? " over TLS" : "")" }
  }

  static let rows = [false, true].flatMap { isSecure in InteropCase.all.map { Row(name: $0.name, isSecure: isSecure) } }

  @Test("every case of the public description holds between our client and our server", arguments: rows)
  func cases(_ row: Row) async throws {
    let certificates = TestCertificates.shared
    var configuration = ServerConfiguration(port: 0)
    configuration.compression = .gzip
    if row.isSecure {
      configuration.tls = TLSServerConfiguration(
        certificateChain: .file(path: certificates.server.certificate), privateKey: .file(path: certificates.server.key))
    }
    let server = try HTTP2Server(InteropService.router(), configuration)
    let target = try #require(ChannelTarget("\(try await server.start()[0])"))
    let tls = row.isSecure ? TLSClientConfiguration(trust: .authorities(.file(path: certificates.authority))) : nil
    var settings = InteropSettings()
    settings.concurrentCalls = 20
    settings.soak.iterations = 4
    settings.soak.tasks = 2
    settings.soak.acceptableLatency = .seconds(30)
    let client = try InteropClient(settings: settings) {
      let channel = try HTTP2Channel(target, tls: tls)
      return InteropClient.Connection(channel: channel) { await channel.close() }
    }
    try await InteropCase.all.first { $0.name == row.name }!.run(client)
    await client.connection.close()
    await server.shutDown(grace: .seconds(5))
  }

  @Test(
    "flags are read in both of their forms",
    arguments: [
      ["--server_port=7", "--test_case=large_unary", "--use_tls=true"],
      ["--server_port", "7", "--test_case", "large_unary", "--use_tls", "true"],
      ["-server-port=7", "--test-case", "large_unary", "--use_tls"],
    ])
  func flags(_ arguments: [String]) throws {
    let flags = try InteropFlags(arguments, known: Interop.clientFlags)
    #expect(try flags.port("server_port") == 7)
    #expect(flags["test_case"] == "large_unary")
    #expect(try flags.bool("use_tls"))
    #expect(try !flags.bool("use_test_ca"))
  }

  @Test(
    "a soak fails when more calls fail, or are late, than may",
    arguments: [
      (maxFailures: 1, responseSize: 10, latency: Duration.zero, fails: true), (2, 10, .zero, false), (0, 10, .seconds(30), false),
      (1, InteropService.maxResponseBytes + 1, .seconds(30), true),
    ])
  func soak(_ maxFailures: Int, _ responseSize: Int, _ latency: Duration, _ fails: Bool) async throws {
    var settings = InteropSettings()
    settings.soak.iterations = 2
    settings.soak.maxFailures = maxFailures
    settings.soak.responseSize = responseSize
    settings.soak.acceptableLatency = latency
    settings.soak.overallTimeout = .seconds(60)
    let channel = InProcessChannel(InteropService.router())
    let client = try InteropClient(settings: settings) { InteropClient.Connection(channel: channel) {} }
    do {
      try await client.soak(freshChannels: false)
      #expect(!fails)
    } catch is InteropFailure {
      #expect(fails)
    }
  }

  @Test("metadata of the flag goes with every call, and what is none is refused")
  func additionalMetadata() async throws {
    let pairs = try AdditionalMetadata("a:1;b:2:3").pairs
    #expect(pairs.map(\.name) == ["a", "b"])
    #expect(pairs.map(\.value) == ["1", "2:3"])
    for text in ["a", "a:1;:2", "grpc-x:1", "a-bin:AA"] {
      #expect(throws: InteropFlags.Misuse.self) { try AdditionalMetadata(text) }
    }
  }

  @Test(
    "flags that mean nothing are refused with their name",
    arguments: [
      (["--teste_case=a"], "--teste_case=a is unknown"), (["server"], "server is no flag"),
      (["--server_port=70000"], "--server_port is a port, not 70000"), ([], "--server_port is missing"),
    ])
  func misuse(_ arguments: [String], _ text: String) throws {
    let error = #expect(throws: InteropFlags.Misuse.self) {
      try InteropFlags(arguments, known: Interop.clientFlags).port("server_port")
    }
    #expect(error?.description == text)
  }
}
