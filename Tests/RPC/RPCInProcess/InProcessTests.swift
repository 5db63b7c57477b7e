import SpanwireRPC
import SpanwireRPCInProcess
import SpanwireRPCTestSupport
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(15))) struct InProcessTests {
  /// An echo that reaches itself by `nested`, over a channel like the one it is called by.
  static func serve(
    interceptors: [any ServerInterceptor] = [], observer: (any CallObserver)? = nil, clientObserver: (any CallObserver)? = nil,
    service: String? = nil, crossing: InProcessChannel.Crossing = .values, limits: MessageLimits = .default
  ) -> (echo: EchoClient, log: Log) {
    let log = Log()
    let loopback = Loopback(crossing)
    let router = ServerRouter(
      [Echo.routes(ObedientEcho(log: log) { loopback.client })], interceptors: interceptors, observer: observer, limits: limits)
    let echo = EchoClient(InProcessChannel(router, service: service, observer: clientObserver, crossing: crossing))
    loopback.router.withLock { $0.router = router }
    return (echo, log)
  }

  /// The echo's way to itself. Weak, since the router holds the echo.
  final class Loopback: Sendable {
    struct Reference { weak var router: ServerRouter? }

    let router = Mutex(Reference())
    let crossing: InProcessChannel.Crossing

    init(_ crossing: InProcessChannel.Crossing) { self.crossing = crossing }

    var client: EchoClient? {
      router.withLock { $0.router }.map { EchoClient(InProcessChannel($0, service: "inner", crossing: crossing)) }
    }
  }

  @Test("keeps the contract of every channel, handing over values", arguments: ChannelContract.all)
  func contractByValue(contract: ChannelContract) async throws {
    let (echo, log) = Self.serve()
    try await contract.check(echo, log)
  }

  @Test("keeps the contract of every channel, handing over bytes", arguments: ChannelContract.all)
  func contractByBytes(contract: ChannelContract) async throws {
    let (echo, log) = Self.serve(crossing: .bytes)
    try await contract.check(echo, log)
  }

  @Test("keeps the contract through interceptors and observers on both sides", arguments: ChannelContract.all)
  func contractIntercepted(contract: ChannelContract) async throws {
    struct Nothing: ServerInterceptor, ClientInterceptor {
      func intercept(_ call: any ServerCall, next: NextServerHandler) async throws { try await next(call) }
      func intercept(_ method: MethodDescriptor, _ options: CallOptions, next: NextClientCall) async throws -> any ClientCall {
        try await next(method, options)
      }
    }
    let (echo, log) = Self.serve(
      interceptors: [Nothing(), ExposureInterceptor(), Nothing()], observer: RecordingObserver(), clientObserver: RecordingObserver())
    try await contract.check(EchoClient(echo.channel.intercepted(by: [Nothing(), Nothing()])), log)
  }

  @Test("messages over the limit are refused when they cross as bytes, in both directions")
  func limits() async throws {
    let (echo, _) = Self.serve(crossing: .bytes, limits: MessageLimits(maxReceivedBytes: 100))
    for text in [String(repeating: "y", count: 200), "size 200"] {
      #expect(await failure { try await echo.get(Text(value: text)) }?.code == .resourceExhausted)
    }
    #expect(try await echo.get(Text(value: "size 50")).value.count == 50)
  }

  @Test("a service calls as itself, on behalf of whom it serves")
  func identity() async throws {
    let user = Principal(kind: .user, id: "u1", tenant: "t1", surface: .edge)
    let (plain, _) = Self.serve()
    let (service, _) = Self.serve(service: "outer")
    #expect(try await plain.get(Text(value: "whoami")).value == "anonymous:")
    #expect(try await service.get(Text(value: "whoami")).value == "service:outer")
    try await CallContext.with(principal: user) { () async throws in
      #expect(try await plain.get(Text(value: "whoami")).value == "user:u1")
      #expect(try await service.get(Text(value: "whoami")).value == "service:outer for user:u1")
      #expect(try await service.get(Text(value: "nested whoami")).value == "service:inner for service:outer for user:u1")
    }
  }

  @Test("exposure refuses before the handler, whoever the caller is")
  func exposure() async throws {
    let (echo, _) = Self.serve(interceptors: [ExposureInterceptor()])
    try await CallContext.with(principal: Principal(kind: .agent, id: "a", surface: .worker)) { () async throws in
      let error = await failure { try await echo.get(Text(value: "hello")) }
      #expect(error?.code == .permissionDenied)
      let streaming = await failure { for try await _ in try await echo.expand(Text(value: "1")) {} }
      #expect(streaming?.code == .permissionDenied)
    }
  }

  @Test("an interceptor sees how the call ended and may end it otherwise")
  func interception() async throws {
    struct Translate: ServerInterceptor {
      let log: Log
      func intercept(_ call: any ServerCall, next: NextServerHandler) async throws {
        do {
          try await next(call)
          log.add("ok")
        } catch let error as RPCError {
          log.add(error.code.name)
          throw RPCError.unavailable("translated")
        }
      }
    }
    let log = Log()
    let (echo, _) = Self.serve(interceptors: [Translate(log: log)])
    _ = try await echo.get(Text(value: "hello"))
    #expect(await failure { try await echo.get(Text(value: "fail ABORTED x")) }?.message == "translated")
    #expect(log.lines == ["ok", "ABORTED"])
  }

  @Test("observers of both sides learn of every call, with spans that fit together")
  func observation() async throws {
    let server = RecordingObserver(), client = RecordingObserver()
    let (echo, _) = Self.serve(observer: server, clientObserver: client)
    _ = try await echo.get(Text(value: "hello"))
    _ = await failure { try await echo.get(Text(value: "fail ABORTED x")) }
    for try await _ in try await echo.expand(Text(value: "3")) {}
    #expect(server.ended.map { $0.error?.code } == [nil, .aborted, nil])
    #expect(client.ended.map { $0.error?.code } == [nil, .aborted, nil])
    #expect(client.ended.last?.traffic.messagesReceived == 3)
    for (inner, outer) in zip(server.ended, client.ended) {
      #expect(inner.trace?.traceID == outer.trace?.traceID)
      #expect(inner.trace?.parentSpanID == outer.trace?.spanID)
    }
  }

  @Test("calls with a deadline of their own leave nothing, however they end", arguments: ["hello", "fail ABORTED x", "nested remaining"])
  func nothingStays(text: String) async throws {
    weak var held: Log?
    do {
      let (echo, log) = Self.serve()
      held = log
      _ = try? await echo.get(Text(value: text), options: .timeout(.seconds(1000)))
      for try await _ in try await echo.expand(Text(value: "3"), options: .timeout(.seconds(1000))) {}
    }
    // The tasks of the calls end in their own time; the suite's limit ends a wait in vain.
    while held != nil { await Task.yield() }
  }

  @Test("a call made by work that is no longer wanted is refused")
  func cancelledParent() async throws {
    let (echo, log) = Self.serve()
    await CallContext.with(principal: .anonymous) {
      let context = CallContext.current!
      let responses = try? await echo.expand(Text(value: "headers"))
      _ = try? await responses?.metadata
      context.cancel(.deadlineExceeded)
      #expect(await failure { for try await _ in responses! {} }?.code == .deadlineExceeded)
      await log.wait(for: "expand: cancelled")
      #expect(await failure { try await echo.get(Text(value: "hello")) }?.code == .deadlineExceeded)
    }
  }
}
