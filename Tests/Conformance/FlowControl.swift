import SpanwireHTTP2
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireRPCTestSupport
import Synchronization
import Testing

/// Windows and slow readers: rows 31 and 32.
extension Checklist {
  static let flowControl: [Case] = windows + slowReaders

  private static let window = 1 << 20

  /// Room that the peer was given on a stream, or on the connection (0).
  private static func credit(_ client: RawClient, _ stream: UInt32) -> Int {
    client.frames.filter { $0.type == .windowUpdate && $0.stream == stream }.reduce(0) { $0 + Int($1.number(at: 0)) }
  }

  /// Begins a chat, fills its window and returns once the server has seen it.
  private static func fill(_ client: RawClient, stream: UInt32, _ bytes: Int) throws -> RawClient.Call {
    let call = try client.begin([(":path", "/spanwire.test.Echo/Chat")], ends: false)
    client.write(Array(repeating: Frames.text(text(ofSize: 9995)), count: bytes / 10_000).flatMap { $0 }, to: call)
    try client.run { call.output.isEmpty }
    try client.settle()
    return call
  }

  /// A chat that reads one request at a time, as the gate lets it.
  private static func gated(_ gate: Gate) -> CustomEcho {
    CustomEcho(chat: { requests, responses, _ in
      while true {
        await gate.wait()
        guard let request = try await requests.next() else { return }
        try await responses.write(Text(value: "\(request.value.utf8.count)"))
      }
    })
  }

  private static let shut = Gate(), stepwise = Gate()

  private static let windows: [Case] = [
    .server(31, "padding counts, and is given back") { echo in
      let client = try echo.client()
      let call = try client.begin([(":path", "/spanwire.test.Echo/Collect")], ends: false)
      try client.flush()
      // Sixteen times 255 bytes of padding for each byte: more than the window of stream and connection together.
      let frame = RawFrame.data([], padding: 255, stream: 1).bytes
      for _ in 0..<200 { try client.send(raw: Array(repeating: frame, count: 100).flatMap { $0 }); try client.settle() }
      #expect(credit(client, 0) > 4 << 20 && credit(client, 1) > 4 << 20)
      try client.send(raw: RawFrame(.data, flags: RawFrame.endStream, stream: 1, payload: Frames.text("a")).bytes)
      try client.run { call.hasReceivedEnd }
      #expect(call.status == 0 && Frames.texts(call.body) == ["a"])
    },
    .server(31, "a handler that does not read stops the sender", service: gated(shut)) { echo in
      let client = try echo.client()
      let call = try fill(client, stream: 1, 1_000_000)
      #expect(credit(client, 1) == 0)
      let before = credit(client, 0)
      shut.open(times: 100)
      try client.run { Frames.split(call.body).count == 100 }
      try client.settle()
      #expect(credit(client, 1) > 500_000 && credit(client, 0) >= before)
      call.finish()
      shut.open(times: 1)
      try client.run { call.closeCode1 != nil }
      #expect(call.status == 0)
    },
    .server(31, "what is taken makes room, message by message", service: gated(stepwise)) { echo in
      let client = try echo.client()
      // Three windows' worth, in the time that the handler takes.
      let call = try client.begin([(":path", "/spanwire.test.Echo/Chat")], ends: false)
      let large = Frames.text(text(ofSize: 99_995))
      client.write(Array(repeating: large, count: 30).flatMap { $0 }, to: call)
      call.finish()
      for count in 1...30 {
        stepwise.open(times: 1)
        try client.run { Frames.split(call.body).count == count }
      }
      stepwise.open(times: 1)
      try client.run { call.closeCode1 != nil }
      #expect(call.status == 0)
    },
    .server(31, "bytes of dead streams are given back to the connection") { echo in
      let client = try echo.client()
      // Six times a stream's window; the connection's would hold four.
      for number in 0..<6 {
        let call = try client.begin(body: nil, ends: false)
        client.write([0, 0, 0x0F, 0x42, 0x40] + [UInt8](repeating: 0, count: 900_000), to: call)
        try client.run { call.output.isEmpty }
        let rest = call.output.count
        #expect(rest == 0, "stream \(number) got no room")
        call.reset(.cancel)
        try client.settle()
      }
      #expect(credit(client, 0) > 4 << 20)
      #expect(try client.call().status == 0)
    },
    .client(
      31, "a caller that does not read stops the server; what it reads makes room",
      script: { number in number == 0 ? [.leading([]), .data(flood), .ok] : [.leading([]), .hello, .ok] }
    ) { (scripted) async throws in
      let responses = try await scripted.echo.expand(Text())
      while await scripted.server.queuedBytes(0) > flood.count - window + 100_000 { await Task.yield() }
      // Whatever the client had to say to that has been heard.
      for _ in 0..<3 { _ = try await scripted.echo.get(Text()) }
      let left = await scripted.server.queuedBytes(0)
      #expect(left >= flood.count - window - 200_000, "\(left)")
      var count = 0
      for try await text in responses { count += text.value.utf8.count }
      #expect(count == 30 * (99_995 - 3))
    },
    .client(
      31, "bytes of calls that were cancelled are given back to the connection",
      script: { number in number < 8 ? [.leading([]), .data(flood)] : [.leading([]), .data(flood), .ok] }
    ) {
      (scripted) async throws in
      for number in 0..<8 {
        do {
          let responses = try await scripted.echo.expand(Text())
          _ = try await responses.next()
        }
        await scripted.server.log.wait(for: "\(number) closed 8")
      }
      var count = 0
      for try await _ in try await scripted.echo.expand(Text()) { count += 1 }
      #expect(count == 30)
    },
  ]

