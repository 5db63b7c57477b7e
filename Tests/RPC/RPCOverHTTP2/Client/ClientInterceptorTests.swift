import SpanwireRPC
import SpanwireRPCTestSupport
import SpanwireWellKnown
import Testing

@testable import SpanwireRPCOverHTTP2

/// Code around calls, and what a channel does besides, for calls of all kinds.
@Suite(.timeLimit(.minutes(15))) struct ClientInterceptorTests {
  struct Failing: Error {}

  @Test("credentials go with calls of every kind; the caller's own stay", arguments: RetryTests.kinds.map(\.name))
  func credentials(kind: String) async throws {
    let call = RetryTests.kinds.first { $0.name == kind }!.call
    let server = try await ScriptedServer.start { _ in [.awaitEnd] + RetryTests.ok }
    let channel = try HTTP2Channel(.host("127.0.0.1", port: server.port))
    let credentials = CallCredentials { method in
      var metadata: Metadata = ["authorization": "Bearer \(method.name)"]
      metadata.add("x-key-bin", bytes: [0, 255, 7])
      return metadata
    }
    _ = try await call(EchoClient(channel.intercepted(by: [credentials])))
    let request = try #require(server.requests.withLock { $0.first })
    #expect(request["authorization"] == "Bearer \(request[":path"]!.split(separator: "/").last!)")
    #expect(request["x-key-bin"] == "AP8H")
    let own = EchoClient(channel.intercepted(by: [CallCredentials.bearer("channel")]))
    _ = try await own.get(Text(), options: .metadata(["authorization": "mine"]))
    #expect(server.calls.withLock { $0.last?.fields.filter { $0.name == "authorization" }.map(\.value) } == ["mine"])
    await channel.close()
    await server.stop()
  }

  @Test(
    "without credentials no call is made",
    arguments: [(Failing(), .unauthenticated), (RPCError.unavailable("the key server is away"), .unavailable)]
      as [(any Error, RPCError.Code)])
  func noCredentials(error: any Error, code: RPCError.Code) async throws {
    let server = try await ScriptedServer.start { _ in RetryTests.ok }
    let channel = try HTTP2Channel(.host("127.0.0.1", port: server.port))
    let echo = EchoClient(channel.intercepted(by: [CallCredentials { _ in throw error }]))
    for kind in RetryTests.kinds { #expect(await failure { try await kind.call(echo) }?.code == code) }
    #expect(server.calls.withLock { $0.isEmpty })
    await channel.close()
    await server.stop()
  }

  @Test("a channel's own name stands before the library's")
  func userAgent() async throws {
    let server = try await ScriptedServer.start { _ in RetryTests.ok }
    var options = HTTP2ChannelOptions()
    options.userAgent = "vienna/2"
    options.authority = "lem.example"
    let channel = try HTTP2Channel(.host("127.0.0.1", port: server.port), options: options)
    _ = try await EchoClient(channel).get(Text())
    let request = try #require(server.requests.withLock { $0.first })
    #expect(request["user-agent"] == "vienna/2 grpc-swift-spanwire/1.0" && request[":authority"] == "lem.example")
    await channel.close()
    await server.stop()
  }

  @Test("pings without calls find a silent server, where the channel wants them; others wait for a call")
  func keepaliveWithoutCalls() async throws {
    let silent = try await SilentServer.start()
    var options = HTTP2ChannelOptions()
    options.keepalive = .init(interval: .milliseconds(10), timeout: .milliseconds(10), withoutCalls: true)
    let channel = try HTTP2Channel(.host("127.0.0.1", port: silent.port), options: options)
    let changes = channel.connectivityChanges()
    channel.connect()
    var states: [ConnectivityState] = []
    for await state in changes {
      states.append(state)
      if states.count > 1, state == .idle { break }
    }
    #expect(states == [.idle, .connecting, .ready, .idle])
    await channel.close()
    await silent.stop()
  }

  @Test("a service config's limits and deadline hold for calls that say nothing")
  func defaults() async throws {
    var options = HTTP2ChannelOptions()
    options.serviceConfig = try ServiceConfig(
      json: """
        {"methodConfig": [{"name": [{"service": "spanwire.test.Echo", "method": "Get"}], "timeout": "1000s",
          "maxRequestMessageBytes": 50, "maxResponseMessageBytes": 60}]}
        """)
    let server = try await EchoServer.start(options: options)
    #expect((1...1000).contains(Int(try await server.echo.get(Text(value: "remaining")).value) ?? 0))
    for text in [String(repeating: "x", count: 51), "size 61"] {
      #expect(await failure { try await server.echo.get(Text(value: text)) }?.code == .resourceExhausted)
    }
    #expect(try await server.echo.get(Text(value: "size 50")).value.count == 50)
    await server.stop()
  }

  @Test("more calls than may wait are refused")
  func fullQueue() async throws {
    let server = try await ScriptedServer.start { _ in [] }
    await server.stop()
    var options = HTTP2ChannelOptions()
    options.backoff = ChannelBackoff(initial: .seconds(1000))
    let channel = try HTTP2Channel(.host("127.0.0.1", port: server.port), options: options)
    let echo = EchoClient(channel)
    var calls: [ResponseStream<Text>] = []
    for _ in 0..<ClientLimits.waitingCalls { calls.append(try await echo.expand(Text(), options: CallOptions(waitForReady: true))) }
    let error = await failure { try await echo.get(Text(), options: CallOptions(waitForReady: true)) }
    #expect(error?.code == .resourceExhausted)
    calls = []
    while await channel.census().contains(where: { $0.waiting > 0 }) { await Task.yield() }
    await channel.close()
  }
}
