import SpanwireHTTP2
import SpanwireRPCTestSupport
import SpanwireWellKnown
import Synchronization
import Testing

@testable import SpanwireEventLoop
@testable import SpanwireRPC
@testable import SpanwireRPCOverHTTP2

/// Calls that end in every way at every stage leave nothing behind: no stream, no waiting call, no kept byte, no timer, no object, no
/// continuation, no connection.
@Suite(.serialized, .timeLimit(.minutes(15))) struct ClientLeakTests {
  typealias Step = ScriptedServer.Step

  /// SplitMix64: the same calls every time.
  struct Random: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
      state &+= 0x9E37_79B9_7F4A_7C15
      var value = state
      value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
      value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
      return value ^ (value >> 31)
    }
  }

  /// What a server does to one call, good or bad, by lot.
  static func script(_ number: Int, seed: UInt64) -> [Step] {
    var random = Random(state: seed &+ UInt64(number))
    let message = RawClient.frame(Text(value: String(repeating: "x", count: Int.random(in: 0..<2000, using: &random))).encoded())
    let early: [Step] = Bool.random(using: &random) ? [.awaitEnd] : []
    let headers = ScriptedServer.okHeaders
    let ok: Step = .trailers([("grpc-status", "0")])
    switch Int.random(in: 0..<13, using: &random) {
    case 0: return []  // no word
    case 1: return early + [.reset([2, 7, 8, 11].randomElement(using: &random)!)]
    case 2: return early + [headers]  // a beginning only
    case 3: return early + [headers, .reset(8)]
    case 4: return early + [headers, .data(Array(message.prefix(message.count / 2)))]
    case 5: return early + [headers, .data(message), .reset(2)]
    case 6: return early + [.headers([(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "14")], ends: true)]
    case 7: return early + [.headers([(":status", "502")], ends: true)]
    case 8: return early + [headers, .data(message + message + message), ok]  // more than a unary call can take
    case 9 where number % 10 == 0: return early + [.hangUp]
    case 10 where number % 10 == 0: return [.goAway(includesCall: true)] + early + [headers, .data(message), ok]
    default: return early + [headers, .data(message), ok]
    }
  }

  static let configurations: [(name: String, repetition: ServiceConfig.Method.Repetition?)] = [
    ("plain", nil),
    (
      "retries",
      .retry(
        RetryPolicy(
          maxAttempts: 3, initialBackoff: .milliseconds(2), maxBackoff: .milliseconds(5), backoffMultiplier: 2,
          retryableCodes: [.unavailable, .internal, .cancelled]))
    ),
    ("hedges", .hedge(HedgingPolicy(maxAttempts: 3, hedgingDelay: .milliseconds(1), nonFatalCodes: [.unavailable, .internal]))),
  ]

  @Test("hundreds of calls that are cancelled, reset, cut off, too late or well leave nothing", arguments: configurations.map(\.name))
  func storm(name: String) async throws {
    let seed: UInt64 = 20_251_121
    var limits = HTTP2Limits()
    limits.maxConcurrentStreams = 6  // so that calls queue, too
    let server = try await ScriptedServer.start(limits: limits) { Self.script($0, seed: seed) }
    let group = EventLoopGroup(loops: 1)
    let loop = group.loops[0]
    var options = HTTP2ChannelOptions()
    options.backoff = ChannelBackoff(initial: .milliseconds(1), maximum: .milliseconds(2))
    var config = ServiceConfig()
    config.methods[""] = .init(repetition: Self.configurations.first { $0.name == name }!.repetition)
    options.serviceConfig = config
    // Whatever carries a call holds the observer.
    weak var held: CountingObserver?
    let parent = CallContext()
    do {
      let observer = CountingObserver()
      held = observer
      let channel = try HTTP2Channel(.host("127.0.0.1", port: server.port), options: options, observer: observer, group: group)
      let echo = EchoClient(channel)
      await CallContext.$current.withValue(parent) {
        await withTaskGroup(of: Void.self) { tasks in
          for number in 0..<300 {
            if number >= 24 { await tasks.next() }
            // Half of the callers run on the channel's own loop.
            tasks.addTask(executorPreference: number % 2 == 0 ? loop : nil) { await Self.call(echo, number, seed: seed) }
          }
        }
      }
      var census = await channel.census()[0]
      while census.streams + census.waiting + census.replayBytes > 0 || observer.started != observer.ended {
        await Task.yield()
        census = await channel.census()[0]
      }
      #expect(parent.pendingActions == 0)
      await channel.close()
      #expect(await channel.census() == [ClientPool.Census()])
    }
    // With the channel all its calls and streams are gone.
    while held != nil { await Task.yield() }
    #expect(await Task(executorPreference: loop) { loop.timers.count }.value == 0)
    await server.stop()
    group.stop()
  }

  /// One call of any kind, given up at any time.
  static func call(_ echo: EchoClient, _ number: Int, seed: UInt64) async {
    var random = Random(state: seed &* 1_000_003 &+ UInt64(number))
    let isHasty = Int.random(in: 0..<4, using: &random) == 0
    var options = CallOptions(timeout: .milliseconds(Int.random(in: isHasty ? 0..<5 : 30..<150, using: &random)))
    if Bool.random(using: &random) { options.waitForReady = true }
    if Bool.random(using: &random) { options.compression = .gzip }
    let text = Text(value: String(repeating: "y", count: Int.random(in: 0..<5000, using: &random)))
    let kind = Int.random(in: 0..<4, using: &random), messages = Int.random(in: 0..<4, using: &random)
    let patience = Bool.random(using: &random) ? Int.random(in: 0..<200, using: &random) : nil
    let chosen = options
    let task = Task {
      switch kind {
      case 0: _ = try await echo.get(text, options: chosen)
      case 1:
        // Reads some, and lets go.
        var responses = try await echo.expand(text, options: chosen).makeAsyncIterator()
        for _ in 0..<messages { _ = try await responses.next() }
      case 2:
        _ = try await echo.collect(options: chosen) { requests in
          for _ in 0..<messages { try await requests.write(text) }
        }
      default:
        let call = try await echo.chat(options: chosen)
        for _ in 0..<messages {
          try await call.requests.write(text)
          _ = try await call.responses.next()
        }
        if number % 3 == 0 { call.requests.finish() }
        if number % 5 == 0 { call.cancel() }
      }
    }
    if let patience {
      for _ in 0..<patience { await Task.yield() }
      task.cancel()
    }
    _ = await task.result
  }

  @Test("a channel that is let go after its loops have stopped leaves nothing, and neither do they")
  func afterTheLoops() async throws {
    let server = try await EchoServer.start()
    weak var held: CountingObserver?
    weak var loop: EventLoop?
    do {
      let observer = CountingObserver()
      let group = EventLoopGroup(loops: 1)
      (held, loop) = (observer, group.loops[0])
      let port = server.server.addresses[0].port!
      let channel = try HTTP2Channel(.host("127.0.0.1", port: port), observer: observer, group: group)
      #expect(try await EchoClient(channel).get(Text(value: "hello")).value == "hello")
      await channel.close()
      group.stop()
    }
    while held != nil || loop != nil { await Task.yield() }
    await server.stop()
  }

  @Test("attempts that never reach a server leave nothing")
  func unreached() async throws {
    let group = EventLoopGroup(loops: 1)
    weak var attempt: ClientConnection?
    do {
      var options = HTTP2ChannelOptions()
      options.backoff = ChannelBackoff(initial: .seconds(1000), maximum: .seconds(1000))
      let channel = try HTTP2Channel(.host(loopbackAddressOfItsOwn(), port: 50_078), options: options, group: group)
      let pool = channel.inspectedPools[0]
      attempt = await Task(executorPreference: group.loops[0]) { () -> ClientConnection? in
        pool.connect()
        return pool.inspectedSubchannels.first?.connection
      }.value
      #expect(await failure { try await EchoClient(channel).get(Text()) }?.code == .unavailable)
      await channel.close()
    }
    while attempt != nil { await Task.yield() }
    group.stop()
  }

  @Test("what nobody read any more does not narrow the connection's window")
  func window() async throws {
    let server = try await EchoServer.start()
    let echo = server.echo
    for number in 0..<100 {
      let responses = try await echo.expand(Text(value: "5000"))
      if number % 2 == 0 { _ = try await responses.next() }
      if number % 3 == 0 { responses.cancel() }
    }
    for _ in 0..<2 { #expect(try await echo.get(Text(value: "size \(3 << 20)")).value.utf8.count == 3 << 20) }
    #expect(server.server.connections == 1)
    await server.stop()
  }
}

/// Counts calls.
final class CountingObserver: CallObserver {
  private let counts = Mutex((started: 0, ended: 0))

  var started: Int { counts.withLock { $0.started } }
  var ended: Int { counts.withLock { $0.ended } }

  func callStarted(_ call: CallStart) { counts.withLock { $0.started += 1 } }
  func callEnded(_ call: CallRecord) { counts.withLock { $0.ended += 1 } }
}
