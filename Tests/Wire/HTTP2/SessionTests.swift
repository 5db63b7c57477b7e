import Testing

@testable import SpanwireHTTP2

@Suite struct SessionTests {
  @Test("a request with a body gets a response with body and trailers, however the bytes are cut", arguments: [1, 7, 100_000])
  func roundTrip(chunk: Int) throws {
    let client = End(.client)
    let server = End(.server)
    server.onOpen = { stream in
      stream.trailers = [("grpc-status", "0")]
      stream.onHeaders = { $0.session!.submitResponse($0, response(), endsStream: false) }
      stream.onEnd = {
        $0.write($0.body)
        $0.finish()
      }
    }
    let call = RecordingStream()
    try client.session.submitRequest(call, request([("x", "y")]), hasBody: true)
    call.write([1, 2, 3])
    call.finish()
    try exchange(client, server, chunk: chunk)
    let served = server.accepted[0]
    #expect(served.events.first == .headers([":method: POST", ":scheme: http", ":path: /s/m", ":authority: test", "x: y"]))
    #expect(served.events.suffix(2) == [.end, .closed(0)])
    #expect(call.events.first == .headers([":status: 200"]))
    #expect(call.events.suffix(3) == [.trailers(["grpc-status: 0"]), .end, .closed(0)])
    #expect(call.body == [1, 2, 3])
    #expect(client.session.openStreams == 0 && server.session.openStreams == 0)
  }

