import SpanwireEventLoop
import SpanwireHTTP2
import SpanwireRPC
import SpanwireTLS

/// How a server listens and what it puts up with.
public struct ServerConfiguration: Sendable {
  /// A place to listen.
  public enum Endpoint: Sendable, Hashable {
    /// An address in digits; port 0 lets the system choose.
    case ip(String, port: UInt16)
    /// A socket in the file system, with the permissions of its file; without, the process's own umask decides. Whoever may write to the
    /// file may connect. One that a dead server left is replaced, and the file goes when the server stops.
    case unix(path: String, mode: UInt32? = nil)
  }

  /// Where to listen.
  public var endpoints: [Endpoint]
  /// nil serves in the clear.
  public var tls: TLSServerConfiguration?
  /// What one connection may ask.
  public var limits = HTTP2Limits()

  /// Connections at a time: each costs a descriptor and some 10 KiB.
  public var maxConnections = 20_000
  /// Connections at a time from one address: one peer must not take them all.
  public var maxConnectionsPerPeer = 1_000
  /// Whether that holds for this machine's own addresses too, behind which a proxy may stand that serves many.
  public var limitsLocalPeers = false
  /// From the connection to the end of handshake and preface. Who takes longer is no client.
  public var handshakeTimeout = Duration.seconds(10)
  /// From the first byte of a header block to its last.
  public var headerTimeout = Duration.seconds(10)
  /// From the headers of a call with one request to the end of that request, for calls without a deadline.
  public var requestTimeout = Duration.seconds(60)
  /// A connection without calls for so long is told to go; nil lets it stay.
  public var idleTimeout: Duration? = .seconds(1800)
  /// After so long, give or take a tenth so that they don't all go at once, a connection is told to go: clients find new servers by that.
  /// nil lets it stay.
  public var maxConnectionAge: Duration?
  /// What calls get to finish after the connection was told to go for its age.
  public var maxConnectionAgeGrace = Duration.seconds(30)
  /// So long without a byte from a client, and it is asked for a sign of life; nil never asks. What gRPC's servers do by default.
  public var keepaliveInterval: Duration? = .seconds(7200)
  /// So long for it to give one, or the connection is closed.
  public var keepaliveTimeout = Duration.seconds(20)
  /// Compresses responses for clients that accept it; nil never does.
  public var compression: Compression?

  /// A server at some places, in the clear unless it has certificates.
  public init(_ endpoints: [Endpoint], tls: TLSServerConfiguration? = nil) {
    self.endpoints = endpoints
    self.tls = tls
  }

  /// A server at one address, this machine's own unless said.
  public init(host: String = "127.0.0.1", port: UInt16, tls: TLSServerConfiguration? = nil) {
    self.init([.ip(host, port: port)], tls: tls)
  }

  /// Bytes queued on a stream at which its writer waits: enough to fill a flush.
  static let highWater = 64 * 1024
  /// Bytes queued at which it goes on.
  static let lowWater = 32 * 1024
}

/// A server that could not start.
public enum ServerStartError: Error, CustomStringConvertible {
  case noAddress(String)
  case listen(ServerConfiguration.Endpoint, SystemError)

  /// What failed, where, and why.
  public var description: String {
    switch self {
    case .noAddress(let text): "\(text) is no address to listen on"
    case .listen(let endpoint, let error): "cannot listen on \(endpoint): \(error)"
    }
  }
}
