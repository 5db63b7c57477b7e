import SpanwireHTTP2
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireRPCTestSupport
import Testing

/// What a call may end with, and who says so: rows 22 to 24.
extension Checklist {
  static let outcomes: [Case] = cardinality + codesOfOurs + resets

  // MARK: 22

  private static let cardinality: [Case] =
    ["Get", "Expand"].flatMap { (path: String) -> [Case] in
      let headers: [(String, String?)] = [(":path", "/spanwire.test.Echo/\(path)")]
      return [
        .server(22, "\(path) without a request", headers, body: [], .error(.unimplemented)),
        .server(22, "\(path) that ends with its headers", headers, body: nil, .error(.unimplemented)),
        .server(22, "\(path) with two requests", headers, body: Frames.text("1") + Frames.text("1"), .error(.unimplemented)),
      ]
    }
    + ["Collect", "Chat"].map { path in
      .server(22, "\(path) without requests is no error") { echo in
        let call = try echo.client().call([(":path", "/spanwire.test.Echo/\(path)")], body: [])
        #expect(call.status == 0)
      }
    }
    + [(0, Step.data([])), (2, .data(Frames.hi + Frames.hi))].flatMap { (count: Int, data: Step) -> [Case] in
      [
        .client(22, "one request, OK and \(count) answers", [.leading([]), data, .ok], .error(.unimplemented)),
        .client(22, "many requests, OK and \(count) answers", script: { _ in [.awaitEnd, .leading([]), data, .ok] }) {
          (scripted) async throws in
          let error = await failure { try await scripted.echo.collect { try await $0.write(Text(value: "a")) } }
          #expect(error?.code == .unimplemented)
        },
      ]
    }
    + [
      .client(22, "an error and no answer is the error", [.leading([]), .trailers([("grpc-status", "10")])], .error(.aborted)),
      .client(22, "an error after the answer is the error", [.leading([]), .hello, .trailers([("grpc-status", "10")])], .error(.aborted)),
      .client(22, "a stream of no answers is no error", script: { _ in [.leading([]), .ok] }) { (scripted) async throws in
        for try await text in try await scripted.echo.expand(Text()) { Issue.record("\(text)") }
      },
    ]

  // MARK: 23

  /// Statuses that only a handler may give.
  private static let handlers: Set<Int> = [3, 5, 6, 9, 10, 11, 15]

  private struct Secret: Error { let password = "hunter2" }

  private static let codesOfOurs: [Case] = [
    .server(23, "whatever is wrong with a request, the status is one of the library's") { echo in
      let client = try echo.client()
      let requests: [([(String, String?)], [UInt8]?)] = [
        ([(":path", "/no/such")], Frames.hi), ([("content-type", "application/grpc+json")], Frames.hi),
        ([("grpc-timeout", "x")], Frames.hi),
        ([("grpc-timeout", "0n")], Frames.hi), ([("grpc-encoding", "x")], Frames.hi),
        ([("grpc-encoding", "gzip")], RawClient.frame([1], flag: 1)), ([], []),
        ([], nil), ([], Frames.hi + Frames.hi), ([], [0, 0]), ([], RawClient.frame([0xFF])), ([], Frames.text("x", flag: 1)),
        ([], Frames.text("x", flag: 9)),
        ([], [0, 0xFF, 0xFF, 0xFF, 0xFF]), ([(":path", "/spanwire.test.Echo/Collect")], [0, 0]), ([], Frames.text("crash")),
      ]
      for (headers, body) in requests {
        let call = try client.call(headers, body: body)
        let status = try #require(call.status, "\(headers)")
        #expect(status != 0 && !handlers.contains(status), "\(headers) \(status)")
      }
    },
    .server(23, "an error that is no status is UNKNOWN, and nothing of it is told", service: CustomEcho(get: { _, _ in throw Secret() })) {
      echo in
      let call = try echo.client().call()
      call.check(.error(.unknown))
      let said = (call.leading + call.trailing).map { "\($0.name) \($0.value)" }.joined()
      #expect(!said.contains("hunter2") && !said.contains("Secret") && !said.contains("swift"))
    },
    .server(23, "a request that is no message is INTERNAL", body: RawClient.frame([0x0A, 200, 1]), .error(.internal)),
    .server(
      23, "so is one in a stream", [(":path", "/spanwire.test.Echo/Collect")], body: Frames.hi + RawClient.frame([0x0A, 200, 1]),
      .error(.internal)),
    .server(23, "a string that is no UTF-8 is INTERNAL", body: RawClient.frame([0x0A, 1, 0xFF]), .error(.internal)),
    .client(
      23, "whatever is wrong with an answer, the status is one of the library's",
      script: { number in answers.indices.contains(number) ? answers[number] : [.hangUp] }
    ) { (scripted) async throws in
      for number in answers.indices {
        let error = await failure { try await scripted.echo.get(Text()) }
        #expect(error.map { !handlers.contains(Int($0.code.rawValue)) } == true, "answer \(number): \(error as Any)")
      }
    },
    .client(
      23, "an answer that is no message is INTERNAL", [.leading([]), .data(RawClient.frame([0x0A, 200, 1])), .ok], .error(.internal)),
    .client(23, "a string that is no UTF-8 is INTERNAL", [.leading([]), .data(RawClient.frame([0x0A, 1, 0xFF])), .ok], .error(.internal)),
  ]

