import SpanwireEventLoop
import SpanwireHTTP2
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireRPCTestSupport
import Testing

/// The life of a connection: rows 28 to 30.
extension Checklist {
  static let connections: [Case] = goAways + pings + streamLimits

  // MARK: 28

  private static let chat: [(String, String?)] = [(":path", "/spanwire.test.Echo/Chat")]

  private static let goAways: [Case] = [
    .server(28, "a graceful shutdown: a notice, a round trip, the last word; calls under way end in their own time") { echo in
      let client = try echo.client()
      let call = try client.begin(chat, ends: false)
      client.write(Frames.text("a"), to: call)
      try client.run { !call.body.isEmpty }
      let log = Log()
      Task {
        await echo.server.server.shutDown(grace: .seconds(50))
        log.add("shut down")
      }
      try client.run { client.goAways.count == 2 }
      #expect(client.goAways.map(\.lastStream) == [.max, 1])
      #expect(client.goAways.map(\.code) == [.noError, .noError])
      let kinds = client.frames.filter { $0.type == .goAway || $0.type == .ping && !$0.isAcknowledgement }.map(\.type)
      #expect(kinds == [.goAway, .ping, .goAway])
      client.write(Frames.text("b"), to: call)
      call.finish()
      try client.run { call.closeCode1 != nil && client.isClosed }
      #expect(call.status == 0 && Frames.texts(call.body) == ["a", "b"] && client.isClosed)
    },
    .server(28, "calls that outlast the grace are cancelled") { echo in
      let client = try echo.client()
      let call = try client.begin(body: Frames.text("wait"))
      try client.run { echo.log.lines.contains("wait: begun") }
      Task { await echo.server.server.shutDown(grace: .milliseconds(50)) }
      try client.run { client.isClosed }
      #expect(client.isClosed && call.status != 0)
      echo.wait { echo.log.lines.count == 2 }
      #expect(echo.log.lines == ["wait: begun", "wait: cancelled"])
    },
    .client(
      28, "a call beyond the last stream of a GOAWAY is made again elsewhere",
      script: { number in number == 0 ? [.goAway(includesCall: false)] : [.leading([]), .hello, .ok] }
    ) { (scripted) async throws in
      #expect(try await scripted.echo.get(Text()).value == "hello")
      #expect(scripted.server.log.lines.count { $0 == "connected" } == 2)
    },
    .client(
      28, "a call within a GOAWAY ends where it is, new ones go elsewhere",
      script: { number in number == 0 ? [.leading([]), .goAway(includesCall: true), .awaitEnd, .hello, .ok] : [.leading([]), .hello, .ok] }
    ) { (scripted) async throws in
      let call = try await scripted.echo.chat()
      // The leading fields have come, and the GOAWAY with them.
      _ = try await call.responses.metadata
      #expect(try await scripted.echo.get(Text()).value == "hello")
      call.requests.finish()
      #expect(try await call.responses.next()?.value == "hello")
      #expect(try await call.responses.next() == nil)
      #expect(scripted.server.log.lines.count { $0 == "connected" } == 2)
    },
    .client(
      28, "a lost connection is UNAVAILABLE, and the next call makes another",
      script: { number in number == 0 ? [.leading([]), .raw([]), .hangUp] : [.leading([]), .hello, .ok] }
    ) {
      (scripted) async throws in
      #expect(await failure { try await scripted.echo.get(Text()) }?.code == .unavailable)
      #expect(try await scripted.echo.get(Text()).value == "hello")
    },
  ]

  // MARK: 29

