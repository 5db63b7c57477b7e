import Foundation
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireRPCTestSupport
import SpanwireTLS
import SpanwireTestCertificates
import Testing

/// Who server and client are to each other over TLS.
@Suite(.timeLimit(.minutes(15))) struct ServerIdentityTests {
  private static let certificates = TestCertificates.shared
  private static let authorities = PEM.file(path: certificates.authority)

  private static func channel(_ server: EchoServer, withCertificate: Bool, name: String? = nil) throws -> HTTP2Channel {
    let identity = TLSClientConfiguration.Identity(
      certificateChain: .file(path: certificates.client.certificate), privateKey: .file(path: certificates.client.key))
    return try HTTP2Channel(
      .host("localhost", port: server.server.addresses[0].port!),
      tls: TLSClientConfiguration(trust: .authorities(authorities), identity: withCertificate ? identity : nil, serverName: name))
  }

  /// A mapping of a server's own.
  private static let nodes: @Sendable (PeerCertificate) -> Principal? = { certificate in
    guard let uri = certificate.uris.first, uri.hasPrefix("spanwire://node/") else { return nil }
    return Principal(kind: .service, id: String(uri.dropFirst("spanwire://node/".count)), surface: .internal)
  }

  @Test("a client certificate is the caller's identity, by the server's own mapping", arguments: [false, true])
  func mapping(isRequired: Bool) async throws {
    let server = try await EchoServer.start(
      isSecure: true, interceptors: [CertificateIdentity(required: isRequired, Self.nodes)],
      configure: { $0.tls?.clientCertificates = .verified(authorities: Self.authorities) })
    let node = try Self.channel(server, withCertificate: true)
    for _ in 0..<2 { #expect(try await EchoClient(node).get(Text(value: "whoami")).value == "service:node-1") }
    let nobody = try Self.channel(server, withCertificate: false)
    if isRequired {
      let error = await #expect(throws: RPCError.self) { try await EchoClient(nobody).get(Text(value: "whoami")) }
      #expect(error?.code == .unauthenticated)
    } else {
      #expect(try await EchoClient(nobody).get(Text(value: "whoami")).value == "anonymous:")
    }
    await node.close()
    await nobody.close()
    await server.stop()
  }

  @Test("a server that requires a certificate has no connection without one")
  func required() async throws {
    let server = try await EchoServer.start(
      isSecure: true, configure: { $0.tls?.clientCertificates = .required(authorities: Self.authorities) })
    let node = try Self.channel(server, withCertificate: true)
    #expect(try await EchoClient(node).get(Text(value: "hi")).value == "hi")
    let nobody = try Self.channel(server, withCertificate: false)
    let error = await #expect(throws: RPCError.self) { try await EchoClient(nobody).get(Text(value: "hi")) }
    #expect(error?.code == .unavailable)
    await node.close()
    await nobody.close()
    await server.stop()
  }

  @Test("certificates are read again while the server runs: new connections see them, old ones go on; unusable ones change nothing")
  func reload() async throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "spanwire-reload-\(UUID().uuidString.prefix(8))")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let (certificate, key) = (folder.appending(path: "tls.pem"), folder.appending(path: "tls.key"))
    func install(_ pair: (certificate: String, key: String)) throws {
      try Data(contentsOf: URL(filePath: pair.certificate)).write(to: certificate)
      try Data(contentsOf: URL(filePath: pair.key)).write(to: key)
    }
    try install(Self.certificates.server)
    let server = try await EchoServer.start(
      isSecure: true,
      configure: {
        $0.tls = TLSServerConfiguration(certificateChain: .file(path: certificate.path), privateKey: .file(path: key.path))
      })
    #expect(try await server.echo.get(Text(value: "old")).value == "old")
    try Data("no certificate".utf8).write(to: certificate)
    #expect(throws: TLSError.self) { try server.server.reloadCertificates() }
    try install(Self.certificates.renewed)
    try server.server.reloadCertificates()
    let new = try Self.channel(server, withCertificate: false, name: "renewed.test")
    #expect(try await EchoClient(new).get(Text(value: "new")).value == "new")
    #expect(try await server.echo.get(Text(value: "still here")).value == "still here")
    await new.close()
    await server.stop()
  }

  @Test("a client that comes back need not shake hands in full", arguments: ["TLSv1_2", "TLSv1_3"])
  func resumption(version: String) async throws {
    let server = try await EchoServer.start(isSecure: true)
    let client = try ForeignProcess("resume.py", ["\(server.server.addresses[0].port!)", Self.certificates.authority, version])
    var lines: [String] = []
    for await line in client.lines { lines.append(line) }
    #expect(lines == ["resumed"])
    await server.stop()
  }

  @Test("a socket's file has its mode, replaces a dead server's, gives way to a living one's and goes with the server")
  func unixSocket() async throws {
    let path = FileManager.default.temporaryDirectory.appending(path: "spanwire-\(UUID().uuidString.prefix(8)).sock").path
    let server = try await EchoServer.start(unixPath: path, configure: { $0.endpoints = [.unix(path: path, mode: 0o600)] })
    #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o600)
    #expect(try await server.echo.get(Text(value: "hi")).value == "hi")
    await #expect(throws: ServerStartError.self) { try await EchoServer.start(unixPath: path) }
    #expect(try await server.echo.get(Text(value: "hi")).value == "hi", "the living one still has its file")
    await server.stop()
    #expect(!FileManager.default.fileExists(atPath: path))
    // What a killed server leaves: a file behind which nobody listens.
    let dead = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let size = socklen_t(MemoryLayout<sockaddr_un>.size)
    let bound = withUnsafePointer(to: address) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(dead, $0, size) } }
    #expect(bound == 0)
    close(dead)
    let next = try await EchoServer.start(unixPath: path)
    #expect(try await next.echo.get(Text(value: "hi")).value == "hi")
    await next.stop()
    #expect(!FileManager.default.fileExists(atPath: path))
  }
}
