import SpanwireHTTP2
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireRPCTestSupport
import Testing

/// A server that plays a script, and a channel of ours to it.
struct Scripted: Sendable {
  let server: ScriptedServer
  let channel: HTTP2Channel
  var echo: EchoClient { EchoClient(channel) }

  /// The n-th request.
  func call(_ number: Int = 0) -> ScriptedServer.Request { server.calls.withLock { $0.indices.contains(number) ? $0[number] : .init() } }
  var calls: Int { server.calls.withLock { $0.count } }
}

extension Scripted {
  /// Makes a call that its deadline ends, until the deadline was long enough for the server to see so many requests.
  func expire(calls: Int = 1, _ call: (CallOptions) async throws -> Void) async {
    for milliseconds in [200, 2_000, 20_000] {
      let error = await failure { try await call(.timeout(.milliseconds(milliseconds))) }
      #expect(error?.code == .deadlineExceeded)
      if self.calls >= calls { return }
    }
    Issue.record("the server saw \(self.calls) calls")
  }
}

/// What the caller must get.
enum Outcome: Sendable {
  case text(String)
  /// One of these codes, and the message if one is given.
  case error([RPCError.Code], String? = nil)

  static func error(_ code: RPCError.Code, _ message: String? = nil) -> Outcome { .error([code], message) }
}

typealias Step = ScriptedServer.Step

extension Step {
  static let ok: Step = .trailers([("grpc-status", "0")])
  static let hello: Step = .data(Frames.text("hello"))

  /// Leading fields of a gRPC response with others beside.
  static func leading(_ fields: [(String, String)], ends: Bool = false) -> Step {
    .headers([(":status", "200"), ("content-type", "application/grpc")] + fields, ends: ends)
  }

  static func trailersOnly(_ fields: [(String, String)]) -> Step { leading(fields, ends: true) }
}

extension Case {
  /// A case about our client; the script is asked once a call.
  static func client(
    _ row: Int, _ name: String, limits: HTTP2Limits = HTTP2Limits(), consumes: Bool = true,
    options: HTTP2ChannelOptions = HTTP2ChannelOptions(),
    script: @escaping @Sendable (Int) -> [Step], _ check: @escaping @Sendable (Scripted) async throws -> Void
  ) -> Case {
    Case(row: row, side: .client, name: name) {
      let server = try await ScriptedServer.start(limits: limits, consumes: consumes, script)
      let scripted = Scripted(server: server, channel: try HTTP2Channel(.host("127.0.0.1", port: server.port), options: options))
      do { try await check(scripted) } catch { Issue.record(error) }
      await scripted.channel.close()
      await server.stop()
    }
  }

  /// One unary call, what the server answers to it, and what the caller must get.
  static func client(
    _ row: Int, _ name: String, _ steps: [Step], options: CallOptions = CallOptions(), _ outcome: Outcome
  ) -> Case {
    client(row, name, script: { _ in [.awaitEnd] + steps }) { scripted in
      await outcome.check { try await scripted.echo.get(Text(value: "hi"), options: options).value }
    }
  }
}

extension Outcome {
  func check(sourceLocation: SourceLocation = #_sourceLocation, _ call: () async throws -> String) async {
    switch self {
    case .text(let text):
      do {
        #expect(try await call() == text, sourceLocation: sourceLocation)
      } catch {
        Issue.record(error, sourceLocation: sourceLocation)
      }
    case .error(let codes, let message):
      guard let error = await failure(call, sourceLocation: sourceLocation) else { return }
      #expect(codes.contains(error.code), "\(error)", sourceLocation: sourceLocation)
      if let message { #expect(error.message == message, sourceLocation: sourceLocation) }
    }
  }
}
