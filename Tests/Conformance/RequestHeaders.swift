import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireRPCTestSupport
import Testing

/// Request headers: rows 1 to 6.
extension Checklist {
  static let requestHeaders: [Case] = contentTypes + methods + clientsFields + connectionFields + timeouts + paths

  private static let noCodec: [RPCError.Code] = [.unknown, .internal, .unimplemented]

  private static let contentTypes: [Case] =
    ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8", "application/grpc+proto; a=b"]
    .map { (text: String) in Case.server(1, "\(text) is served", [("content-type", text)], .ok) }
    + ["application/grpc+thrift", "application/grpc+json", "application/grpc+protobuf"]
    .map { (text: String) in Case.server(1, "\(text) has no codec", [("content-type", text)], .status(noCodec)) }
    + ["application/json", "text/html", "image/jpeg", "application/grpc-web", "application/grpcx", "application/", ""]
    .map { (text: String) in Case.server(1, "'\(text)' is 415", [("content-type", text)], .http("415")) }
    + [
      .server(1, "no content-type is 415", [("content-type", nil)], .http("415")),
      .server(1, "the answer says what it is") { echo in
        let call = try echo.client().call()
        #expect(call.headers1["content-type"]?.hasPrefix("application/grpc") == true)
      },
      .client(1, "requests are application/grpc", script: { _ in [.leading([]), .hello, .ok] }) { scripted in
        _ = try await scripted.echo.get(Text())
        #expect(scripted.call().fields.filter { $0.name == "content-type" }.map(\.value) == ["application/grpc"])
      },
    ]
    + ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"]
    .map { type in
      .client(
        1, "an answer of \(type) is read", [.headers([(":status", "200"), ("content-type", type)], ends: false), .hello, .ok],
        .text("hello"))
    }
    + ["application/grpc+json", "application/grpc+thrift"]
    .map { type in
      .client(
        1, "an answer of \(type) has no codec", [.headers([(":status", "200"), ("content-type", type)], ends: false), .hello, .ok],
        .error(noCodec))
    }
    + ["image/jpeg", "text/html", "application/json", "application/grpc-web+proto", ""]
    .map { type in
      .client(
        1, "an answer of '\(type)' with 200 is UNKNOWN",
        [.headers([(":status", "200"), ("content-type", type)], ends: false), .data([1, 2, 3]), .trailers([])], .error(.unknown))
    }
    + [
      .client(1, "an answer without content-type is UNKNOWN", [.headers([(":status", "200")], ends: false), .hello, .ok], .error(.unknown))
    ]

