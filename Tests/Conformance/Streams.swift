import SpanwireEventLoop
import SpanwireHTTP2
import SpanwireRPC
import SpanwireRPCTestSupport
import Testing

@testable import SpanwireRPCOverHTTP2

/// The life of a call's stream: rows 25 to 27.
extension Checklist {
  static let streams: [Case] = earlyEnds + cancellations + inheritance

  // MARK: 25

  private static let earlyEnds: [Case] = [
    .server(25, "an error before the client's end: one block, then RST_STREAM(NO_ERROR)") { echo in
      let client = try echo.client()
      let call = try client.begin([(":path", "/no/such")], ends: false)
      try client.run { call.closeCode1 != nil }
      let frames = client.frames.filter { $0.stream == 1 }
      #expect(frames.map(\.type) == [.headers, .reset] && frames.last?.number(at: 0) == 0)
      #expect(call.status == 12)
    },
    .server(25, "an answer before the client's end: trailers, then RST_STREAM(NO_ERROR)") { echo in
      let client = try echo.client()
      let call = try client.begin([(":path", "/spanwire.test.Echo/Collect")], ends: false)
      client.write(Frames.text("a") + Frames.text("stop"), to: call)
      try client.run { call.closeCode1 != nil }
      let frames = client.frames.filter { $0.stream == 1 && $0.type != .windowUpdate }
      #expect(frames.map(\.type) == [.headers, .data, .headers, .reset] && frames.last?.number(at: 0) == 0)
      #expect(call.status == 0 && Frames.texts(call.body) == ["a"])
    },
    .client(25, "an answer before the last request is the answer", script: { _ in [.leading([]), .hello, .ok] }) {
      (scripted) async throws in
      let joined = try await scripted.echo.collect { requests in
        try await requests.write(Text(value: "a"))
        await scripted.server.log.wait(for: "0 closed 0")
        for _ in 0..<100 { try await requests.write(Text(value: "unread")) }
      }
      #expect(joined.value == "hello")
    },
    .client(25, "an error before the last request is the error", script: { _ in [.trailersOnly([("grpc-status", "10")])] }) {
      (scripted) async throws in
      let error = await failure {
        try await scripted.echo.collect { requests in
          while true { try await requests.write(Text(value: String(repeating: "m", count: 1000))) }
        }
      }
      #expect(error?.code == .aborted)
    },
  ]

  // MARK: 26

  /// Writes until nobody reads.
  private static func writesForever(_ log: Log) -> CustomEcho {
    CustomEcho(
      expand: { request, responses, context in
        defer { log.add("writer ended, \(context.cancellationCode.map { "\($0)" } ?? "not cancelled")") }
        let large = Text(value: String(repeating: "w", count: 50_000))
        while true { try await responses.write(large) }
      },
      chat: { requests, _, context in
        log.add("reader begun")
        defer { log.add("reader ended, \(context.cancellationCode.map { "\($0)" } ?? "not cancelled")") }
        for try await _ in requests {}
      })
  }

  private static func cancelled(
    _ name: String, path: String, log: Log, begun: @escaping @Sendable (RawClient.Call) -> Bool, ended: String
  ) -> Case {
    .server(26, name, service: writesForever(log)) { echo in
      let client = try echo.client()
      let call = try client.begin([(":path", "/spanwire.test.Echo/\(path)")], ends: false)
      call.consumes = false
      client.write(Frames.hi, to: call)
      if path == "Expand" { call.finish() }
      try client.run { begun(call) }
      call.reset(.cancel)
      try client.run { log.lines.contains(ended) }
      #expect(log.lines.last == ended)
    }
  }

  private static let writerLog = Log(), readerLog = Log(), lateLog = Log()

