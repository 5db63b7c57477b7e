import SpanwireTLS
import SpanwireTestCertificates
import Testing

/// Two ends of a connection, joined in memory.
final class Pair {
  let server: TLSConnection
  let client: TLSConnection
  var received: (byServer: [UInt8], byClient: [UInt8]) = ([], [])
  /// Bytes that cross at a time: any cut must do.
  var step = Int.max
  private let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 16 * 1024, alignment: 1)

  init(_ server: TLSContext, _ client: TLSContext, serverName: String = "localhost") throws {
    self.server = try TLSConnection(server: server)
    self.client = try TLSConnection(client: client, serverName: serverName)
  }

  deinit { scratch.deallocate() }

  /// Carries bytes to and fro until nothing waits.
  func settle() throws {
    while client.outputBytes > 0 || server.outputBytes > 0 {
      let fromClient = take(client), fromServer = take(server)
      try fromClient.withUnsafeBytes { bytes throws in try server.receive(bytes, scratch: scratch) { received.byServer += $0 } }
      try fromServer.withUnsafeBytes { bytes throws in try client.receive(bytes, scratch: scratch) { received.byClient += $0 } }
    }
  }

  private func take(_ end: TLSConnection) -> [UInt8] {
    var taken: [UInt8] = []
    end.output { bytes in
      taken = Array(bytes.prefix(step))
      return taken.count
    }
    return taken
  }
}

@Suite struct TLSTests {
  static let certificates = TestCertificates.shared

  static func server(
    _ pair: (certificate: String, key: String) = certificates.server, clients: TLSServerConfiguration.ClientCertificates = .ignored,
    protocols: [String] = ["h2"]
  ) throws -> TLSContext {
    try TLSContext(
      server: TLSServerConfiguration(
        certificateChain: .file(path: pair.certificate), privateKey: .file(path: pair.key), clientCertificates: clients,
        protocols: protocols))
  }

  static func client(
    _ trust: TLSClientConfiguration.Trust = .authorities(.file(path: certificates.authority)),
    _ pair: (certificate: String, key: String)? = nil, protocols: [String] = ["h2"]
  ) throws -> TLSContext {
    try TLSContext(
      client: TLSClientConfiguration(
        trust: trust,
        identity: pair.map {
          TLSClientConfiguration.Identity(certificateChain: .file(path: $0.certificate), privateKey: .file(path: $0.key))
        }, protocols: protocols))
  }

