import SpanwireProtobuf
import SpanwireRPC
import SpanwireWellKnown
import Testing

/// What every channel must do, whatever lies behind it: each test of a transport runs the whole table against an `ObedientEcho`.
public struct ChannelContract: Sendable, CustomTestStringConvertible {
  public let name: String
  /// Gets a client of a served `ObedientEcho`, and what the echo writes down.
  public let check: @Sendable (EchoClient, Log) async throws -> Void

  public var testDescription: String { name }

  init(_ name: String, _ check: @escaping @Sendable (EchoClient, Log) async throws -> Void) {
    self.name = name
    self.check = check
  }

  public static let all: [ChannelContract] = unary + streaming + endings

  static let unary: [ChannelContract] = [
    ChannelContract("a unary call brings its response") { (echo, _) async throws in
      #expect(try await echo.get(Text(value: "hello")).value == "hello")
      #expect(try await echo.get(Text()).value == "")
    },
    ChannelContract("metadata travels both ways, text and bytes, in order") { (echo, _) async throws in
      var metadata: Metadata = ["x-one": "1", "x-one": "2"]
      metadata.add("x-raw-bin", bytes: [0, 1, 255])
      let response = try await echo.channel.unary(Text(), Echo.Methods.get, .metadata(metadata), returning: Text.self)
      #expect(response.metadata[all: "x-one"] == ["1", "2"])
      #expect(response.metadata[bytes: "x-raw-bin"] == [[0, 1, 255]])
      #expect(response.trailers[all: "t-one"] == ["1", "2"])
      #expect(response.trailers[bytes: "t-raw-bin"] == [[0, 1, 255]])
    },
    ChannelContract("every status comes back with code, message and trailers") { (echo, _) async throws in
      for code in RPCError.Code.allCases {
        let error = await failure { try await echo.get(Text(value: "fail \(code.name) why 100% ☺")) }
        #expect(error?.code == code)
        #expect(error?.message == "why 100% ☺")
        #expect(error?.trailers["x-why"] == "asked")
      }
    },
    ChannelContract("typed details travel with a status") { (echo, _) async throws in
      let error = await failure { try await echo.get(Text(value: "detail FAILED_PRECONDITION")) }
      #expect(error?.code == .failedPrecondition && error?.message == "with details")
      #expect(error?.errorInfo?.reason == "ASKED" && error?.errorInfo?.metadata["a"] == "b")
      #expect(error?.trailers.names.contains("grpc-status-details-bin") == false)
    },
    ChannelContract("an error that is not a status becomes UNKNOWN and tells nothing") { (echo, _) async throws in
      let error = await failure { try await echo.get(Text(value: "crash")) }
      #expect(error?.code == .unknown)
      #expect(error?.message.contains("hunter2") == false)
    },
    ChannelContract("an unknown method is UNIMPLEMENTED") { (echo, _) async throws in
      for path in [("spanwire.test.Echo", "Nothing"), ("spanwire.test.Nobody", "Get")] {
        let method = MethodDescriptor(service: path.0, name: path.1, kind: .unary, inputType: "", outputType: "")
        let error = await failure { try await echo.channel.unary(Text(), method, CallOptions()) as Text }
        #expect(error?.code == .unimplemented)
      }
    },
    ChannelContract("a large message passes both ways") { (echo, _) async throws in
      let text = String(repeating: "y", count: 3 << 20)
      #expect(try await echo.get(Text(value: text)).value == text)
      #expect(try await echo.get(Text(value: "size \(3 << 20)")).value.utf8.count == 3 << 20)
    },
  ]

  static let streaming: [ChannelContract] = [
    ChannelContract("a server streams, none, one and many") { (echo, _) async throws in
      for count in [0, 1, 5, 1_000] {
        let responses = try await echo.expand(Text(value: "\(count)"))
        var texts: [String] = []
        for try await response in responses { texts.append(response.value) }
        #expect(texts == (0..<count).map { "\($0)" })
      }
    },
    ChannelContract("messages before a failing status are read first") { (echo, _) async throws in
      let responses = try await echo.expand(Text(value: "3 ABORTED"))
      var texts: [String] = []
      let error = await failure { for try await response in responses { texts.append(response.value) } }
      #expect(texts == ["0", "1", "2"])
      #expect(error == RPCError(.aborted, "after 3", trailers: error?.trailers ?? Metadata()))
    },
    ChannelContract("a client streams, none, one and many") { (echo, _) async throws in
      for count in [0, 1, 300] {
        let joined = try await echo.collect { requests in
          for index in 0..<count { try await requests.write(Text(value: "\(index)")) }
        }
        #expect(joined.value == (0..<count).map { "\($0)" }.joined(separator: "+"))
      }
    },
    ChannelContract("a server may answer before the client has sent all") { (echo, _) async throws in
      let joined = try await echo.collect { requests in
        for text in ["a", "stop"] { try await requests.write(Text(value: text)) }
        for _ in 0..<200 { try await requests.write(Text(value: "unread")) }
      }
      #expect(joined.value == "a")
    },
    ChannelContract("a failing server ends a client's stream with its status") { (echo, _) async throws in
      let error = await failure {
        try await echo.collect { requests in
          try await requests.write(Text(value: "fail FAILED_PRECONDITION enough"))
          for _ in 0..<100_000 { try await requests.write(Text(value: "more")) }
        }
      }
      #expect(error?.code == .failedPrecondition && error?.message == "enough")
    },
    ChannelContract("both sides talk in turn") { (echo, log) async throws in
      let call = try await echo.chat(options: .metadata(["x-tag": "7"]))
      for round in 0..<50 {
        try await call.requests.write(Text(value: "round \(round)"))
        #expect(try await call.responses.next()?.value == "round \(round)")
      }
      #expect(try await call.responses.metadata["x-tag"] == "7")
      call.requests.finish()
      #expect(try await call.responses.next() == nil)
      #expect(call.responses.trailers["t-tag"] == "7")
    },
    ChannelContract("metadata arrives before any message") { (echo, log) async throws in
      let responses = try await echo.expand(Text(value: "headers"), options: .metadata(["x-first": "1"]))
      #expect(try await responses.metadata["x-first"] == "1")
      responses.cancel()
      await log.wait(for: "expand: cancelled")
    },
  ]