  private static let methods: [Case] =
    ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]
    .map { (text: String) in Case.server(2, "\(text) is refused", [(":method", text)], .httpOrStatus("405", noCodec)) }
    + [
      .client(2, "every call is a POST", script: { _ in [.leading([]), .hello, .ok] }) { scripted in
        _ = try await scripted.echo.get(Text())
        for try await _ in try await scripted.echo.expand(Text()) {}
        _ = try await scripted.echo.collect { _ in }
        #expect((0..<3).map { scripted.call($0).fields.first { $0.name == ":method" }?.value } == ["POST", "POST", "POST"])
      }
    ]

  private static let clientsFields: [Case] = [
    .client(3, "te, user-agent and the pseudo-headers are there, those first", script: { _ in [.leading([]), .hello, .ok] }) { scripted in
      _ = try await scripted.echo.get(Text(), options: .metadata(["x-own": "1"]))
      let names = scripted.call().fields.map(\.name)
      #expect(Set(names.prefix(4)) == [":method", ":scheme", ":path", ":authority"])
      #expect(!names.dropFirst(4).contains { $0.hasPrefix(":") })
      let fields = Dictionary(scripted.call().fields.map { ($0.name, $0.value) }) { first, _ in first }
      #expect(fields["te"] == "trailers")
      #expect(fields["user-agent"]?.hasPrefix("grpc-") == true)
      #expect(fields[":scheme"] == "http" && fields[":path"] == "/spanwire.test.Echo/Get")
      #expect(fields[":authority"] == "127.0.0.1:\(scripted.server.port)")
      #expect(fields["grpc-accept-encoding"]?.contains("gzip") == true)
    },
    .client(3, "streaming calls have them too", script: { _ in [.awaitEnd, .leading([]), .hello, .ok] }) { scripted in
      _ = try await scripted.echo.collect { try await $0.write(Text(value: "a")) }
      let fields = Dictionary(scripted.call().fields.map { ($0.name, $0.value) }) { first, _ in first }
      #expect(fields["te"] == "trailers" && fields["user-agent"] != nil)
    },
  ]

  private static let connectionFields: [Case] =
    [
      ("connection", "keep-alive"), ("proxy-connection", "close"), ("keep-alive", "timeout=5"), ("transfer-encoding", "chunked"),
      ("upgrade", "h2c"),
    ]
    .map { Case.server(4, "\($0.0) is a PROTOCOL_ERROR", [($0.0, $0.1)], .reset(1)) }
    + [
      .server(4, "te other than trailers is a PROTOCOL_ERROR", [("te", "gzip")], .reset(1)),
      refusedAuthorities("two of :authority", [(":authority", "test"), (":authority", "other")]),
      refusedAuthorities("two of host", [("host", "test"), ("host", "other")]),
      .client(
        4, "an answer with connection is malformed",
        [.raw([.headers([(":status", "200"), ("content-type", "application/grpc"), ("connection", "close")], stream: 0, ends: false)])],
        .error([.internal, .unknown])),
    ]

  private static func refusedAuthorities(_ name: String, _ fields: [(String, String)]) -> Case {
    let usual = RawClient.usual.filter { field in !fields.contains { $0.0 == field.0 } }
    let pseudo = usual.filter { $0.0.hasPrefix(":") } + fields.filter { $0.0.hasPrefix(":") }
    let others = usual.filter { !$0.0.hasPrefix(":") } + fields.filter { !$0.0.hasPrefix(":") }
    return rawRequest(4, "\(name) is refused", pseudo + others) { answers in #expect(answers.map(\.type) == [.reset], "\(answers)") }
  }

  /// A request of fields that no library sends, and the frames that answer it.
  static func rawRequest(
    _ row: Int, _ name: String, _ fields: [(String, String)], _ check: @escaping @Sendable ([RawFrame]) -> Void
  ) -> Case {
    .server(row, name) { echo in
      let client = try echo.client()
      // One honest call, so that stream 3 is free.
      #expect(try client.call().status == 0)
      try client.send(raw: RawFrame.headers(fields, stream: 3, ends: true).bytes)
      let answers = { client.frames.filter { $0.stream == 3 } }
      try client.run { !answers().isEmpty }
      check(answers())
    }
  }

  private static let timeouts: [Case] =
    ["10S", "1H", "99999999H", "99999999M", "99999999S", "99999999m", "10000000u", "00000010S"]
    .map { (text: String) in Case.server(5, "a timeout of \(text) is long enough", [("grpc-timeout", text)], .ok) }
    + ["100000000n", "000000001S", "", "S", "10", "10s", "10h", "10 S", "-1S", "+1S", "1.5S", "0x1S", "10SS", "10Sm", "1e3m"]
    .map { value in
      .server(5, "a timeout of '\(value)' is malformed") { echo in
        let call = try echo.client().call([("grpc-timeout", value)])
        #expect(call.status.map { $0 != 0 } == true || call.closeCode1 == 1, "status \(call.status ?? -1)")
        #expect(call.status != 3, "never INVALID_ARGUMENT")
      }
    }
    + ["0n", "0S", "00000000H"]
    .map { value in
      .server(5, "a timeout of \(value) has passed before the handler begins") { echo in
        let call = try echo.client().call([("grpc-timeout", value)], body: Frames.text("wait"))
        call.check(.error(.deadlineExceeded))
        #expect(echo.log.lines.isEmpty)
      }
    }
    + [
      .server(5, "no timeout is no deadline") { echo in
        let call = try echo.client().call(body: Frames.text("remaining"))
        #expect(Frames.texts(call.body) == ["none"])
      },
      .server(5, "minutes are M and milliseconds m") { echo in
        let client = try echo.client()
        let minutes = Frames.texts(try client.call([("grpc-timeout", "100M")], body: Frames.text("remaining")).body)
        #expect(["5999", "6000"].contains(minutes.first))
        let milliseconds = Frames.texts(try client.call([("grpc-timeout", "9000000m")], body: Frames.text("remaining")).body)
        #expect(["8999", "9000"].contains(milliseconds.first))
      },
      .client(5, "a timeout is 1 to 8 digits and a unit, and not longer than asked", script: { _ in [.leading([]), .hello, .ok] }) {
        scripted in
        let units: [Character: Double] = ["H": 3600, "M": 60, "S": 1, "m": 1e-3, "u": 1e-6, "n": 1e-9]
        let spans: [Double] = [20, 90, 100_000, 3_000_000_000, 9_000_000_000]
        for (number, seconds) in spans.enumerated() {
          _ = try await scripted.echo.get(Text(), options: .timeout(.seconds(seconds)))
          let text = scripted.call(number).fields.first { $0.name == "grpc-timeout" }?.value ?? ""
          let digits = text.dropLast()
          #expect((1...8).contains(digits.count) && digits.allSatisfy { $0.isASCII && $0.isNumber }, "\(text)")
          let sent = (Double(digits) ?? 0) * (text.last.flatMap { units[$0] } ?? 0)
          #expect(sent <= seconds && sent >= seconds * 0.5 - 3600, "\(text) for \(seconds) s")
        }
      },
      .client(5, "without a deadline no timeout is sent", script: { _ in [.leading([]), .hello, .ok] }) { scripted in
        _ = try await scripted.echo.get(Text())
        #expect(!scripted.call().fields.contains { $0.name == "grpc-timeout" })
      },
      .client(5, "a deadline that has passed is never sent", script: { _ in [.leading([]), .hello, .ok] }) { scripted in
        for options in [CallOptions.timeout(.zero), .timeout(.seconds(-5)), CallOptions(deadline: Deadline(nanoseconds: 1))] {
          #expect(await failure { try await scripted.echo.get(Text(), options: options) }?.code == .deadlineExceeded)
        }
        #expect(scripted.calls == 0)
      },
    ]

  private static let paths: [Case] =
    [
      "/spanwire.test.Echo/get", "/spanwire.test.echo/Get", "/Spanwire.Test.Echo/Get", "/spanwire.test.Echo/Nothing", "/no.Such/Get",
      "/spanwire.test.Echo", "/spanwire.test.Echo/", "/spanwire.test.Echo/Get/", "/spanwire.test.Echo//Get", "//spanwire.test.Echo/Get",
      "/",
      "/spanwire.test.Echo/Get?x=1",
    ]
    .map { (text: String) in Case.server(6, "\(text) is UNIMPLEMENTED", [(":path", text)], .error(.unimplemented)) }
    + [
      .client(6, "a path is sent as it is written", script: { _ in [.trailersOnly([("grpc-status", "12")])] }) { scripted in
        let method = MethodDescriptor(service: "a.B", name: "mIxEd", kind: .unary, inputType: "", outputType: "")
        let error = await failure { try await scripted.channel.unary(Text(), method, CallOptions()) as Text }
        #expect(error?.code == .unimplemented)
        #expect(scripted.call().fields.first { $0.name == ":path" }?.value == "/a.B/mIxEd")
      }
    ]
}