  /// Three windows' worth of messages.
  private static let flood = Array(repeating: Frames.text(text(ofSize: 99_995)), count: 30).flatMap { $0 }

  private static let written = Mutex(0)

  private static let slowReaders: [Case] = [
    .server(
      32, "a client that does not read suspends the handler's writes",
      service: CustomEcho(expand: { _, responses, _ in
        while true {
          try await responses.write(Text(value: text(ofSize: 1000)))
          written.withLock { $0 += 1000 }
        }
      })
    ) { echo in
      let client = try echo.client()
      let calls = try (0..<20).map { _ in
        let call = try client.begin([(":path", "/spanwire.test.Echo/Expand")], body: Frames.hi)
        call.consumes = false
        return call
      }
      // The connection's window is what they share: when it is used up, nothing more comes.
      try client.run { calls.reduce(0) { $0 + $1.body.count } >= 4 << 20 }
      try client.settle()
      let first = written.withLock { $0 }
      try client.settle()
      // Windows, and what is queued up to the mark on each stream.
      #expect(first <= (4 << 20) + 20 * 70_000 && first + 20 * 66_000 >= written.withLock { $0 }, "\(first)")
      #expect(written.withLock { $0 } <= (4 << 20) + 20 * 70_000)
    },
    .client(32, "a server that does not read suspends the caller's writes", limits: stingy, consumes: false, script: { _ in [] }) {
      (scripted) async throws in
      let sent = Mutex(0)
      let error = await failure {
        try await scripted.echo.collect(options: .timeout(.milliseconds(400))) { requests in
          while true {
            try await requests.write(Text(value: text(ofSize: 1000)))
            sent.withLock { $0 += 1000 }
          }
        }
      }
      #expect(error?.code == .deadlineExceeded)
      #expect(sent.withLock { $0 } < 65_535 + 200_000, "\(sent.withLock { $0 })")
    },
  ]

  /// A server that lets a stream send its window and no more.
  private static let stingy: HTTP2Limits = {
    var limits = HTTP2Limits()
    limits.streamWindow = 65_535
    return limits
  }()
}

/// Lets a handler go on so many times.
final class Gate: Sendable {
  private let log = Log()
  private let taken = Mutex(0)

  func open(times: Int) { for _ in 0..<times { log.add("open") } }

  func wait() async {
    let count = taken.withLock {
      $0 += 1
      return $0
    }
    await log.wait(for: "open", count: count)
  }
}
