import SpanwireHTTP2
import SpanwireProtobuf
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireRPCTestSupport
import SpanwireWellKnown
import Testing

/// How a call ends on the wire: rows 17 to 21.
extension Checklist {
  static let statusAndTrailers: [Case] = trailersOnly + statuses + statusMessages + details + httpStatuses

  private static let expand: [(String, String?)] = [(":path", "/spanwire.test.Echo/Expand")]

  // MARK: 17

  private static let trailersOnly: [Case] =
    [
      ("a handler of one answer that throws", [], Frames.text("fail ABORTED no")),
      ("a handler of a stream that throws at once", expand, Frames.text("0 ABORTED")),
      ("an unknown method", [(":path", "/no/such")], Frames.hi), ("a bad request", [], RawClient.frame([0xFF])),
    ]
    .map { (name: String, headers: [(String, String?)], body: [UInt8]) in
      .server(17, "\(name) answers with one block") { echo in
        let client = try echo.client()
        let call = try client.begin(headers, body: body)
        try client.run { call.closeCode1 != nil }
        let frames = client.frames.filter { $0.stream == 1 && ($0.type == .headers || $0.type == .data) }
        #expect(frames.map(\.type) == [.headers] && frames.first.map { $0.flags & RawFrame.endStream } == RawFrame.endStream)
        #expect(call.status.map { $0 > 0 } == true && call.headers1["content-type"] == "application/grpc")
      }
    }
    + [
      .server(17, "an error after messages comes in trailers") { echo in
        let call = try echo.client().call(expand, body: Frames.text("2 ABORTED"))
        #expect(call.leading.contains { $0.name == ":status" } && !call.leading.contains { $0.name == "grpc-status" })
        #expect(Frames.texts(call.body) == ["0", "1"] && call.trailers["grpc-status"] == "10" && call.message == "after 2")
      },
      .server(17, "metadata of a call that fails at once travels in the one block") { echo in
        let call = try echo.client().call([("x-d", "1"), ("x-d", "2")], body: Frames.text("fail ABORTED no"))
        #expect(call.isTrailersOnly && call.leading.filter { $0.name == "t-d" }.map(\.value) == ["1", "2"])
        #expect(call.headers1["x-why"] == "asked")
      },
      .client(
        17, "one block with a status is the whole answer", [.trailersOnly([("grpc-status", "5"), ("grpc-message", "no%20such")])],
        .error(.notFound, "no such")),
      .client(
        17, "its metadata is trailing, with duplicates",
        script: { _ in [.awaitEnd, .trailersOnly([("x-a", "1"), ("grpc-status", "9"), ("grpc-message", "error"), ("x-a", "2")])] }
      ) {
        (scripted) async throws in
        let call = try await scripted.channel.start(Echo.Methods.get, CallOptions())
        _ = try call.send(Text())
        call.finishSending()
        let error = await failure { try await call.receive(Text.self) }
        #expect(error?.code == .failedPrecondition && error?.message == "error" && error?.trailers[all: "x-a"] == ["1", "2"])
        #expect(try await call.responseMetadata().isEmpty && call.trailers.names == ["x-a", "x-a"])
      },
      .client(17, "one block with OK and no answer", [.trailersOnly([("grpc-status", "0")])], .error(.unimplemented)),
      .client(17, "an empty stream may be one block", script: { _ in [.trailersOnly([("grpc-status", "0")])] }) { (scripted) async throws in
        for try await text in try await scripted.echo.expand(Text()) { Issue.record("\(text)") }
      },
      .client(
        17, "a status among the headers counts for nothing if a body follows", [.leading([("grpc-status", "9")]), .hello, .ok],
        .text("hello")),
      .client(
        17, "nor if a body follows and no trailers",
        [.leading([("grpc-status", "9")]), .raw([RawFrame(.data, flags: RawFrame.endStream, payload: Frames.hi)])],
        .error([.internal, .unknown])),
      .client(
        17, "nor if trailers follow", [.leading([("grpc-status", "8")]), .trailers([("x-a", "b"), ("grpc-status", "9")])],
        .error(.failedPrecondition)),
      .client(
        17, "leading and trailing metadata are told apart",
        script: { _ in [.awaitEnd, .leading([("x-a", "1"), ("x-a", "2")]), .trailers([("grpc-status", "9"), ("t-a", "3"), ("t-a", "4")])] }
      ) {
        (scripted) async throws in
        let responses = try await scripted.echo.expand(Text())
        #expect(try await responses.metadata[all: "x-a"] == ["1", "2"])
        #expect(await failure { try await responses.next() }?.trailers[all: "t-a"] == ["3", "4"])
        #expect(responses.trailers.names == ["t-a", "t-a"])
      },
    ]

