import SpanwireEventLoop
import SpanwireHTTP2
import SpanwireProtobuf
import SpanwireRPC
import SpanwireTLS

/// A server's part on one loop: its listeners, its connections, and what their calls share.
final class ServerLoop: RoundEndTarget, @unchecked Sendable {
  // Sendable: everything mutable belongs to the loop.
  let server: HTTP2Server
  let loop: EventLoop
  let router: ServerRouter
  /// Responses are encoded here, one at a time.
  let writer: UnsafeMutablePointer<MessageWriter>
  /// Response headers are put together here.
  let headers = HTTP2Headers()
  /// Those of nearly every call. Every session's stream holds the loop.
  let plainHeaders = HTTP2Headers(isLasting: true)

  /// The configuration's `requestTimeout`, in nanoseconds.
  let requestTimeout: UInt64

  private var acceptors: [Acceptor] = []
  private(set) var connections: [ObjectIdentifier: ServerConnection] = [:]
  /// Calls of connections that are gone.
  private(set) var pastCalls = CallCounts()
  /// Stream objects whose calls are over, for the calls to come; each chain holds its objects once.
  private var spares: Unmanaged<ServerStream>?
  private var spareCount = 0
  private var retiring: Unmanaged<ServerStream>?
  private var isQueued = false
  /// Tasks that have served a call and wait for the next.
  private var idleTasks: HandlerTask?
  private var idleTaskCount = 0
  @exclusivity(unchecked) private(set) var isDraining = false
  private var drained: [CheckedContinuation<Void, Never>] = []

  /// What a busy loop has use for; more go back to the system.
  private static let maxSpares = 2048
  /// As many handlers as a busy loop has waiting at a time; a task that waits holds about 2 KiB.
  private static let maxIdleTasks = 256

  init(_ server: HTTP2Server, _ loop: EventLoop) {
    self.server = server
    self.loop = loop
    router = server.router
    // Half of what the clock counts: a moment plus this is a moment.
    requestTimeout = min(Deadline(nanoseconds: 0).advanced(by: server.configuration.requestTimeout).nanoseconds, .max / 2)
    writer = .allocate(capacity: 1)
    writer.initialize(to: MessageWriter(capacity: 4096))
    plainHeaders.add(":status", "200")
    plainHeaders.add("content-type", "application/grpc")
  }

  deinit {
    writer.deinitialize(count: 1)
    writer.deallocate()
    while spares != nil { _ = takeSpare() }
  }

  // MARK: Connections

  func listen(_ sockets: [Socket], spreadingTo loops: [ServerLoop]) {
    for socket in sockets {
      let acceptor = Acceptor(socket, self, socket.localAddress.isUnix ? loops : [self])
      acceptors.append(acceptor)
      acceptor.start()
    }
  }

  /// The listening sockets, for a look from outside.
  var listeners: [SocketInspection] { acceptors.map(\.inspection) }

  func accepted(_ socket: Socket, _ peer: SocketAddress) {
    guard !isDraining else {
      socket.close()
      return
    }
    let host = host(peer)
    guard server.census.admit(host) else {
      socket.close()
      return
    }
    guard let connection = try? ServerConnection(socket, peer, host: host, self) else {
      server.census.leave(host)
      socket.close()
      return
    }
    connections[ObjectIdentifier(connection)] = connection
    connection.start()
  }

  func closed(_ connection: ServerConnection) {
    guard connections.removeValue(forKey: ObjectIdentifier(connection)) != nil else { return }
    server.census.leave(connection.host)
    pastCalls.add(connection.calls)
    if connections.isEmpty, isDraining { finishDraining() }
  }

  /// What peers are told apart by: their address, unless it is this machine's and that does not count.
  private func host(_ peer: SocketAddress) -> String? {
    if peer.isUnix { return nil }
    let text = peer.description
    if !server.configuration.limitsLocalPeers, text.hasPrefix("ipv4:127.") || text.hasPrefix("ipv6:[::1]") { return nil }
    return String(text[..<(text.lastIndex(of: ":") ?? text.endIndex)])
  }

  // MARK: Shutdown

  func shutDown(grace: Duration) async {
    isDraining = true
    dismissIdleTasks()
    while let stream = takeSpare() { stream.stopTimer() }
    for acceptor in acceptors { acceptor.close() }
    acceptors = []
    for connection in connections.values { connection.drain() }
    if connections.isEmpty { return }
    let timer = LoopTimer(on: loop) { [unowned self] in
      for connection in Array(connections.values) { connection.cancelAll() }
    }
    timer.arm(after: grace)
    await withCheckedContinuation { drained.append($0) }
    timer.disarm()
  }

