import SpanwireEventLoop
import SpanwireHTTP2
import SpanwireRPC
import SpanwireTLS

/// One client's connection: it watches its age and manners, and makes the streams of its calls.
final class ServerConnection: ConnectionOwner {
  let home: ServerLoop
  let host: String?
  @exclusivity(unchecked) private(set) var connection: Connection!
  private let address: SocketAddress
  @exclusivity(unchecked) private var identity: Peer?
  private var watch: LoopTimer!
  /// When it is old; `.max` if it never is.
  private let ageEnd: UInt64
  /// When the last call ended, or the connection began.
  @exclusivity(unchecked) private var idleSince: UInt64
  let inspectionID = InspectionID.next()
  /// When the last call began.
  @exclusivity(unchecked) private(set) var lastOpened: UInt64 = 0
  @exclusivity(unchecked) private(set) var callsSucceeded = 0
  @exclusivity(unchecked) private(set) var callsFailed = 0
  /// Messages of calls that are over.
  @exclusivity(unchecked) private(set) var messages = CallTraffic()
  @exclusivity(unchecked) private(set) var keepalivesSent = 0
  private var isDraining = false
  /// When it is closed, whatever still runs, once it was told to go.
  private var drainEnd = UInt64.max
  /// When the client was last asked for a sign of life, while it has not given one.
  private var askedAt: UInt64?

  init(_ socket: Socket, _ address: SocketAddress, host: String?, _ home: ServerLoop) throws {
    self.home = home
    self.host = host
    self.address = address
    idleSince = home.loop.now
    let jitter = Double.random(in: 0.9...1.1)
    ageEnd = home.server.configuration.maxConnectionAge.map { home.loop.moment(after: $0 * jitter) } ?? .max
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
    let certificate = connection.peerCertificate.map {
      PeerCertificate(subject: $0.subject, uris: $0.uris, dnsNames: $0.dnsNames, emails: $0.emails, ipAddresses: $0.ipAddresses)
    }
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
    lastOpened = home.loop.now
    return stream
  }

  /// A call has ended, and the stream under it.
  func streamEnded(_ traffic: CallTraffic, succeeded: Bool) {
    if succeeded { callsSucceeded &+= 1 } else { callsFailed &+= 1 }
    messages.messagesSent &+= traffic.messagesSent
    messages.messagesReceived &+= traffic.messagesReceived
    if connection.session.openStreams == 0 { idleSince = home.loop.now }
  }

  func connectionAnswered(_ connection: Connection) { home.reclaim() }

  func connection(_ connection: Connection, receivedGoAway lastStream: Int32, code: HTTP2ErrorCode) {}
  func connection(_ connection: Connection, receivedPong payload: UInt64) {
    askedAt = nil
    armWatch()
  }

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
    var moment = min(drainEnd, isDraining ? .max : ageEnd)
    if let idle = configuration.idleTimeout, !isDraining { moment = min(moment, Self.moment(idle, after: idleSince)) }
    if let askedAt {
      moment = min(moment, Self.moment(configuration.keepaliveTimeout, after: askedAt))
    } else if let interval = configuration.keepaliveInterval {
      moment = min(moment, Self.moment(interval, after: connection.lastReceived))
    }
    // What has passed while calls kept the connection busy is looked at soon, not in the same round.
    if moment != .max { watch.arm(at: max(moment, home.loop.now + 1_000_000)) } else { watch.disarm() }
  }

  /// The watch has gone off: is the handshake late, the connection dead, idle or old?
  private func look() {
    let configuration = home.server.configuration
    let now = home.loop.now
    guard connection.isReady else { return connection.close(ConnectionError.timeout("the handshake")) }
    if now >= drainEnd { return cancelAll() }
    if connection.session.openStreams > 0 { idleSince = now }
    if let askedAt {
      if connection.lastReceived >= askedAt {
        self.askedAt = nil
      } else if now >= Self.moment(configuration.keepaliveTimeout, after: askedAt) {
        return connection.close(ConnectionError.timeout("the answer to a keepalive ping"))
      }
    } else if let interval = configuration.keepaliveInterval, now >= Self.moment(interval, after: connection.lastReceived) {
      askedAt = now
      keepalivesSent += 1
      connection.session.ping(Self.keepalivePing)
    }
    if !isDraining {
      if now >= ageEnd {
        leave(within: configuration.maxConnectionAgeGrace)
      } else if let idle = configuration.idleTimeout, now >= Self.moment(idle, after: idleSince) {
        // Nothing runs; but who doesn't answer any more must not stay for ever.
        leave(within: configuration.keepaliveTimeout)
      }
    }
    armWatch()
  }

  private func leave(within grace: Duration) {
    drain()
    drainEnd = Self.moment(grace, after: home.loop.now)
  }

  /// The payload of our pings.
  private static let keepalivePing: UInt64 = 0x6b65_6570_616c_6976

  /// A span after a moment; the end of time if that lies beyond.
  private static func moment(_ span: Duration, after start: UInt64) -> UInt64 {
    Deadline(nanoseconds: start).advanced(by: span).nanoseconds
  }
}
