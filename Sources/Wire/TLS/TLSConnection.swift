import COpenSSL
import Glibc

/// One TLS connection without a socket: ciphertext in, plaintext out, and the other way round.
///
/// Not thread-safe: it belongs to the loop of its connection. After every call there may be ciphertext to send (`output`), even after one
/// that threw: the alert that tells the peer why.
public final class TLSConnection {
  private let context: TLSContext
  private let ssl: OpaquePointer
  /// At a fixed address, since the BIO points to it.
  private let buffers: UnsafeMutablePointer<spanwire_tls_buffers>
  /// The peer has said that it will send no more.
  public private(set) var isPeerClosed = false
  private var hasFailed = false

  /// A server's end.
  public convenience init(server context: TLSContext) throws(TLSError) {
    precondition(context.isServer)
    try self.init(context)
    SSL_set_accept_state(ssl)
  }

  /// A client's end; its first flight stands in `output` at once.
  public convenience init(client context: TLSContext, serverName: String) throws(TLSError) {
    precondition(!context.isServer)
    try self.init(context)
    let name = context.serverName ?? serverName
    SSL_set_connect_state(ssl)
    var four = in_addr(), six = in6_addr()
    let isAddress = inet_pton(AF_INET, name, &four) == 1 || inet_pton(AF_INET6, name, &six) == 1
    if isAddress {
      if context.verifiesServer {
        guard X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1 else { throw .current("server name") }
      }
    } else {
      guard spanwire_tls_server_name(ssl, name) == 1 else { throw .current("server name") }
      if context.verifiesServer {
        guard SSL_set1_host(ssl, name) == 1 else { throw .current("server name") }
      }
    }
    try receive(UnsafeRawBufferPointer(start: nil, count: 0), scratch: UnsafeMutableRawBufferPointer(start: nil, count: 0)) { _ in }
  }

  private init(_ context: TLSContext) throws(TLSError) {
    self.context = context
    ERR_clear_error()
    guard let ssl = SSL_new(context.pointer) else { throw .current("connection") }
    self.ssl = ssl
    buffers = .allocate(capacity: 1)
    buffers.initialize(to: spanwire_tls_buffers())
    guard spanwire_tls_attach(ssl, TLSContext.bioMethod.pointer, buffers) == 1 else { throw .current("connection") }
  }

  deinit {
    SSL_free(ssl)
    free(buffers.pointee.output)
    buffers.deallocate()
  }

  /// Whether the handshake is done: before, nothing can be sent.
  public var isEstablished: Bool { SSL_is_init_finished(ssl) == 1 }

  /// What ALPN agreed on; nil before the end of the handshake, and when the peer knows no ALPN.
  public var negotiatedProtocol: String? {
    var name: UnsafePointer<UInt8>?
    var length: UInt32 = 0
    SSL_get0_alpn_selected(ssl, &name, &length)
    guard let name, length > 0 else { return nil }
    return String(decoding: UnsafeBufferPointer(start: name, count: Int(length)), as: UTF8.self)
  }

  /// `TLSv1.3`
  public var version: String { String(cString: SSL_get_version(ssl)) }

  /// The cipher suite by its name in the standard, `TLS_AES_256_GCM_SHA384`; nil before the end of the handshake.
  public var cipher: String? {
    guard isEstablished, let cipher = SSL_get_current_cipher(ssl), let name = SSL_CIPHER_standard_name(cipher) else { return nil }
    return String(cString: name)
  }

  /// Takes ciphertext as it came, all of it, and gives what it says to the closure, piece by piece.
  ///
  /// `scratch` is where plaintext is put together; any size will do, a record's 16 KiB is best.
  public func receive(
    _ ciphertext: UnsafeRawBufferPointer, scratch: UnsafeMutableRawBufferPointer, _ plaintext: (UnsafeRawBufferPointer) -> Void
  ) throws(TLSError) {
    if hasFailed { return }
    buffers.pointee.input = ciphertext.assumingMemoryBound(to: UInt8.self).baseAddress
    buffers.pointee.input_length = ciphertext.count
    defer {
      buffers.pointee.input = nil
      buffers.pointee.input_length = 0
    }
    ERR_clear_error()
    if !isEstablished {
      let result = SSL_do_handshake(ssl)
      if result != 1 {
        if SSL_get_error(ssl, result) == SSL_ERROR_WANT_READ { return }
        throw failed("handshake")
      }
    }
    while scratch.count > 0 {
      let count = SSL_read(ssl, scratch.baseAddress, Int32(clamping: scratch.count))
      if count > 0 {
        plaintext(UnsafeRawBufferPointer(rebasing: scratch[..<Int(count)]))
        continue
      }
      switch SSL_get_error(ssl, count) {
      case SSL_ERROR_WANT_READ: return
      case SSL_ERROR_ZERO_RETURN:
        isPeerClosed = true
        return
      default: throw failed("read")
      }
    }
  }

