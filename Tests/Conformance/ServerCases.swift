import Glibc
import SpanwireEventLoop
import SpanwireHTTP2
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireRPCTestSupport
import Testing

/// A served echo and a client without manners.
struct ServedEcho: Sendable {
  let server: EchoServer
  var log: Log { server.log }
  var port: UInt16 { server.server.addresses[0].port! }

  /// Waits for what no connection tells, as long as patience lasts.
  func wait(until isDone: () -> Bool) {
    for _ in 0..<RawConnection.patienceMilliseconds / 10 where !isDone() { poll(nil, 0, 10) }
  }

  func client(limits: HTTP2Limits = HTTP2Limits()) throws -> RawClient { try RawClient(port: port, limits: limits) }
}

/// What must come back.
enum Answer: Sendable {
  case ok
  /// HTTP alone answers.
  case http(String)
  /// One of these, where the sources leave a choice.
  case status([RPCError.Code])
  case httpOrStatus(String, [RPCError.Code])
  /// The stream is reset.
  case reset(UInt32)

  static func error(_ code: RPCError.Code) -> Answer { .status([code]) }
}

extension Case {
  /// A case about our server: the check runs off the loops and may block. With `timeStops`, timeouts wait for `server.pass`.
  static func server(
    _ row: Int, _ name: String, service: (any EchoService)? = nil, limits: MessageLimits = .default,
    configure: @escaping @Sendable (inout ServerConfiguration) -> Void = { _ in }, timeStops: Bool = false,
    _ check: @escaping @Sendable (ServedEcho) throws -> Void
  ) -> Case {
    Case(row: row, side: .server, name: name) {
      let server = try await EchoServer.start(
        service: service, limits: limits,
        configure: {
          $0.limits.minPingInterval = nil  // `settle` pings
          $0.limits.minIdlePingInterval = nil
          configure(&$0)
        }, timeStops: timeStops)
      let echo = ServedEcho(server: server)
      do { try await offload { try check(echo) } } catch { Issue.record(error) }
      await echo.server.stop()
    }
  }

  /// One request and what must come back; the connection must go on afterwards.
  static func server(
    _ row: Int, _ name: String, _ headers: [(String, String?)] = [], body: [UInt8]? = Frames.hi, limits: MessageLimits = .default,
    _ answer: Answer
  ) -> Case {
    server(row, name, limits: limits) { echo in
      let client = try echo.client()
      let call = try client.call(headers, body: body)
      call.check(answer)
      #expect(try client.call().status == 0, "the connection came to harm")
    }
  }
}

extension Case {
  /// One request and a look at what came back.
  static func server(
    _ row: Int, _ name: String, _ headers: [(String, String?)], body: [UInt8]? = Frames.hi, limits: MessageLimits = .default,
    check: @escaping @Sendable (RawClient.Call) throws -> Void
  ) -> Case {
    server(row, name, limits: limits) { echo in
      let client = try echo.client()
      try check(try client.call(headers, body: body))
      #expect(try client.call().status == 0, "the connection came to harm")
    }
  }
}

extension RawClient.Call {
  func check(_ answer: Answer, sourceLocation: SourceLocation = #_sourceLocation) {
    let code = status.flatMap { UInt8(exactly: $0) }.flatMap { RPCError.Code(rawValue: $0) }
    let seen: Comment =
      "HTTP \(headers1[":status"] ?? "-"), status \(status.map { "\($0)" } ?? "-"), \(message ?? ""), closed \(closeCode1 ?? 99)"
    switch answer {
    case .ok: #expect(headers1[":status"] == "200" && status == 0 && !body.isEmpty, seen, sourceLocation: sourceLocation)
    case .http(let http): #expect(headers1[":status"] == http && status == nil, seen, sourceLocation: sourceLocation)
    case .reset(let code):
      let fields = Comment(rawValue: headers.fields.map { "\($0.name): \($0.value)" }.joined(separator: ", "))
      #expect(leading.isEmpty && closeCode1 == code, fields, sourceLocation: sourceLocation)
    case .status(let codes):
      #expect(headers1[":status"] == "200" && code.map(codes.contains) == true, seen, sourceLocation: sourceLocation)
      #expect(isTrailersOnly, "an error before any message is one block", sourceLocation: sourceLocation)
    case .httpOrStatus(let http, let codes):
      #expect(headers1[":status"] == http || code.map(codes.contains) == true, seen, sourceLocation: sourceLocation)
    }
  }
}

/// Bytes that cases send.
enum Frames {
  /// `hi`, framed.
  static let hi = text("hi")

  static func text(_ text: String, flag: UInt8 = 0) -> [UInt8] { RawClient.frame(Text(value: text).encoded(), flag: flag) }

  /// The texts of the messages in a body; what is no message is left out.
  static func texts(_ body: [UInt8]) -> [String] {
    split(body).compactMap { frame in try? frame.message.withUnsafeBytes { bytes throws in try Text(decoding: bytes).value } }
  }

  /// The messages of a body with their flags.
  static func split(_ body: [UInt8]) -> [(flag: UInt8, message: [UInt8])] {
    var rest = body[...]
    var messages: [(flag: UInt8, message: [UInt8])] = []
    while rest.count >= 5 {
      let head = Array(rest.prefix(5))
      let count = head[1...].reduce(0) { $0 << 8 | Int($1) }
      guard rest.count >= 5 + count else { break }
      messages.append((head[0], Array(rest.dropFirst(5).prefix(count))))
      rest = rest.dropFirst(5 + count)
    }
    return messages
  }
}
