import SpanwireEventLoop
import SpanwireHTTP2
import SpanwireTLS

/// Who a connection works for: a server's loop, or a client's channel. Called on the connection's loop.
package protocol ConnectionOwner: AnyObject {
  /// The handshake is done, if there is one, and the peer's first settings have come.
  func connectionIsReady(_ connection: Connection)
  /// The peer opens a stream. Servers only.
  func openedStream(on connection: Connection) -> HTTP2Stream
  /// The peer takes no stream above this one any more.
  func connection(_ connection: Connection, receivedGoAway lastStream: Int32, code: HTTP2ErrorCode)
  /// A ping was answered.
  func connection(_ connection: Connection, receivedPong payload: UInt64)
  /// What came was dealt with, as far as that was possible at once, and the answers are out.
  func connectionAnswered(_ connection: Connection)
  /// The end; nothing follows.
  func connectionWasClosed(_ connection: Connection, error: (any Error)?)
}

extension ConnectionOwner {
  package func connectionAnswered(_ connection: Connection) {}
}

/// An HTTP/2 connection on a socket, in the clear or over TLS, at either end.
///
/// It reads what is there, lets the session work, and sends what a round of its loop has produced with one call. It waits for the socket
/// to be writable only after a short send. Everything happens on its loop.
package final class Connection: ReadinessHandler, RoundEndTarget, HTTP2SessionDelegate {
  package let loop: EventLoop
  package let socket: Socket
  package let role: HTTP2Session.Role
  @exclusivity(unchecked) package private(set) var session: HTTP2Session!
  package let tls: TLSConnection?
  /// Keeps its owner until it is closed, so that nothing it calls on the way can take the owner away under it.
  private var owner: (any ConnectionOwner)?
  /// When bytes last came, on the loop's clock.
  @exclusivity(unchecked) package private(set) var lastReceived: UInt64
  @exclusivity(unchecked) package private(set) var isReady = false
  @exclusivity(unchecked) package private(set) var isClosed = false

  private var registration: Registration?
  private let buffers: ConnectionBuffers
  private var pace: ReadPace
  /// What the kernel did not take yet, without TLS; with it, the TLS connection keeps it.
  private var pending = PendingBytes()
  private var isQueued = false
  /// Inside the session's callbacks, where it must not be torn down.
  private var isBusy = false
  /// Why it ends or has ended, if not by agreement.
  package private(set) var failure: (any Error)?
  private var closesWhenIdle = false
  /// Armed while a header block is incomplete.
  private var headerTimer: LoopTimer?
  private let headerTimeout: Duration?
  /// Everything is said; the peer may still read it.
  private var lingering: LoopTimer?

  /// How long a closing connection waits for its peer to have read the last bytes.
  private static let lingerTime = Duration.seconds(1)
  package init(
    _ role: HTTP2Session.Role, _ socket: Socket, on loop: EventLoop, tls: TLSConnection?, limits: HTTP2Limits,
    headerTimeout: Duration? = nil, owner: any ConnectionOwner
  ) {
    self.headerTimeout = headerTimeout
    self.role = role
    self.socket = socket
    self.loop = loop
    self.tls = tls
    self.owner = owner
    lastReceived = loop.now
    buffers = loop.local(ConnectionBuffers.place) { ConnectionBuffers() }
    pace = role == .server ? ReadPace(most: buffers.received.count) : ReadPace(always: buffers.received.count)
    session = HTTP2Session(role, limits: limits, memory: buffers.memory, delegate: self)
  }

  /// Begins to read, and sends the first bytes. The socket must be connected.
  package func start() throws(SystemError) {
    registration = try loop.register(socket.descriptor, .readable, self)
    needsFlush()
  }

  /// The certificate that the peer presented and that verified.
  package var peerCertificate: TLSPeer? { tls?.peer }

  // MARK: Ending

  /// Ends the connection now; its streams learn that it is gone. Takes effect after the callbacks that are under way.
  package func close(_ error: (any Error)? = nil) {
    if isClosed { return }
    if isBusy {
      closesWhenIdle = true
      failure = failure ?? error
      return
    }
    isClosed = true
    failure = failure ?? error
    lingering?.disarm()
    lingering = nil
    headerTimer?.disarm()
    registration?.close()
    registration = nil
    socket.close()
    session.abandon(.internalError)
    let owner = self.owner
    self.owner = nil
    owner?.connectionWasClosed(self, error: failure)
  }

  /// Lets the peer read what was sent before the socket goes.
  private func linger(_ error: (any Error)? = nil) {
    if lingering != nil || isClosed { return }
    failure = failure ?? error
    tls?.close()
    _ = try? flushTLS()
    // A client has nothing more to wait for; its calls may go on elsewhere.
    if role == .client { return close() }
    session.abandon(.internalError)
    socket.shutdownSending()
    let timer = LoopTimer(on: loop) { [unowned self] in close() }
    timer.arm(after: Self.lingerTime)
    lingering = timer
    registration?.wait(for: .readable)
  }

  // MARK: Reading

  package func ready(_ readiness: Readiness) {
    if readiness.contains(.writable) { needsFlush() }
    if readiness.contains(.readable) || readiness.contains(.hangup) { read() }
  }

  /// Reads, and answers at once what handlers could answer at once: objects and buffers are still at hand for the next connection then.
  private func read() {
    let wasQueued = isQueued
    isQueued = true
    readAll()
    // Handlers that the requests began, while all they touch is at hand.
    loop.runReadyTasks()
    isQueued = wasQueued
    if isClosed { return }
    flush()
    if closesWhenIdle { close() }
    owner?.connectionAnswered(self)
  }

  private func readAll() {
    lastReceived = loop.now
    for _ in 0..<pace.reads {
      if isClosed { return }
      // What still comes of somebody who was sent away is dropped, as much as fits.
      let room = lingering == nil ? pace.bytes : buffers.received.count
      let count: Int?
      do {
        count = try socket.receive(into: UnsafeMutableRawBufferPointer(rebasing: buffers.received[..<room]))
      } catch {
        close(error)
        return
      }
      guard let count else { return }
      if count == 0 {
        close(lingering == nil ? ConnectionError.endOfStream : nil)
        return
      }
      if lingering == nil { accept(UnsafeRawBufferPointer(rebasing: buffers.received[..<count])) }
      pace.hasRead(count, isStrained: session.isStrained)
      if count < room || pace.bytes < room { return }  // level-triggered: what comes later will say so
    }
  }

  private func accept(_ bytes: UnsafeRawBufferPointer) {
    isBusy = true
    var failed: (any Error)?
    if let tls {
      let before = tls.isEstablished
      do {
        try tls.receive(bytes, scratch: buffers.plaintext) { plaintext in
          guard failed == nil else { return }
          failed = give(plaintext)
        }
      } catch {
        failed = failed ?? error
      }
      if !before, tls.isEstablished, tls.negotiatedProtocol != "h2", failed == nil { failed = ConnectionError.noHTTP2 }
      if tls.isPeerClosed, failed == nil { failed = ConnectionError.endOfStream }
      needsFlush()
    } else {
      failed = give(bytes)
    }
    isBusy = false
    if let headerTimeout { watchHeaders(headerTimeout) }
    if let failed {
      failure = failure ?? failed
      flush()  // the last word of the session or of TLS says why
      if !isClosed { linger(failed) }
    } else if closesWhenIdle {
      close()
    }
  }

  /// Whoever begins a header block and does not end it holds the whole connection up.
  private func watchHeaders(_ timeout: Duration) {
    if session.isInsideHeaders {
      let timer = headerTimer ?? LoopTimer(on: loop) { [unowned self] in close(ConnectionError.timeout("a header block")) }
      headerTimer = timer
      if !timer.isArmed { timer.arm(after: timeout) }
    } else {
      headerTimer?.disarm()
    }
  }

  private func give(_ bytes: UnsafeRawBufferPointer) -> (any Error)? {
    do throws(HTTP2Error) {
      try session.receive(bytes, now: loop.now)
      return nil
    } catch {
      return error
    }
  }

  // MARK: Sending

  @inline(__always)
  package func needsFlush() {
    if isQueued || isClosed { return }
    isQueued = true
    loop.atEndOfRound(self)
  }

  package func roundEnded() {
    isQueued = false
    flush()
    if closesWhenIdle { close() }
  }

  private func flush() {
    if isClosed || lingering != nil { return }
    do {
      guard try flushPending() else { return }
      if let tls, !tls.isEstablished { return }
      isBusy = true
      defer { isBusy = false }
      while true {
        let count = try session.send(into: buffers.sent)
        if count == 0 { break }
        let bytes = UnsafeRawBufferPointer(rebasing: buffers.sent[..<count])
        if let tls {
          try tls.send(bytes)
          if try !flushTLS() { return }
        } else {
          let sent = try socket.send(bytes)
          if sent < count {
            pending.keep(UnsafeRawBufferPointer(rebasing: bytes[sent...]))
            registration?.wait(for: [.readable, .writable])
            return
          }
        }
      }
    } catch {
      isBusy = false
      close(error)
      return
    }
    if session.isOver { linger() }
  }

  /// Whether nothing waits for the kernel any more.
  private func flushPending() throws -> Bool {
    if tls != nil { return try flushTLS() }
    if pending.isEmpty { return true }
    pending.removeFirst(try socket.send(pending.bytes))
    registration?.wait(for: pending.isEmpty ? .readable : [.readable, .writable])
    return pending.isEmpty
  }

  private func flushTLS() throws -> Bool {
    guard let tls, tls.outputBytes > 0 else { return true }
    try tls.output { try socket.send($0) }
    registration?.wait(for: tls.outputBytes == 0 ? .readable : [.readable, .writable])
    return tls.outputBytes == 0
  }

  // MARK: Session

  package func sessionNeedsSend() { needsFlush() }
  package func openedStream() -> HTTP2Stream {
    // A connection that is closed feeds its session no more.
    owner!.openedStream(on: self)
  }

  package func receivedSettings() {
    if isReady { return }
    isReady = true
    owner?.connectionIsReady(self)
  }

  package func receivedGoAway(lastStream: Int32, code: HTTP2ErrorCode) {
    owner?.connection(self, receivedGoAway: lastStream, code: code)
  }

  package func receivedPong(_ payload: UInt64) { owner?.connection(self, receivedPong: payload) }
}

