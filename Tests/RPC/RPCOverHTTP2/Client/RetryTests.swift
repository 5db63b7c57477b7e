import SpanwireEventLoop
import SpanwireRPC
import SpanwireRPCTestSupport
import SpanwireWellKnown
import Synchronization
import Testing

@testable import SpanwireRPCOverHTTP2

/// Calls that are made again, against a server that says and counts what it is told.
@Suite(.timeLimit(.minutes(15))) struct RetryTests {
  typealias Step = ScriptedServer.Step

  static let hello: [UInt8] = RawClient.frame(Text(value: "hello").encoded())
  static let ok: [Step] = [ScriptedServer.okHeaders, .data(hello), .trailers([("grpc-status", "0")])]

  /// A status alone, as a server sends it that has not begun to answer.
  static func status(_ code: RPCError.Code, _ more: (String, String)...) -> [Step] {
    [.headers([(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "\(code.rawValue)")] + more, ends: true)]
  }

  static let retry = RetryPolicy(
    maxAttempts: 4, initialBackoff: .milliseconds(1), maxBackoff: .milliseconds(4), backoffMultiplier: 2,
    retryableCodes: [.unavailable, .resourceExhausted])

  static func options(
    _ repetition: ServiceConfig.Method.Repetition?, throttling: ServiceConfig.Throttling? = nil
  ) -> HTTP2ChannelOptions {
    var config = ServiceConfig()
    config.methods[""] = .init(repetition: repetition)
    config.throttling = throttling
    var options = HTTP2ChannelOptions()
    options.serviceConfig = config
    return options
  }

  static func with(
    _ options: HTTP2ChannelOptions, _ script: @escaping @Sendable (Int) -> [Step],
    _ body: (EchoClient, ScriptedServer) async throws -> Void
  ) async throws {
    let server = try await ScriptedServer.start(script)
    let channel = try HTTP2Channel(.host("127.0.0.1", port: server.port), options: options)
    try await body(EchoClient(channel), server)
    await channel.close()
    await server.stop()
  }

  /// All four kinds of calls, each with the text "hello" as its one response.
  static let kinds: [(name: String, call: @Sendable (EchoClient) async throws -> String?)] = [
    ("unary", { echo in try await echo.get(Text(value: "x")).value }),
    ("server streaming", { echo in try await last(of: echo.expand(Text(value: "x"))) }),
    (
      "client streaming",
      { echo in
        try await echo.collect { requests in
          try await requests.write(Text(value: "x"))
          try await requests.write(Text(value: "y"))
        }.value
      }
    ),
    (
      "bidirectional",
      { echo in
        let call = try await echo.chat()
        try await call.requests.write(Text(value: "x"))
        call.requests.finish()
        return try await last(of: call.responses)
      }
    ),
  ]

  static func last(of responses: ResponseStream<Text>) async throws -> String? {
    var last: String?
    for try await response in responses { last = response.value }
    return last
  }

  @Test("calls of every kind are made again with all they said, and tell the server how often they were", arguments: kinds.map(\.name))
  func retries(kind: String) async throws {
    let call = Self.kinds.first { $0.name == kind }!.call
    let script: @Sendable (Int) -> [Step] = { number in [.awaitEnd] + (number < 2 ? Self.status(.unavailable) : Self.ok) }
    try await Self.with(Self.options(.retry(Self.retry)), script) { (echo, server) async throws in
      #expect(try await call(echo) == "hello")
      let calls = server.calls.withLock { $0 }
      #expect(calls.count == 3)
      #expect(Set(calls.map(\.body)).count == 1 && calls[0].body.count > 5)
      let told = server.requests.withLock { $0.map { $0["grpc-previous-rpc-attempts"] } }
      #expect(told == [nil, "1", "2"])
    }
  }

  struct Row: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let script: @Sendable (Int) -> [Step]
    let code: RPCError.Code?
    let calls: Int

    init(_ name: String, calls: Int, _ code: RPCError.Code?, _ script: @escaping @Sendable (Int) -> [Step]) {
      testDescription = name
      self.script = script
      self.code = code
      self.calls = calls
    }
  }

  @Test(
    "a call is made again as its policy says, and not once more",
    arguments: [
      Row("success", calls: 1, nil) { _ in ok },
      Row("a status that is not retryable", calls: 1, .internal) { _ in status(.internal) },
      Row("retryable, then not", calls: 2, .internal) { $0 == 0 ? status(.unavailable) : status(.internal) },
      Row("attempts used up", calls: 4, .resourceExhausted) { _ in status(.resourceExhausted) },
      Row("headers commit", calls: 1, .unavailable) { _ in [ScriptedServer.okHeaders, .trailers([("grpc-status", "14")])] },
      Row("a status before a body commits", calls: 1, .unavailable) { _ in
        [
          .headers([(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "14")], ends: false), .data(hello),
          .trailers([("grpc-status", "14")]),
        ]
      },
      Row("a connection lost", calls: 2, nil) { $0 == 0 ? [.hangUp] : ok },
      Row("a proxy without a server", calls: 2, nil) { $0 == 0 ? [.headers([(":status", "503")], ends: true)] : ok },
      Row("pushback of no time", calls: 2, nil) { $0 == 0 ? status(.unavailable, ("grpc-retry-pushback-ms", "0")) : ok },
      Row("pushback for ever", calls: 1, .unavailable) { _ in status(.unavailable, ("grpc-retry-pushback-ms", "-1")) },
      Row("pushback that is no number", calls: 1, .unavailable) { _ in status(.unavailable, ("grpc-retry-pushback-ms", "later")) },
      Row("refused: once more, and that does not count", calls: 2, nil) { $0 == 0 ? [.reset(7)] : ok },
      Row("refused for ever", calls: 5, .unavailable) { _ in [.reset(7)] },
    ])
  func policy(row: Row) async throws {
    for kind in Self.kinds {
      try await Self.with(Self.options(.retry(Self.retry)), row.script) { (echo, server) async throws in
        if let code = row.code {
          #expect(await failure { try await kind.call(echo) }?.code == code, "\(kind.name)")
        } else {
          #expect(try await kind.call(echo) == "hello", "\(kind.name)")
        }
        #expect(server.calls.withLock { $0.count } == row.calls, "\(kind.name)")
      }
    }
  }

  @Test(
    "without a policy only what no server saw is made again, once, and the server is not told",
    arguments: [
      Row("refused", calls: 2, nil) { $0 == 0 ? [.reset(7)] : ok },
      Row("refused twice", calls: 2, .unavailable) { _ in [.reset(7)] },
      Row("reset otherwise", calls: 1, .internal) { _ in [.reset(2)] },
      Row("above the last stream of a GOAWAY", calls: 2, nil) {
        $0 == 0 ? [.raw([RawFrame(.goAway, payload: RawFrame.big(0) + RawFrame.big(0))])] : ok
      },
      Row("a retryable status", calls: 1, .unavailable) { _ in status(.unavailable) },
    ])
  func transparent(row: Row) async throws {
    for kind in Self.kinds {
      try await Self.with(HTTP2ChannelOptions(), row.script) { (echo, server) async throws in
        if let code = row.code {
          #expect(await failure { try await kind.call(echo) }?.code == code, "\(kind.name)")
        } else {
          #expect(try await kind.call(echo) == "hello", "\(kind.name)")
        }
        let told = server.requests.withLock { $0.map { $0["grpc-previous-rpc-attempts"] } }
        #expect(told == Array(repeating: nil, count: row.calls), "\(kind.name)")
      }
    }
  }

  @Test("too many failures end retries for the whole channel until calls succeed again")
  func throttled() async throws {
    let options = Self.options(.retry(Self.retry), throttling: .init(maxTokens: 4, tokenRatio: 1))
    try await Self.with(options, { 3..<6 ~= $0 ? Self.ok : Self.status(.unavailable) }) { (echo, server) async throws in
      // Tokens: 3 and again, 2 and no more; 1; three successes make it 4; 3 and again, 2 and no more.
      for (code, calls) in [(RPCError.Code.unavailable, 2), (.unavailable, 3), (nil, 4), (nil, 5), (nil, 6), (.unavailable, 8)] {
        var outcome: RPCError.Code?
        do { _ = try await echo.get(Text()) } catch let error as RPCError { outcome = error.code }
        #expect(outcome == code)
        #expect(server.calls.withLock { $0.count } == calls)
      }
    }
  }

  @Test("a call that says more than is kept is committed to the attempt it has")
  func full() async throws {
    let script: @Sendable (Int) -> [Step] = { _ in [.awaitEnd] + Self.status(.unavailable) }
    try await Self.with(Self.options(.retry(Self.retry)), script) { (echo, server) async throws in
      for (bytes, calls) in [(ClientLimits.replayBytes / 4, 4), (ClientLimits.replayBytes, 1)] {
        let before = server.calls.withLock { $0.count }
        let text = Text(value: String(repeating: "x", count: bytes / 2))
        let error = await failure {
          try await echo.collect { requests in
            for _ in 0..<3 { try await requests.write(text) }
          }
        }
        #expect(error?.code == .unavailable)
        #expect(server.calls.withLock { $0.count } - before == calls)
      }
    }
  }

  @Test("a deadline covers all attempts, and one that passes in a pause ends the call")
  func deadline() async throws {
    var policy = Self.retry
    policy.initialBackoff = .seconds(3600)
    policy.maxBackoff = .seconds(3600)
    try await Self.with(Self.options(.retry(policy)), { _ in Self.status(.unavailable) }) { (echo, server) async throws in
      for _ in 0..<2 {
        let error = await failure { try await echo.get(Text(), options: .timeout(.milliseconds(50))) }
        #expect(error?.code == .deadlineExceeded)
      }
    }
  }

  @Test("a caller that goes away in a pause is let go at once, whatever kind of call it made", arguments: kinds.map(\.name))
  func cancelledInPause(kind: String) async throws {
    let call = Self.kinds.first { $0.name == kind }!.call
    var policy = Self.retry
    policy.initialBackoff = .seconds(3600)
    policy.maxBackoff = .seconds(3600)
    try await Self.with(Self.options(.retry(policy)), { _ in [.awaitEnd] + Self.status(.unavailable) }) { (echo, server) async throws in
      let task = Task { try await call(echo) }
      await server.log.wait(for: "0 closed 0")
      task.cancel()
      #expect(await failure { try await task.value }?.code == .cancelled)
    }
  }

  // MARK: Hedging

  static let hedge = HedgingPolicy(maxAttempts: 3, hedgingDelay: .zero, nonFatalCodes: [.unavailable])

  @Test(
    "hedges: the first answer counts, a failure that is not fatal brings the next, a fatal one ends all",
    arguments: [
      Row("the third is quick", calls: 3, nil) { $0 < 2 ? [] : ok },
      Row("failures that are not fatal", calls: 3, nil) { $0 < 2 ? status(.unavailable) : ok },
      Row("all fail", calls: 3, .unavailable) { _ in status(.unavailable) },
      Row("the last is fatal", calls: 3, .internal) { $0 < 2 ? [] : status(.internal) },
    ])
  func hedges(row: Row) async throws {
    for kind in Self.kinds {
      try await Self.with(Self.options(.hedge(Self.hedge)), row.script) { (echo, server) async throws in
        if let code = row.code {
          #expect(await failure { try await kind.call(echo) }?.code == code, "\(kind.name)")
        } else {
          #expect(try await kind.call(echo) == "hello", "\(kind.name)")
        }
        #expect(server.calls.withLock { $0.count } == row.calls, "\(kind.name)")
        // Those that were not needed are cancelled.
        for number in 0..<row.calls where row.script(number).isEmpty { await server.log.wait(for: "\(number) closed 8") }
        let told = server.requests.withLock { $0.map { $0["grpc-previous-rpc-attempts"] } }
        #expect(told == [nil, "1", "2"], "\(kind.name)")
      }
    }
  }

  @Test("a hedge waits its delay, a server's pushback in its place, and comes at once when another fails")
  func delayed() async throws {
    var policy = Self.hedge
    policy.hedgingDelay = .seconds(3600)
    try await Self.with(Self.options(.hedge(policy)), { $0 == 0 ? Self.status(.unavailable) : Self.ok }) { (echo, server) async throws in
      #expect(try await echo.get(Text()).value == "hello")
      #expect(server.calls.withLock { $0.count } == 2)
    }
    let never: @Sendable (Int) -> [Step] = { $0 == 0 ? Self.status(.unavailable, ("grpc-retry-pushback-ms", "-1")) : Self.ok }
    try await Self.with(Self.options(.hedge(policy)), never) { (echo, server) async throws in
      #expect(await failure { try await echo.get(Text()) }?.code == .unavailable)
    }
    let soon: @Sendable (Int) -> [Step] = { $0 == 0 ? Self.status(.unavailable, ("grpc-retry-pushback-ms", "3")) : Self.ok }
    try await Self.with(Self.options(.hedge(policy)), soon) { (echo, server) async throws in
      #expect(try await echo.get(Text()).value == "hello")
    }
  }

  @Test("each attempt is a call of its own to observers, with a span beside the others")
  func observed() async throws {
    let observer = RecordingObserver()
    let server = try await ScriptedServer.start { $0 == 0 ? Self.status(.unavailable) : Self.ok }
    let channel = try HTTP2Channel(
      .host("127.0.0.1", port: server.port), options: Self.options(.retry(Self.retry)), observer: observer)
    _ = try await EchoClient(channel).get(Text())
    let ended = observer.ended
    #expect(ended.map { $0.error?.code } == [.unavailable, nil])
    #expect(Set(ended.compactMap { $0.trace?.spanID }).count == 2 && Set(ended.compactMap { $0.trace?.traceID }).count == 1)
    #expect(ended.allSatisfy { $0.peer == "ipv4:127.0.0.1:\(server.port)" })
    await channel.close()
    await server.stop()
  }
}