  // MARK: 18

  private static let statuses: [Case] =
    [
      .server(18, "OK is said, in trailers") { echo in
        for path in ["Get", "Collect", "Chat", "Expand"] {
          let call = try echo.client().call([(":path", "/spanwire.test.Echo/\(path)")], body: Frames.text("1"))
          #expect(call.trailing.filter { $0.name == "grpc-status" }.map(\.value) == ["0"], "\(path)")
          #expect(!call.leading.contains { $0.name == "grpc-status" })
        }
      },
      .server(18, "codes are decimal") { echo in
        for code in RPCError.Code.allCases {
          let call = try echo.client().call(body: Frames.text("fail \(code.name) why"))
          #expect(call.headers1["grpc-status"] == "\(code.rawValue)")
        }
      },
      .client(18, "no status in trailers", [.leading([]), .hello, .trailers([("grpc-message", "error")])], .error([.unknown, .internal])),
      .client(18, "no trailers", [.leading([]), .hello, .trailers([])], .error([.unknown, .internal])),
      .client(18, "neither body nor trailers", [.leading([], ends: true)], .error([.unknown, .internal])),
      .client(
        18, "messages of a stream without a status are read first", script: { _ in [.awaitEnd, .leading([]), .hello, .trailers([])] }
      ) { (scripted) async throws in
        let responses = try await scripted.echo.expand(Text())
        #expect(try await responses.next()?.value == "hello")
        let code = await failure { try await responses.next() }?.code
        #expect(code == .unknown || code == .internal)
      },
    ]
    + ["", "-0", "+0", "0x0", "0 0", "0.0", "zero", "00000000000000000000", "256", "4294967296", "99999999999999999999"]
    .map { (text: String) in
      .client(
        18, "a status of '\(text)' is not OK", [.leading([]), .hello, .trailers([("grpc-status", text), ("grpc-message", "hm")])],
        .error([.unknown, .internal]))
    }
    + [
      .client(
        18, "a status of the future is UNKNOWN, with its message",
        [.leading([]), .trailers([("grpc-status", "17"), ("grpc-message", "hm")])], .error(.unknown, "hm"))
    ]
    + RPCError.Code.allCases.map { code in
      .client(
        18, "\(code.rawValue) is \(code)", [.trailersOnly([("grpc-status", "\(code.rawValue)"), ("grpc-message", "why")])],
        .error(code, "why"))
    }

  // MARK: 19

  private static let hard = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
  private static let encoded = "%09%0Atest with whitespace%0D%0Aand Unicode BMP %E2%98%BA and non-BMP %F0%9F%98%88%09%0A"

  private static let statusMessages: [Case] =
    [
      (hard, encoded), ("100%", "100%25"), ("~ }\u{7F}", "~ }%7F"), ("a\0b", "a%00b"), (" both ends ", "%20both ends%20"), ("%41", "%2541"),
    ]
    .map { (message: String, wire: String) in
      .server(19, "\(wire) is written", service: CustomEcho(get: { _, _ in throw RPCError(.aborted, message) })) { echo in
        let call = try echo.client().call()
        #expect(call.message == wire)
        #expect(call.status == 10)
      }
    }
    + [
      .server(19, "no message is written for none", service: CustomEcho(get: { _, _ in throw RPCError(.aborted) })) { echo in
        let call = try echo.client().call()
        #expect(call.status == 10 && call.message ?? "" == "")
      },
      .client(19, "no message is an empty one", [.trailersOnly([("grpc-status", "10")])], .error(.aborted, "")),
    ]
    + [
      (encoded, hard), ("50%%zz", "50%%zz"), ("%", "%"), ("%4", "%4"), ("%e2%98%ba", "☺"), ("%41%4G%42", "A%4GB"),
      ("plain, nothing else", "plain, nothing else"), (" blanks ", "blanks"),
      ("%C3%28", "\u{FFFD}("), ("%FF", "\u{FFFD}"), ("%2541", "%41"),
    ]
    .map { (wire: String, message: String) in
      .client(19, "\(wire) is read", [.trailersOnly([("grpc-status", "10"), ("grpc-message", wire)])], .error(.aborted, message))
    }