/// Why a connection ended that neither the system nor TLS nor HTTP/2 has a word for.
package enum ConnectionError: Error, CustomStringConvertible {
  case endOfStream
  case noHTTP2
  case timeout(String)

  package var description: String {
    switch self {
    case .endOfStream: "the peer closed the connection"
    case .noHTTP2: "the peer did not agree to HTTP/2"
    case .timeout(let what): "\(what) took too long"
    }
  }
}

/// What the connections of a loop share, since only one works at a time.
final class ConnectionBuffers {
  static let place = LoopLocal<ConnectionBuffers>()

  let received = UnsafeMutableRawBufferPointer.allocate(byteCount: 128 * 1024, alignment: 64)
  /// A TLS record holds at most 16 KiB.
  let plaintext = UnsafeMutableRawBufferPointer.allocate(byteCount: 16 * 1024, alignment: 64)
  let sent = UnsafeMutableRawBufferPointer.allocate(byteCount: 192 * 1024, alignment: 64)
  let memory = HTTP2Memory()

  deinit {
    received.deallocate()
    plaintext.deallocate()
    sent.deallocate()
  }
}

/// Bytes that the kernel did not take: at most one send buffer's worth, none for most connections at most times.
struct PendingBytes {
  private var storage: [UInt8] = []
  private var offset = 0

  var isEmpty: Bool { offset == storage.count }

  var bytes: UnsafeRawBufferPointer {
    mutating get { storage.withUnsafeMutableBytes { UnsafeRawBufferPointer(rebasing: $0[offset...]) } }
  }

  mutating func keep(_ bytes: UnsafeRawBufferPointer) {
    precondition(isEmpty)
    storage = Array(bytes)
    offset = 0
  }

  mutating func removeFirst(_ count: Int) {
    offset += count
    if isEmpty {
      storage = []
      offset = 0
    }
  }
}