  /// Encrypts plaintext into `output`, all of it. Only once established.
  public func send(_ plaintext: UnsafeRawBufferPointer) throws(TLSError) {
    precondition(isEstablished || hasFailed, "nothing can be sent before the handshake is done")
    if hasFailed || plaintext.isEmpty { return }
    ERR_clear_error()
    var count = 0
    guard SSL_write_ex(ssl, plaintext.baseAddress, plaintext.count, &count) == 1, count == plaintext.count else { throw failed("write") }
  }

  /// Tells the peer that nothing more will come. What was sent before still arrives.
  public func close() {
    if hasFailed || !isEstablished { return }
    ERR_clear_error()
    SSL_shutdown(ssl)
    ERR_clear_error()
  }

  /// Ciphertext that waits to be sent.
  public var outputBytes: Int { buffers.pointee.output_length }

  /// Gives the waiting ciphertext to the closure, which says how much of it was sent; the rest waits.
  ///
  /// When all was sent, the buffer goes back to the system: an idle connection holds none.
  public func output(_ send: (UnsafeRawBufferPointer) throws -> Int) rethrows {
    let length = buffers.pointee.output_length
    guard length > 0, let base = buffers.pointee.output else { return }
    let sent = try send(UnsafeRawBufferPointer(start: base, count: length))
    precondition((0...length).contains(sent))
    if sent == length {
      free(base)
      buffers.pointee.output = nil
      buffers.pointee.output_capacity = 0
    } else if sent > 0 {
      memmove(base, base + sent, length - sent)
    }
    buffers.pointee.output_length = length - sent
  }

  /// Who the peer is, if it presented a certificate that verified.
  public var peer: TLSPeer? {
    guard isEstablished, context.isServer || context.verifiesServer, let certificate = SSL_get1_peer_certificate(ssl) else { return nil }
    defer { X509_free(certificate) }
    return TLSPeer(certificate)
  }

  private func failed(_ action: String) -> TLSError {
    hasFailed = true
    let verification = SSL_get_verify_result(ssl)
    if !isEstablished, verification != X509_V_OK, let text = X509_verify_cert_error_string(verification) {
      ERR_clear_error()
      return TLSError("\(action): certificate verify failed", reason: String(cString: text))
    }
    return .current(action)
  }
}

/// The identity in a verified certificate.
public struct TLSPeer: Sendable, Hashable {
  /// The subject as RFC 2253 writes it: `CN=node-1,O=Spanwire`.
  public var subject: String
  /// Subject alternative names.
  public var dnsNames: [String] = []
  /// URIs among the subject alternative names.
  public var uris: [String] = []
  /// Mail addresses among the subject alternative names.
  public var emails: [String] = []
  /// In digits, `10.0.0.1` or `fd00::1`.
  public var ipAddresses: [String] = []

  init(_ certificate: OpaquePointer) {
    let bio = BIO_new(BIO_s_mem())
    defer { BIO_free(bio) }
    spanwire_tls_print_name(bio, X509_get_subject_name(certificate))
    var text = [UInt8](repeating: 0, count: Self.maxSubjectBytes)
    let length = BIO_read(bio, &text, Int32(text.count))
    subject = String(decoding: text.prefix(Int(max(0, length))), as: UTF8.self)

    var names: [(type: Int32, bytes: [UInt8])] = []
    withUnsafeMutablePointer(to: &names) { names in
      spanwire_tls_names(certificate, names) { context, type, bytes, length in
        let names = context!.assumingMemoryBound(to: [(type: Int32, bytes: [UInt8])].self)
        names.pointee.append((type, Array(UnsafeBufferPointer(start: bytes, count: Int(length)))))
      }
    }
    func texts(_ type: Int32) -> [String] { names.filter { $0.type == type }.map { String(decoding: $0.bytes, as: UTF8.self) } }
    dnsNames = texts(GEN_DNS)
    uris = texts(GEN_URI)
    emails = texts(GEN_EMAIL)
    ipAddresses = names.filter { $0.type == GEN_IPADD }.compactMap { Self.digits($0.bytes) }
  }

  private static func digits(_ address: [UInt8]) -> String? {
    guard address.count == 4 || address.count == 16 else { return nil }
    var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    guard inet_ntop(address.count == 4 ? AF_INET : AF_INET6, address, &text, socklen_t(text.count)) != nil else { return nil }
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Longer subjects are cut: whoever needs one needs another certificate.
  private static let maxSubjectBytes = 1024
}
