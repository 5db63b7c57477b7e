import SpanwireEventLoop
import SpanwireHTTP2
import SpanwireRPC
import SpanwireRPCOverHTTP2
import Synchronization

/// A server that answers every request with what it was told, right or wrong: frames that no honest server sends.
final class ScriptedServer: ReadinessHandler, @unchecked Sendable {
  // Sendable: what is mutable belongs to the loop.

  enum Step: Sendable {
    case headers([(String, String)], ends: Bool)
    case data([UInt8])
    /// Ends the stream, after these trailers if there are any.
    case trailers([(String, String)])
    case reset(UInt32)
    /// Says that the connection takes no more calls, this one included or not.
    case goAway(includesCall: Bool)
    case hangUp
  }

  static let okHeaders: Step = .headers([(":status", "200"), ("content-type", "application/grpc")], ends: false)

  let loop: EventLoop
  let port: UInt16
  /// What the requests looked like.
  let requests = Mutex<[[String: String]]>([])
  private let socket: Socket
  private let script: @Sendable (Int) -> [Step]
  private var registration: Registration?
  private var connections: [ScriptedConnection] = []
  fileprivate var calls = 0

  /// The script is asked once a call, with the call's number from 0.
  static func start(_ script: @escaping @Sendable (Int) -> [Step]) async throws -> ScriptedServer {
    let loop = EventLoopGroup.shared.loops[0]
    return try await Task(executorPreference: loop) { try ScriptedServer(loop, script) }.value
  }

  private init(_ loop: EventLoop, _ script: @escaping @Sendable (Int) -> [Step]) throws {
    self.loop = loop
    self.script = script
    socket = try Socket.listen(on: SocketAddress(ip: "127.0.0.1", port: 0)!)
    port = socket.localAddress.port!
    registration = try loop.register(socket.descriptor, .readable, self)
  }

  func ready(_ readiness: Readiness) {
    while let (socket, _) = try? socket.accept() {
      let connection = ScriptedConnection(socket, self)
      connections.append(connection)
      try? connection.connection.start()
    }
  }

  fileprivate func nextScript() -> [Step] {
    defer { calls += 1 }
    return script(calls)
  }

  func stop() async {
    await Task(executorPreference: loop) {
      self.registration?.close()
      self.socket.close()
      for connection in self.connections { connection.connection.close() }
      self.connections = []
    }.value
  }
}

private final class ScriptedConnection: ConnectionOwner {
  unowned let server: ScriptedServer
  private(set) var connection: Connection!

  init(_ socket: Socket, _ server: ScriptedServer) {
    self.server = server
    connection = Connection(.server, socket, on: server.loop, tls: nil, limits: HTTP2Limits(), owner: self)
  }

  func connectionIsReady(_ connection: Connection) {}
  func openedStream(on connection: Connection) -> HTTP2Stream { ScriptedStream(self) }
  func connection(_ connection: Connection, receivedGoAway lastStream: Int32, code: HTTP2ErrorCode) {}
  func connection(_ connection: Connection, receivedPong payload: UInt64) {}
  func connectionWasClosed(_ connection: Connection, error: (any Error)?) {}
}

private final class ScriptedStream: HTTP2Stream {
  unowned let connection: ScriptedConnection
  private var trailers: [(String, String)] = []

  init(_ connection: ScriptedConnection) { self.connection = connection }

  override func receivedHeaders() {
    let fields = headers.fields
    connection.server.requests.withLock { $0.append(Dictionary(fields.map { ($0.name, $0.value) }) { first, _ in first }) }
    for step in connection.server.nextScript() { play(step) }
  }

  override func receivedData(_ bytes: UnsafeRawBufferPointer) { consume(bytes.count) }

  override func addTrailers(to trailers: borrowing HTTP2Headers) {
    for (name, value) in self.trailers { trailers.add(name: name, text: value) }
  }

  private func play(_ step: ScriptedServer.Step) {
    switch step {
    case .headers(let fields, let ends):
      let headers = HTTP2Headers()
      for (name, value) in fields { headers.add(name: name, text: value) }
      session?.submitResponse(self, headers, endsStream: ends)
    case .data(let bytes):
      bytes.withUnsafeBytes { output.append($0) }
      outputChanged()
    case .trailers(let fields):
      trailers = fields
      finish()
    case .reset(let code): reset(HTTP2ErrorCode(rawValue: code))
    case .goAway(let includesCall):
      if includesCall { session?.finishShutdown() } else { session?.terminate(.noError) }
    case .hangUp: connection.connection.close()
    }
  }
}

/// A server that greets and never says another word.
final class SilentServer: ReadinessHandler, @unchecked Sendable {
  // Sendable: what is mutable belongs to the loop.
  let port: UInt16
  private let loop: EventLoop
  private let socket: Socket
  private var registration: Registration?
  private var accepted: [Socket] = []

  static func start() async throws -> SilentServer {
    let loop = EventLoopGroup.shared.loops[0]
    return try await Task(executorPreference: loop) { try SilentServer(loop) }.value
  }

  private init(_ loop: EventLoop) throws {
    self.loop = loop
    socket = try Socket.listen(on: SocketAddress(ip: "127.0.0.1", port: 0)!)
    port = socket.localAddress.port!
    registration = try loop.register(socket.descriptor, .readable, self)
  }

  func ready(_ readiness: Readiness) {
    while let (socket, _) = try? socket.accept() {
      let emptySettings: [UInt8] = [0, 0, 0, 4, 0, 0, 0, 0, 0]
      _ = try? emptySettings.withUnsafeBytes { bytes throws in try socket.send(bytes) }
      accepted.append(socket)
    }
  }

  func stop() async {
    await Task(executorPreference: loop) {
      self.registration?.close()
      self.socket.close()
      for socket in self.accepted { socket.close() }
    }.value
  }
}
