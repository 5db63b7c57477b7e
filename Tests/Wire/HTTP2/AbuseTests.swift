import Testing

@testable import SpanwireHTTP2

@Suite struct AbuseTests {
  /// A frame of raw bytes.
  private func frame(_ type: UInt8, flags: UInt8 = 0, stream: UInt32 = 0, _ payload: [UInt8] = []) -> [UInt8] {
    let length = payload.count
    return [UInt8(length >> 16), UInt8(length >> 8 & 0xFF), UInt8(length & 0xFF), type, flags]
      + withUnsafeBytes(of: stream.bigEndian) { Array($0) } + payload
  }

  private func ready(_ limits: HTTP2Limits = HTTP2Limits()) throws -> (client: End, server: End) {
    let client = End(.client)
    let server = End(.server, limits)
    try exchange(client, server)
    return (client, server)
  }

  @Test("a header list over the limit fails its stream alone, and the compression state stays right")
  func tooLarge() throws {
    var limits = HTTP2Limits()
    limits.maxHeaderListSize = 1000
    let (client, server) = try ready(limits)
    let large = RecordingStream()
    // "marker" enters the table inside the refused block and is only a reference in the next.
    try client.session.submitRequest(
      large, request([("marker", "remembered"), ("fill", String(repeating: "x", count: 1000))]), hasBody: false)
    try exchange(client, server)
    #expect(large.events.first == .headers([":status: 431"]))
    #expect(server.accepted[0].events.first == .tooLarge)
    let small = RecordingStream()
    try client.session.submitRequest(small, request([("marker", "remembered")]), hasBody: false)
    try exchange(client, server)
    #expect(
      server.accepted[1].events.first
        == .headers([
          ":method: POST", ":scheme: http", ":path: /s/m", ":authority: test", "marker: remembered",
        ]))
  }

  @Test("a list of just the limit passes", arguments: [(0, true), (1, false)])
  func exactlyTheLimit(over: Int, passes: Bool) throws {
    var limits = HTTP2Limits()
    limits.maxHeaderListSize = 1000
    let (client, server) = try ready(limits)
    let base = request().fields.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count + 32 } + 32 + 1
    let call = RecordingStream()
    try client.session.submitRequest(
      call, request([("x", String(repeating: "v", count: 1000 - base + over))]), hasBody: false)
    try exchange(client, server)
    #expect((server.accepted[0].events.first != .tooLarge) == passes)
  }

  @Test("a list that decodes to many times the limit ends the connection")
  func bomb() throws {
    var limits = HTTP2Limits()
    limits.maxHeaderListSize = 1000
    let (client, server) = try ready(limits)
    let call = RecordingStream()
    try client.session.submitRequest(
      call, request((0..<20).map { _ in ("x", String(repeating: "v", count: 1500)) }), hasBody: false)
    try exchange(client, server)
    #expect(client.goAway?.code == .enhanceYourCalm)
    #expect(server.session.isOver)
  }

  @Test("streams opened and reset in a storm end the connection; slow cancelling does not")
  func rapidReset() throws {
    var limits = HTTP2Limits()
    limits.resets = .init(burst: 50, perSecond: 10)
    for (interval, survives) in [(UInt64(0), false), (200_000_000, true)] {
      let (client, server) = try ready(limits)
      for number in 0..<200 {
        let call = RecordingStream()
        guard (try? client.session.submitRequest(call, request(), hasBody: true)) != nil else { break }
        try server.give(client.take(), now: 1 + UInt64(number) * interval)
        call.reset(.cancel)
        try server.give(client.take(), now: 1 + UInt64(number) * interval)
      }
      try exchange(client, server)
      #expect((client.goAway == nil) == survives)
    }
  }

  @Test("resets that the peer provokes count as its own")
  func madeYouReset() throws {
    var limits = HTTP2Limits()
    limits.resets = .init(burst: 50, perSecond: 10)
    let (client, server) = try ready(limits)
    for number in 0..<200 {
      let call = RecordingStream()
      guard (try? client.session.submitRequest(call, request(), hasBody: true)) != nil else { break }
      // A window beyond its range is an error of the stream: the server must reset it.
      try server.give(client.take() + frame(8, stream: UInt32(number * 2 + 1), [0x7F, 0xFF, 0xFF, 0xFF]))
      try client.give(server.take())
      if client.goAway != nil { break }
    }
    #expect(client.goAway?.code == .enhanceYourCalm)
  }

  @Test("frames that move nothing are borne in bursts only", arguments: ["settings", "empty data", "priority", "ping"])
  func floods(kind: String) throws {
    var limits = HTTP2Limits()
    limits.idleFrames = .init(burst: 50, perSecond: 10)
    limits.minPingInterval = nil
    limits.minIdlePingInterval = nil
    let (client, server) = try ready(limits)
    let call = RecordingStream()
    try client.session.submitRequest(call, request(), hasBody: true)
    try exchange(client, server)
    for _ in 0..<200 {
      switch kind {
      case "settings": try server.give(frame(4))
      case "empty data": try server.give(frame(0, stream: 1))
      case "priority": try server.give(frame(2, stream: 3, [0, 0, 0, 0, 1]))
      default: try server.give(frame(6, [1, 2, 3, 4, 5, 6, 7, 8]))
      }
      if kind == "settings" { _ = server.take() } else { try client.give(server.take()) }
      if client.goAway != nil || server.session.isOver { break }
    }
    if kind == "settings" { #expect(server.session.isOver) } else { #expect(client.goAway?.code == .enhanceYourCalm) }
  }

  @Test("who has used some of what it may do at once strains the server, until it has been calm for a while", arguments: [true, false])
  func strain(resets: Bool) throws {
    var limits = HTTP2Limits()
    limits.resets = .init(burst: 80, perSecond: 10)
    limits.idleFrames = .init(burst: 80, perSecond: 10)
    let (client, server) = try ready(limits)
    let second: UInt64 = 1_000_000_000
    for number in 1...20 {
      if resets {
        let call = RecordingStream()
        try client.session.submitRequest(call, request(), hasBody: true)
        try server.give(client.take(), now: second)
        call.reset(.cancel)
        try server.give(client.take(), now: second)
      } else {
        try server.give(frame(2, stream: 3, [0, 0, 0, 0, 1]), now: second)
      }
      #expect(server.session.isStrained == (number > 10), "\(number)")
    }
    for (moment, isStrained) in [(2 * second - 1, true), (2 * second, false)] {
      try server.give([], now: moment)
      #expect(server.session.isStrained == isStrained)
    }
    #expect(client.goAway == nil)
  }

  @Test("pings that come too often get too_many_pings after two strikes, unless something was sent in between")
  func pings() throws {
    for sends in [false, true] {
      let (client, server) = try ready()
      for number in 0..<10 {
        client.session.ping(UInt64(number))
        try exchange(client, server)
        if sends {
          let call = RecordingStream()
          server.onOpen = { $0.onHeaders = { $0.session!.submitResponse($0, response(), endsStream: true) } }
          try client.session.submitRequest(call, request(), hasBody: false)
          try exchange(client, server)
        }
      }
      #expect((client.goAway?.code == .enhanceYourCalm) == !sends)
    }
  }

  @Test("pings keep a connection at their own interval, a longer one while no stream is open", arguments: [false, true])
  func pingIntervals(isIdle: Bool) throws {
    let second: UInt64 = 1_000_000_000
    var limits = HTTP2Limits()
    limits.minPingInterval = .seconds(10)
    limits.minIdlePingInterval = .seconds(100)
    for (interval, survives) in [(9 * second, false), (11 * second, !isIdle), (101 * second, true)] {
      let (client, server) = try ready(limits)
      if !isIdle { try client.session.submitRequest(RecordingStream(), request(), hasBody: true) }
      try exchange(client, server)
      for number in 1...4 where client.goAway == nil {
        try server.give(frame(6, [1, 2, 3, 4, 5, 6, 7, 8]), now: UInt64(number) * interval)
        try client.give(server.take())
      }
      #expect((client.goAway == nil) == survives, "\(interval)")
    }
  }

  @Test("headers that never end are cut off")
  func continuationFlood() throws {
    let (client, server) = try ready()
    // :method POST, :scheme http, :path / from the static table, and no END_HEADERS.
    try server.give(frame(1, flags: 0, stream: 1, [0x83, 0x86, 0x84]))
    #expect(throws: (any Error).self) {
      for _ in 0..<1000 { try server.give(frame(9, stream: 1, [])) }
    }
    _ = client
  }
}