  /// Answers none of which is one.
  private static let answers: [[Step]] = [
    [.leading([]), .trailers([])], [.leading([]), .ok], [.leading([]), .hello, .hello, .ok], [.headers([(":status", "400")], ends: true)],
    [.headers([(":status", "404")], ends: true)], [.headers([(":status", "409")], ends: true)],
    [.headers([(":status", "412")], ends: true)],
    [.headers([(":status", "416")], ends: true)], [.leading([]), .data([0, 0]), .ok],
    [.leading([]), .data(Frames.text("x", flag: 1)), .ok],
    [.leading([("grpc-encoding", "gzip")]), .data(RawClient.frame([1], flag: 1)), .ok], [.leading([]), .trailers([("grpc-status", "77")])],
    [.reset(1)],
    [.reset(5)], [.reset(13)], [.reset(99)],
  ]

  // MARK: 24

  private static let resets: [Case] =
    [
      (0, RPCError.Code.internal), (1, .internal), (2, .internal), (3, .internal), (4, .internal), (6, .internal), (9, .internal),
      (10, .internal),
      (7, .unavailable), (8, .cancelled), (11, .resourceExhausted), (12, .permissionDenied), (5, .unknown), (13, .unknown),
      (0xFF, .unknown),
    ]
    .map { (number: UInt32, code: RPCError.Code) in .client(24, "reset with \(number) is \(code)", [.reset(number)], .error(code)) }
    + [
      .client(
        24, "a reset after messages ends a stream that has read them",
        // The request's end first: a caller that is still writing would learn of the reset there.
        script: { _ in [.awaitEnd, .leading([]), .hello, .raw([]), .reset(2)] }
      ) { (scripted) async throws in
        let responses = try await scripted.echo.expand(Text())
        await scripted.server.log.wait(for: "0 closed 2")
        var error: RPCError?
        do { while try await responses.next() != nil {} } catch let thrown { error = thrown as? RPCError }
        #expect(error?.code == .internal)
      },
      .client(
        24, "a reset that follows the trailers changes nothing",
        [.leading([]), .hello, .ok, .raw([RawFrame(.reset, payload: [0, 0, 0, 0])])], .text("hello")),
    ]
    + [0, 1, 2, 8, 11].map { (code: UInt32) in
      .server(24, "a client's reset with \(code) cancels the handler") { echo in
        let client = try echo.client()
        let call = try client.begin(body: Frames.text("wait"))
        try client.run { echo.log.lines.contains("wait: begun") }
        call.reset(HTTP2ErrorCode(rawValue: code))
        try client.run { echo.log.lines.contains("wait: cancelled") }
        #expect(echo.log.lines == ["wait: begun", "wait: cancelled"])
        #expect(try client.call().status == 0)
      }
    }
}
