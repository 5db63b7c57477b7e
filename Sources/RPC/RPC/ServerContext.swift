import Synchronization

/// One call as its handler sees it.
public final class ServerContext: CallContext, @unchecked Sendable {
  // Sendable: see CallContext; the response side stands under `response`.

  /// The method called.
  public let method: MethodDescriptor
  /// What the caller sent along.
  public let metadata: Metadata
  /// Where the call came from.
  public let peer: Peer

  private let response = Mutex(Response())
  /// Whether a handler ever set one of them; most don't, and the transport needs no lock to see that.
  private let hasResponse = Atomic<Bool>(false)
  private let compresses = Atomic<Bool>(true)

  private struct Response {
    var metadata = Metadata()
    var trailers = Metadata()
  }

  /// A call's context, as a transport makes it.
  public init(
    method: MethodDescriptor, metadata: Metadata = Metadata(), peer: Peer, deadline: Deadline = .never, principal: Principal = .anonymous,
    trace: TraceContext? = nil, executor: (any TaskExecutor)? = nil
  ) {
    self.method = method
    self.metadata = metadata
    self.peer = peer
    super.init(deadline: deadline, principal: principal, trace: trace, executor: executor)
  }

  /// Leading metadata of the response. What is set after the first response message was written goes nowhere.
  public var responseMetadata: Metadata {
    get { hasResponse.load(ordering: .acquiring) ? response.withLock { $0.metadata } : Metadata() }
    set {
      response.withLock { $0.metadata = newValue }
      hasResponse.store(true, ordering: .releasing)
    }
  }

  /// Metadata that follows the last message, beside the status.
  public var trailers: Metadata {
    get { hasResponse.load(ordering: .acquiring) ? response.withLock { $0.trailers } : Metadata() }
    set {
      response.withLock { $0.trailers = newValue }
      hasResponse.store(true, ordering: .releasing)
    }
  }

  /// Whether response messages sent from now on are compressed, if the server does so at all and the client accepts it; true to begin with.
  public var compressesResponses: Bool {
    get { compresses.load(ordering: .relaxed) }
    set { compresses.store(newValue, ordering: .relaxed) }
  }

  /// The call that the running task serves; nil outside of handlers.
  public static var serving: ServerContext? { CallContext.current as? ServerContext }
}

/// The other end of a call. Made once a connection.
public final class Peer: Sendable {
  /// `ipv4:127.0.0.1:5000`, `ipv6:[::1]:5000`, `unix:/run/spanwire.sock`, `in-process`.
  public let address: String
  /// Who the peer proved to be by its TLS certificate; nil without one.
  public let certificate: PeerCertificate?
  /// Whether nobody on the way can read along.
  public let isSecure: Bool

  /// A peer; not secure and without a certificate unless said.
  public init(address: String, isSecure: Bool = false, certificate: PeerCertificate? = nil) {
    self.address = address
    self.isSecure = isSecure
    self.certificate = certificate
  }

  /// The caller in the same process.
  public static let inProcess = Peer(address: "in-process", isSecure: true)
}

/// The verified identity of a peer's certificate.
public struct PeerCertificate: Sendable, Hashable {
  /// The subject as RFC 2253 writes it.
  public var subject: String
  /// Subject alternative names.
  public var uris: [String]
  /// DNS names among the subject alternative names.
  public var dnsNames: [String]
  /// Mail addresses among the subject alternative names.
  public var emails: [String]
  /// In digits.
  public var ipAddresses: [String]

  /// The parts of a verified certificate.
  public init(
    subject: String, uris: [String] = [], dnsNames: [String] = [], emails: [String] = [], ipAddresses: [String] = []
  ) {
    self.subject = subject
    self.uris = uris
    self.dnsNames = dnsNames
    self.emails = emails
    self.ipAddresses = ipAddresses
  }
}