  private static let cancellations: [Case] = [
    .server(26, "a reset cancels a handler that sleeps") { echo in
      let client = try echo.client()
      let call = try client.begin(body: Frames.text("wait"))
      try client.run { echo.log.lines.contains("wait: begun") }
      call.reset(.cancel)
      try client.run { echo.log.lines.contains("wait: cancelled") }
      #expect(echo.log.lines == ["wait: begun", "wait: cancelled"])
    },
    cancelled(
      "a reset cancels a handler that waits to write", path: "Expand", log: writerLog, begun: { $0.body.count > 900_000 },
      ended: "writer ended, CANCELLED"),
    cancelled(
      "a reset cancels a handler that waits to read", path: "Chat", log: readerLog,
      begun: { _ in readerLog.lines.contains("reader begun") },
      ended: "reader ended, CANCELLED"),
    .server(26, "a lost connection cancels its handlers") { echo in
      do {
        let client = try echo.client()
        _ = try client.begin(body: Frames.text("wait"))
        try client.run { echo.log.lines.contains("wait: begun") }
      }
      let other = try echo.client()
      try other.run { echo.log.lines.contains("wait: cancelled") }
      #expect(echo.log.lines == ["wait: begun", "wait: cancelled"])
    },
    .server(26, "a deadline ends the call and its handler, also one that waits to write", service: writesForever(lateLog)) { echo in
      let client = try echo.client()
      let call = try client.begin([(":path", "/spanwire.test.Echo/Expand"), ("grpc-timeout", "300m")], body: Frames.hi)
      call.consumes = false
      try client.run { call.closeCode1 != nil }
      // A status where there is room for one, a reset where there is not.
      #expect(call.status == 4 || call.closeCode1 == 8)
      try client.run { !lateLog.lines.isEmpty }
      #expect(lateLog.lines == ["writer ended, DEADLINE_EXCEEDED"])
    },
    .client(26, "cancelling the task resets the stream with CANCEL", script: { _ in [] }) { (scripted) async throws in
      let calls: [@Sendable () async throws -> Void] = [
        { _ = try await scripted.echo.get(Text()) }, { for try await _ in try await scripted.echo.expand(Text()) {} },
        { _ = try await scripted.echo.collect { try await $0.write(Text()) } },
        { _ = try await scripted.echo.chat().responses.next() },
      ]
      for (number, call) in calls.enumerated() {
        let task = Task { try await call() }
        await scripted.server.log.wait(for: "\(number) begun")
        task.cancel()
        #expect(await failure { try await task.value }?.code == .cancelled)
        await scripted.server.log.wait(for: "\(number) closed 8")
      }
    },
    .client(26, "an expired deadline resets the stream with CANCEL", script: { _ in [] }) { (scripted) async throws in
      await scripted.expire { _ = try await scripted.echo.get(Text(), options: $0) }
      await scripted.server.log.wait(for: "0 closed 8")
    },
    .client(26, "a server's CANCEL after the deadline is DEADLINE_EXCEEDED", script: { _ in [] }) { _ in
      #expect(ClientStatus.error(ofReset: 8, deadline: Deadline(nanoseconds: 1)).code == .deadlineExceeded)
      #expect(ClientStatus.error(ofReset: 8, deadline: .after(.seconds(100))).code == .cancelled)
      #expect(ClientStatus.error(ofReset: 8, deadline: .never).code == .cancelled)
      #expect(ClientStatus.error(ofReset: 2, deadline: Deadline(nanoseconds: 1)).code == .internal)
    },
  ]

  // MARK: 27

  private static let inheritance: [Case] = [
    .server(27, "a handler sees what remains, and when it has none") { echo in
      let client = try echo.client()
      let some = try client.call([("grpc-timeout", "1000S")], body: Frames.text("remaining"))
      #expect((900...1000).contains(Frames.texts(some.body).first.flatMap { Int($0) } ?? 0))
      let none = try client.call(body: Frames.text("remaining"))
      #expect(Frames.texts(none.body) == ["none"])
    },
    .server(27, "a call that a handler makes has its deadline") { echo in
      let call = try echo.client().call([("grpc-timeout", "1000S")], body: Frames.text("nested remaining"))
      #expect((900...1000).contains(Frames.texts(call.body).first.flatMap { Int($0) } ?? 0))
    },
    .server(27, "a call that a handler makes ends with it") { echo in
      let client = try echo.client()
      let call = try client.begin(body: Frames.text("nested wait"))
      try client.run { echo.log.lines.contains("wait: begun") }
      call.reset(.cancel)
      try client.run { echo.log.lines.contains("wait: cancelled") }
      #expect(echo.log.lines == ["wait: begun", "wait: cancelled"])
    },
    .server(27, "a call that a handler makes has its trace") { echo in
      let trace = TraceContext.root()
      let call = try echo.client().call([("traceparent", trace.traceparent)], body: Frames.text("nested trace"))
      #expect(Frames.texts(call.body) == ["\(trace.traceID) true"])
    },
    .client(27, "a call has the deadline and the trace of the work that it is part of", script: { _ in [.leading([]), .hello, .ok] }) {
      (scripted) async throws in
      let trace = TraceContext.root()
      try await CallContext.with(deadline: .after(.seconds(500)), principal: .anonymous, trace: trace) { () async throws in
        _ = try await scripted.echo.get(Text(), options: .timeout(.seconds(9000)))
      }
      let fields = Dictionary(scripted.call().fields.map { ($0.name, $0.value) }) { first, _ in first }
      #expect(fields["traceparent"]?.contains(trace.traceID) == true)
      #expect(fields["traceparent"] != trace.traceparent, "the call has a span of its own")
      let timeout = try #require(fields["grpc-timeout"])
      #expect(timeout.hasSuffix("u") || timeout.hasSuffix("m"))
      let scale = timeout.hasSuffix("u") ? 1e-6 : 1e-3
      #expect((Double(timeout.dropLast()) ?? 9e9) * scale <= 500)
    },
    .client(27, "a call ends when the work that it is part of is not wanted any more", script: { _ in [] }) { (scripted) async throws in
      let context = CallContext()
      let calling = Task {
        await CallContext.$current.withValue(context) { await failure { for try await _ in try await scripted.echo.expand(Text()) {} } }
      }
      await scripted.server.log.wait(for: "0 begun")
      context.cancel()
      #expect(await calling.value?.code == .cancelled)
      await scripted.server.log.wait(for: "0 closed 8")
    },
    .client(27, "a call is made for whom the work is done", script: { _ in [] }) { _ in
      let caller = Principal(kind: .user, id: "u1", surface: .edge)
      try await CallContext.with(principal: caller) { () async throws in
        #expect(OutgoingCall(Echo.Methods.get, CallOptions(), startsTrace: false).principal == caller)
      }
    },
  ]
}
