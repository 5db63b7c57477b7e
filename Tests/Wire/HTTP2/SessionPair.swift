@testable import SpanwireHTTP2

/// One end of a pair of sessions in memory.
final class End: HTTP2SessionDelegate {
  private(set) var session: HTTP2Session!
  var accepted: [RecordingStream] = []
  var goAway: (lastStream: Int32, code: HTTP2ErrorCode)?
  var pongs: [UInt64] = []
  /// Called for each stream that the peer opens.
  var onOpen: (RecordingStream) -> Void = { _ in }

  init(_ role: HTTP2Session.Role, _ limits: HTTP2Limits = HTTP2Limits(), memory: HTTP2Memory = HTTP2Memory()) {
    session = HTTP2Session(role, limits: limits, memory: memory, delegate: self)
  }

  func openedStream() -> HTTP2Stream {
    let stream = RecordingStream()
    accepted.append(stream)
    onOpen(stream)
    return stream
  }
  func sessionNeedsSend() {}
  func receivedSettings() {}
  func receivedGoAway(lastStream: Int32, code: HTTP2ErrorCode) { goAway = (lastStream, code) }
  func receivedPong(_ payload: UInt64) { pongs.append(payload) }

  /// All bytes that the session has to send now.
  func take() -> [UInt8] {
    var all: [UInt8] = []
    while case let bytes = takeSome(), !bytes.isEmpty { all.append(contentsOf: bytes) }
    return all
  }

  /// What one buffer of the least size takes of them.
  func takeSome() -> [UInt8] {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: HTTP2Session.leastSendCapacity, alignment: 8)
    defer { buffer.deallocate() }
    return (try? session.send(into: buffer)).map { Array(buffer[..<$0]) } ?? []
  }

  func give(_ bytes: [UInt8], now: UInt64 = 1) throws {
    try bytes.withUnsafeBytes { try session.receive($0, now: now) }
  }
}

/// Keeps what happened to it.
final class RecordingStream: HTTP2Stream {
  enum Event: Equatable {
    case headers([String]), data(Int), trailers([String]), end, tooLarge, drained, closed(UInt32)
  }
  var events: [Event] = []
  var body: [UInt8] = []
  var consumesAtOnce = true
  var trailers: [(StaticString, StaticString)] = []
  var onHeaders: (RecordingStream) -> Void = { _ in }
  var onEnd: (RecordingStream) -> Void = { _ in }

  override func receivedHeaders() {
    events.append(.headers(headers.fields.map { "\($0.name): \($0.value)" }))
    onHeaders(self)
  }
  override func receivedData(_ bytes: UnsafeRawBufferPointer) {
    events.append(.data(bytes.count))
    body.append(contentsOf: bytes)
    if consumesAtOnce { consume(bytes.count) }
  }
  override func receivedTrailers() { events.append(.trailers(headers.fields.map { "\($0.name): \($0.value)" })) }
  override func receivedEnd() {
    events.append(.end)
    onEnd(self)
  }
  override func receivedTooLargeHeaders() { events.append(.tooLarge) }
  override func outputDrained() { events.append(.drained) }
  override func addTrailers(to list: borrowing HTTP2Headers) {
    for (name, value) in trailers { list.add(name, value) }
  }
  override func closed(_ code: HTTP2ErrorCode) { events.append(.closed(code.rawValue)) }

  func write(_ bytes: [UInt8]) {
    bytes.withUnsafeBytes { output.append($0) }
    outputChanged()
  }
}

/// Carries bytes to and fro until both ends are quiet.
func exchange(_ client: End, _ server: End, chunk: Int = .max) throws {
  for _ in 0..<10_000 {
    let out = client.take()
    let back = server.take()
    if out.isEmpty, back.isEmpty { return }
    for (bytes, end) in [(out, server), (back, client)] {
      var rest = bytes[...]
      while !rest.isEmpty {
        try end.give(Array(rest.prefix(chunk)))
        rest = rest.dropFirst(chunk)
      }
    }
  }
}

/// The fields of a request, with more if wanted.
func request(path: StaticString = "/s/m", _ more: [(String, String)] = []) -> HTTP2Headers {
  let headers = HTTP2Headers()
  headers.add(":method", "POST")
  headers.add(":scheme", "http")
  headers.add(":path", path)
  headers.add(":authority", "test")
  for (name, value) in more { headers.add(name: name, text: value) }
  return headers
}

func response(_ status: StaticString = "200") -> HTTP2Headers {
  let headers = HTTP2Headers()
  headers.add(":status", status)
  return headers
}
