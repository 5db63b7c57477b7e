import SpanwireEventLoop
import SpanwireHTTP2
import SpanwireRPC
import SpanwireRPCOverHTTP2
import Synchronization

/// A server that answers every request with what it was told, right or wrong: frames that no honest server sends.
package final class ScriptedServer: ReadinessHandler, @unchecked Sendable {
  // Sendable: what is mutable belongs to the loop.

  package enum Step: Sendable {
    case headers([(String, String)], ends: Bool)
    case data([UInt8])
    /// Ends the stream, after these trailers if there are any.
    case trailers([(String, String)])
    case reset(UInt32)
    /// Says that the connection takes no more calls, this one included or not.
    case goAway(includesCall: Bool)
    case hangUp
    /// Goes on when the client has said its last.
    case awaitEnd
    /// Frames past the session, after all that was said before; their stream is the call's where it says 0.
    case raw([RawFrame])
  }

  package static let okHeaders: Step = .headers([(":status", "200"), ("content-type", "application/grpc")], ends: false)

  /// What one request looked like, so far.
  package struct Request: Sendable {
    /// In order, with duplicates.
    package var fields: [(name: String, value: String)] = []
    package var body: [UInt8] = []
    package var hasEnded = false
    /// What the stream was closed with.
    package var closeCode: UInt32?

    package init(fields: [(name: String, value: String)] = []) { self.fields = fields }
  }

  package let loop: EventLoop
  package let port: UInt16
  /// What the requests looked like.
  package let requests = Mutex<[[String: String]]>([])
  package let calls = Mutex<[Request]>([])
  /// `N begun`, `N ended`, `N closed CODE` for the call N, from 0; `connected`.
  package let log = Log()
  private let limits: HTTP2Limits
  private let socket: Socket
  private let script: @Sendable (Int) -> [Step]
  private var registration: Registration?
  private var connections: [ScriptedConnection] = []
  fileprivate var streams: [Int: ScriptedStream] = [:]
  fileprivate let consumes: Bool

  /// The script is asked once a call, with the call's number from 0. A server that does not consume lets its clients send a window's worth.
  package static func start(
    limits: HTTP2Limits = HTTP2Limits(), consumes: Bool = true, _ script: @escaping @Sendable (Int) -> [Step]
  ) async throws -> ScriptedServer {
    let loop = EventLoopGroup.shared.loops[0]
    return try await Task(executorPreference: loop) { try ScriptedServer(loop, limits, consumes, script) }.value
  }

  private init(_ loop: EventLoop, _ limits: HTTP2Limits, _ consumes: Bool, _ script: @escaping @Sendable (Int) -> [Step]) throws {
    self.loop = loop
    self.limits = limits
    self.consumes = consumes
    self.script = script
    socket = try Socket.listen(on: SocketAddress(ip: "127.0.0.1", port: 0)!)
    port = socket.localAddress.port!
    registration = try loop.register(socket.descriptor, .readable, self)
  }

  package func ready(_ readiness: Readiness) {
    while let (socket, _) = try? socket.accept() {
      let connection = ScriptedConnection(socket, self, limits)
      connections.append(connection)
      log.add("connected")
      try? connection.connection.start()
    }
  }

  fileprivate func begin(_ fields: [(name: String, value: String)]) -> (number: Int, script: [Step]) {
    requests.withLock { $0.append(Dictionary(fields.map { ($0.name, $0.value) }) { first, _ in first }) }
    let number = calls.withLock {
      $0.append(Request(fields: fields))
      return $0.count - 1
    }
    log.add("\(number) begun")
    return (number, script(number))
  }

  fileprivate func note(_ number: Int, _ line: String?, _ change: @Sendable (inout Request) -> Void) {
    calls.withLock { change(&$0[number]) }
    if let line { log.add("\(number) \(line)") }
  }

  /// Bytes of a call's answer that have not left, for want of room.
  package func queuedBytes(_ number: Int) async -> Int {
    await Task(executorPreference: loop) { self.streams[number]?.output.count ?? 0 }.value
  }

  package func stop() async {
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

  init(_ socket: Socket, _ server: ScriptedServer, _ limits: HTTP2Limits) {
    self.server = server
    connection = Connection(.server, socket, on: server.loop, tls: nil, limits: limits, owner: self)
  }

  func connectionIsReady(_ connection: Connection) {}
  func openedStream(on connection: Connection) -> HTTP2Stream { ScriptedStream(self) }
  func connection(_ connection: Connection, receivedGoAway lastStream: Int32, code: HTTP2ErrorCode) {}
  func connection(_ connection: Connection, receivedPong payload: UInt64) {}
  func connectionWasClosed(_ connection: Connection, error: (any Error)?) {}
}

private final class ScriptedStream: HTTP2Stream, @unchecked Sendable {
  // Sendable: it belongs to the loop.
  unowned let connection: ScriptedConnection
  private var number = 0
  private var steps: ArraySlice<ScriptedServer.Step> = []
  private var trailers: [(String, String)] = []
  private var awaitsRound = false

  init(_ connection: ScriptedConnection) { self.connection = connection }

  private var server: ScriptedServer { connection.server }

  override func receivedHeaders() {
    let (number, script) = server.begin(headers.fields)
    self.number = number
    server.streams[number] = self
    steps = script[...]
    play()
  }

  override func receivedData(_ bytes: UnsafeRawBufferPointer) {
    let bytes = Array(bytes)
    server.note(number, nil) { $0.body += bytes }
    if server.consumes { consume(bytes.count) }
  }

  override func receivedEnd() {
    server.note(number, "ended") { $0.hasEnded = true }
    play()
  }

  override func closed(_ code: HTTP2ErrorCode) {
    server.streams[number] = nil
    server.note(number, "closed \(code.rawValue)") { $0.closeCode = code.rawValue }
  }

  override func addTrailers(to trailers: borrowing HTTP2Headers) {
    for (name, value) in self.trailers { trailers.add(name: name, text: value) }
  }

  private func play() {
    while !awaitsRound, let step = steps.first {
      if case .awaitEnd = step, !hasReceivedEnd { return }
      steps.removeFirst()
      if case .raw(let frames) = step {
        // What was said before leaves at the end of this round.
        awaitsRound = true
        return server.loop.execute { [self] in
          awaitsRound = false
          send(frames)
          play()
        }
      }
      play(step)
    }
  }

  private func send(_ frames: [RawFrame]) {
    for var frame in frames {
      if frame.stream == 0, frame.type == .data || frame.type == .headers || frame.type == .continuation { frame.stream = UInt32(id) }
      _ = try? frame.bytes.withUnsafeBytes { bytes throws in try connection.connection.socket.send(bytes) }
    }
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
    case .goAway(includesCall: true): session?.finishShutdown()
    case .goAway(includesCall: false): send([RawFrame(.goAway, payload: RawFrame.big(UInt32(id) - 1) + RawFrame.big(0))])
    case .hangUp: connection.connection.close()
    case .awaitEnd, .raw: break
    }
  }
}
