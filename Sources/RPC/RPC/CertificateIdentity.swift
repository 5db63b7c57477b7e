import Synchronization

/// Establishes who calls from the certificate that a connection proved itself with.
///
/// What a certificate means is the server's to say: the mapping takes subject and alternative names and gives a principal, or nil for one
/// that it does not know. Calls without a certificate pass as they are, unless it is required.
public final class CertificateIdentity: ServerInterceptor {
  /// Certificates whose principals are remembered, so that a call costs no mapping: a server has fewer clients of its own.
  public static let maxRemembered = 4_096

  private let isRequired: Bool
  private let principal: @Sendable (PeerCertificate) -> Principal?
  private let known = Mutex<[PeerCertificate: Principal]>([:])

  /// Takes its principals from certificates by a mapping of the server's own.
  ///
  /// - Parameters:
  ///   - isRequired: whether calls without a certificate, or with one that the mapping does not know, are refused as UNAUTHENTICATED.
  ///   - principal: whom a certificate stands for; nil for nobody.
  public init(required isRequired: Bool = false, _ principal: @escaping @Sendable (PeerCertificate) -> Principal?) {
    self.isRequired = isRequired
    self.principal = principal
  }

  /// Sets the principal of the peer's certificate, if it has one that means somebody, and goes on.
  public func intercept(_ call: any ServerCall, next: NextServerHandler) async throws {
    if let found = call.context.peer.certificate.flatMap(identify) {
      call.context.principal = found
    } else if isRequired {
      throw RPCError.unauthenticated("a client certificate is needed")
    }
    try await next(call)
  }

  private func identify(_ certificate: PeerCertificate) -> Principal? {
    if let principal = known.withLock({ $0[certificate] }) { return principal }
    guard let principal = principal(certificate) else { return nil }
    known.withLock { known in
      if known.count >= Self.maxRemembered { known = [:] }
      known[certificate] = principal
    }
    return principal
  }
}