  private static let pings: [Case] = [
    .server(29, "a ping is answered once, with its own bytes", configure: { $0.limits.minPingInterval = nil }) { echo in
      let client = try echo.client()
      let payloads = (0..<5).map { [UInt8](repeating: UInt8($0), count: 7) + [0xFF] }
      try client.flush()
      for payload in payloads { try client.send(raw: RawFrame(.ping, payload: payload).bytes) }
      let answers = { client.frames.filter { $0.type == .ping && $0.isAcknowledgement } }
      try client.run { answers().count == payloads.count }
      try client.settle()
      #expect(answers().map(\.payload).dropLast() == payloads[...])
    },
    .server(
      29, "more than two bad pings: GOAWAY(ENHANCE_YOUR_CALM) too_many_pings",
      configure: {
        $0.limits.minPingInterval = .seconds(300)
        $0.limits.minIdlePingInterval = .seconds(7200)
      }
    ) { echo in
      let client = try echo.client()
      try client.flush()
      for _ in 0..<20 { _ = try? client.send(raw: RawFrame(.ping, payload: [UInt8](repeating: 7, count: 8)).bytes) }
      _ = try? client.run { client.isClosed }
      let goAway = client.frames.first { $0.type == .goAway }
      #expect(goAway?.number(at: 4) == 11 && goAway.map { String(decoding: $0.payload.dropFirst(8), as: UTF8.self) } == "too_many_pings")
      #expect(client.isClosed)
      #expect(try echo.client().call().status == 0)
    },
    .server(29, "two bad pings are forgiven", configure: { $0.limits.minPingInterval = .seconds(300) }) { echo in
      let client = try echo.client()
      _ = try client.begin(body: Frames.text("wait"))
      try client.run { echo.log.lines.contains("wait: begun") }
      for number in 1...3 {
        try client.send(raw: RawFrame(.ping, payload: [UInt8](repeating: UInt8(number), count: 8)).bytes)
        try client.run { client.frames.contains { $0.type == .ping && $0.payload.first == UInt8(number) } }
      }
      #expect(client.goAways.isEmpty)
      #expect(try client.call().status == 0)
    },
    .server(29, "an old connection is told to go, its calls end", configure: { $0.maxConnectionAge = .milliseconds(20) }) { echo in
      let client = try echo.client()
      let call = try client.begin(chat, ends: false)
      try client.run { client.goAways.count == 2 }
      #expect(client.goAways.allSatisfy { $0.code == .noError })
      client.write(Frames.hi, to: call)
      call.finish()
      try client.run { client.isClosed }
      #expect(call.status == 0 && client.isClosed)
    },
    .server(
      29, "calls beyond the grace of an old connection are cancelled",
      configure: {
        $0.maxConnectionAge = .seconds(100)
        $0.maxConnectionAgeGrace = .seconds(10)
      }, timeStops: true
    ) { echo in
      let client = try echo.client()
      _ = try client.begin(body: Frames.text("wait"))
      try client.run { echo.log.lines == ["wait: begun"] }
      echo.server.pass(.seconds(120))
      try client.run { client.goAways.count == 2 }
      echo.server.pass(.seconds(11))
      try client.run { client.isClosed }
      echo.wait { echo.log.lines.count == 2 }
      #expect(client.isClosed && echo.log.lines == ["wait: begun", "wait: cancelled"])
    },
    .server(29, "an idle connection is told to go", configure: { $0.idleTimeout = .milliseconds(20) }) { echo in
      let client = try RawConnection(greeting: echo.port)
      let last = client.read(until: { $0.type == .goAway }).last
      #expect(last == .frame(RawFrame(.goAway, payload: [0x7F, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0])))
    },
    Case(row: 29, side: .client, name: "a server that answers no pings is UNAVAILABLE") {
      var options = HTTP2ChannelOptions()
      options.keepalive = .init(interval: .milliseconds(20), timeout: .milliseconds(20))
      let silent = try await SilentServer.start()
      let channel = try HTTP2Channel(.host("127.0.0.1", port: silent.port), options: options)
      #expect(await failure { try await EchoClient(channel).get(Text()) }?.code == .unavailable)
      await channel.close()
      await silent.stop()
    },
    .client(
      29, "a server that answers pings is kept", options: keepalive, script: { _ in [] }
    ) { (scripted) async throws in
      await scripted.expire { _ = try await scripted.echo.get(Text(), options: $0) }
      #expect(scripted.server.log.lines.count { $0 == "connected" } == 1)
    },
  ]

  private static let keepalive: HTTP2ChannelOptions = {
    var options = HTTP2ChannelOptions()
    options.keepalive = .init(interval: .milliseconds(20), timeout: .seconds(30))
    return options
  }()

  // MARK: 30

  private static func limits(streams: UInt32) -> HTTP2Limits {
    var limits = HTTP2Limits()
    limits.maxConcurrentStreams = streams
    return limits
  }

  private static let streamLimits: [Case] = [
    .server(30, "the limit is finite by default, and announced") { echo in
      let client = try echo.client()
      try client.settle()
      let limit = client.frames.first { $0.type == .settings }?.settings[3]
      #expect(limit.map { (1...10_000).contains($0) } == true, "\(limit as Any)")
    },
    .server(30, "streams beyond the limit are refused, the others served", configure: { $0.limits.maxConcurrentStreams = 2 }) { echo in
      let client = try echo.client()
      // All leave before the server's settings have come.
      let calls = try (0..<5).map { _ in try client.begin(chat, ends: false) }
      try client.run { calls.count { $0.closeCode1 == 7 } == 3 }
      #expect(calls.map { $0.closeCode1 } == [nil, nil, 7, 7, 7])
      for call in calls.prefix(2) { call.finish() }
      try client.run { calls.allSatisfy { $0.closeCode1 != nil } }
      #expect(calls.prefix(2).allSatisfy { $0.status == 0 })
    },
    .client(
      30, "with one stream at a time, ten calls wait their turn", limits: limits(streams: 1),
      script: { _ in [.awaitEnd, .leading([]), .hello, .ok] }
    ) {
      (scripted) async throws in
      try await withThrowingTaskGroup(of: String.self) { group in
        for _ in 0..<10 { group.addTask { try await scripted.echo.get(Text()).value } }
        for try await text in group { #expect(text == "hello") }
      }
      let lines = scripted.server.log.lines
      #expect(lines.count { $0 == "connected" } == 1 && scripted.calls == 10)
      var open = 0
      for line in lines where line != "connected" {
        if line.hasSuffix("begun") { open += 1 }
        if line.contains("closed") { open -= 1 }
        #expect(open <= 1)
      }
    },
    .client(
      30, "a call that waits for its turn can be cancelled", limits: limits(streams: 1),
      script: { number in number == 0 ? [] : [.leading([]), .hello, .ok] }
    ) {
      (scripted) async throws in
      let first = Task { try await scripted.echo.get(Text()) }
      await scripted.server.log.wait(for: "0 begun")
      #expect(await failure { try await scripted.echo.get(Text(), options: .timeout(.milliseconds(50))) }?.code == .deadlineExceeded)
      first.cancel()
      _ = await failure { try await first.value }
      #expect(try await scripted.echo.get(Text()).value == "hello")
      #expect(scripted.calls == 2)
    },
  ]
}
