import SpanwireEventLoop
import SpanwireRPCTestSupport
import Testing

/// The rules of RFC 9113 and RFC 7541 that a server must hold its clients to, each broken by bytes that no library would send.
@Suite(.timeLimit(.minutes(15))) struct HTTP2RulesTests {
  /// What must come of it.
  enum Outcome: Sendable, Equatable {
    /// GOAWAY with this code, then the end.
    case connectionError(UInt32)
    /// The end, with or without a word.
    case closed
    /// RST_STREAM with this code; the connection goes on.
    case streamError(UInt32, stream: UInt32 = 1)
    /// A response to its end; the connection goes on.
    case answered(stream: UInt32 = 1)
    /// Nothing; the connection goes on.
    case ignored
  }

  struct Rule: Sendable, CustomTestStringConvertible {
    let section: String
    let name: String
    let bytes: [UInt8]
    let outcome: Outcome
    /// Whether preface and settings go first.
    var greets = true
    var testDescription: String { "\(section) \(name)" }

    /// What follows once stream 1 has been answered.
    var then: [RawFrame] = []

    init(_ section: String, _ name: String, _ frames: [RawFrame], then: [RawFrame] = [], _ outcome: Outcome) {
      self.then = then
      self.section = section
      self.name = name
      bytes = frames.flatMap(\.bytes)
      self.outcome = outcome
    }

    init(_ section: String, _ name: String, bytes: [UInt8], greets: Bool = true, _ outcome: Outcome) {
      self.section = section
      self.name = name
      self.bytes = bytes
      self.greets = greets
      self.outcome = outcome
    }
  }

  private static let noError: UInt32 = 0, protocolError: UInt32 = 1, flowControl: UInt32 = 3, streamClosed: UInt32 = 5
  private static let frameSize: UInt32 = 6, compression: UInt32 = 9
  private static let get = RawFrame.block(RawFrame.get)
  private static let post = RawFrame.block(RawFrame.post)

  private static func get(_ fields: [(String, String)]) -> [RawFrame] {
    [.headers(1, RawFrame.block(RawFrame.get + fields))]
  }

  private static func only(_ fields: [(String, String)]) -> [RawFrame] { [.headers(1, RawFrame.block(fields))] }

  static let connection: [Rule] = [
    Rule("3.4", "a preface of another protocol", bytes: Array("GET / HTTP/1.1\r\nHost: test\r\n\r\n".utf8), greets: false, .closed),
    Rule(
      "3.4", "a preface that is not followed by settings",
      bytes: RawConnection.preface + RawFrame.ping([UInt8](repeating: 0, count: 8)).bytes,
      greets: false, .connectionError(protocolError)),
    Rule("4.1", "a frame of an unknown type", [RawFrame(type: 0xFF, stream: 0, [1, 2, 3])], .ignored),
    Rule("4.1", "flags that a PING does not have", [RawFrame(.ping, flags: 0x16, payload: [UInt8](repeating: 7, count: 8))], .ignored),
    Rule(
      "4.1", "the reserved bit of a stream's number", [RawFrame(.ping, stream: 1 << 31, payload: [1, 2, 3, 4, 5, 6, 7, 8])], .ignored),
    Rule(
      "4.2", "DATA larger than SETTINGS_MAX_FRAME_SIZE",
      [.headers(1, post, ends: false), .data(1, [UInt8](repeating: 0, count: 16_385))], .connectionError(frameSize)),
    Rule(
      "4.2", "HEADERS larger than SETTINGS_MAX_FRAME_SIZE", [.headers(1, [UInt8](repeating: 0x84, count: 16_385))],
      .connectionError(frameSize)),
    Rule("4.2", "DATA of just that size", [.headers(1, post, ends: false), .data(1, [UInt8](repeating: 0, count: 16_384))], .answered()),
    Rule("4.3", "a header block that cannot be decoded", [.headers(1, [0x40, 0xFF])], .connectionError(compression)),
    Rule(
      "4.3", "PRIORITY inside a header block", [.headers(1, get, endsBlock: false), .priority(1, on: 0)], .connectionError(protocolError)),
    Rule(
      "4.3", "HEADERS of another stream inside a header block", [.headers(1, get, endsBlock: false), .headers(3, get)],
      .connectionError(protocolError)),
    Rule("5.5", "a frame of an unknown type with stream and flags", [RawFrame(type: 0x16, flags: 0xFF, stream: 5, [0])], .ignored),
    Rule(
      "5.5", "an unknown frame inside a header block", [.headers(1, get, endsBlock: false), RawFrame(type: 0x16, stream: 0, [0])],
      .connectionError(protocolError)),
  ]

  static let streams: [Rule] = [
    Rule("5.1", "idle: DATA", [.data(1, [0])], .connectionError(protocolError)),
    Rule("5.1", "idle: RST_STREAM", [.reset(1)], .connectionError(protocolError)),
    Rule("5.1", "idle: WINDOW_UPDATE", [.windowUpdate(1, 100)], .connectionError(protocolError)),
    Rule("5.1", "idle: CONTINUATION", [.continuation(1, get)], .connectionError(protocolError)),
    Rule("5.1", "half closed (remote): DATA", [.headers(1, get), .data(1, [0])], .connectionError(streamClosed)),
    Rule("5.1", "half closed (remote): HEADERS", [.headers(1, get), .headers(1, get)], .connectionError(streamClosed)),
    Rule("5.1", "half closed (remote): CONTINUATION", [.headers(1, get), .continuation(1, get)], .connectionError(protocolError)),
    Rule("5.1", "half closed (remote): WINDOW_UPDATE", [.headers(1, get), .windowUpdate(1, 10)], .answered()),
    Rule(
      "5.1", "closed by RST_STREAM: CONTINUATION", [.headers(1, post, ends: false), .reset(1), .continuation(1, get)],
      .connectionError(protocolError)),
    Rule(
      "5.1", "closed by RST_STREAM: HEADERS", [.headers(1, post, ends: false), .reset(1), .headers(1, post)], .connectionError(streamClosed)
    ),
    Rule(
      "5.1", "closed by RST_STREAM: DATA", [.headers(1, post, ends: false), .reset(1), .data(1, [0])], .connectionError(streamClosed)),
    Rule("5.1", "closed by both: DATA", [.headers(1, get)], then: [.data(1, [0])], .connectionError(streamClosed)),
    Rule("5.1", "closed by both: HEADERS", [.headers(1, get)], then: [.headers(1, get)], .connectionError(streamClosed)),
    Rule("5.1", "closed by both: CONTINUATION", [.headers(1, get)], then: [.continuation(1, get)], .connectionError(protocolError)),
    Rule("5.1", "closed by both: WINDOW_UPDATE and RST_STREAM", [.headers(1, get)], then: [.windowUpdate(1, 10), .reset(1)], .ignored),
    Rule("5.1", "closed by both: PRIORITY", [.headers(1, get)], then: [.priority(1, on: 0)], .ignored),
    Rule("5.1", "idle: PRIORITY", [.priority(1, on: 0)], .ignored),
    Rule(
      "5.1.2", "more streams than are allowed",
      [.settings([(4, 0)])] + (0...20).map { .headers($0 * 2 + 1, get) }, .connectionError(protocolError)),
    Rule("5.1.1", "a number that is even", [.headers(2, get)], .connectionError(protocolError)),
    Rule("5.1.1", "a number lower than one before", [.headers(5, get), .headers(3, get)], .connectionError(protocolError)),
    Rule("5.1.1", "numbers with a gap", [.headers(1, get), .headers(7, get)], .answered(stream: 7)),
    Rule(
      "5.3.1", "HEADERS that depend on themselves",
      [RawFrame(.headers, flags: 0x25, stream: 1, payload: RawFrame.big(1) + [15] + get)], .connectionError(protocolError)),
    Rule("5.3.1", "PRIORITY on itself", [.priority(1, on: 1)], .connectionError(protocolError)),
  ]

  static let frames: [Rule] = [
    Rule("6.1", "DATA on stream 0", [.data(0, [0])], .connectionError(protocolError)),
    Rule(
      "6.1", "DATA with more padding than payload",
      [.headers(1, post, ends: false), RawFrame(.data, flags: 0x9, stream: 1, payload: [6, 0, 0])], .connectionError(protocolError)),
    Rule("6.2", "HEADERS on stream 0", [.headers(0, get)], .connectionError(protocolError)),
    Rule(
      "6.2", "HEADERS with more padding than payload", [RawFrame(.headers, flags: 0xD, stream: 1, payload: [200] + get)],
      .connectionError(protocolError)),
    Rule(
      "6.2", "HEADERS with padding and priority",
      [RawFrame(.headers, flags: 0x2D, stream: 1, payload: [2] + RawFrame.big(0) + [15] + get + [0, 0])], .answered()),
    Rule("6.3", "PRIORITY on stream 0", [.priority(0, on: 3)], .connectionError(protocolError)),
    Rule("6.3", "PRIORITY of a wrong length", [RawFrame(.priority, stream: 1, payload: [0, 0, 0, 1])], .connectionError(frameSize)),
    Rule("6.4", "RST_STREAM on stream 0", [.reset(0)], .connectionError(protocolError)),
    Rule(
      "6.4", "RST_STREAM of a wrong length", [.headers(1, post, ends: false), RawFrame(.reset, stream: 1, payload: [0, 0, 8])],
      .connectionError(frameSize)),
    Rule(
      "6.5", "an acknowledgement with settings", [RawFrame(.settings, flags: 1, payload: [0, 1, 0, 0, 0, 1])],
      .connectionError(frameSize)),
    Rule("6.5", "SETTINGS on a stream", [RawFrame(.settings, stream: 1, payload: [])], .connectionError(protocolError)),
    Rule("6.5", "SETTINGS of a wrong length", [RawFrame(.settings, payload: [0, 3, 0])], .connectionError(frameSize)),
    Rule("6.5.2", "ENABLE_PUSH that is no truth value", [.settings([(2, 2)])], .connectionError(protocolError)),
    Rule("6.5.2", "INITIAL_WINDOW_SIZE beyond its range", [.settings([(4, 1 << 31)])], .connectionError(flowControl)),
    Rule("6.5.2", "MAX_FRAME_SIZE below its range", [.settings([(5, 16_383)])], .connectionError(protocolError)),
    Rule("6.5.2", "MAX_FRAME_SIZE beyond its range", [.settings([(5, 1 << 24)])], .connectionError(protocolError)),
    Rule("6.5.2", "a setting nobody knows", [.settings([(0xFF, 1)])], .ignored),
    Rule("6.7", "PING on a stream", [RawFrame(.ping, stream: 1, payload: [0, 0, 0, 0, 0, 0, 0, 0])], .connectionError(protocolError)),
    Rule("6.7", "PING of a wrong length", [.ping([0, 0, 0, 0, 0, 0])], .connectionError(frameSize)),
    Rule(
      "6.8", "GOAWAY on a stream", [RawFrame(.goAway, stream: 1, payload: [0, 0, 0, 0, 0, 0, 0, 0])], .connectionError(protocolError)),
    Rule("6.9", "WINDOW_UPDATE of nothing", [.windowUpdate(0, 0)], .connectionError(protocolError)),
    Rule(
      "6.9", "WINDOW_UPDATE of nothing on a stream", [.headers(1, post, ends: false), .windowUpdate(1, 0)], .connectionError(protocolError)),
    Rule("6.9", "WINDOW_UPDATE of a wrong length", [RawFrame(.windowUpdate, payload: [0, 0, 1])], .connectionError(frameSize)),
    Rule(
      "6.9.1", "a window of the connection beyond its range", [.windowUpdate(0, 0x7FFF_FFFF), .windowUpdate(0, 0x7FFF_FFFF)],
      .connectionError(flowControl)),
    Rule(
      "6.9.1", "the same of what is no call", [.headers(1, post, ends: false), .windowUpdate(1, 0x7FFF_FFFF)], .streamError(flowControl)),
    Rule(
      "6.9.1", "a window of a stream beyond its range",
      [.headers(1, RawFrame.block(RawFrame.call("/spanwire.test.Echo/Chat")), ends: false), .windowUpdate(1, 0x7FFF_FFFF)],
      .streamError(flowControl)),
    Rule(
      "6.9.2", "settings that push a stream's window beyond its range",
      [
        .settings([(4, 0)]), .headers(1, RawFrame.block(RawFrame.call("/spanwire.test.Echo/Chat")), ends: false),
        .windowUpdate(1, 0x7FFF_FFFF), .settings([(4, 0x7FFF_FFFF)]),
      ], .streamError(flowControl)),
    Rule("6.10", "CONTINUATION after END_HEADERS", [.headers(1, get), .continuation(1, get)], .connectionError(protocolError)),
    Rule(
      "6.10", "CONTINUATION on stream 0", [.headers(1, get, endsBlock: false), .continuation(0, [])], .connectionError(protocolError)),
    Rule(
      "6.10", "DATA where CONTINUATION must come", [.headers(1, get, endsBlock: false), .data(1, [0])], .connectionError(protocolError)),
    Rule(
      "6.10", "a block in three frames",
      [
        .headers(1, Array(get[..<5]), endsBlock: false), .continuation(1, Array(get[5..<6]), endsBlock: false),
        .continuation(1, Array(get[6...])),
      ],
      .answered()),
    Rule(
      "8.4", "PUSH_PROMISE from a client", [RawFrame(.pushPromise, flags: 4, stream: 1, payload: RawFrame.big(2) + get)],
      .connectionError(protocolError)),
  ]

  static let messages: [Rule] = [
    Rule(
      "8.1", "trailers that do not end the stream",
      [.headers(1, post, ends: false), .headers(1, RawFrame.block([("x", "y")]), ends: false)], .streamError(protocolError)),
    Rule(
      "8.1", "trailers that end it",
      [.headers(1, post, ends: false), .data(1, [1], ends: false), .headers(1, RawFrame.block([("x", "y")]))],
      .answered()),
    Rule("8.2.1", "a name in upper case", get([("X-TEST", "ok")]), .streamError(protocolError)),
    Rule("8.2.1", "a value with a line feed", get([("x-test", "a\nb")]), .streamError(protocolError)),
    Rule("8.2.2", "connection", get([("connection", "keep-alive")]), .streamError(protocolError)),
    Rule("8.2.2", "transfer-encoding", get([("transfer-encoding", "chunked")]), .streamError(protocolError)),
    Rule("8.2.2", "te other than trailers", get([("te", "trailers, deflate")]), .streamError(protocolError)),
    Rule("8.3", "a pseudo-header nobody knows", get([(":test", "ok")]), .streamError(protocolError)),
    Rule("8.3", "a pseudo-header of responses", get([(":status", "200")]), .streamError(protocolError)),
    Rule("8.3", "a pseudo-header after a field", only([("x", "y")] + RawFrame.get), .streamError(protocolError)),
    Rule(
      "8.3", "a pseudo-header among trailers",
      [.headers(1, post, ends: false), .data(1, [1], ends: false), .headers(1, RawFrame.block([(":method", "POST")]))],
      .streamError(protocolError)),
    Rule(
      "8.3.1", "an empty path", only([(":method", "GET"), (":scheme", "http"), (":path", ""), (":authority", "t")]),
      .streamError(protocolError)),
    Rule("8.3.1", "no method", only(RawFrame.get.filter { $0.0 != ":method" }), .streamError(protocolError)),
    Rule("8.3.1", "no scheme", only(RawFrame.get.filter { $0.0 != ":scheme" }), .streamError(protocolError)),
    Rule("8.3.1", "no path", only(RawFrame.get.filter { $0.0 != ":path" }), .streamError(protocolError)),
    Rule("8.3.1", "two methods", only(RawFrame.get + [(":method", "GET")]), .streamError(protocolError)),
    Rule("8.3.1", "two schemes", only(RawFrame.get + [(":scheme", "http")]), .streamError(protocolError)),
    Rule("8.3.1", "two paths", only(RawFrame.get + [(":path", "/")]), .streamError(protocolError)),
    Rule("8.3.1", "two authorities", only(RawFrame.get + [(":authority", "test")]), .streamError(protocolError)),
    Rule(
      "8.1.1", "a content-length that one DATA frame belies",
      [.headers(1, RawFrame.block(RawFrame.post + [("content-length", "1")]), ends: false), .data(1, [1, 2])],
      .streamError(protocolError)),
    Rule(
      "8.1.1", "a content-length that the sum of DATA frames belies",
      [
        .headers(1, RawFrame.block(RawFrame.post + [("content-length", "1")]), ends: false), .data(1, [1], ends: false), .data(1, [2]),
      ], .streamError(protocolError)),
    Rule("8.1.1", "a content-length without a body", get([("content-length", "1")]), .streamError(protocolError)),
  ]

  static let compressed: [Rule] = [
    Rule("HPACK 2.3.3", "an index beyond both tables", [.headers(1, get + [0xC6])], .connectionError(compression)),
    Rule("HPACK 2.3.3", "a name's index beyond both tables", [.headers(1, get + [0x7F, 0x07, 0x01, 0x61])], .connectionError(compression)),
    Rule("HPACK 4.2", "a change of the table's size after a field", [.headers(1, get + [0x20])], .connectionError(compression)),
    Rule(
      "HPACK 5.2", "Huffman padding of more than seven bits",
      [.headers(1, get + [0, 0x85, 0xF2, 0xB2, 0x4A, 0x84, 0xFF, 0x84, 0x49, 0x50, 0x9F, 0xFF])], .connectionError(compression)),
    Rule(
      "HPACK 5.2", "Huffman padding of zeros", [.headers(1, get + [0, 0x85, 0xF2, 0xB2, 0x4A, 0x84, 0xFF, 0x83, 0x49, 0x50, 0x90])],
      .connectionError(compression)),
    Rule(
      "HPACK 5.2", "Huffman text with the end symbol",
      [.headers(1, get + [0, 0x88, 0xF2, 0xB2, 0x4A, 0x84, 0xFF, 0xFF, 0xFF, 0xFF, 0x83, 0x49, 0x50, 0x9F])], .connectionError(compression)),
    Rule("HPACK 6.1", "index 0", [.headers(1, get + [0x80])], .connectionError(compression)),
    Rule("HPACK 6.3", "a table larger than was allowed", [.headers(1, [0x3F, 0xE1, 0xFF, 0x03] + get)], .connectionError(compression)),
    Rule(
      "HPACK 6.3", "an integer without an end", [.headers(1, [0x3F] + [UInt8](repeating: 0xFF, count: 64))], .connectionError(compression)),
  ]

  @Test("the server holds its clients to the RFC", arguments: connection + streams + frames + messages + compressed)
  func holds(rule: Rule) async throws {
    let server = try await EchoServer.start(configure: { $0.limits.maxConcurrentStreams = 20 })
    let port = server.server.addresses[0].port!
    try await offload {
      let client = rule.greets ? try RawConnection(greeting: port) : try RawConnection(port: port)
      client.send(rule.bytes)
      if !rule.then.isEmpty {
        client.read(until: { $0.stream == 1 && $0.flags & RawFrame.endStream != 0 })
        client.send(rule.then.flatMap(\.bytes))
      }
      try check(rule.outcome, client)
      // Nobody else comes to harm.
      #expect(try RawClient(port: port).call().status == 0)
    }
    await server.stop()
  }

  private func check(_ outcome: Outcome, _ client: RawConnection) throws {
    switch outcome {
    case .connectionError(let code):
      let events = client.awaitClose()
      #expect(events.last == .closed, "\(events)")
      let said = events.compactMap { if case .frame(let frame) = $0, frame.type == .goAway { frame.number(at: 4) } else { nil } }
      #expect(said.first == code, "\(events)")
    case .closed:
      #expect(client.awaitClose().last == .closed)
    case .streamError(let code, let stream):
      let events = client.read(until: { $0.type == .reset || $0.type == .goAway })
      #expect(events.last == .frame(.reset(stream, code)), "\(events)")
      answersPings(client)
    case .answered(let stream):
      let events = client.read(until: { ($0.stream == stream && $0.flags & RawFrame.endStream != 0) || $0.type == .goAway })
      guard case .frame(let frame) = events.last, frame.stream == stream else {
        Issue.record("no answer: \(events)")
        return
      }
      answersPings(client)
    case .ignored: answersPings(client)
    }
  }

  private func answersPings(_ client: RawConnection) {
    let payload: [UInt8] = [0xCA, 0xFE, 1, 2, 3, 4, 5, 6]
    client.send(.ping(payload))
    let events = client.read(until: { $0.payload == payload || $0.type == .goAway })
    #expect(events.last == .frame(RawFrame(.ping, flags: RawFrame.acknowledgement, payload: payload)), "\(events)")
  }

  @Test("what a window lets through is what is sent, also when it was negative in between")
  func windows() async throws {
    let server = try await EchoServer.start()
    let port = server.server.addresses[0].port!
    try await offload {
      let client = try RawConnection(greeting: port, [(4, 3)])
      client.send(.headers(1, Self.get))
      var body: [UInt8] = []
      func take(_ count: Int) {
        // Reads until so much of the body is there.
        while body.count < count {
          guard case .frame(let frame) = client.next() else {
            Issue.record("the server fell silent")
            return
          }
          if frame.type == .data { body += frame.payload }
        }
      }
      take(3)
      // 3 are used up: with 2 in the window at first, it stands at -1, and after one more byte at 0.
      client.send(.settings([(4, 2)]), .windowUpdate(1, 1))
      answersPings(client)
      #expect(body.count == 3)
      client.send(.windowUpdate(1, 2))
      take(5)
      answersPings(client)
      #expect(body.count == 5)
      client.send(.settings([(4, 65_535)]))
      client.read(until: { frame in
        if frame.type == .data { body += frame.payload }
        return frame.stream == 1 && frame.flags & RawFrame.endStream != 0
      })
      #expect(String(decoding: body, as: UTF8.self) == "not found: this server speaks gRPC\n")
    }
    await server.stop()
  }
}
