import SpanwireHTTP2

/// One end of a connection whose other end is the fuzzer.
private final class FuzzedEnd: HTTP2SessionDelegate {
  private(set) var session: HTTP2Session!
  private var streams: [HTTP2Stream] = []
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: HTTP2Session.leastSendCapacity, alignment: 8)

  init(_ role: HTTP2Session.Role) {
    var limits = HTTP2Limits()
    limits.maxConcurrentStreams = 20
    limits.maxHeaderListSize = 4096
    limits.resets = .init(burst: 20, perSecond: 1)
    limits.idleFrames = .init(burst: 20, perSecond: 1)
    session = HTTP2Session(role, limits: limits, delegate: self)
  }

  deinit {
    session.abandon(.noError)
    require(session.openStreams == 0)
    buffer.deallocate()
  }

  func openedStream() -> HTTP2Stream {
    let stream = AnsweringStream()
    streams.append(stream)
    return stream
  }
  func sessionNeedsSend() {}
  func receivedSettings() {}
  func receivedGoAway(lastStream: Int32, code: HTTP2ErrorCode) {}
  func receivedPong(_ payload: UInt64) {}

  func call(hasBody: Bool) {
    let stream = AnsweringStream()
    streams.append(stream)
    let headers = HTTP2Headers()
    for (name, value) in [(":method", "POST"), (":scheme", "http"), (":path", "/s/m"), (":authority", "a"), ("te", "trailers")] {
      headers.add(name: name, text: value)
    }
    try? session.submitRequest(stream, headers, hasBody: hasBody)
    if hasBody {
      Array(repeating: 7, count: 100_000).withUnsafeBytes { stream.output.append($0) }
      stream.finish()
    }
  }

  /// All that the session has to send; false once it is beyond repair.
  func drain() -> Bool {
    var rounds = 0
    while let count = try? session.send(into: buffer) {
      if count == 0 { return true }
      rounds += 1
      require(rounds < 10_000, "a session that always has something to send")
    }
    return false
  }

  /// Bytes in cuts as the input itself says.
  func feed(_ input: inout FuzzInput) {
    var now: UInt64 = 1
    while !input.isEmpty {
      let cut = input.bytes(1 + Int(input.byte()))
      now += UInt64(cut.count) * 1_000_000
      let isSound = withCopy(cut) { (try? session.receive($0, now: now)) != nil }
      guard drain(), isSound else { return }
      require(session.openStreams >= 0 && session.openStreams <= 1000)
    }
  }
}

/// Answers a request when it ends, takes what it is sent half at once and half at the end.
private final class AnsweringStream: HTTP2Stream {
  private var owed = 0

  override func receivedData(_ bytes: UnsafeRawBufferPointer) {
    owed += bytes.count
    if owed > 100 {
      consume(owed)
      owed = 0
    }
  }

  override func receivedHeaders() { headers.forEach { name, value in require(name.count + value.count < 1 << 20) } }

  override func receivedEnd() {
    consume(owed)
    guard let session, session.role == .server else { return }
    let response = HTTP2Headers()
    response.add(":status", "200")
    session.submitResponse(self, response, endsStream: id % 4 == 1)
    if id % 4 != 1 {
      Array(repeating: 1, count: 70_000).withUnsafeBytes { output.append($0) }
      finish()
    }
  }

  override func receivedTooLargeHeaders() {}

  override func addTrailers(to trailers: borrowing HTTP2Headers) { trailers.add("grpc-status", "0") }

  override func closed(_ code: HTTP2ErrorCode) { require(closeCode == code) }
}

func fuzzServerSession(_ input: inout FuzzInput) {
  let end = FuzzedEnd(.server)
  let choice = input.byte()
  if choice & 1 == 0 {
    // Few inputs would find the preface by themselves.
    let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, 4, 0, 0, 0, 0, 0]
    preface.withUnsafeBytes { try! end.session.receive($0, now: 1) }
  }
  if choice & 2 != 0 { end.session.shutDown() }
  guard end.drain() else { return }
  end.feed(&input)
}

func fuzzClientSession(_ input: inout FuzzInput) {
  let end = FuzzedEnd(.client)
  let choice = input.byte()
  for index in 0..<4 { end.call(hasBody: index % 2 == 0) }
  guard end.drain() else { return }
  if choice & 1 == 0 { [0, 0, 0, 4, 0, 0, 0, 0, 0].withUnsafeBytes { try! end.session.receive($0, now: 1) } }
  guard end.drain() else { return }
  end.feed(&input)
}
