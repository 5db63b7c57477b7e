import SpanwireEventLoop
import SpanwireHTTP2
import SpanwireRPC
import SpanwireTLS

/// One client's connection: it watches its age and manners, and makes the streams of its calls.
final class ServerConnection: ConnectionOwner {
  let home: ServerLoop
  let host: String?
  private(set) var connection: Connection!
  private let address: SocketAddress
  private var identity: Peer?
  private var watch: LoopTimer!
  private let opened: UInt64
  /// When the last call ended, or the connection began.
  private var idleSince: UInt64
  private var isDraining = false
  private var drainEnd: UInt64?

  init(_ socket: Socket, _ address: SocketAddress, host: String?, _ home: ServerLoop) throws {
    self.home = home
    self.host = host
    self.address = address
    opened = home.loop.now
    idleSince = home.loop.now
    let tls = try home.server.tls.map { try TLSConnection(server: $0.context) }
    let configuration = home.server.configuration
    connection = Connection(
      .server, socket, on: home.loop, tls: tls, limits: configuration.limits, headerTimeout: configuration.headerTimeout, owner: self)
    watch = LoopTimer(on: home.loop) { [unowned self] in look() }
  }

  func start() {
    watch.arm(after: home.server.configuration.handshakeTimeout)
    do { try connection.start() } catch { connection.close(error) }
  }

  /// Where the client is, and who it proved to be. Made when the first call asks.
  var peer: Peer {
    if let identity { return identity }
    let certificate = connection.peerCertificate.map { PeerCertificate(subject: $0.subject, uris: $0.uris, dnsNames: $0.dnsNames) }
    let text = address.isUnix ? connection.socket.localAddress.description : address.description
    let peer = Peer(address: text, isSecure: connection.tls != nil, certificate: certificate)
    identity = peer
    return peer
  }

  // MARK: Connection

  func connectionIsReady(_ connection: Connection) { armWatch() }

  func openedStream(on connection: Connection) -> HTTP2Stream {
    let stream = home.stream()
    stream.begin(self)
    return stream
  }

  /// A call has ended, and the stream under it.
  func streamEnded() {
    if connection.session.openStreams == 0 { idleSince = home.loop.now }
  }

  func connectionAnswered(_ connection: Connection) { home.reclaim() }

  func connection(_ connection: Connection, receivedGoAway lastStream: Int32, code: HTTP2ErrorCode) {}
  func connection(_ connection: Connection, receivedPong payload: UInt64) {}

  func connectionWasClosed(_ connection: Connection, error: (any Error)?) {
    watch.disarm()
    home.closed(self)
  }

  // MARK: Going

  /// Tells the client to go; calls end in their own time.
  func drain() {
    if isDraining { return }
    isDraining = true
    connection.session.shutDown()
  }

  /// Cancels what is still running and ends the connection.
  func cancelAll() { connection.close() }

  private func armWatch() {
    let configuration = home.server.configuration
    var moment = UInt64.max
    if let idle = configuration.idleTimeout { moment = min(moment, Self.moment(idle, after: idleSince)) }
    if let age = configuration.maxConnectionAge { moment = min(moment, Self.moment(age, after: opened)) }
    if let drainEnd { moment = min(moment, drainEnd) }
    if moment != .max { watch.arm(at: max(moment, home.loop.now + 1_000_000_000)) }
  }

  /// The watch has gone off: is the handshake late, the connection idle or old?
  private func look() {
    let configuration = home.server.configuration
    let now = home.loop.now
    guard connection.isReady else { return connection.close(ConnectionError.timeout("the handshake")) }
    if let drainEnd, now >= drainEnd { return cancelAll() }
    if let age = configuration.maxConnectionAge, now >= Self.moment(age, after: opened), !isDraining {
      drain()
      drainEnd = Self.moment(configuration.maxConnectionAgeGrace, after: now)
    }
    if let idle = configuration.idleTimeout, connection.session.openStreams == 0, now >= Self.moment(idle, after: idleSince) { drain() }
    if connection.session.openStreams > 0 { idleSince = now }
    armWatch()
  }

  private static func moment(_ span: Duration, after start: UInt64) -> UInt64 {
    let (seconds, attoseconds) = span.components
    return start &+ UInt64(max(0, seconds)) &* 1_000_000_000 &+ UInt64(max(0, attoseconds) / 1_000_000_000)
  }
}
