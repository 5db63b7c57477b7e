import Glibc
import SpanwireHTTP2

@testable import SpanwireEventLoop

/// A client without manners: it sends what headers and bytes a test wants, over a socket of its own, and writes down what comes back.
final class RawClient: HTTP2SessionDelegate {
  /// What became of one stream.
  final class Call: HTTP2Stream {
    var headers1: [String: String] = [:]
    var trailers: [String: String] = [:]
    var body: [UInt8] = []
    var closeCode1: UInt32?

    override func receivedHeaders() { for (name, value) in headers.fields { headers1[name] = value } }
    override func receivedTrailers() { for (name, value) in headers.fields { trailers[name] = value } }
    override func receivedData(_ bytes: UnsafeRawBufferPointer) {
      body.append(contentsOf: bytes)
      consume(bytes.count)
    }
    override func closed(_ code: HTTP2ErrorCode) { closeCode1 = code.rawValue }

    /// `grpc-status`, wherever it stood.
    var status: Int? { (trailers["grpc-status"] ?? headers1["grpc-status"]).flatMap(Int.init) }
    var message: String? { trailers["grpc-message"] ?? headers1["grpc-message"] }
    /// Whether the status came in the only header block.
    var isTrailersOnly: Bool { headers1["grpc-status"] != nil && trailers.isEmpty }
  }

  let socket: Socket
  private(set) var session: HTTP2Session!
  var goAway: HTTP2ErrorCode?
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 * 1024, alignment: 8)
  private(set) var isClosed = false

  init(port: UInt16) throws {
    socket = try Socket.connect(to: SocketAddress(ip: "127.0.0.1", port: port)!)
    session = HTTP2Session(.client, delegate: self)
  }

  deinit {
    socket.close()
    buffer.deallocate()
  }

  func openedStream() -> HTTP2Stream { preconditionFailure("servers open no streams here") }
  func sessionNeedsSend() {}
  func receivedSettings() {}
  func receivedGoAway(lastStream: Int32, code: HTTP2ErrorCode) { goAway = code }
  func receivedPong(_ payload: UInt64) {}

  static let usual: [(String, String)] = [
    (":method", "POST"), (":scheme", "http"), (":path", "/spanwire.test.Echo/Get"), (":authority", "test"),
    ("content-type", "application/grpc"), ("te", "trailers"),
  ]

  /// Begins a call with the usual headers, some of them replaced, left out (nil) or added.
  func begin(_ changes: [(String, String?)] = [], body: [UInt8]? = nil, ends: Bool = true) throws -> Call {
    let headers = HTTP2Headers()
    for (name, value) in Self.usual {
      if let change = changes.first(where: { $0.0 == name }) {
        if let value = change.1 { headers.add(name: name, text: value) }
      } else {
        headers.add(name: name, text: value)
      }
    }
    for (name, value) in changes where !Self.usual.contains(where: { $0.0 == name }) { headers.add(name: name, text: value!) }
    let call = Call()
    try session.submitRequest(call, headers, hasBody: body != nil || !ends)
    if let body { write(body, to: call) }
    if ends, body != nil { call.finish() }
    return call
  }

  func write(_ bytes: [UInt8], to call: Call) {
    bytes.withUnsafeBytes { call.output.append($0) }
    call.outputChanged()
  }

  /// Exchanges bytes until the condition holds, the connection ends, or five seconds have passed.
  func run(until isDone: () -> Bool) throws {
    for _ in 0..<500 {
      try flush()
      if isDone() || isClosed { return }
      var event = pollfd(fd: socket.descriptor, events: Int16(POLLIN), revents: 0)
      poll(&event, 1, 10)
      guard let count = try? socket.receive(into: buffer) else { continue }
      if count == 0 {
        isClosed = true
        return
      }
      try session.receive(UnsafeRawBufferPointer(rebasing: buffer[..<count]), now: 1)
    }
  }

  func flush() throws {
    while case let count = try session.send(into: buffer), count > 0 { try send(buffer[..<count]) }
  }

  /// Sends bytes past the session.
  func send(_ bytes: Slice<UnsafeMutableRawBufferPointer>) throws {
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
  func call(_ changes: [(String, String?)] = [], body: [UInt8]? = RawClient.frame([10, 2, 104, 105])) throws -> Call {
    let call = try begin(changes, body: body)
    try run { call.closeCode1 != nil }
    return call
  }

  /// A message with its five bytes.
  static func frame(_ message: [UInt8], flag: UInt8 = 0) -> [UInt8] {
    let length = UInt32(message.count)
    return [flag, UInt8(length >> 24), UInt8(length >> 16 & 0xFF), UInt8(length >> 8 & 0xFF), UInt8(length & 0xFF)] + message
  }
}
