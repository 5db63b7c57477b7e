import Glibc
import SpanwireEventLoop
import SpanwireHTTP2

/// A client without manners: it sends what headers and bytes a test wants, over a socket of its own, and writes down what comes back.
package final class RawClient: HTTP2SessionDelegate {
  /// What became of one stream.
  package final class Call: HTTP2Stream {
    /// The fields of the blocks, the last of a name; `leading` and `trailing` have all of them in order.
    package var headers1: [String: String] = [:]
    package var trailers: [String: String] = [:]
    package var leading: [(name: String, value: String)] = []
    package var trailing: [(name: String, value: String)] = []
    package var body: [UInt8] = []
    package var closeCode1: UInt32?
    /// Whether what comes makes room for more.
    package var consumes = true

    package override func receivedHeaders() {
      leading = headers.fields
      for (name, value) in leading { headers1[name] = value }
    }
    package override func receivedTrailers() {
      trailing = headers.fields
      for (name, value) in trailing { trailers[name] = value }
    }
    package override func receivedData(_ bytes: UnsafeRawBufferPointer) {
      body.append(contentsOf: bytes)
      if consumes { consume(bytes.count) }
    }
    package override func closed(_ code: HTTP2ErrorCode) { closeCode1 = code.rawValue }

    /// `grpc-status`, wherever it stood.
    package var status: Int? { (trailers["grpc-status"] ?? headers1["grpc-status"]).flatMap { Int($0) } }
    package var message: String? { trailers["grpc-message"] ?? headers1["grpc-message"] }
    /// Whether the status came in the only header block.
    package var isTrailersOnly: Bool { headers1["grpc-status"] != nil && trailers.isEmpty }
  }

  package let socket: Socket
  package private(set) var session: HTTP2Session!
  package private(set) var goAways: [(lastStream: Int32, code: HTTP2ErrorCode)] = []
  package var goAway: HTTP2ErrorCode? { goAways.last?.code }
  /// Every frame that came, in order.
  package private(set) var frames: [RawFrame] = []
  package private(set) var isClosed = false
  private var unread: [UInt8] = []
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 * 1024, alignment: 8)

  package init(port: UInt16, limits: HTTP2Limits = HTTP2Limits()) throws {
    socket = try Socket.connect(to: SocketAddress(ip: "127.0.0.1", port: port)!)
    session = HTTP2Session(.client, limits: limits, delegate: self)
  }

  deinit {
    socket.close()
    buffer.deallocate()
  }

  package func openedStream() -> HTTP2Stream { preconditionFailure("servers open no streams here") }
  package func sessionNeedsSend() {}
  package func receivedSettings() {}
  package func receivedGoAway(lastStream: Int32, code: HTTP2ErrorCode) { goAways.append((lastStream, code)) }
  package func receivedPong(_ payload: UInt64) {}

  package static let usual: [(String, String)] = [
    (":method", "POST"), (":scheme", "http"), (":path", "/spanwire.test.Echo/Get"), (":authority", "test"),
    ("content-type", "application/grpc"), ("te", "trailers"),
  ]

  /// Begins a call with the usual headers, some of them replaced, left out (nil) or added; `bytes` are values that are no text.
  package func begin(
    _ changes: [(String, String?)] = [], bytes: [(String, [UInt8])] = [], body: [UInt8]? = nil, ends: Bool = true
  ) throws -> Call {
    let headers = HTTP2Headers()
    for (name, value) in Self.usual {
      if let change = changes.first(where: { $0.0 == name }) {
        if let value = change.1 { headers.add(name: name, text: value) }
      } else {
        headers.add(name: name, text: value)
      }
    }
    for (name, value) in changes where !Self.usual.contains(where: { $0.0 == name }) { headers.add(name: name, text: value!) }
    for (name, value) in bytes {
      name.utf8.withContiguousStorageIfAvailable { name in
        value.withUnsafeBytes { headers.add(name: UnsafeRawBufferPointer(name), value: $0) }
      }
    }
    let call = Call()
    try session.submitRequest(call, headers, hasBody: body != nil || !ends)
    if let body { write(body, to: call) }
    if ends, body != nil { call.finish() }
    return call
  }

  package func write(_ bytes: [UInt8], to call: Call) {
    bytes.withUnsafeBytes { call.output.append($0) }
    call.outputChanged()
  }

  /// Exchanges bytes until the condition holds, the connection ends, or patience does.
  package func run(until isDone: () -> Bool) throws {
    for _ in 0..<RawConnection.patienceMilliseconds / 10 {
      try flush()
      if isDone() || isClosed { return }
      var event = pollfd(fd: socket.descriptor, events: Int16(POLLIN), revents: 0)
      poll(&event, 1, 10)
      let received: Int?
      do { received = try socket.receive(into: buffer) } catch { received = 0 }
      guard let count = received else { continue }
      if count == 0 {
        isClosed = true
        return
      }
      let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<count])
      unread.append(contentsOf: bytes)
      while let frame = RawFrame.take(from: &unread) { frames.append(frame) }
      try session.receive(bytes, now: 1)
    }
  }

  /// A round trip: when it returns, the server has dealt with all that was sent before.
  package func settle() throws {
    let payload = [UInt8]("a pebble".utf8)
    let pongs = { self.frames.count { $0.type == .ping && $0.isAcknowledgement && $0.payload == payload } }
    let before = pongs()
    try flush()
    try send(raw: RawFrame(.ping, payload: payload).bytes)
    try run { pongs() > before }
  }

  package func flush() throws {
    while case let count = try session.send(into: buffer), count > 0 { try send(buffer[..<count]) }
  }

  /// Sends bytes past the session.
  package func send(raw bytes: [UInt8]) throws {
    var bytes = bytes
    try bytes.withUnsafeMutableBytes { try send($0[...]) }
  }

  /// Sends bytes past the session.
  package func send(_ bytes: Slice<UnsafeMutableRawBufferPointer>) throws {
    var rest = UnsafeRawBufferPointer(rebasing: bytes)
    while !rest.isEmpty {
      let sent = try socket.send(rest)
      if sent == 0 {
        var event = pollfd(fd: socket.descriptor, events: Int16(POLLOUT), revents: 0)
        poll(&event, 1, 1000)
      }
      rest = UnsafeRawBufferPointer(rebasing: rest[sent...])
    }
  }

  /// A whole call.
  package func call(_ changes: [(String, String?)] = [], body: [UInt8]? = RawClient.frame([10, 2, 104, 105])) throws -> Call {
    let call = try begin(changes, body: body)
    try run { call.closeCode1 != nil }
    return call
  }

  /// A message with its five bytes.
  package static func frame(_ message: [UInt8], flag: UInt8 = 0) -> [UInt8] {
    let length = UInt32(message.count)
    return [flag, UInt8(length >> 24), UInt8(length >> 16 & 0xFF), UInt8(length >> 8 & 0xFF), UInt8(length & 0xFF)] + message
  }
}