  // MARK: 20

  private static func statusBytes(_ code: Int32, _ message: String) -> [UInt8] {
    Google_Rpc_Status(code: code, message: message, details: [Google_Protobuf_Any(packing: Text(value: "detail"))]).encoded()
  }

  private static func failing(_ details: String) -> [Step] {
    [.trailersOnly([("grpc-status", "9"), ("grpc-message", "why"), ("grpc-status-details-bin", details)])]
  }

  private static let details: [Case] =
    [
      .server(20, "a google.rpc.Status that agrees with the fields beside it") { echo in
        let call = try echo.client().call(body: Frames.text("detail FAILED_PRECONDITION"))
        let text = try #require(call.headers1["grpc-status-details-bin"])
        #expect(!text.contains("="))
        let bytes = try #require(Array(text.utf8).withUnsafeBytes { Base64.decode($0) })
        let status = try bytes.withUnsafeBytes { bytes throws in try Google_Rpc_Status(decoding: bytes) }
        #expect(status.code == 9 && call.status == 9 && status.message == call.message && status.details.count == 1)
      },
      .server(20, "none for an error without details") { echo in
        let call = try echo.client().call(body: Frames.text("fail ABORTED x"))
        #expect(call.headers1["grpc-status-details-bin"] == nil)
      },
    ]
    + [
      ("unpadded", Base64.encode(statusBytes(9, "why"), padding: false), 1),
      ("padded", Base64.encode(statusBytes(9, "why"), padding: true), 1),
      ("of another code", Base64.encode(statusBytes(5, "why"), padding: false), 0), ("that are no base64", "****", 0),
      ("that are no status", "/////w", 0),
    ]
    .map { (name: String, text: String, count: Int) in
      .client(20, "details \(name)", script: { _ in failing(text) }) { (scripted) async throws in
        let error = await failure { try await scripted.echo.get(Text()) }
        #expect(error?.code == .failedPrecondition && error?.message == "why")
        #expect(error?.details.count == count)
        if count == 1 { #expect(error?.detail(Text.self)?.value == "detail") }
      }
    }

  // MARK: 21

  private static let httpStatuses: [Case] =
    [
      (400, RPCError.Code.internal), (401, .unauthenticated), (403, .permissionDenied), (404, .unimplemented), (429, .unavailable),
      (502, .unavailable),
      (503, .unavailable), (504, .unavailable), (201, .unknown), (204, .unknown), (301, .unknown), (405, .unknown), (408, .unknown),
      (409, .unknown),
      (412, .unknown), (413, .unknown), (415, .unknown), (418, .unknown), (431, .unknown), (500, .unknown), (501, .unknown),
      (505, .unknown), (800, .unknown),
    ]
    .flatMap { (status: Int, code: RPCError.Code) -> [Case] in
      [
        .client(21, "\(status) alone", [.headers([(":status", "\(status)")], ends: true)], .error(code)),
        .client(
          21, "\(status) with a page",
          [.headers([(":status", "\(status)"), ("content-type", "text/html")], ends: false), .data(Array("<p>no".utf8)), .trailers([])],
          .error(code)),
      ]
    }
    + [
      .client(
        21, "a gRPC status counts for more",
        [.headers([(":status", "503"), ("content-type", "application/grpc"), ("grpc-status", "5")], ends: true)],
        .error(.notFound)),
      .client(
        21, "also in trailers",
        [.headers([(":status", "503"), ("content-type", "application/grpc")], ends: false), .trailers([("grpc-status", "5")])],
        .error(.notFound)),
      .client(
        21, "without one, 503 of a gRPC server is UNAVAILABLE",
        [.headers([(":status", "503"), ("content-type", "application/grpc")], ends: false), .trailers([])],
        .error(.unavailable)),
      .client(
        21, "1xx is passed over",
        [.raw([.headers([(":status", "103"), ("link", "x")], stream: 0, ends: false)]), .leading([("x-a", "b")]), .hello, .ok],
        .text("hello")),
    ]
}
