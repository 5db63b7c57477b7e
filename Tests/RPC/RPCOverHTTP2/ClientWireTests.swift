import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireRPCTestSupport
import SpanwireWellKnown
import Testing

/// What our client makes of servers that are no gRPC servers, or bad ones.
@Suite(.timeLimit(.minutes(15))) struct ClientWireTests {
  typealias Step = ScriptedServer.Step

  static func frame(_ message: Text, flag: UInt8 = 0) -> [UInt8] {
    let bytes = message.encoded()
    return [flag, 0, 0, UInt8(bytes.count >> 8), UInt8(bytes.count & 0xFF)] + bytes
  }

  static let hello = frame(Text(value: "hello"))
  static let ok: Step = .trailers([("grpc-status", "0")])
  static let grpc = ("content-type", "application/grpc")

  struct Row: Sendable, CustomTestStringConvertible {
    let name: String
    let steps: [Step]
    let code: RPCError.Code?
    var message: String?
    var testDescription: String { name }

    init(_ name: String, _ steps: [Step], _ code: RPCError.Code?, _ message: String? = nil) {
      self.name = name
      self.steps = steps
      self.code = code
      self.message = message
    }
  }

  static let rows: [Row] =
    [
      Row("a response", [ScriptedServer.okHeaders, .data(hello), ok], nil),
      Row(
        "a response of another sub-type",
        [.headers([(":status", "200"), ("content-type", "application/grpc+proto")], ends: false), .data(hello), ok], nil),
      Row(
        "trailers only", [.headers([(":status", "200"), grpc, ("grpc-status", "5"), ("grpc-message", "no%20such")], ends: true)], .notFound,
        "no such"),
      Row(
        "a status among the headers, but a body follows",
        [.headers([(":status", "200"), grpc, ("grpc-status", "5")], ends: false), .data(hello), ok], nil),
      Row("no status", [ScriptedServer.okHeaders, .data(hello), .trailers([])], .unknown),
      Row("trailers without a status", [ScriptedServer.okHeaders, .data(hello), .trailers([("x-a", "b")])], .unknown),
      Row(
        "a status of the future", [ScriptedServer.okHeaders, .trailers([("grpc-status", "42"), ("grpc-message", "hm")])], .unknown, "hm"),
      Row("a status that is no number", [ScriptedServer.okHeaders, .trailers([("grpc-status", "many")])], .unknown),
      Row(
        "a broken message", [ScriptedServer.okHeaders, .trailers([("grpc-status", "10"), ("grpc-message", "50%%zz")])], .aborted, "50%%zz"),
      Row("no response with OK", [ScriptedServer.okHeaders, ok], .unimplemented),
      Row("two responses with OK", [ScriptedServer.okHeaders, .data(hello + hello), ok], .unimplemented),
      Row("half a message", [ScriptedServer.okHeaders, .data(Array(hello.dropLast())), ok], .internal),
      Row("a message of another type", [ScriptedServer.okHeaders, .data([0, 0, 0, 0, 2, 0x0A, 0xFF]), ok], .internal),
      Row("a message that is too large", [ScriptedServer.okHeaders, .data([0, 0xFF, 0xFF, 0xFF, 0xFF]), ok], .resourceExhausted),
      Row("a compressed message without an encoding", [ScriptedServer.okHeaders, .data(frame(Text(value: "x"), flag: 1)), ok], .internal),
      Row(
        "an unknown encoding",
        [.headers([(":status", "200"), grpc, ("grpc-encoding", "snappy")], ends: false), .data(frame(Text(value: "x"), flag: 1)), ok],
        .internal),
      Row(
        "corrupt compressed bytes",
        [.headers([(":status", "200"), grpc, ("grpc-encoding", "gzip")], ends: false), .data(frame(Text(value: "x"), flag: 1)), ok],
        .internal),
      Row(
        "a page of HTML",
        [.headers([(":status", "200"), ("content-type", "text/html")], ends: false), .data(Array("<p>hello".utf8)), .trailers([])], .unknown
      ),
      Row("the connection goes away", [.hangUp], .unavailable),
    ]
    + [
      (400, .internal), (401, .unauthenticated), (403, .permissionDenied), (404, .unimplemented), (429, .unavailable), (500, .unknown),
      (503, .unavailable),
    ]
    .map { (status: Int, code: RPCError.Code) in
      Row("HTTP status \(status)", [.headers([(":status", "\(status)"), ("content-type", "text/plain")], ends: true)], code)
    }
    + [(1, .internal), (2, .internal), (8, .cancelled), (11, .resourceExhausted), (12, .permissionDenied), (7, .unavailable)]
    .map { (number: UInt32, code: RPCError.Code) in Row("reset with \(number)", [.reset(number)], code) }

  @Test("whatever a server says becomes the status that gRPC has for it", arguments: rows)
  func outcomes(row: Row) async throws {
    let server = try await ScriptedServer.start { _ in row.steps }
    let channel = try HTTP2Channel(.host("127.0.0.1", port: server.port))
    let echo = EchoClient(channel)
    if let code = row.code {
      let error = await failure { try await echo.get(Text(value: "x")) }
      #expect(error?.code == code, "\(error as Any)")
      if let message = row.message { #expect(error?.message == message) }
    } else {
      #expect(try await echo.get(Text(value: "x")).value == "hello")
    }
    await channel.close()
    await server.stop()
  }

  @Test("a request bears what gRPC asks of it, and what the caller said")
  func request() async throws {
    let server = try await ScriptedServer.start { _ in [ScriptedServer.okHeaders, .data(Self.hello), Self.ok] }
    let channel = try HTTP2Channel(.host("127.0.0.1", port: server.port))
    var metadata: Metadata = ["x-a": "b"]
    metadata.add("x-b-bin", bytes: [0, 1, 2, 3])
    let trace = TraceContext.root()
    try await CallContext.with(principal: .anonymous, trace: trace) { () async throws in
      _ = try await EchoClient(channel).get(Text(), options: CallOptions(timeout: .seconds(10), metadata: metadata))
    }
    let request = try #require(server.requests.withLock { $0.first })
    for (name, value) in [
      ":method": "POST", ":scheme": "http", ":path": "/spanwire.test.Echo/Get", ":authority": "127.0.0.1:\(server.port)",
      "te": "trailers", "content-type": "application/grpc", "grpc-accept-encoding": "identity,gzip,deflate", "x-a": "b",
      "x-b-bin": "AAECAw",
    ] {
      #expect(request[name] == value, "\(name)")
    }
    #expect(request["user-agent"]?.hasPrefix("grpc-swift-spanwire/") == true)
    #expect(request["grpc-timeout"]?.hasSuffix("u") == true)
    #expect(request["traceparent"]?.contains(trace.traceID) == true)
    await channel.close()
    await server.stop()
  }

  @Test(
    "a call that the server refused to look at is made again; a reset of another kind is not",
    arguments: [(7, 2), (2, 1)] as [(UInt32, Int)])
  func transparentRetry(code: UInt32, calls: Int) async throws {
    let server = try await ScriptedServer.start { number in
      number == 0 ? [.reset(code)] : [ScriptedServer.okHeaders, .data(Self.hello), Self.ok]
    }
    let channel = try HTTP2Channel(.host("127.0.0.1", port: server.port))
    let text = try? await EchoClient(channel).get(Text()).value
    #expect(text == (calls == 2 ? "hello" : nil))
    #expect(server.requests.withLock { $0.count } == calls)
    await channel.close()
    await server.stop()
  }

  @Test("calls under way end on a connection that is told to go, new ones use another")
  func goAway() async throws {
    let server = try await ScriptedServer.start { number in
      (number == 0 ? [.goAway(includesCall: true)] : []) + [ScriptedServer.okHeaders, .data(Self.hello), Self.ok]
    }
    let channel = try HTTP2Channel(.host("127.0.0.1", port: server.port))
    for _ in 0..<3 { #expect(try await EchoClient(channel).get(Text()).value == "hello") }
    await channel.close()
    await server.stop()
  }
}

/// Finding, losing and leaving servers.
@Suite(.timeLimit(.minutes(15))) struct ChannelLifeTests {
  static let quick: HTTP2ChannelOptions = {
    var options = HTTP2ChannelOptions()
    options.backoff = ChannelBackoff(initial: .milliseconds(20), multiplier: 1.5, jitter: 0.2, maximum: .milliseconds(100))
    return options
  }()

  @Test("a server that is not there is UNAVAILABLE, unless the caller would rather wait")
  func refused() async throws {
    let (host, port) = (loopbackAddressOfItsOwn(), UInt16(50_077))
    let channel = try HTTP2Channel(.host(host, port: port), options: Self.quick)
    let echo = EchoClient(channel)
    for _ in 0..<3 { #expect(await failure { try await echo.get(Text()) }?.code == .unavailable) }
    let late = await failure { try await echo.get(Text(), options: CallOptions(timeout: .milliseconds(100), waitForReady: true)) }
    #expect(late?.code == .deadlineExceeded)

    let waiting = Task { try await echo.get(Text(value: "patient"), options: CallOptions(waitForReady: true)).value }
    let server = try HTTP2Server(
      ServerRouter([Echo.routes(ObedientEcho())]), ServerConfiguration(host: host, port: port))
    try await server.start()
    #expect(try await waiting.value == "patient")
    await channel.close()
    await server.shutDown(grace: .zero)
  }

  @Test("a name that has no address is UNAVAILABLE")
  func unresolved() async throws {
    let channel = try HTTP2Channel(.host("nobody.invalid", port: 1), options: Self.quick)
    #expect(await failure { try await EchoClient(channel).get(Text()) }?.code == .unavailable)
    await channel.close()
  }

  @Test("a server whose certificate does not verify is UNAVAILABLE, with the reason")
  func untrusted() async throws {
    let server = try await EchoServer.start(isSecure: true)
    let channel = try HTTP2Channel(
      .host("localhost", port: server.server.addresses[0].port!), tls: .init(trust: .system), options: Self.quick)
    let error = await failure { try await EchoClient(channel).get(Text()) }
    #expect(error?.code == .unavailable && error?.message.contains("certificate") == true, "\(error as Any)")
    await channel.close()
    await server.stop()
  }

  @Test("a server that leaves lets calls end, and a channel that closes does too")
  func draining() async throws {
    let server = try await EchoServer.start()
    let call = try await server.echo.chat()
    try await call.requests.write(Text(value: "before"))
    #expect(try await call.responses.next()?.value == "before")
    let leaving = Task { await server.server.shutDown() }
    let closing = Task { await server.channel.close() }
    // Until the channel is closed, calls still begin; afterwards none does.
    while await (try? server.echo.get(Text(), options: .timeout(.seconds(5)))) != nil {}
    try await call.requests.write(Text(value: "after"))
    #expect(try await call.responses.next()?.value == "after")
    call.requests.finish()
    #expect(try await call.responses.next() == nil)
    await closing.value
    await leaving.value
    #expect(await failure { try await server.echo.get(Text()) }?.code == .unavailable)
    #expect(server.server.connections == 0)
    await server.stop()
  }

  @Test("a channel that nobody holds any more takes its calls along")
  func abandoned() async throws {
    let server = try await EchoServer.start()
    let log = server.log
    do {
      let channel = try HTTP2Channel(.host("127.0.0.1", port: server.server.addresses[0].port!))
      let responses = try await EchoClient(channel).expand(Text(value: "forever"))
      _ = try await responses.next()
    }
    await log.wait(for: "expand: ended")
    await server.stop()
  }

  @Test("a server that answers pings is kept, one that does not is given up")
  func keepalive() async throws {
    var options = Self.quick
    options.keepalive = .init(interval: .milliseconds(20), timeout: .seconds(30))
    let honest = try await EchoServer.start(options: options)
    let late = await failure { try await honest.echo.get(Text(value: "wait"), options: .timeout(.milliseconds(200))) }
    #expect(late?.code == .deadlineExceeded)
    await honest.stop()

    options.keepalive = .init(interval: .milliseconds(20), timeout: .milliseconds(20))
    let silent = try await SilentServer.start()
    let channel = try HTTP2Channel(.host("127.0.0.1", port: silent.port), options: options)
    let error = await failure { try await EchoClient(channel).get(Text()) }
    #expect(error?.code == .unavailable && error?.message.contains("ping") == true, "\(error as Any)")
    await channel.close()
    await silent.stop()
  }

  @Test("messages over a limit are refused at either end, and the connection goes on")
  func limits() async throws {
    var options = HTTP2ChannelOptions()
    options.limits = MessageLimits(maxReceivedBytes: 5 << 20, maxSentBytes: 6 << 20)
    let server = try await EchoServer.start(options: options)
    for text in [String(repeating: "y", count: 4 << 20 + 1), String(repeating: "y", count: 7 << 20), "size \(6 << 20)"] {
      #expect(await failure { try await server.echo.get(Text(value: text)) }?.code == .resourceExhausted)
    }
    let small = CallOptions(maxResponseBytes: 100)
    #expect(await failure { try await server.echo.get(Text(value: "size 200"), options: small) }?.code == .resourceExhausted)
    #expect(try await server.echo.get(Text(value: "size 50"), options: small).value.count == 50)
    await server.stop()
  }

  @Test("observers learn of calls over the network, with bytes and spans that fit together")
  func observation() async throws {
    let client = RecordingObserver(), served = RecordingObserver()
    let server = try await EchoServer.start(observer: served, clientObserver: client)
    _ = try await server.echo.get(Text(value: "hello"))
    _ = await failure { try await server.echo.get(Text(value: "fail ABORTED x")) }
    await served.log.wait(for: "server Get ended ABORTED")
    let inner = try #require(served.ended.first), outer = try #require(client.ended.first)
    #expect(inner.trace?.parentSpanID == outer.trace?.spanID && inner.trace?.traceID == outer.trace?.traceID)
    #expect(inner.traffic == CallTraffic(messagesSent: 1, messagesReceived: 1, bytesSent: 7, bytesReceived: 7))
    #expect(outer.traffic == inner.traffic)
    #expect(outer.peer.hasPrefix("ipv4:127.0.0.1:") && inner.peer.hasPrefix("ipv4:127.0.0.1:"))
    #expect(client.ended.map { $0.error?.code } == [nil, .aborted])
    await server.stop()
  }
}
