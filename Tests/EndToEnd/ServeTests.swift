import Foundation
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireRPCServices
import SpanwireTLS
import SpanwireTestCertificates
import Testing

/// `spanwire serve` as an operator has it: certificates that are renewed, a socket in the file system, a look inside, an end in peace.
@Suite(.serialized, .timeLimit(.minutes(15)))
struct ServeTests {
  private static let certificates = TestCertificates.shared

  @Test("Renewed certificates are taken up at SIGHUP, without a call being lost; who must have a certificate and has none is refused")
  func renewal() async throws {
    let server = try ServerProcess()
    let (certificate, key) = (server.data.appending(path: "tls.pem"), server.data.appending(path: "tls.key"))
    func install(_ pair: (certificate: String, key: String)) throws {
      try Data(contentsOf: URL(filePath: pair.certificate)).write(to: certificate)
      try Data(contentsOf: URL(filePath: pair.key)).write(to: key)
    }
    func channel(name: String?, withCertificate: Bool = true) throws -> HTTP2Channel {
      let own = Self.certificates.client
      return try HTTP2Channel(
        #require(ChannelTarget(server.address)),
        tls: TLSClientConfiguration(
          trust: .authorities(.file(path: Self.certificates.authority)),
          identity: withCertificate
            ? TLSClientConfiguration.Identity(
              certificateChain: .file(path: own.certificate), privateKey: .file(path: own.key)) : nil,
          serverName: name))
    }
    try install(Self.certificates.server)
    try server.start([
      "--tls-cert", certificate.path, "--tls-key", key.path, "--tls-client-ca", Self.certificates.authority, "--tls-require-client-cert",
    ])
    let old = try channel(name: "localhost")
    let request = Grpc_Health_V1_HealthCheckRequest()
    #expect(try await Grpc_Health_V1_HealthClient(old).check(request).status == .serving)

    let stranger = try channel(name: "localhost", withCertificate: false)
    let error = await #expect(throws: RPCError.self) { try await Grpc_Health_V1_HealthClient(stranger).check(request) }
    #expect(error?.code == .unavailable)

    try install(Self.certificates.renewed)
    server.hangUp()
    // Its name verifies as soon as the new certificate is there.
    let new = try channel(name: "renewed.test")
    let options = CallOptions(timeout: .seconds(60), waitForReady: true)
    #expect(try await Grpc_Health_V1_HealthClient(new).check(request, options: options).status == .serving)
    #expect(try await Grpc_Health_V1_HealthClient(old).check(request).status == .serving)
    for channel in [old, stranger, new] { await channel.close() }
    #expect(server.terminate() == 0)
  }

  @Test("A server on a socket of the file system shows itself to operators only, and takes its file along when it goes")
  func unixSocket() throws {
    let server = try ServerProcess()
    let path = FileManager.default.temporaryDirectory.appending(path: "sw-\(UUID().uuidString.prefix(8)).sock").path
    try server.start(listen: "unix:\(path)")
    #expect(server.address == "unix:\(path)")
    #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o600)
    let call = ["call", "--server", server.address, "grpc.channelz.v1.Channelz/GetServers"]
    let shown = try spanwire(call)
    #expect(shown.code == 0 && shown.output.contains("callsStarted"), "\(shown.output)")
    let refused = try spanwire(call, token: "dev:user:USR-0002:vienna:traveller")
    #expect(refused.code == 77, "\(refused.output)")
    #expect(server.terminate() == 0)
    #expect(!FileManager.default.fileExists(atPath: path))
  }

  @Test("A caller who calls too often is told to wait")
  func rateLimit() throws {
    let server = try ServerProcess()
    try server.start(["--rate-limit", "0.001"])
    // The first asks for reflection and may; the call itself comes too soon after it.
    let call = try spanwire(["call", "--server", server.address, "grpc.health.v1.Health/Check"])
    #expect(call.code == 75 && call.output.contains("RESOURCE_EXHAUSTED"), "\(call.output)")
    #expect(server.terminate() == 0)
  }
}
