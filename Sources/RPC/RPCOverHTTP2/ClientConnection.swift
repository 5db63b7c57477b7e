import SpanwireEventLoop
import SpanwireHTTP2
import SpanwireRPC
import SpanwireTLS

/// One connection of a channel: a socket, TLS if wanted, and an HTTP/2 session, on one loop.
///
/// It tells its pool when it is ready, when it takes no more calls, and when it is gone. Exits of each phase:
/// connecting → handshaking, greeting, closed; handshaking → greeting, closed; greeting → ready, closed; ready → draining, closed;
/// draining → closed.
final class ClientConnection: ReadinessHandler, RoundEndTarget, HTTP2SessionDelegate {
  enum Phase { case connecting, handshaking, greeting, ready, draining, closed }

  let loop: EventLoop
  let peerAddress: String
  private(set) var phase = Phase.connecting
  private(set) var session: HTTP2Session!

  private unowned let pool: ClientPool
  private let socket: Socket
  private let tls: TLSConnection?
  private let options: HTTP2ChannelOptions
  private var registration: Registration?
  /// Bytes that the socket did not take: bounded by what one round produces, since nothing more is asked of the session until they are out.
  private var unsent = ByteQueue()
  private var isInRound = false
  private var connectTimer: LoopTimer?
  private var keepaliveTimer: LoopTimer?
  private var lastReceipt: UInt64 = 0
  private var pingIsOut = false
  /// Why the connection ended, for the calls that it takes along.
  private var failure: RPCError?

  init(_ address: SocketAddress, tls context: TLSContext?, pool: ClientPool) throws {
    self.pool = pool
    loop = pool.loop
    options = pool.options
    peerAddress = address.description
    tls = try context.map { try TLSConnection(client: $0, serverName: pool.target.serverName) }
    socket = try Socket.connect(to: address)
    var limits = HTTP2Limits()
    limits.maxHeaderListSize = options.maxMetadataBytes
    session = HTTP2Session(.client, limits: limits, delegate: self)
    do {
      registration = try loop.register(socket.descriptor, .writable, self)
    } catch {
      socket.close()
      throw error
    }
    let timer = LoopTimer(on: loop) { [unowned self] in fail(.unavailable("connecting to \(peerAddress) took too long")) }
    connectTimer = timer
    timer.arm(after: options.connectTimeout)
  }

  /// Whether one more call can begin now.
  var hasRoom: Bool { phase == .ready && session.openStreams < session.remoteMaxConcurrentStreams }

  // MARK: Ending

  /// Takes no more calls; closes when the last one has ended.
  func drain() {
    guard phase != .closed else { return }
    if phase == .connecting || phase == .handshaking || phase == .greeting {
      close(.unavailable("the channel is closed"))
      return
    }
    phase = .draining
    session.shutDown()
    sessionNeedsSend()
  }

  /// Ends the connection with all calls on it.
  func fail(_ error: RPCError) { close(error) }

  private func close(_ error: RPCError) {
    guard phase != .closed else { return }
    let wasReady = phase == .ready || phase == .draining
    phase = .closed
    failure = error
    connectTimer?.disarm()
    keepaliveTimer?.disarm()
    tls?.close()
    _ = try? sendCiphertext()
    registration?.close()
    socket.close()
    session.abandon(.cancel)
    pool.lost(self, error, wasReady: wasReady)
  }

  /// What a stream's end by a reset, ours or the server's, or by the connection's end, means for its call.
  func explain(_ code: HTTP2ErrorCode, stream: Int32) -> RPCError {
    if let failure { return failure }
    if let goAway = session.goAway, stream > goAway.lastStream { return .unavailable("the server is going away") }
    return ClientStatus.error(ofReset: code.rawValue)
  }

  // MARK: Bytes

  func ready(_ readiness: Readiness) {
    if phase == .connecting {
      if let error = socket.connectionError() {
        fail(.unavailable("\(peerAddress): \(error)"))
        return
      }
      phase = tls == nil ? .greeting : .handshaking
      registration?.wait(for: .readable)
      flush()
    }
    if !readiness.isDisjoint(with: [.readable, .hangup]) { receive() }
    if phase != .closed, readiness.contains(.writable) { flush() }
  }

  private func receive() {
    let buffers = ClientBuffers.of(loop)
    while phase != .closed {
      do {
        guard let count = try socket.receive(into: buffers.received) else { return }
        if count == 0 {
          fail(.unavailable("\(peerAddress) closed the connection"))
          return
        }
        lastReceipt = loop.now
        let bytes = UnsafeRawBufferPointer(rebasing: buffers.received[..<count])
        if let tls {
          try receive(bytes, by: tls, buffers)
        } else {
          try session.receive(bytes, now: loop.now)
        }
        // Level-triggered: a short read has emptied the socket, and if not, the loop says so again.
        if count < buffers.received.count { return }
      } catch {
        flush()
        fail(.unavailable("\(peerAddress): \(error)"))
      }
    }
  }