  @Test("two ends agree on h2 and exchange any amount in any cuts, in either version", arguments: TLSVersion.allCases, [1, 7, 1_000, .max])
  func exchange(version: TLSVersion, step: Int) throws {
    let client = try Self.client()
    client.allowOnly(version)
    let pair = try Pair(try Self.server(), client)
    pair.step = step
    try pair.settle()
    #expect(pair.client.isEstablished && pair.server.isEstablished)
    #expect(pair.client.negotiatedProtocol == "h2" && pair.server.negotiatedProtocol == "h2")
    #expect(pair.client.version == (version == .tls12 ? "TLSv1.2" : "TLSv1.3"))
    for size in [0, 1, 100, 16 * 1024, 16 * 1024 + 1, step == 1 ? 20_000 : 300_000] {
      let message = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) }
      pair.received = ([], [])
      try message.withUnsafeBytes { bytes throws in try pair.client.send(bytes) }
      try message.withUnsafeBytes { bytes throws in try pair.server.send(bytes) }
      try pair.settle()
      #expect(pair.received.byServer == message && pair.received.byClient == message)
    }
    pair.client.close()
    try pair.settle()
    #expect(pair.server.isPeerClosed && !pair.client.isPeerClosed)
  }

  @Test(
    "a server's certificate must come from a trusted authority and bear the name",
    arguments: [
      ("localhost", true, true), ("127.0.0.1", true, true), ("::1", true, true), ("example.org", true, false), ("127.0.0.2", true, false),
      ("localhost", false, false),
    ])
  func verification(name: String, fromAuthority: Bool, passes: Bool) throws {
    let server = try Self.server(fromAuthority ? Self.certificates.server : Self.certificates.stranger)
    let pair = try Pair(server, try Self.client(), serverName: name)
    if passes {
      try pair.settle()
      #expect(pair.client.peer?.subject == "O=Spanwire,CN=localhost")
    } else {
      let error = #expect(throws: TLSError.self) { try pair.settle() }
      #expect(error?.action.contains("certificate verify failed") == true, "\(String(describing: error))")
      // The alert tells the server why.
      #expect(pair.client.outputBytes > 0)
      #expect(throws: TLSError.self) { try pair.settle() }
      #expect(!pair.server.isEstablished)
    }
  }

  @Test("a client that trusts anybody connects to a stranger and claims to know nobody")
  func anybody() throws {
    let pair = try Pair(try Self.server(Self.certificates.stranger), try Self.client(.anybody))
    try pair.settle()
    #expect(pair.client.isEstablished && pair.client.peer == nil)
  }

  @Test("a client's certificate gives the server its names", arguments: TLSVersion.allCases)
  func mutual(version: TLSVersion) throws {
    let authorities = PEM.file(path: Self.certificates.authority)
    for clients in [TLSServerConfiguration.ClientCertificates.verified(authorities: authorities), .required(authorities: authorities)] {
      let client = try Self.client(.authorities(authorities), Self.certificates.client)
      client.allowOnly(version)
      let pair = try Pair(try Self.server(clients: clients), client)
      try pair.settle()
      #expect(pair.server.peer?.subject == "CN=node-1,O=Spanwire")
      #expect(pair.server.peer?.uris == ["spanwire://node/node-1"])
      #expect(pair.server.peer?.dnsNames == ["node-1.test"])
      #expect(pair.server.peer?.emails == ["ops@node-1.test"])
      #expect(pair.server.peer?.ipAddresses == ["10.0.0.1", "fd00::1"])
    }
  }

  @Test(
    "a client without a certificate, or with a stranger's, is let in only where that is allowed",
    arguments: [(false, false, true), (true, false, false), (false, true, false), (true, true, false)])
  func clientRefusal(isRequired: Bool, isStranger: Bool, passes: Bool) throws {
    let authorities = PEM.file(path: Self.certificates.authority)
    let server = try Self.server(clients: isRequired ? .required(authorities: authorities) : .verified(authorities: authorities))
    let pair = try Pair(server, try Self.client(.authorities(authorities), isStranger ? Self.certificates.stranger : nil))
    if passes {
      try pair.settle()
      #expect(pair.server.isEstablished && pair.server.peer == nil)
    } else {
      #expect(throws: TLSError.self) { try pair.settle() }
      #expect(!pair.server.isEstablished)
    }
  }

  @Test("a client that offers no protocol of ours is refused")
  func noCommonProtocol() throws {
    let pair = try Pair(try Self.server(), try Self.client(protocols: ["http/1.1"]))
    #expect(throws: TLSError.self) { try pair.settle() }
    #expect(!pair.server.isEstablished)
  }

  @Test("the server's favourite protocol wins")
  func favourite() throws {
    let pair = try Pair(try Self.server(protocols: ["h2", "http/1.1"]), try Self.client(protocols: ["http/1.1", "h2"]))
    try pair.settle()
    #expect(pair.client.negotiatedProtocol == "h2")
  }

  @Test("bytes that are no TLS end the connection with an error, and later ones are ignored")
  func garbage() throws {
    let server = try TLSConnection(server: try Self.server())
    let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 100, alignment: 1)
    defer { scratch.deallocate() }
    let bytes = Array("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8)
    #expect(throws: TLSError.self) { try bytes.withUnsafeBytes { bytes throws in try server.receive(bytes, scratch: scratch) { _ in } } }
    try bytes.withUnsafeBytes { bytes throws in try server.receive(bytes, scratch: scratch) { _ in } }
    #expect(!server.isEstablished)
  }

  @Test("new connections take a renewed certificate, old ones go on")
  func renewal() throws {
    let slot = TLSContextSlot(try Self.server())
    let old = try Pair(slot.context, try Self.client())
    try old.settle()
    slot.replace(with: try Self.server(Self.certificates.renewed))
    let new = try Pair(slot.context, try Self.client(), serverName: "renewed.test")
    try new.settle()
    #expect(new.client.peer?.dnsNames == ["renewed.test"])
    try Array("still here".utf8).withUnsafeBytes { bytes throws in try old.client.send(bytes) }
    try old.settle()
    #expect(old.received.byServer == Array("still here".utf8))
  }

  @Test(
    "unusable certificates and keys are refused when they are loaded",
    arguments: [
      ("server.pem", "client.key"), ("nothing.pem", "server.key"), ("server.pem", "nothing.key"), ("server.key", "server.key"),
    ])
  func unusable(certificate: String, key: String) {
    #expect(throws: TLSError.self) {
      try Self.server((Self.certificates.path(certificate), Self.certificates.path(key)))
    }
  }
}