  @Test("a stream that closes between two parts of another's header block takes nothing from it, wherever the block is cut")
  func closedInsideHeaders() throws {
    for cut in 1... {
      let client = End(.client)
      let server = End(.server)
      let first = RecordingStream()
      try client.session.submitRequest(first, request(), hasBody: false)
      try exchange(client, server)
      let second = RecordingStream()
      try client.session.submitRequest(second, request([("authorization", "Bearer secret")]), hasBody: false)
      let bytes = client.take()
      guard cut < bytes.count else { break }
      try server.give(Array(bytes[..<cut]))
      let served = server.accepted[0]
      served.session!.submitResponse(served, response(), endsStream: true)
      #expect(!server.take().isEmpty && served.events.last == .closed(0))
      try server.give(Array(bytes[cut...]))
      #expect(
        server.accepted[1].events.first
          == .headers([":method: POST", ":scheme: http", ":path: /s/m", ":authority: test", "authorization: Bearer secret"]),
        "cut after \(cut) of \(bytes.count) bytes")
    }
  }

  @Test("a large body crosses windows smaller than itself, drained by marks")
  func largeBody() throws {
    var limits = HTTP2Limits()
    limits.streamWindow = 70_000
    limits.connectionWindow = 100_000
    let client = End(.client)
    let server = End(.server, limits)
    let call = RecordingStream()
    try client.session.submitRequest(call, request(), hasBody: true)
    call.write((0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 % 251) })
    call.drainMark = 500_000
    call.finish()
    try exchange(client, server)
    #expect(server.accepted[0].body.count == 1_000_000)
    #expect(server.accepted[0].body[999_999] == UInt8(999_999 % 251))
    #expect(call.events.filter { $0 == .drained }.count == 1)
  }

  @Test("sessions that share their memory write frames by turns, stopped in the middle of bodies and of large header blocks")
  func sharedMemory() throws {
    var limits = HTTP2Limits()
    limits.streamWindow = 1 << 20
    limits.maxHeaderListSize = 256 * 1024
    let memory = HTTP2Memory()
    let name = String(repeating: "n", count: 60_000)
    let pairs = (0..<8).map { _ in (client: End(.client, limits, memory: memory), server: End(.server, limits, memory: memory)) }
    var calls: [RecordingStream] = []
    for (index, pair) in pairs.enumerated() {
      try exchange(pair.client, pair.server)
      let call = RecordingStream()
      try pair.client.session.submitRequest(call, request([("x", name + "\(index)")]), hasBody: true)
      call.write([UInt8](repeating: UInt8(index), count: 300_000))
      call.finish()
      calls.append(call)
    }
    var moved = true
    while moved {
      moved = false
      for pair in pairs {
        let some = pair.client.takeSome()
        try pair.server.give(some)
        try pair.client.give(pair.server.takeSome())
        if !some.isEmpty { moved = true }
      }
    }
    for (index, pair) in pairs.enumerated() {
      let served = try #require(pair.server.accepted.first)
      guard case .headers(let fields)? = served.events.first else {
        Issue.record("no headers came")
        continue
      }
      #expect(fields.last == "x: \(name)\(index)")
      #expect(served.body == [UInt8](repeating: UInt8(index), count: 300_000))
      #expect(served.hasReceivedEnd)
    }
  }

  @Test("a receiver that consumes nothing stops the sender at its window; a dead stream gives its share back")
  func backPressure() throws {
    var limits = HTTP2Limits()
    limits.streamWindow = 65_535
    limits.connectionWindow = 65_535
    let client = End(.client)
    let server = End(.server, limits)
    server.onOpen = { $0.consumesAtOnce = false }
    for _ in 0..<3 {
      let call = RecordingStream()
      try client.session.submitRequest(call, request(), hasBody: true)
      call.write([UInt8](repeating: 7, count: 200_000))
      try exchange(client, server)
      let served = server.accepted.last!
      // Only if the dead streams before gave back what they held is there room for this one.
      #expect(served.body.count == 65_535)
      call.reset(.cancel)
      try exchange(client, server)
      #expect(served.events.last == .closed(8))
    }
  }

  @Test("a server that has said everything first lets the client off with NO_ERROR")
  func earlyEnd() throws {
    let client = End(.client)
    let server = End(.server)
    server.onOpen = { stream in
      stream.onHeaders = { $0.session!.submitResponse($0, response(), endsStream: true) }
    }
    let call = RecordingStream()
    try client.session.submitRequest(call, request(), hasBody: true)
    call.write([1])
    try exchange(client, server)
    #expect(call.events == [.headers([":status: 200"]), .end, .closed(0)])
    #expect(server.accepted[0].events.last == .closed(0))
  }

  @Test("graceful shutdown: what crosses the notice is served, the rest is refused, and then the session is over")
  func shutdown() throws {
    let client = End(.client)
    let server = End(.server)
    let first = RecordingStream()
    try client.session.submitRequest(first, request(), hasBody: false)
    try exchange(client, server)
    server.session.shutDown()
    // The client has not heard of it yet.
    let crossing = RecordingStream()
    try client.session.submitRequest(crossing, request(), hasBody: false)
    try exchange(client, server)
    #expect(server.accepted.count == 2)
    #expect(client.goAway?.lastStream == 3)
    #expect(!server.session.isOver)
    let late = RecordingStream()
    #expect(throws: HTTP2Error.self) { try client.session.submitRequest(late, request(), hasBody: false) }
    for stream in server.accepted { server.session.submitResponse(stream, response(), endsStream: true) }
    try exchange(client, server)
    #expect(first.events.last == .closed(0) && crossing.events.last == .closed(0))
    #expect(server.session.isOver)
  }

  @Test("pings come back with their payload")
  func ping() throws {
    let client = End(.client)
    let server = End(.server)
    client.session.ping(0x0102_0304_0506_0708)
    try exchange(client, server)
    #expect(client.pongs == [0x0102_0304_0506_0708])
  }

  @Test("more streams than the peer allows wait their turn")
  func concurrency() throws {
    var limits = HTTP2Limits()
    limits.maxConcurrentStreams = 1
    let client = End(.client)
    let server = End(.server, limits)
    try exchange(client, server)
    #expect(client.session.remoteMaxConcurrentStreams == 1)
    let calls = (0..<10).map { _ in RecordingStream() }
    for call in calls { try client.session.submitRequest(call, request(), hasBody: false) }
    for served in 1...10 {
      try exchange(client, server)
      #expect(server.accepted.count == served)
      server.session.submitResponse(server.accepted.last!, response(), endsStream: true)
    }
    try exchange(client, server)
    #expect(calls.allSatisfy { $0.events.last == .closed(0) })
  }

  @Test("a connection that is lost tells its streams")
  func abandon() throws {
    let client = End(.client)
    let call = RecordingStream()
    try client.session.submitRequest(call, request(), hasBody: true)
    client.session.abandon(.internalError)
    #expect(call.events == [.closed(2)])
    #expect(client.session.openStreams == 0)
    call.write([1])
    call.reset(.cancel)
  }

  @Test("what is no HTTP/2 is told apart")
  func badPreface() {
    let server = End(.server)
    #expect(throws: HTTP2Error.self) { try server.give(Array("GET / HTTP/1.1\r\nhost: x\r\n\r\n".utf8)) }
  }
}
