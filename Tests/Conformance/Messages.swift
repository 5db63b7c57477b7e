import SpanwireHTTP2
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireRPCTestSupport
import Testing

/// Messages in DATA frames: rows 11 and 14 to 16. Compression stands in its own file.
extension Checklist {
  static let messages: [Case] = boundaries + sizes + corruption + ends

  private static let collect: [(String, String?)] = [(":path", "/spanwire.test.Echo/Collect")]

  private static let boundaries: [Case] = [
    .server(11, "a message in frames of one byte") { echo in
      let client = try echo.client()
      let call = try client.begin(ends: false)
      for byte in Frames.text("abc") {
        client.write([byte], to: call)
        try client.flush()
      }
      call.finish()
      try client.run { call.closeCode1 != nil }
      #expect(call.status == 0 && Frames.texts(call.body) == ["abc"])
    },
    .server(11, "many messages in one frame") { echo in
      let call = try echo.client().call(collect, body: ["a", "", "b", "c"].flatMap { Frames.text($0) })
      #expect(call.status == 0 && Frames.texts(call.body) == ["a++b+c"])
    },
    .server(11, "a frame that ends one message and begins another") { echo in
      let client = try echo.client()
      let call = try client.begin(collect, ends: false)
      let bytes = Frames.text("first") + Frames.text("second") + Frames.text("third")
      for piece in [bytes[..<3], bytes[3..<17], bytes[17..<18], bytes[18...]] {
        client.write(Array(piece), to: call)
        try client.settle()
      }
      call.finish()
      try client.run { call.closeCode1 != nil }
      #expect(Frames.texts(call.body) == ["first+second+third"])
    },
    .server(11, "empty frames between the bytes of a message") { echo in
      let client = try echo.client()
      let call = try client.begin(ends: false)
      try client.flush()
      for byte in Frames.text("ab") {
        try client.send(raw: RawFrame(.data, stream: 1).bytes + RawFrame(.data, stream: 1, payload: [byte]).bytes)
      }
      call.finish()
      try client.run { call.hasReceivedEnd }
      #expect(call.status == 0 && Frames.texts(call.body) == ["ab"])
    },
    .client(
      11, "an answer in frames of one byte",
      [.leading([]), .raw(Frames.text("bytes").map { RawFrame(.data, payload: [$0]) }), .ok], .text("bytes")),
    .client(
      11, "an answer with empty frames and padding",
      [
        .leading([]),
        .raw([RawFrame(.data)] + Frames.text("padded").map { .data([$0], padding: 7, stream: 0) } + [.data([], padding: 255, stream: 0)]),
        .ok,
      ], .text("padded")),
    .client(
      11, "many answers in one frame",
      script: { _ in [.leading([]), .raw([RawFrame(.data, payload: ["a", "", "c"].flatMap { Frames.text($0) })]), .ok] }
    ) { scripted in
      var texts: [String] = []
      for try await text in try await scripted.echo.expand(Text()) { texts.append(text.value) }
      #expect(texts == ["a", "", "c"])
    },
  ]

  /// A text whose message, encoded, has just so many bytes.
  static func text(ofSize size: Int) -> String { String(repeating: "z", count: size - (size < 130 ? 2 : 3)) }

  private static let limit = MessageLimits(maxReceivedBytes: 1000)

  private static let sizes: [Case] =
    [(1000, Answer.ok), (1001, .error(.resourceExhausted)), (1010, .error(.resourceExhausted))].map { size, answer in
      .server(14, "a request of \(size) bytes where 1000 is the limit", body: Frames.text(text(ofSize: size)), limits: limit, answer)
    }
    + [(1000, Answer.ok), (1001, .error(.resourceExhausted))].map { size, answer in
      .server(
        14, "a compressed request of \(size) bytes where 1000 is the limit", [("grpc-encoding", "gzip")],
        body: deflated(Text(value: text(ofSize: size)).encoded()), limits: limit, answer)
    }
    + [
      .server(14, "the second request of a stream is over the limit", limits: limit) { echo in
        let call = try echo.client().call(collect, body: Frames.text(text(ofSize: 1000)) + Frames.text(text(ofSize: 1001)))
        #expect(call.status == 8)
      },
      .server(
        14, "a bomb is refused", [("grpc-encoding", "gzip")], body: deflated([UInt8](repeating: 0, count: 20_000_000)), limits: limit,
        .error(.resourceExhausted)),
      .client(
        14, "an answer of just the limit passes", [.leading([]), .data(Frames.text(text(ofSize: 1000))), .ok], options: limited,
        .text(text(ofSize: 1000))),
      .client(
        14, "an answer one byte over the limit", [.leading([]), .data(Frames.text(text(ofSize: 1001))), .ok], options: limited,
        .error(.resourceExhausted)),
      .client(
        14, "a compressed answer of just the limit passes",
        [.leading([("grpc-encoding", "gzip")]), .data(deflated(Text(value: text(ofSize: 1000)).encoded())), .ok], options: limited,
        .text(text(ofSize: 1000))),
      .client(
        14, "a compressed answer one byte over the limit",
        [.leading([("grpc-encoding", "gzip")]), .data(deflated(Text(value: text(ofSize: 1001)).encoded())), .ok], options: limited,
        .error(.resourceExhausted)),
      .client(
        14, "a bomb in an answer", [.leading([("grpc-encoding", "gzip")]), .data(deflated([UInt8](repeating: 0, count: 20_000_000))), .ok],
        options: limited, .error(.resourceExhausted)),
      .client(
        14, "the second answer of a stream is over the limit",
        script: { _ in [.awaitEnd, .leading([]), .data(Frames.text(text(ofSize: 1000)) + [0, 0, 0, 3, 0xE9])] }
      ) { scripted in
        let responses = try await scripted.echo.expand(Text(), options: limited)
        #expect(try await responses.next()?.value.count == 997)
        #expect(await failure { try await responses.next() }?.code == .resourceExhausted)
        await scripted.server.log.wait(for: "0 closed 8")
      },
    ]

