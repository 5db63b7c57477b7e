import SpanwireEventLoop
import SpanwireHTTP2
import SpanwireRPC
import SpanwireTLS

/// One connection of a channel, from the attempt to connect to its end.
///
/// It tells its subchannel when it is ready, when it takes no more calls, and when it is gone; its pool, what follows that. Exits of each phase: connecting → greeting, closed;
/// greeting (TLS and HTTP/2) → ready, closed; ready → draining, closed; draining → closed.
final class ClientConnection: ReadinessHandler, ConnectionOwner, @unchecked Sendable {
  // Sendable: all of it belongs to the loop but the constants.
  enum Phase { case connecting, greeting, ready, draining, closed }

  let loop: EventLoop
  let peerAddress: String
  private(set) var phase = Phase.connecting
  private(set) var connection: Connection!
  let inspectionID = InspectionID.next()

  private unowned let pool: ClientPool
  /// Until it takes no more calls.
  private var subchannel: Subchannel?
  private let socket: Socket
  private let options: HTTP2ChannelOptions
  /// While connecting.
  private var registration: Registration?
  private var connectTimer: LoopTimer?
  private var keepaliveTimer: LoopTimer?
  private var ageTimer: LoopTimer?
  private var pingIsOut = false

  init(_ address: SocketAddress, pool: ClientPool, subchannel: Subchannel) throws {
    self.pool = pool
    self.subchannel = subchannel
    loop = pool.loop
    options = pool.options
    peerAddress = address.description
    let tls = try pool.tls.map { try TLSConnection(client: $0, serverName: pool.target.serverName) }
    socket = try Socket.connect(to: address)
    var limits = HTTP2Limits()
    limits.maxHeaderListSize = options.maxMetadataBytes
    connection = Connection(.client, socket, on: loop, tls: tls, limits: limits, owner: self)
    do {
      registration = try loop.register(socket.descriptor, .writable, self)
    } catch {
      phase = .closed
      connection.close(error)  // lets go of this object, which it keeps
      throw error
    }
    let timer = LoopTimer(on: loop) { [unowned self] in fail(ConnectionError.timeout("connecting")) }
    connectTimer = timer
    timer.arm(after: options.connectTimeout)
  }

  var session: HTTP2Session { connection.session }

  /// Whether one more call can begin now.
  var hasRoom: Bool { phase == .ready && session.openStreams < session.remoteMaxConcurrentStreams }

  /// Calls of the channel's own: its watch of the server's health.
  var ownCalls = 0

  /// Whether somebody's calls are open.
  var hasCalls: Bool { session.openStreams > ownCalls }

  // MARK: Connecting

  func ready(_ readiness: Readiness) {
    guard phase == .connecting else { return }
    if let error = socket.connectionError() { return fail(error) }
    registration?.close()
    registration = nil
    phase = .greeting
    do { try connection.start() } catch { fail(error) }
  }

  func connectionIsReady(_ connection: Connection) {
    guard phase == .greeting else { return }
    phase = .ready
    connectTimer?.disarm()
    startKeepalive()
    startAging()
    subchannel?.becameReady()
  }

  // MARK: Ending

  /// Leaves its subchannel: takes no more calls, and closes when the last one has ended.
  func leave() {
    let subchannel = subchannel
    self.subchannel = nil
    if phase == .closed { return }
    pool.keepLeaving(self)
    subchannel?.isLeaving()
    drain()
  }

  private func drain() {
    switch phase {
    case .connecting, .greeting: fail(ConnectionError.endOfStream)
    case .ready, .draining:
      phase = .draining
      session.shutDown()
    case .closed: break
    }
  }

  /// Ends the connection with all calls on it.
  func fail(_ error: any Error) {
    if phase == .closed { return }
    registration?.close()
    registration = nil
    connection.close(error)
  }

  func connectionWasClosed(_ connection: Connection, error: (any Error)?) { ended(error) }

  private func ended(_ error: (any Error)?) {
    guard phase != .closed else { return }
    let wasReady = phase == .ready || phase == .draining
    phase = .closed
    connectTimer?.disarm()
    keepaliveTimer?.disarm()
    ageTimer?.disarm()
    let subchannel = subchannel
    self.subchannel = nil
    subchannel?.lost(unavailable(error), wasReady: wasReady)
    pool.lost(self)
  }

  private func unavailable(_ error: (any Error)?) -> RPCError {
    .unavailable("\(peerAddress): \(error.map { "\($0)" } ?? "the connection was closed")")
  }

  func connection(_ connection: Connection, receivedGoAway lastStream: Int32, code: HTTP2ErrorCode) {
    guard phase == .ready else { return }
    if code == .enhanceYourCalm { pool.keepaliveIsUnwelcome() }
    phase = .draining
    let subchannel = subchannel
    self.subchannel = nil
    pool.keepLeaving(self)
    subchannel?.isLeaving()
  }

  /// What a stream's end by a reset, ours or the server's, or by the connection's end, means for its call.
  func explain(_ code: HTTP2ErrorCode, stream: Int32, deadline: Deadline) -> RPCError {
    if connection.isClosed { return unavailable(connection.failure) }
    if let goAway = session.goAway, stream > goAway.lastStream { return .unavailable("\(peerAddress): the server is going away") }
    return ClientStatus.error(ofReset: code.rawValue, deadline: deadline)
  }

  func openedStream(on connection: Connection) -> HTTP2Stream { preconditionFailure("servers open no streams to us: push is off") }

  // MARK: Keepalive

  func connection(_ connection: Connection, receivedPong payload: UInt64) { pingIsOut = false }

  private func startKeepalive() {
    guard let keepalive = pool.keepalive else { return }
    let timer = LoopTimer(on: loop) { [unowned self] in checkLife(keepalive) }
    keepaliveTimer = timer
    timer.arm(after: keepalive.interval)
  }

  private func checkLife(_ keepalive: HTTP2ChannelOptions.Keepalive) {
    guard phase == .ready || phase == .draining else { return }
    if pingIsOut { return fail(ConnectionError.timeout("the answer to a ping")) }
    let isQuiet = loop.now >= connection.lastReceived &+ UInt64(keepalive.interval / .nanoseconds(1))
    if isQuiet, session.openStreams > 0 || keepalive.withoutCalls {
      pingIsOut = true
      session.ping(loop.now)
      keepaliveTimer?.arm(after: keepalive.timeout)
    } else {
      keepaliveTimer?.arm(after: keepalive.interval)
    }
  }

  // MARK: Age

  private func startAging() {
    guard let age = options.maxConnectionAge else { return }
    let timer = LoopTimer(on: loop) { [unowned self] in leave() }
    ageTimer = timer
    timer.arm(after: age * (1 + ClientLimits.ageJitter * (2 * options.random() - 1)))
  }
}