  private func finishDraining() {
    let waiting = drained
    drained = []
    for continuation in waiting { continuation.resume() }
  }

  // MARK: Handlers

  /// The task that will run the next handler.
  func handlerTask() -> HandlerTask {
    guard let task = idleTasks else { return HandlerTask(self) }
    idleTasks = task.nextIdle
    task.nextIdle = nil
    idleTaskCount -= 1
    return task
  }

  /// Whether a task that has served its call should wait for another; it must do so at once.
  ///
  /// Never inlined: the optimiser would move the reference that the list takes behind the wait, and a task that is dismissed would be gone.
  @inline(never)
  func keep(_ task: HandlerTask) -> Bool {
    if isDraining || idleTaskCount == Self.maxIdleTasks { return false }
    task.nextIdle = idleTasks
    idleTasks = task
    idleTaskCount += 1
    return true
  }

  private func dismissIdleTasks() {
    while let task = idleTasks {
      idleTasks = task.nextIdle
      task.nextIdle = nil
      task.dismiss()
    }
    idleTaskCount = 0
  }

  // MARK: Streams

  func stream() -> ServerStream { takeSpare() ?? ServerStream(self) }

  private func takeSpare() -> ServerStream? {
    guard let stream = spares?.takeRetainedValue() else { return nil }
    spares = stream.nextSpare
    stream.nextSpare = nil
    spareCount -= 1
    return stream
  }

  /// Takes back a stream whose call is over. Whoever still holds it keeps it: it is used again only if nobody does.
  func retire(_ stream: ServerStream) {
    if !isQueued {
      isQueued = true
      loop.atEndOfRound(self)
    }
    stream.nextSpare = retiring
    retiring = .passRetained(stream)
  }

  func roundEnded() {
    isQueued = false
    reclaim()
  }

  /// The tasks of calls that are over have let go by now.
  func reclaim() {
    while var stream = retiring?.takeRetainedValue() {
      retiring = stream.nextSpare
      stream.nextSpare = nil
      if !isDraining, spareCount < Self.maxSpares, isKnownUniquelyReferenced(&stream) {
        stream.prepareForReuse()
        stream.nextSpare = spares
        spares = .passRetained(stream)
        spareCount += 1
      } else {
        stream.stopTimer()
      }
    }
  }
}

/// A listening socket on a loop.
private final class Acceptor: ReadinessHandler {
  private let socket: Socket
  private unowned let home: ServerLoop
  /// Who gets the connections, each in turn.
  private let loops: [ServerLoop]
  private var turn = 0
  private var registration: Registration?
  private var pause: LoopTimer?
  private let inspectionID = InspectionID.next()

  var inspection: SocketInspection {
    let address = socket.localAddress
    return SocketInspection(id: inspectionID, name: address.description, local: SocketInspection.Address(address))
  }

  /// A burst is accepted in pieces, so that calls go on meanwhile.
  private static let acceptsPerRound = 64
  /// When descriptors have run out, the listener rests for so long.
  private static let restTime = Duration.milliseconds(100)

  init(_ socket: Socket, _ home: ServerLoop, _ loops: [ServerLoop]) {
    self.socket = socket
    self.home = home
    self.loops = loops
  }

  func start() {
    registration = try? home.loop.register(socket.descriptor, .readable, self)
    precondition(registration != nil, "epoll refuses a listening socket")
  }

  func close() {
    pause?.disarm()
    pause = nil
    registration?.close()
    socket.closeListener()
  }

  func ready(_ readiness: Readiness) {
    for _ in 0..<Self.acceptsPerRound {
      do {
        guard let (socket, peer) = try self.socket.accept() else { return }
        hand(socket, peer)
      } catch {
        rest()
        return
      }
    }
  }

  private func hand(_ socket: Socket, _ peer: SocketAddress) {
    let target = loops[turn % loops.count]
    turn += 1
    if target === home { target.accepted(socket, peer) } else { target.loop.execute { target.accepted(socket, peer) } }
  }

  private func rest() {
    registration?.wait(for: [])
    let timer = pause ?? LoopTimer(on: home.loop) { [unowned self] in registration?.wait(for: .readable) }
    pause = timer
    timer.arm(after: Self.restTime)
  }
}
