import SpanwireEventLoop
import SpanwireRPC
import SpanwireRPCTestSupport
import Synchronization
import Testing

@testable import SpanwireRPCOverHTTP2

/// Each attack against a server that has another client besides. What it costs that client in time, `tools/abuse` measures.
@Suite(.timeLimit(.minutes(15))) struct AttackTests {
  @Test(
    "an attacker is shown the door, everybody else is served, and nothing of it remains",
    arguments: Attack.all(path: "/spanwire.test.Echo/Get"))
  func attack(attack: Attack) async throws {
    let server = try await EchoServer.start(timeStops: true)
    let port = server.server.addresses[0].port!
    try await offload {
      let bystander = try RawClient(port: port)
      #expect(try bystander.call().status == 0)
      let ending = try attack.run(port: port, wait: { if attack.holds { server.pass(.seconds(1)) } })
      #expect([attack.ending, attack.otherEnding].contains(ending), "\(attack): \(ending)")
      #expect(try bystander.call().status == 0)
      #expect(bystander.goAways.isEmpty)
      try bystander.run { server.server.connections == 1 }
      #expect(server.server.connections == 1)
    }
    // No call is left of it: what was begun has ended, well or badly.
    let calls = await server.server.inspect().calls
    #expect(calls.started == calls.succeeded + calls.failed)
    await server.stop()
  }

  @Test("a flood is read in small pieces, and the others of the loop have their turn between them")
  func pieces() async throws {
    let group = EventLoopGroup(loops: 1)
    let server = try HTTP2Server(ServerRouter([Echo.routes(ObedientEcho())]), ServerConfiguration(port: 0), group: group)
    let port = try await server.start()[0].port!
    let most = Mutex((calls: 0, before: 0))
    await Task(executorPreference: group.loops[0]) {
      let serving = server.serving[0]
      serving.loop.addRoundHook {
        let started = serving.connections.values.reduce(0) { $0 + $1.calls.started }
        most.withLock { $0 = (max($0.calls, started - $0.before), started) }
      }
    }.value
    let call = RawFrame.block(RawFrame.call("/spanwire.test.Echo/Get"))
    let step: @Sendable (Int) -> [UInt8] = { number in
      let stream = UInt32(2 * number + 1)
      return RawFrame.headers(stream, call, ends: true).bytes + RawFrame.reset(stream).bytes
    }
    try await offload {
      let attacker = try RawConnection(greeting: port)
      attacker.send((0..<2_000).flatMap(step))
      #expect(attacker.awaitClose().contains { if case .frame(let frame) = $0 { frame.type == .goAway } else { false } })
    }
    let calls = most.withLock { $0.calls }
    // The third read, twice and twice again as large as the first, is the one that shows the strain.
    let bound = 16 * 1024 / step(0).count + 1
    #expect((1...bound).contains(calls), "\(calls) of \(bound)")
    await server.shutDown(grace: .zero)
    group.stop()
  }

  @Test("one address floods the door and the others still come in")
  func crowd() async throws {
    let server = try await EchoServer.start(configure: {
      $0.limitsLocalPeers = true
      $0.maxConnectionsPerPeer = 20
    })
    let port = server.server.addresses[0].port!
    try await offload {
      let crowd = try (0..<100).map { _ in try RawConnection(port: port, from: "127.0.0.3") }
      // Those beyond the bound are closed at once; of the others the server's settings come.
      let closed = crowd.count { $0.next() == .closed }
      #expect(closed == 80)
      #expect(try RawClient(port: port).call().status == 0)
    }
    await server.stop()
    #expect(server.server.connections == 0)
  }
}