  static let endings: [ChannelContract] = [
    ChannelContract("a deadline ends the call at both ends") { (echo, log) async throws in
      try await withGrowingTimeout(log, "wait") { timeout in
        let error = await failure { try await echo.get(Text(value: "wait"), options: .timeout(timeout)) }
        #expect(error?.code == .deadlineExceeded)
      }
      try await withGrowingTimeout(log, "expand") { timeout in
        let error = await failure { for try await _ in try await echo.expand(Text(value: "headers"), options: .timeout(timeout)) {} }
        #expect(error?.code == .deadlineExceeded)
      }
    },
    ChannelContract("a deadline that has passed never reaches the handler") { (echo, log) async throws in
      for options in [CallOptions.timeout(.zero), CallOptions(deadline: Deadline(nanoseconds: 1))] {
        let error = await failure { try await echo.get(Text(value: "wait"), options: options) }
        #expect(error?.code == .deadlineExceeded)
      }
      #expect(!log.lines.contains("wait: begun"))
    },
    ChannelContract("the handler sees what remains") { (echo, _) async throws in
      #expect(try await echo.get(Text(value: "remaining")).value == "none")
      let remaining = try await echo.get(Text(value: "remaining"), options: .timeout(.seconds(1000))).value
      #expect((500...1000).contains(Int(remaining) ?? 0))
    },
    ChannelContract("cancelling the task cancels the handler at once") { (echo, log) async throws in
      for kind in ["wait", "expand", "chat"] {
        let task = Task {
          switch kind {
          case "wait": _ = try await echo.get(Text(value: "wait"))
          case "expand": for try await _ in try await echo.expand(Text(value: "headers")) {}
          default:
            let call = try await echo.chat()
            try await call.requests.write(Text(value: "hello"))
            _ = try await call.responses.next()
            log.add("chat: said hello")
            _ = try await call.responses.next()
          }
        }
        await log.wait(for: kind == "chat" ? "chat: said hello" : "\(kind): begun")
        task.cancel()
        let error = await failure { try await task.value }
        #expect(error?.code == .cancelled, "\(kind)")
        if kind == "chat" { await log.wait(for: "chat: ended") } else { await log.wait(for: "\(kind): cancelled") }
      }
    },
    ChannelContract("letting go of a stream cancels its call") { (echo, log) async throws in
      do {
        let responses = try await echo.expand(Text(value: "forever"))
        for _ in 0..<100 { _ = try await responses.next() }
      }
      await log.wait(for: "expand: ended")
    },
    ChannelContract("a slow reader makes the handler wait, and loses nothing") { (echo, log) async throws in
      let responses = try await echo.expand(Text(value: "20000"))
      var next = 0
      for try await response in responses {
        if next % 1_000 == 0 { await Task.yield() }
        #expect(response.value == "\(next)")
        next += 1
      }
      #expect(next == 20_000)
    },
    ChannelContract("a hundred calls at a time keep apart") { (echo, _) async throws in
      try await withThrowingTaskGroup(of: Void.self) { group in
        for index in 0..<100 {
          group.addTask { () async throws in
            for round in 0..<5 {
              let text = "\(index)/\(round)"
              #expect(try await echo.get(Text(value: text)).value == text)
            }
          }
        }
        try await group.waitForAll()
      }
    },
    ChannelContract("a trace goes on below the caller's span") { (echo, _) async throws in
      let trace = TraceContext.root()
      let answer = try await CallContext.with(principal: .anonymous, trace: trace) { () async throws in
        try await echo.get(Text(value: "trace")).value
      }
      #expect(answer == "\(trace.traceID) true")
    },
    ChannelContract("a nested call inherits deadline and trace") { (echo, _) async throws in
      let remaining = try await echo.get(Text(value: "nested remaining"), options: .timeout(.seconds(1000))).value
      #expect((500...1000).contains(Int(remaining) ?? 0))
      let error = await failure { try await echo.get(Text(value: "nested wait"), options: .timeout(.milliseconds(200))) }
      #expect(error?.code == .deadlineExceeded)
      let trace = TraceContext.root()
      let answer = try await CallContext.with(principal: .anonymous, trace: trace) { () async throws in
        try await echo.get(Text(value: "nested trace")).value
      }
      #expect(answer == "\(trace.traceID) true")
    },
  ]
}

/// The status that an operation fails with; a test failure if it does not, or fails otherwise.
public func failure(
  _ operation: () async throws -> some Any, sourceLocation: SourceLocation = #_sourceLocation
) async -> RPCError? {
  do {
    _ = try await operation()
    Issue.record("nothing failed", sourceLocation: sourceLocation)
  } catch let error as RPCError {
    return error
  } catch {
    Issue.record("not a status: \(error)", sourceLocation: sourceLocation)
  }
  return nil
}

/// Makes a call that its deadline ends, until the deadline was long enough for the handler to begin; then it must learn of the end.
private func withGrowingTimeout(_ log: Log, _ handler: String, _ call: (Duration) async throws -> Void) async throws {
  for milliseconds in [100, 1_000, 10_000] {
    try await call(.milliseconds(milliseconds))
    if log.lines.contains("\(handler): begun") { return await log.wait(for: "\(handler): cancelled") }
  }
  Issue.record("the handler never began")
}
