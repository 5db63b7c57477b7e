import SpanwireEventLoop
import SpanwireHTTP2
import SpanwireRPC
import SpanwireRPCTestSupport
import Testing

@testable import SpanwireRPCOverHTTP2

/// The server against clients that send what they should not: the testable points of the gRPC wire.
@Suite(.timeLimit(.minutes(15))) struct ServerWireTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let name: String
    var headers: [(String, String?)] = []
    var body: [UInt8]? = RawClient.frame([10, 2, 104, 105])
    var http = "200"
    /// nil where HTTP alone answers.
    var grpc: Int?
    /// The body, where HTTP alone answers; any but none where this says nothing.
    var text: String?
    var testDescription: String { name }
  }

  static let cases: [Case] = [
    Case(name: "the usual", grpc: 0),
    Case(name: "content-type with a codec", headers: [("content-type", "application/grpc+proto")], grpc: 0),
    Case(name: "content-type with a parameter", headers: [("content-type", "application/grpc;charset=utf-8")], grpc: 0),
    Case(name: "content-type with another codec", headers: [("content-type", "application/grpc+thrift")], grpc: 12),
    Case(name: "content-type of something else", headers: [("content-type", "application/json")], http: "415"),
    Case(name: "content-type that only begins alike", headers: [("content-type", "application/grpcx")], http: "415"),
    Case(name: "no content-type", headers: [("content-type", nil)], http: "415"),
    Case(name: "GET", headers: [(":method", "GET")], body: nil, http: "405"),
    Case(name: "unknown method", headers: [(":path", "/spanwire.test.Echo/Nothing")], grpc: 12),
    Case(name: "unknown service", headers: [(":path", "/spanwire.test.Nobody/Get")], grpc: 12),
    Case(name: "path in another case", headers: [(":path", "/spanwire.test.echo/get")], grpc: 12),
    Case(name: "timeout of eight digits", headers: [("grpc-timeout", "99999999H")], grpc: 0),
    Case(name: "timeout of nine digits", headers: [("grpc-timeout", "100000000n")], grpc: 13),
    Case(name: "timeout without a unit", headers: [("grpc-timeout", "10")], grpc: 13),
    Case(name: "timeout with a strange unit", headers: [("grpc-timeout", "10s")], grpc: 13),
    Case(name: "empty timeout", headers: [("grpc-timeout", "")], grpc: 13),
    Case(name: "timeout of nothing", headers: [("grpc-timeout", "0n")], grpc: 4),
    Case(name: "no request", body: [], grpc: 12),
    Case(name: "two requests", body: RawClient.frame([]) + RawClient.frame([]), grpc: 12),
    Case(name: "a request cut short", body: Array(RawClient.frame([10, 2, 104, 105]).dropLast()), grpc: 13),
    Case(name: "a prefix cut short", body: [0, 0, 0], grpc: 13),
    Case(name: "a length beyond the limit", body: [0, 0x7F, 0xFF, 0xFF, 0xFF], grpc: 8),
    Case(name: "compressed without an encoding", body: RawClient.frame([10, 2, 104, 105], flag: 1), grpc: 13),
    Case(name: "compressed as identity", headers: [("grpc-encoding", "identity")], body: RawClient.frame([10, 0], flag: 1), grpc: 13),
    Case(name: "corrupt gzip", headers: [("grpc-encoding", "gzip")], body: RawClient.frame([1, 2, 3], flag: 1), grpc: 13),
    Case(name: "gzip announced, not used", headers: [("grpc-encoding", "gzip")], grpc: 0),
    Case(name: "unknown encoding", headers: [("grpc-encoding", "snappy")], grpc: 12),
    Case(name: "a request that is no message", body: RawClient.frame([10, 200, 1]), grpc: 13),
    Case(name: "GET of a path nobody knows", headers: [(":method", "GET"), (":path", "/")], body: nil, http: "404"),
    Case(name: "POST of a form to nobody", headers: [(":path", "/"), ("content-type", "text/plain")], http: "415"),
    Case(
      name: "the health check of load balancers", headers: [(":method", "GET"), (":path", "/healthz"), ("content-type", nil)], body: nil,
      text: "ok\n"),
    Case(
      name: "the same by HEAD", headers: [(":method", "HEAD"), (":path", "/healthz"), ("content-type", nil)], body: nil, text: ""),
    Case(name: "the same by POST", headers: [(":path", "/healthz"), ("content-type", nil)], text: "ok\n"),
    Case(name: "a gRPC call of the same path", headers: [(":path", "/healthz")], grpc: 12),
    Case(name: "values that are legal HTTP but not ASCII", headers: [("x-odd", "caf\u{e9}")], grpc: 0),
  ]

  @Test("answers as the wire's rules say", arguments: cases)
  func answers(row: Case) async throws {
    let server = try await EchoServer.start()
    let port = server.server.addresses[0].port!
    try await offload {
      let client = try RawClient(port: port)
      let call = try client.call(row.headers, body: row.body)
      #expect(call.headers1[":status"] == row.http)
      #expect(call.status == row.grpc)
      if let status = row.grpc, status != 0 { #expect(call.isTrailersOnly) }
      if row.grpc == nil {
        #expect(call.headers1["content-type"] == "text/plain; charset=utf-8")
        #expect(row.text.map { call.body == Array($0.utf8) } ?? !call.body.isEmpty)
        #expect(call.trailers.isEmpty)
      }
      if row.grpc == 0 { #expect(call.headers1["content-type"] == "application/grpc") }
      if row.name == "unknown encoding" { #expect(call.headers1["grpc-accept-encoding"]?.contains("gzip") == true) }
      // The connection has come to no harm.
      #expect(try client.call().status == 0)
    }
    await server.stop()
  }

  @Test("boundaries of frames mean nothing: bytes one by one")
  func fragments() async throws {
    let server = try await EchoServer.start()
    let port = server.server.addresses[0].port!
    try await offload {
      let client = try RawClient(port: port)
      let call = try client.begin(ends: false)
      for byte in RawClient.frame([10, 3, 97, 98, 99]) {
        client.write([byte], to: call)
        try client.flush()
      }
      call.finish()
      try client.run { call.closeCode1 != nil }
      #expect(call.body == RawClient.frame([10, 3, 97, 98, 99]))
      #expect(call.status == 0)
    }
    await server.stop()
  }

  @Test("an answer before the request's end comes with RST_STREAM(NO_ERROR)")
  func earlyAnswer() async throws {
    let server = try await EchoServer.start()
    let port = server.server.addresses[0].port!
    try await offload {
      let client = try RawClient(port: port)
      let call = try client.begin([(":path", "/no/such")], ends: false)
      try client.run { call.closeCode1 != nil }
      #expect(call.status == 12)
      #expect(call.closeCode1 == 0)
    }
    await server.stop()
  }

  @Test("messages are percent-encoded, details agree with the status")
  func messages() async throws {
    let server = try await EchoServer.start()
    let port = server.server.addresses[0].port!
    try await offload {
      let client = try RawClient(port: port)
      let text = Array("fail NOT_FOUND 100% ☺".utf8)
      let call = try client.call(body: RawClient.frame([10, UInt8(text.count)] + text))
      #expect(call.status == 5)
      #expect(call.message == "100%25 %E2%98%BA")
    }
    await server.stop()
  }

  @Test("a client that resets its call cancels the handler")
  func cancellation() async throws {
    let server = try await EchoServer.start()
    let port = server.server.addresses[0].port!
    try await offload {
      let client = try RawClient(port: port)
      let call = try client.begin(body: RawClient.frame([10, 4] + Array("wait".utf8)))
      try client.run { server.log.lines.contains("wait: begun") }
      call.reset(.cancel)
      try client.run { server.log.lines.contains("wait: cancelled") }
    }
    #expect(server.log.lines == ["wait: begun", "wait: cancelled"])
    await server.stop()
  }

  @Test("a handler that outlives its deadline is cancelled, and the client told")
  func deadline() async throws {
    let server = try await EchoServer.start()
    let port = server.server.addresses[0].port!
    try await offload {
      let client = try RawClient(port: port)
      let call = try client.call([("grpc-timeout", "500m")], body: RawClient.frame([10, 4] + Array("wait".utf8)))
      #expect(call.status == 4)
      try client.run { server.log.lines.count == 2 }
    }
    #expect(server.log.lines == ["wait: begun", "wait: cancelled"])
    await server.stop()
  }

  @Test("who says nothing is shown the door", arguments: ["silent", "half a header block"])
  func slow(kind: String) async throws {
    let server = try await EchoServer.start(configure: {
      $0.handshakeTimeout = .milliseconds(kind == "silent" ? 50 : 60_000)
      $0.headerTimeout = .milliseconds(50)
    })
    let port = server.server.addresses[0].port!
    try await offload {
      let client = kind == "silent" ? try RawConnection(port: port) : try RawConnection(greeting: port)
      // Without END_HEADERS.
      if kind != "silent" { client.send(.headers(1, [0x83], endsBlock: false)) }
      #expect(client.awaitClose().last == .closed)
    }
    await server.stop()
  }

  @Test("connections beyond the bound are closed at once")
  func connectionBound() async throws {
    let server = try await EchoServer.start(configure: { $0.maxConnections = 2 })
    let port = server.server.addresses[0].port!
    try await offload {
      let first = try RawClient(port: port), second = try RawClient(port: port)
      #expect(try first.call().status == 0)
      #expect(try second.call().status == 0)
      let third = try RawClient(port: port)
      let call = try third.begin(body: [])
      _ = try? third.run { call.closeCode1 != nil }
      #expect(call.status == nil)
      #expect(try first.call().status == 0)
    }
    await server.stop()
  }

  @Test("graceful shutdown lets calls end and says GOAWAY")
  func shutdown() async throws {
    let server = try await EchoServer.start()
    let port = server.server.addresses[0].port!
    // The client blocks its thread, so it must not be one of those that the server's tasks need: with all of them blocked so, the
    // shutdown did not even begin before the client gave up waiting for it.
    async let stopped: Void = {
      await server.log.wait(for: "the call is under way")
      await server.server.shutDown(grace: .seconds(20))
    }()
    try await offload {
      let client = try RawClient(port: port)
      let call = try client.begin([(":path", "/spanwire.test.Echo/Chat")], ends: false)
      client.write(RawClient.frame([10, 1, 97]), to: call)
      try client.run { !call.body.isEmpty }
      server.log.add("the call is under way")
      try client.run { client.goAways.count == 2 }
      // The notice lets in what is on its way; the last word, a round trip later, names the last call that was taken.
      #expect(client.goAways.map(\.lastStream) == [.max, 1])
      #expect(client.goAways.allSatisfy { $0.code == .noError })
      client.write(RawClient.frame([10, 1, 98]), to: call)
      call.finish()
      try client.run { call.closeCode1 != nil }
      #expect(call.status == 0)
      #expect(call.body == RawClient.frame([10, 1, 97]) + RawClient.frame([10, 1, 98]))
    }
    await stopped
    await server.channel.close()
  }

  @Test("a slow reader suspends the handler's writes, and bounds what is kept")
  func slowReader() async throws {
    let server = try await EchoServer.start()
    let port = server.server.addresses[0].port!
    try await offload {
      let client = try RawClient(port: port)
      let call = try client.begin([(":path", "/spanwire.test.Echo/Expand")], body: RawClient.frame([10, 7] + Array("forever".utf8)))
      try client.run { call.body.count > 1_000_000 }
      call.reset(.cancel)
      try client.run { server.log.lines.contains("expand: ended") }
    }
    #expect(server.log.lines == ["expand: ended"])
    await server.stop()
  }
}
