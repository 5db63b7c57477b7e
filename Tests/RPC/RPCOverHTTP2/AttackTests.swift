import SpanwireEventLoop
import SpanwireRPCOverHTTP2
import SpanwireRPCTestSupport
import Testing

/// Each attack against a server that has another client besides. What it costs that client in time, `tools/abuse` measures.
@Suite(.timeLimit(.minutes(5))) struct AttackTests {
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
