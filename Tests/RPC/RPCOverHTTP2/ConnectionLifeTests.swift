import SpanwireEventLoop
import SpanwireHTTP2
import SpanwireRPCTestSupport
import Testing

@testable import SpanwireRPCOverHTTP2

/// How long a server keeps a connection, and whom it lets have one.
@Suite(.timeLimit(.minutes(15))) struct ConnectionLifeTests {
  private static let wait = RawClient.frame([10, 4] + Array("wait".utf8))

  @Test("an old connection is told to go, its calls end in their own time")
  func age() async throws {
    let server = try await EchoServer.start(configure: { $0.maxConnectionAge = .milliseconds(20) })
    let port = server.server.addresses[0].port!
    try await offload {
      let client = try RawClient(port: port)
      let call = try client.begin([(":path", "/spanwire.test.Echo/Chat")], ends: false)
      try client.run { client.goAways.count == 2 }
      #expect(client.goAways.map(\.lastStream) == [.max, 1])
      #expect(client.goAways.allSatisfy { $0.code == .noError })
      client.write(RawClient.frame([10, 1, 97]), to: call)
      call.finish()
      try client.run { client.isClosed }
      #expect(call.status == 0)
    }
    await server.stop()
  }

  @Test("calls that outlast the grace of an old connection are cancelled")
  func ageGrace() async throws {
    let server = try await EchoServer.start(
      configure: {
        $0.maxConnectionAge = .seconds(100)
        $0.maxConnectionAgeGrace = .seconds(10)
      }, timeStops: true)
    let port = server.server.addresses[0].port!
    try await offload {
      let client = try RawClient(port: port)
      _ = try client.begin(body: Self.wait)
      try client.run { server.log.lines.contains("wait: begun") }
      server.pass(.seconds(120))
      try client.run { client.goAways.count == 2 }
      server.pass(.seconds(11))
      try client.run { client.isClosed }
      #expect(client.isClosed)
    }
    await server.log.wait(for: "wait: cancelled")
    await server.stop()
  }

  @Test("a connection without calls is told to go, one that is used is not idle")
  func idle() async throws {
    let server = try await EchoServer.start(configure: { $0.idleTimeout = .seconds(20) }, timeStops: true)
    let port = server.server.addresses[0].port!
    try await offload {
      let busy = try RawClient(port: port)
      _ = try busy.begin(body: Self.wait)
      try busy.run { server.log.lines.contains("wait: begun") }
      // The notice, a round trip for what is on its way, the last word.
      let idle = try RawConnection(greeting: port)
      server.pass(.seconds(21))
      #expect(idle.read(until: { $0.type == .goAway }).last == .frame(RawFrame(.goAway, payload: [0x7F, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0])))
      guard case .frame(let ping) = idle.next(), ping.type == .ping else {
        Issue.record("no round trip")
        return
      }
      idle.send(RawFrame(.ping, flags: RawFrame.acknowledgement, payload: ping.payload))
      #expect(idle.awaitClose() == [.frame(RawFrame(.goAway, payload: [0, 0, 0, 0, 0, 0, 0, 0])), .closed])
      try busy.settle()
      #expect(busy.goAways.isEmpty)
    }
    await server.stop()
  }

  @Test("who neither leaves nor answers after having been told to go is cut off")
  func stubborn() async throws {
    let server = try await EchoServer.start(configure: {
      $0.idleTimeout = .milliseconds(20)
      $0.keepaliveTimeout = .milliseconds(20)
    })
    let port = server.server.addresses[0].port!
    try await offload {
      let client = try RawConnection(greeting: port)
      #expect(client.awaitClose().last == .closed)
    }
    await server.stop()
  }

  @Test("a client that gives no sign of life is given up, one that answers is kept")
  func keepalive() async throws {
    let server = try await EchoServer.start(
      configure: {
        $0.keepaliveInterval = .seconds(20)
        $0.keepaliveTimeout = .seconds(5)
        $0.limits.minIdlePingInterval = nil  // `settle` pings
      }, timeStops: true)
    let port = server.server.addresses[0].port!
    try await offload {
      let alive = try RawClient(port: port)
      // The first answers the server's settings perhaps only as it returns; after the second nothing is on its way.
      for _ in 0..<2 { try alive.settle() }
      let pings = { alive.frames.count { $0.type == .ping && !$0.isAcknowledgement } }
      for count in 1...5 {
        server.pass(.seconds(21))
        try alive.run { pings() == count }
        try alive.settle()
      }
      #expect(pings() == 5)
      #expect(try alive.call().status == 0)
      let dead = try RawConnection(greeting: port)
      var events: [RawConnection.Event] = []
      server.pass(.seconds(1)) {
        events.append(dead.next(withinMilliseconds: 10))
        return events.last == .closed
      }
      #expect(events.contains { if case .frame(let frame) = $0 { frame.type == .ping } else { false } })
    }
    await server.stop()
  }

  @Test("a client that pings too often hears too_many_pings")
  func pings() async throws {
    let server = try await EchoServer.start()
    let port = server.server.addresses[0].port!
    try await offload {
      let client = try RawConnection(greeting: port)
      for _ in 0..<4 { client.send(.ping([0, 0, 0, 0, 0, 0, 0, 1])) }
      let frames = client.awaitClose().compactMap { if case .frame(let frame) = $0 { frame } else { nil } }
      let goAway = frames.first { $0.type == .goAway }
      #expect(goAway?.number(at: 4) == HTTP2ErrorCode.enhanceYourCalm.rawValue)
      #expect(goAway.map { String(decoding: $0.payload.dropFirst(8), as: UTF8.self) } == "too_many_pings")
    }
    await server.stop()
  }

  @Test("one address has so many connections and no more; others have theirs")
  func perPeer() async throws {
    let server = try await EchoServer.start(configure: {
      $0.limitsLocalPeers = true
      $0.maxConnectionsPerPeer = 2
    })
    let port = server.server.addresses[0].port!
    try await offload {
      let kept = [try RawClient(port: port), try RawClient(port: port)]
      for client in kept { #expect(try client.call().status == 0) }
      #expect(try RawConnection(port: port).next() == .closed)
      #expect(try RawConnection(port: port, from: "127.0.0.2").next() != .closed)
      for client in kept { #expect(try client.call().status == 0) }
    }
    await server.stop()
    #expect(server.server.connections == 0)
  }

  @Test("the longest and the shortest of spans trap nowhere", arguments: [Duration.zero, .seconds(Int64.max), .nanoseconds(1)])
  func extremes(span: Duration) async throws {
    let server = try await EchoServer.start(configure: {
      $0.maxConnectionAge = .seconds(3600)
      $0.maxConnectionAgeGrace = span
      $0.keepaliveTimeout = span
      $0.requestTimeout = span == .zero ? .seconds(3600) : span
      $0.limits.minPingInterval = span
      $0.limits.minIdlePingInterval = span
    })
    let port = server.server.addresses[0].port!
    try await offload {
      let client = try RawClient(port: port)
      try client.settle()
      if span != .nanoseconds(1) { #expect(try client.call().status == 0) }
    }
    await server.stop()
  }
}
