/// Certificates or a key in PEM form.
public enum PEM: Sendable, Hashable {
  case file(path: String)
  case text(String)
}

/// How a server proves itself, and what it asks of its clients.
public struct TLSServerConfiguration: Sendable, Hashable {
  /// What is asked of clients.
  public enum ClientCertificates: Sendable, Hashable {
    /// None is asked for.
    case ignored
    /// A client may present one; one that does not verify ends the connection.
    case verified(authorities: PEM)
    /// No connection without one.
    case required(authorities: PEM)
  }

  /// The server's certificate first, then those that lead to the root.
  public var certificateChain: PEM
  /// The key of the first certificate.
  public var privateKey: PEM
  /// What is asked of clients.
  public var clientCertificates: ClientCertificates
  /// What ALPN may choose, the favourite first. A client that offers ALPN without any of them is refused.
  public var protocols: [String]

  /// A server's certificate and key, and what it asks of clients.
  public init(
    certificateChain: PEM, privateKey: PEM, clientCertificates: ClientCertificates = .ignored, protocols: [String] = ["h2"]
  ) {
    self.certificateChain = certificateChain
    self.privateKey = privateKey
    self.clientCertificates = clientCertificates
    self.protocols = protocols
  }
}

/// Whom a client trusts, and how it proves itself if asked.
public struct TLSClientConfiguration: Sendable, Hashable {
  /// Whose word counts for the server's certificate.
  public enum Trust: Sendable, Hashable {
    /// The roots that the system comes with.
    case system
    case authorities(PEM)
    /// Anybody: for tests against servers whose certificate nobody can verify. Encrypts, proves nothing.
    case anybody
  }

  /// Whose word counts for the server's certificate.
  public var trust: Trust
  /// The client's own certificate and key, if it has any.
  public var identity: Identity?
  /// The name that the server's certificate must bear, where it differs from that of the target.
  public var serverName: String?
  /// What is offered by ALPN, the favourite first.
  public var protocols: [String]

  /// A certificate with its key.
  public struct Identity: Sendable, Hashable {
    /// The certificate first, then those that lead to the root.
    public var certificateChain: PEM
    /// The key of the first certificate.
    public var privateKey: PEM

    /// A certificate with its key.
    public init(certificateChain: PEM, privateKey: PEM) {
      self.certificateChain = certificateChain
      self.privateKey = privateKey
    }
  }

  /// Trusts the system's roots and shows no certificate, unless told otherwise.
  public init(trust: Trust = .system, identity: Identity? = nil, serverName: String? = nil, protocols: [String] = ["h2"]) {
    self.trust = trust
    self.identity = identity
    self.serverName = serverName
    self.protocols = protocols
  }
}