  private static let limited = CallOptions(maxResponseBytes: 1000)

  /// A message compressed, framed.
  static func deflated(_ message: [UInt8], _ compression: Compression = .gzip) -> [UInt8] {
    RawClient.frame(message.withUnsafeBytes { MessageCompression.deflate($0, compression) }, flag: 1)
  }

  private static let broken: [(name: String, frame: [UInt8])] = {
    let whole = Array(deflated(Text(value: String(repeating: "abc", count: 100)).encoded()).dropFirst(5))
    var flipped = whole
    flipped[flipped.count - 6] ^= 0xFF  // the checksum
    return [
      ("corrupt", RawClient.frame([1, 2, 3], flag: 1)), ("truncated", RawClient.frame(whole.dropLast(4), flag: 1)),
      ("followed by more", RawClient.frame(whole + [0], flag: 1)), ("empty", RawClient.frame([], flag: 1)),
      ("of a wrong checksum", RawClient.frame(flipped, flag: 1)),
    ]
  }()

  private static let corruption: [Case] =
    broken.map { .server(15, "compressed bytes that are \($0.name)", [("grpc-encoding", "gzip")], body: $0.frame, .error(.internal)) }
    + broken.map {
      .client(15, "compressed bytes that are \($0.name)", [.leading([("grpc-encoding", "gzip")]), .data($0.frame), .ok], .error(.internal))
    }
    + [
      .server(15, "a length beyond the limit is refused before the message comes") { echo in
        let client = try echo.client()
        let call = try client.begin(ends: false)
        client.write([0, 0xFF, 0xFF, 0xFF, 0xFF], to: call)
        try client.run { call.closeCode1 != nil }
        call.check(.error(.resourceExhausted))
        #expect(try client.call().status == 0)
      },
      .server(15, "so is that of a message after others") { echo in
        let client = try echo.client()
        let call = try client.begin(collect, ends: false)
        client.write(Frames.hi + [0, 0x7F, 0, 0, 0], to: call)
        try client.run { call.closeCode1 != nil }
        #expect(call.status == 8)
      },
      .client(
        15, "a length beyond the limit is refused before the message comes",
        script: { _ in [.leading([]), .data([0, 0xFF, 0xFF, 0xFF, 0xFF])] }
      ) {
        scripted in
        #expect(await failure { try await scripted.echo.get(Text()) }?.code == .resourceExhausted)
        await scripted.server.log.wait(for: "0 closed 8")
      },
    ]

  private static let half = Array(Frames.text("half a message").dropLast(3))

  private static let ends: [Case] = [
    .server(16, "an empty DATA frame ends the requests") { echo in
      let client = try echo.client()
      for path in ["Get", "Collect"] {
        let call = try client.begin([(":path", "/spanwire.test.Echo/\(path)")], ends: false)
        client.write(Frames.hi, to: call)
        try client.settle()
        #expect(call.leading.isEmpty)
        call.finish()
        try client.run { call.closeCode1 != nil }
        #expect(call.status == 0 && Frames.texts(call.body) == ["hi"])
      }
    },
    .server(16, "an end inside a message", body: half, .error(.internal)),
    .server(16, "an end inside a prefix", body: [0, 0, 0], .error(.internal)),
    .server(16, "an end inside the first of a stream's messages", collect, body: half, .error(.internal)),
    .server(16, "an end inside the prefix of a stream's first message", collect, body: [0, 0, 0], .error(.internal)),
    .server(16, "an end inside a later message of a stream", collect, body: Frames.hi + half, .error(.internal)),
    .client(16, "a client that is done sends an empty DATA frame with END_STREAM", script: { _ in [.awaitEnd, .leading([]), .hello, .ok] })
    { scripted in
      _ = try await scripted.echo.collect { requests in
        try await requests.write(Text(value: "a"))
        await scripted.server.log.wait(for: "0 begun")
      }
      #expect(scripted.call().hasEnded && Frames.texts(scripted.call().body) == ["a"])
      _ = try await scripted.echo.collect { _ in }
      #expect(scripted.call(1).hasEnded && scripted.call(1).body.isEmpty)
    },
    .client(16, "an end inside an answer", [.leading([]), .data(half), .ok], .error(.internal)),
    .client(16, "an end inside the prefix of an answer", [.leading([]), .data([0, 0, 0]), .ok], .error(.internal)),
    .client(
      16, "an end inside a later answer comes after those that are whole",
      script: { _ in [.awaitEnd, .leading([]), .data(RawClient.frame([]) + [0, 0, 0]), .ok] }
    ) { scripted in
      let responses = try await scripted.echo.expand(Text())
      #expect(try await responses.next()?.value == "")
      #expect(await failure { try await responses.next() }?.code == .internal)
    },
  ]
}
