import SpanwireHTTP2
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireRPCTestSupport
import Testing

/// Attacks, each by a peer of its own, beside a client that is served all the while: row 33.
extension Checklist {
  static let abuse: [Case] = floods + slowPeers + crowds

  private static let protocolError: UInt32 = 1, enhanceYourCalm: UInt32 = 11

  /// Streams that wait for their resets may come to more than are allowed at a time before the resets do.
  private static let tooMany: Set<UInt32> = [enhanceYourCalm, protocolError]

  /// Sends what an attacker sends: the server must end the connection, with one of these codes if it can still say so, and serve others.
  private static func flood(
    _ name: String, _ answers: Set<UInt32> = [enhanceYourCalm], _ attack: @escaping @Sendable (RawConnection) -> Void
  ) -> Case {
    .server(33, name) { echo in
      let honest = try echo.client()
      #expect(try honest.call().status == 0)
      let attacker = try RawConnection(greeting: echo.port)
      attack(attacker)
      let events = attacker.awaitClose()
      #expect(events.last == .closed, "\(events.count) events")
      let codes = events.compactMap { event -> UInt32? in
        if case .frame(let frame) = event, frame.type == .goAway { frame.number(at: 4) } else { nil }
      }
      #expect(!answers.isDisjoint(with: codes), "\(name): \(codes)")
      #expect(try honest.call().status == 0, "an honest client suffers")
      // The attacker's connection and streams are gone.
      try honest.run { echo.server.server.connections == 1 }
      #expect(echo.server.server.connections == 1)
    }
  }

  private static let call = RawFrame.call("/spanwire.test.Echo/Chat")
  /// More than any burst that is forgiven.
  private static let many: UInt32 = 3_000

  /// The numbers of a client's streams.
  private static func streams(_ count: UInt32) -> StrideTo<UInt32> { stride(from: 1, to: 2 * count, by: 2) }

  /// A field that enters the table, `a` with 3000 bytes, and then the table's first entry so many times.
  private static func bomb(_ count: Int) -> [UInt8] {
    [0x40, 1, 0x61, 0x7F, 0xB9, 0x16] + [UInt8](repeating: 0x62, count: 3_000) + [UInt8](repeating: 0xBE, count: count)
  }

  private static let floods: [Case] = [
    flood("rapid reset (CVE-2023-44487)") { attacker in
      for stream in streams(many) where !attacker.send(.headers(call, stream: stream, ends: false), .reset(stream)) { return }
    },
    flood("windows of nothing", [protocolError]) { attacker in
      for stream in streams(many) where !attacker.send(.headers(call, stream: stream, ends: false), .windowUpdate(stream, 0)) { return }
    },
    flood("made you reset, by windows that overflow (CVE-2025-8671)", tooMany) { attacker in
      for stream in streams(many) where !attacker.send(.headers(call, stream: stream, ends: false), .windowUpdate(stream, 0x7FFF_FFFF)) {
        return
      }
    },
    flood("made you reset, by malformed requests", tooMany) { attacker in
      for stream in streams(many) where !attacker.send(.headers(call + [("connection", "close")], stream: stream, ends: true)) { return }
    },
    flood("HPACK bomb") { attacker in attacker.send(.headers(1, RawFrame.block(call) + bomb(12_000))) },
    flood("SETTINGS") { attacker in for _ in 0..<many where !attacker.send(.settings([(4, 65_535)])) { return } },
    flood("PING") { attacker in for _ in 0..<many where !attacker.send(.ping([1, 2, 3, 4, 5, 6, 7, 8])) { return } },
    flood("empty DATA") { attacker in
      attacker.send(.headers(call, stream: 1, ends: false))
      for _ in 0..<many where !attacker.send(.data(1, [], ends: false)) { return }
    },
    flood("PRIORITY") { attacker in for stream in streams(many) where !attacker.send(.priority(stream, on: 0)) { return } },
    .server(33, "CONTINUATION without end (CVE-2024-28182)", configure: { $0.headerTimeout = .milliseconds(200) }) { echo in
      for piece in [[], RawFrame.block([("x-a", "b")]), bomb(10_000)] {
        let attacker = try RawConnection(greeting: echo.port)
        attacker.send(.headers(1, RawFrame.block(call), endsBlock: false))
        for _ in 0..<many where !attacker.send(.continuation(1, piece, endsBlock: false)) { break }
        #expect(attacker.awaitClose().last == .closed)
      }
      #expect(try echo.client().call().status == 0)
    },
  ]

  private static let slowPeers: [Case] = [
    .server(33, "a connection that never speaks", timeStops: true) { echo in
      let attacker = try RawConnection(port: echo.port)
      echo.server.pass(.seconds(1)) { attacker.next(withinMilliseconds: 10) == .closed }
      #expect(try echo.client().call().status == 0)
    },
    .server(33, "half a preface", configure: { $0.handshakeTimeout = .milliseconds(50) }) { echo in
      let attacker = try RawConnection(port: echo.port)
      attacker.send(Array(RawConnection.preface.dropLast(5)))
      #expect(attacker.awaitClose().last == .closed)
    },
    .server(33, "no HTTP/2 at all") { echo in
      let attacker = try RawConnection(port: echo.port)
      attacker.send(Array("GET / HTTP/1.1\r\nhost: x\r\n\r\n".utf8))
      #expect(attacker.awaitClose().last == .closed)
      #expect(try echo.client().call().status == 0)
    },
    .server(33, "headers that never end", configure: { $0.headerTimeout = .milliseconds(50) }) { echo in
      let attacker = try RawConnection(greeting: echo.port)
      attacker.send(.headers(1, RawFrame.block(call), endsBlock: false))
      #expect(attacker.awaitClose().last == .closed)
    },
    .server(33, "a request that never ends", configure: { $0.requestTimeout = .seconds(5) }, timeStops: true) { echo in
      let client = try echo.client()
      let call = try client.begin(ends: false)
      client.write([0, 0, 0], to: call)
      try client.settle()
      echo.server.pass(.seconds(6))
      try client.run { call.closeCode1 != nil }
      #expect(call.status.map { $0 != 0 } == true)
      #expect(try client.call().status == 0)
    },
  ]

  private static let crowds: [Case] = [
    .server(
      33, "too many connections from one peer",
      configure: {
        $0.maxConnectionsPerPeer = 2
        $0.limitsLocalPeers = true
      }
    ) { echo in
      let first = try echo.client(), second = try echo.client()
      #expect(try first.call().status == 0)
      #expect(try second.call().status == 0)
      #expect(try RawConnection(port: echo.port).awaitClose() == [.closed])
      // Another peer has its own.
      let other = try RawConnection(port: echo.port, from: "127.0.0.2")
      other.send(RawConnection.preface)
      other.send(.settings())
      #expect(other.next() != .closed)
      #expect(try first.call().status == 0)
    },
    .server(33, "too many connections", configure: { $0.maxConnections = 2 }) { echo in
      let first = try echo.client(), second = try echo.client()
      #expect(try first.call().status == 0)
      #expect(try second.call().status == 0)
      #expect(try RawConnection(port: echo.port).awaitClose() == [.closed])
      #expect(try first.call().status == 0)
    },
  ]
}