  private func receive(_ bytes: UnsafeRawBufferPointer, by tls: TLSConnection, _ buffers: ClientBuffers) throws {
    var problem: HTTP2Error?
    try tls.receive(bytes, scratch: buffers.plaintext) { plaintext in
      guard problem == nil else { return }
      do throws(HTTP2Error) { try session.receive(plaintext, now: loop.now) } catch { problem = error }
    }
    if let problem { throw problem }
    if phase == .handshaking, tls.isEstablished {
      guard tls.negotiatedProtocol == "h2" else { throw TLSError("handshake", reason: "the server does not speak h2") }
      phase = .greeting
    }
    if phase == .handshaking || tls.outputBytes > 0 || phase == .greeting { sessionNeedsSend() }
    if tls.isPeerClosed { fail(.unavailable("\(peerAddress) closed the connection")) }
  }

  func sessionNeedsSend() {
    if isInRound || phase == .closed { return }
    isInRound = true
    loop.atEndOfRound(self)
  }

  func roundEnded() {
    isInRound = false
    flush()
  }

  /// Sends what the session has to say: one send a round, as long as the socket takes it.
  private func flush() {
    guard phase != .closed, phase != .connecting else { return }
    do {
      guard try sendUnsent() else { return }
      if let tls {
        guard try sendCiphertext() else { return }
        guard tls.isEstablished else { return }
      }
      let buffer = ClientBuffers.of(loop).sending
      while true {
        let count = try session.send(into: buffer)
        if count == 0 { break }
        let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<count])
        if let tls {
          try tls.send(bytes)
          guard try sendCiphertext() else { return }
        } else {
          let sent = try socket.send(bytes)
          if sent < count {
            unsent.append(UnsafeRawBufferPointer(rebasing: bytes[sent...]))
            registration?.wait(for: [.readable, .writable])
            return
          }
        }
      }
      registration?.wait(for: .readable)
      if session.isOver || phase == .draining && session.openStreams == 0 { fail(.unavailable("the connection is over")) }
    } catch {
      fail(.unavailable("\(peerAddress): \(error)"))
    }
  }

  /// False when the socket is full: it says when it is not.
  private func sendUnsent() throws -> Bool {
    if unsent.isEmpty { return true }
    let sent = try socket.send(UnsafeRawBufferPointer(start: unsent.front, count: unsent.count))
    unsent.removeFirst(sent)
    if unsent.isEmpty { return true }
    registration?.wait(for: [.readable, .writable])
    return false
  }

  @discardableResult
  private func sendCiphertext() throws -> Bool {
    guard let tls, tls.outputBytes > 0 else { return true }
    try tls.output { try socket.send($0) }
    if tls.outputBytes == 0 { return true }
    registration?.wait(for: [.readable, .writable])
    return false
  }

  // MARK: Events of the session

  func openedStream() -> HTTP2Stream { preconditionFailure("servers open no streams to us: push is off") }

  func receivedSettings() {
    guard phase == .greeting else {
      if phase == .ready { pool.gotRoom(on: self) }
      return
    }
    phase = .ready
    connectTimer?.disarm()
    startKeepalive()
    pool.becameReady(self)
  }

  func receivedGoAway(lastStream: Int32, code: HTTP2ErrorCode) {
    if phase == .ready {
      phase = .draining
      pool.isLeaving(self)
    }
    // What the server will not look at ends now, to be tried elsewhere.
    sessionNeedsSend()
  }

  func receivedPong(_ payload: UInt64) { pingIsOut = false }

  /// A stream has ended: there is room for another, or nothing left to wait for.
  func streamEnded() {
    if phase == .draining, session.openStreams == 0 { sessionNeedsSend() }
  }

  // MARK: Keepalive

  private func startKeepalive() {
    guard let keepalive = options.keepalive else { return }
    lastReceipt = loop.now
    let timer = LoopTimer(on: loop) { [unowned self] in checkLife(keepalive) }
    keepaliveTimer = timer
    timer.arm(after: keepalive.interval)
  }

  private func checkLife(_ keepalive: HTTP2ChannelOptions.Keepalive) {
    guard phase == .ready || phase == .draining else { return }
    if pingIsOut {
      fail(.unavailable("\(peerAddress) gives no sign of life"))
      return
    }
    let isQuiet = loop.now >= lastReceipt &+ UInt64(keepalive.interval / .nanoseconds(1))
    if isQuiet, session.openStreams > 0 || keepalive.withoutCalls {
      pingIsOut = true
      session.ping(loop.now)
      keepaliveTimer?.arm(after: keepalive.timeout)
    } else {
      keepaliveTimer?.arm(after: keepalive.interval)
    }
  }
}

/// The buffers that all connections of a loop receive into and send from.
final class ClientBuffers {
  let received = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 * 1024, alignment: 16)
  let plaintext = UnsafeMutableRawBufferPointer.allocate(byteCount: 16 * 1024, alignment: 16)
  let sending = UnsafeMutableRawBufferPointer.allocate(byteCount: 2 * HTTP2Session.leastSendCapacity, alignment: 16)
  private static let place = LoopLocal<ClientBuffers>()

  static func of(_ loop: EventLoop) -> ClientBuffers { loop.local(place) { ClientBuffers() } }

  deinit {
    received.deallocate()
    plaintext.deallocate()
    sending.deallocate()
  }
}
