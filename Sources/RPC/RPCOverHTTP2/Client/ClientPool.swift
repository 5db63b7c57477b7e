import SpanwireEventLoop
import SpanwireHTTP2
import SpanwireRPC
import SpanwireTLS
import Synchronization

/// What a channel has on one loop: its connection there, and the calls that wait for one.
///
/// Exits of each phase: idle → connecting; connecting → ready, resting; ready → idle; resting → connecting; all → closed.
final class ClientPool: @unchecked Sendable {
  // Sendable: all of it belongs to the loop but the constants and `address`.

  let loop: EventLoop
  let target: ChannelTarget
  let options: HTTP2ChannelOptions
  let observer: (any CallObserver)?
  private let tls: TLSContext?
  private let address: Mutex<String>

  private enum Phase {
    case idle
    case connecting
    case ready
    /// Waits before it tries again; calls that do not want to wait for a connection fail with this.
    case resting(RPCError)
    case closed
  }

  private var phase = Phase.idle
  private var connection: ClientConnection?
  /// Those that no longer take calls and still have some.
  private var leaving: [ClientConnection] = []
  private var waiting: [ClientStream] = []
  private var attempt: Task<Void, Never>?
  private var addresses: [SocketAddress] = []
  private var failures = 0
  private var restTimer: LoopTimer?
  private var whenClosed: [CheckedContinuation<Void, Never>] = []
  private let headers = HTTP2Headers()

  /// Calls that wait for a connection or for room on it: more would only wait until their deadlines.
  static let maxWaiting = 10_000

  init(_ loop: EventLoop, _ target: ChannelTarget, tls: TLSContext?, options: HTTP2ChannelOptions, observer: (any CallObserver)?) {
    self.loop = loop
    self.target = target
    self.tls = tls
    self.options = options
    self.observer = observer
    address = Mutex(target.description)
  }

  /// Where the calls go, for observers.
  var peerAddress: String { address.withLock { $0 } }

  // MARK: Calls

  func open(_ call: ClientStream) {
    assert(loop.isCurrent)
    switch phase {
    case .ready:
      if let connection, connection.hasRoom {
        submit(call, on: connection)
        return
      }
    case .resting(let error) where !call.outgoing.options.waitForReady:
      call.fail(error)
      return
    case .closed:
      call.fail(.unavailable("the channel is closed"))
      return
    case .idle, .connecting, .resting: break
    }
    guard waiting.count < Self.maxWaiting else {
      call.fail(.resourceExhausted("\(waiting.count) calls wait for a connection to \(target)"))
      return
    }
    call.isQueued = true
    waiting.append(call)
    if case .idle = phase { connect() }
  }

  /// A call that waits no longer.
  func forget(_ call: ClientStream) {
    guard call.isQueued else { return }
    call.isQueued = false
    waiting.removeAll { $0 === call }
  }

  /// A stream is over: the next in line may begin.
  func ended(_ call: ClientStream, on connection: ClientConnection?) {
    guard let connection else { return }
    if connection === self.connection { gotRoom(on: connection) }
  }

  func gotRoom(on connection: ClientConnection) {
    while !waiting.isEmpty, connection.hasRoom {
      let call = waiting.removeFirst()
      call.isQueued = false
      submit(call, on: connection)
    }
  }

  private func submit(_ call: ClientStream, on connection: ClientConnection) {
    headers.removeAll()
    RequestHead.write(call.outgoing, target: target, isSecure: tls != nil, options: options, into: headers)
    do {
      try call.submit(on: connection, headers)
    } catch {
      // The session takes no more streams: its numbers are used up, or it is going away.
      isLeaving(connection)
      call.connection = nil
      open(call)
    }
  }

  // MARK: The connection

  private func connect() {
    phase = .connecting
    attempt = Task(executorPreference: loop) { [self] in
      do {
        let place = target.place
        let found: [SocketAddress]
        switch place {
        case .unix(let path): found = SocketAddress(unixPath: path).map { [$0] } ?? []
        case .host(let host, let port):
          if let address = SocketAddress(ip: host, port: port) {
            found = [address]
          } else {
            found = try await offload { try SocketAddress.resolve(host: host, port: port) }
          }
        }
        resolved(found)
      } catch {
        rest(.unavailable("\(target): \(error)"))
      }
    }
  }

  private func resolved(_ found: [SocketAddress]) {
    assert(loop.isCurrent)
    guard case .connecting = phase else { return }
    addresses = found
    tryNext(.unavailable("\(target) has no address"))
  }

  /// Tries the addresses one after the other: pick-first, as gRPC has it.
  private func tryNext(_ lastError: RPCError) {
    guard !addresses.isEmpty else {
      rest(lastError)
      return
    }
    let next = addresses.removeFirst()
    do {
      connection = try ClientConnection(next, tls: tls, pool: self)
    } catch {
      tryNext(.unavailable("\(next): \(error)"))
    }
  }

  func becameReady(_ connection: ClientConnection) {
    guard connection === self.connection else { return }
    phase = .ready
    failures = 0
    addresses = []
    address.withLock { $0 = connection.peerAddress }
    gotRoom(on: connection)
  }

  /// The connection takes no new calls: those to come use another.
  func isLeaving(_ connection: ClientConnection) {
    guard connection === self.connection else { return }
    leaving.append(connection)
    self.connection = nil
    if case .ready = phase { phase = .idle }
    if !waiting.isEmpty { connect() }
  }

  func lost(_ connection: ClientConnection, _ error: RPCError, wasReady: Bool) {
    leaving.removeAll { $0 === connection }
    if connection === self.connection {
      self.connection = nil
      switch phase {
      case .connecting where !wasReady: tryNext(error)
      case .ready, .connecting:
        phase = .idle
        if !waiting.isEmpty { connect() }
      case .idle, .resting, .closed: break
      }
    }
    finishClosing()
  }

  /// No address answered: a pause before the next attempt.
  private func rest(_ error: RPCError) {
    guard case .connecting = phase else { return }
    failures += 1
    phase = .resting(error)
    let wait = options.backoff.wait(afterFailures: failures, random: .random(in: 0..<1))
    let timer = LoopTimer(on: loop) { [unowned self] in restIsOver() }
    restTimer = timer
    timer.arm(after: wait)
    let impatient = waiting.filter { !$0.outgoing.options.waitForReady }
    waiting.removeAll { !$0.outgoing.options.waitForReady }
    for call in impatient {
      call.isQueued = false
      call.fail(error)
    }
  }

  private func restIsOver() {
    guard case .resting = phase else { return }
    phase = .idle
    if !waiting.isEmpty { connect() }
  }

  // MARK: Closing

  /// Fails the calls that wait, lets those on connections end, and returns when the last has.
  func close() async {
    await withCheckedContinuation { continuation in
      loop.execute { [self] in
        whenClosed.append(continuation)
        beginClosing()
        finishClosing()
      }
    }
  }

  private func beginClosing() {
    if case .closed = phase { return }
    phase = .closed
    attempt?.cancel()
    restTimer?.disarm()
    let calls = waiting
    waiting = []
    for call in calls {
      call.isQueued = false
      call.fail(.unavailable("the channel is closed"))
    }
    if let connection { leaving.append(connection) }
    connection = nil
    for connection in leaving { connection.drain() }
  }

  private func finishClosing() {
    guard case .closed = phase, leaving.isEmpty else { return }
    for continuation in whenClosed { continuation.resume() }
    whenClosed = []
  }

  /// Ends every call at once; used when nobody holds the channel any more.
  func abort() {
    beginClosing()
    for connection in leaving { connection.fail(ConnectionError.endOfStream) }
  }
}
