import COpenSSL
import Glibc
import Synchronization

/// Certificates, keys and rules, loaded and checked: what all connections of a listener or a channel share.
///
/// Immutable. New certificates make a new context; connections keep the one that they began with.
public final class TLSContext: @unchecked Sendable {
  // Sendable: OpenSSL's contexts are safe to share once they are configured, and nothing here changes after `init`.

  let pointer: OpaquePointer
  let isServer: Bool
  let serverName: String?
  let verifiesServer: Bool
  /// OpenSSL keeps a pointer to it.
  private let protocols: UnsafeMutablePointer<spanwire_tls_protocols>

  static let bioMethod: BIOMethod = BIOMethod()

  struct BIOMethod: @unchecked Sendable {
    // Sendable: made once, read from then on.
    let pointer = spanwire_tls_bio_method()!
  }

  /// HTTP/2 forbids all but these with TLS 1.2 (RFC 9113, 9.2.2); TLS 1.3 has its own, all good.
  private static let ciphers = "ECDHE+AESGCM:ECDHE+CHACHA20"

  private init(server: Bool, serverName: String?, verifiesServer: Bool, protocols: [String]) throws(TLSError) {
    ERR_clear_error()
    guard let context = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()) else { throw .current("context") }
    pointer = context
    isServer = server
    self.serverName = serverName
    self.verifiesServer = verifiesServer
    self.protocols = .allocate(capacity: 1)
    self.protocols.initialize(to: spanwire_tls_protocols())
    spanwire_tls_defaults(context)
    guard SSL_CTX_set_cipher_list(context, Self.ciphers) == 1 else { throw .current("ciphers") }
    let wire = protocols.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
    precondition(!wire.isEmpty && wire.count <= 255, "ALPN needs some protocols, and they must fit a byte of length")
    self.protocols.pointee.length = UInt32(wire.count)
    withUnsafeMutableBytes(of: &self.protocols.pointee.bytes) { $0.copyBytes(from: wire) }
    if server { spanwire_tls_accept(context, self.protocols) } else { spanwire_tls_offer(context, self.protocols) }
  }

  deinit {
    SSL_CTX_free(pointer)
    protocols.deallocate()
  }

  /// Loads a server's certificates. Throws `TLSError` when they cannot be read or do not fit their key.
  public convenience init(server configuration: TLSServerConfiguration) throws(TLSError) {
    try self.init(server: true, serverName: nil, verifiesServer: false, protocols: configuration.protocols)
    try use(configuration.certificateChain, configuration.privateKey)
    // Resumed sessions carry the client's certificate only within one such context.
    let name = Array("spanwire".utf8)
    SSL_CTX_set_session_id_context(pointer, name, UInt32(name.count))
    switch configuration.clientCertificates {
    case .ignored: break
    case .verified(let authorities):
      try trust(authorities, announce: true)
      SSL_CTX_set_verify(pointer, SSL_VERIFY_PEER, nil)
    case .required(let authorities):
      try trust(authorities, announce: true)
      SSL_CTX_set_verify(pointer, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nil)
    }
  }

  /// Loads a client's trust and identity. Throws `TLSError` when they cannot be read or do not fit each other.
  public convenience init(client configuration: TLSClientConfiguration) throws(TLSError) {
    try self.init(
      server: false, serverName: configuration.serverName, verifiesServer: configuration.trust != .anybody,
      protocols: configuration.protocols)
    if let identity = configuration.identity { try use(identity.certificateChain, identity.privateKey) }
    switch configuration.trust {
    case .system:
      guard SSL_CTX_set_default_verify_paths(pointer) == 1 else { throw .current("system roots") }
    case .authorities(let authorities): try trust(authorities, announce: false)
    case .anybody: break
    }
    SSL_CTX_set_verify(pointer, verifiesServer ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nil)
  }

  /// Allows one version only: tests of both.
  package func allowOnly(_ version: TLSVersion) { spanwire_tls_limit_version(pointer, version.number) }

  // MARK: -

  private func use(_ chain: PEM, _ key: PEM) throws(TLSError) {
    let certificates = try Self.certificates(chain, "certificate chain")
    defer { for certificate in certificates { X509_free(certificate) } }
    guard SSL_CTX_use_certificate(pointer, certificates[0]) == 1 else { throw .current("certificate chain") }
    for certificate in certificates.dropFirst() {
      X509_up_ref(certificate)  // the chain takes a reference of its own
      guard spanwire_tls_add_chain(pointer, certificate) == 1 else { throw .current("certificate chain") }
    }
    let bio = try MemoryBIO.of(key, "private key")
    defer { BIO_free(bio.pointer) }
    guard let privateKey = PEM_read_bio_PrivateKey(bio.pointer, nil, nil, nil) else { throw .current("private key") }
    defer { EVP_PKEY_free(privateKey) }
    guard SSL_CTX_use_PrivateKey(pointer, privateKey) == 1, SSL_CTX_check_private_key(pointer) == 1 else {
      throw .current("private key")
    }
  }

  private func trust(_ authorities: PEM, announce: Bool) throws(TLSError) {
    let certificates = try Self.certificates(authorities, "authorities")
    defer { for certificate in certificates { X509_free(certificate) } }
    let store = SSL_CTX_get_cert_store(pointer)
    for certificate in certificates {
      guard X509_STORE_add_cert(store, certificate) == 1 else { throw .current("authorities") }
      if announce { SSL_CTX_add_client_CA(pointer, certificate) }
    }
  }

  private static func certificates(_ pem: PEM, _ what: String) throws(TLSError) -> [OpaquePointer] {
    let bio = try MemoryBIO.of(pem, what)
    defer { BIO_free(bio.pointer) }
    ERR_clear_error()
    var certificates: [OpaquePointer] = []
    while let certificate = PEM_read_bio_X509(bio.pointer, nil, nil, nil) { certificates.append(certificate) }
    // The reader ends with "no start line", which is an error only if there was none at all.
    if certificates.isEmpty { throw .current(what) }
    ERR_clear_error()
    return certificates
  }
}

/// Versions of the protocol that are spoken.
public enum TLSVersion: Sendable, Hashable, CaseIterable {
  case tls12, tls13

  var number: Int32 { self == .tls12 ? TLS1_2_VERSION : TLS1_3_VERSION }
}

/// The context that new connections take, exchangeable while a server runs.
public final class TLSContextSlot: Sendable {
  private let state: Mutex<TLSContext>

  /// A slot with its first context.
  public init(_ context: TLSContext) { state = Mutex(context) }

  /// The context that new connections take.
  public var context: TLSContext { state.withLock { $0 } }

  /// New connections use the new context from now on.
  public func replace(with context: TLSContext) { state.withLock { $0 = context } }
}
