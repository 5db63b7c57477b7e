import SpanwireEventLoop
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireRPCTestSupport
import Synchronization
import Testing

/// What a client does about failures, and about many servers: rows 34 and 35.
extension Checklist {
  static let retriesAndBalancing: [Case] = retries + hedging + waiting + resolving + balancing

  // MARK: 34

  private static func config(_ policy: String, throttling: String = "") -> HTTP2ChannelOptions {
    var options = HTTP2ChannelOptions()
    do {
      options.serviceConfig = try ServiceConfig(json: "{\"methodConfig\": [{\"name\": [{}], \(policy)}]\(throttling)}")
    } catch { preconditionFailure("\(error)") }
    return options
  }

  private static func retrying(_ attempts: Int, throttling: String = "") -> HTTP2ChannelOptions {
    config(
      """
      "retryPolicy": {"maxAttempts": \(attempts), "initialBackoff": "0.001s", "maxBackoff": "0.002s", "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "ABORTED"]}
      """, throttling: throttling)
  }

  private static let unavailable: Step = .trailersOnly([("grpc-status", "14"), ("grpc-message", "not now")])
  private static let good: [Step] = [.awaitEnd, .leading([]), .hello, .ok]

  private static func attempts(_ call: ScriptedServer.Request) -> String? {
    call.fields.first { $0.name == "grpc-previous-rpc-attempts" }?.value
  }

  private static let retries: [Case] = [
    .client(
      34, "a retryable failure is retried, and says how often", options: retrying(4),
      script: { number in number < 2 ? [unavailable] : good }
    ) {
      (scripted) async throws in
      #expect(try await scripted.echo.get(Text(value: "again")).value == "hello")
      #expect((0..<3).map { attempts(scripted.call($0)) } == [nil, "1", "2"])
      #expect((0..<3).map { Frames.texts(scripted.call($0).body) }.last == ["again"])
    },
    .client(34, "after the last attempt the failure is the call's", options: retrying(3), script: { _ in [unavailable] }) {
      (scripted) async throws in
      await Outcome.error(.unavailable, "not now").check { try await scripted.echo.get(Text()).value }
      #expect(scripted.calls == 3)
    },
    .client(34, "there are at most five attempts", options: retrying(50), script: { _ in [unavailable] }) { (scripted) async throws in
      #expect(await failure { try await scripted.echo.get(Text()) }?.code == .unavailable)
      #expect(scripted.calls == 5)
    },
    .client(
      34, "a failure that is not retryable is the call's", options: retrying(4), script: { _ in [.trailersOnly([("grpc-status", "13")])] }
    ) {
      (scripted) async throws in
      #expect(await failure { try await scripted.echo.get(Text()) }?.code == .internal)
      #expect(scripted.calls == 1)
    },
    .client(
      34, "response headers commit the call", options: retrying(4),
      script: { _ in [.leading([]), .raw([]), .trailers([("grpc-status", "14")])] }
    ) { (scripted) async throws in
      #expect(await failure { try await scripted.echo.get(Text()) }?.code == .unavailable)
      #expect(scripted.calls == 1)
    },
    .client(
      34, "a negative pushback stops", options: retrying(4),
      script: { _ in [.trailersOnly([("grpc-status", "14"), ("grpc-retry-pushback-ms", "-1")])] }
    ) { (scripted) async throws in
      #expect(await failure { try await scripted.echo.get(Text()) }?.code == .unavailable)
      #expect(scripted.calls == 1)
    },
    .client(
      34, "a pushback is waited for", options: retrying(4),
      script: { number in number == 0 ? [.trailersOnly([("grpc-status", "14"), ("grpc-retry-pushback-ms", "150")])] : good }
    ) { (scripted) async throws in
      let start = ContinuousClock.now
      #expect(try await scripted.echo.get(Text()).value == "hello")
      #expect(ContinuousClock.now - start >= .milliseconds(150))
    },
    .client(
      34, "throttling stops retries while too many fail",
      options: retrying(5, throttling: ", \"retryThrottling\": {\"maxTokens\": 4, \"tokenRatio\": 0.1}"),
      script: { _ in [unavailable] }
    ) { (scripted) async throws in
      for _ in 0..<5 { #expect(await failure { try await scripted.echo.get(Text()) }?.code == .unavailable) }
      // Two of four tokens are gone with the first two failures: from then on each call is made once.
      #expect(scripted.calls <= 7, "\(scripted.calls)")
    },
    .client(
      34, "streams are retried too, with all that was sent", options: retrying(4),
      script: { number in [.awaitEnd] + (number < 2 ? [unavailable] : good) }
    ) {
      (scripted) async throws in
      let joined = try await scripted.echo.collect { for text in ["a", "b"] { try await $0.write(Text(value: text)) } }
      #expect(joined.value == "hello" && (0..<3).allSatisfy { Frames.texts(scripted.call($0).body) == ["a", "b"] })
    },
    .client(34, "REFUSED_STREAM is retried once without a policy", script: { number in number == 0 ? [.reset(7)] : good }) {
      (scripted) async throws in
      #expect(try await scripted.echo.get(Text()).value == "hello")
      #expect(attempts(scripted.call(1)) == nil, "a transparent retry is no attempt")
    },
    .client(34, "not twice", script: { _ in [.reset(7)] }) { (scripted) async throws in
      #expect(await failure { try await scripted.echo.get(Text()) }?.code == .unavailable)
      #expect(scripted.calls == 2)
    },
    .client(34, "another reset is not retried without a policy", script: { _ in [.reset(2)] }) { (scripted) async throws in
      #expect(await failure { try await scripted.echo.get(Text()) }?.code == .internal)
      #expect(scripted.calls == 1)
    },
    .client(34, "a deadline holds for all attempts together", options: retrying(5), script: { number in number == 0 ? [unavailable] : [] })
    {
      (scripted) async throws in
      await scripted.expire(calls: 2) { _ = try await scripted.echo.get(Text(), options: $0) }
    },
  ]

  private static let hedged = config(
    "\"hedgingPolicy\": {\"maxAttempts\": 3, \"hedgingDelay\": \"0.02s\", \"nonFatalStatusCodes\": [\"UNAVAILABLE\"]}")

  private static let hedging: [Case] = [
    .client(
      34, "hedging: the first answer is taken, the other attempts are cancelled", options: hedged,
      script: { number in number < 2 ? [] : good }
    ) {
      (scripted) async throws in
      #expect(try await scripted.echo.get(Text()).value == "hello")
      for number in 0..<2 { await scripted.server.log.wait(for: "\(number) closed 8") }
      #expect(scripted.calls == 3)
    },
    .client(
      34, "hedging: a fatal failure ends all", options: hedged,
      script: { number in number == 0 ? [] : [.trailersOnly([("grpc-status", "3")])] }
    ) {
      (scripted) async throws in
      #expect(await failure { try await scripted.echo.get(Text()) }?.code == .invalidArgument)
      await scripted.server.log.wait(for: "0 closed 8")
    },
  ]

  /// Quick to try again.
  private static let quick: HTTP2ChannelOptions = {
    var options = HTTP2ChannelOptions()
    options.backoff = ChannelBackoff(initial: .milliseconds(20), multiplier: 1.5, jitter: 0.2, maximum: .milliseconds(100))
    return options
  }()

  /// Where nobody listens, and nobody else will.
  private static func freePath() -> String { "/tmp/spanwire-conformance-\(UInt64.random(in: 0...UInt64.max)).sock" }

  private static let waiting: [Case] = [
    Case(row: 34, side: .client, name: "a call that waits for ready in vain is DEADLINE_EXCEEDED") {
      let channel = try HTTP2Channel(.unix(path: freePath()), options: quick)
      let echo = EchoClient(channel)
      // Not inside `#expect`: a closure in the macro and the next one in the function would bear one name, and one of them run for both.
      let early = await failure { try await echo.get(Text()) }
      #expect(early?.code == .unavailable)
      let late = await failure { try await echo.get(Text(), options: CallOptions(timeout: .milliseconds(100), waitForReady: true)) }
      #expect(late?.code == .deadlineExceeded, "\(late as Any)")
      await channel.close()
    },
    Case(row: 34, side: .client, name: "a call that does not wait fails, one that waits for ready is made when there is a server") {
      let path = freePath()
      let channel = try HTTP2Channel(.unix(path: path), options: quick)
      let echo = EchoClient(channel)
      #expect(await failure { try await echo.get(Text()) }?.code == .unavailable)
      let patient = Task { try await echo.get(Text(value: "patient"), options: CallOptions(waitForReady: true)).value }
      let server = try HTTP2Server(ServerRouter([Echo.routes(ObedientEcho())]), ServerConfiguration([.unix(path: path)]))
      try await server.start()
      #expect(try await patient.value == "patient")
      await channel.close()
      await server.shutDown(grace: .zero)
    },
  ]

  // MARK: 35

  private static let resolving: [Case] = [
    .client(35, "dns, digits and names", script: { _ in good }) { (scripted) async throws in
      for target in ["dns:///localhost:PORT", "localhost:PORT", "ipv4:127.0.0.1:PORT", "127.0.0.1:PORT"] {
        let name = target.split(separator: "PORT")[0] + "\(scripted.server.port)"
        let channel = try HTTP2Channel(try #require(ChannelTarget(String(name))), options: quick)
        #expect(try await EchoClient(channel).get(Text()).value == "hello", "\(target)")
        await channel.close()
      }
    },
    Case(row: 35, side: .client, name: "a unix socket") {
      let path = freePath()
      let server = try await EchoServer.start(unixPath: path)
      let channel = try HTTP2Channel(try #require(ChannelTarget("unix:\(path)")))
      #expect(try await EchoClient(channel).get(Text(value: "socket")).value == "socket")
      await channel.close()
      await server.stop()
    },
    Case(row: 35, side: .client, name: "a name without an address is UNAVAILABLE") {
      let channel = try HTTP2Channel(.host("nobody.invalid", port: 1), options: quick)
      #expect(await failure { try await EchoClient(channel).get(Text()) }?.code == .unavailable)
      await channel.close()
    },
    .client(35, "a resolver of one's own; addresses that do not answer are passed over", script: { _ in good }) { (scripted) async throws in
      var options = quick
      let addresses = [SocketAddress(unixPath: freePath()), SocketAddress(ip: "127.0.0.1", port: scripted.server.port)].compactMap { $0 }
      options.resolver = Resolver { addresses }
      let channel = try HTTP2Channel(.host("anything", port: 1), options: options)
      #expect(try await EchoClient(channel).get(Text()).value == "hello")
      await channel.close()
    },
  ]

  /// Three servers, a channel that balances over them, and how often each was called by so many calls.
  private static func spread(
    _ balancing: LoadBalancing, calls: Int, _ check: @escaping @Sendable ([Int]) -> Void
  ) async throws {
    var servers: [ScriptedServer] = []
    for _ in 0..<3 { servers.append(try await ScriptedServer.start { _ in good }) }
    var options = quick
    options.balancing = balancing
    options.resolver = Resolver(fixed: servers.compactMap { SocketAddress(ip: "127.0.0.1", port: $0.port) })
    let channel = try HTTP2Channel(.host("three", port: 1), options: options)
    let echo = EchoClient(channel)
    // Until all are connected; then the count begins.
    if balancing != .pickFirst { for server in servers { while server.calls.withLock({ $0.isEmpty }) { _ = try await echo.get(Text()) } } }
    let before = servers.map { server in server.calls.withLock { $0.count } }
    for _ in 0..<calls { _ = try await echo.get(Text()) }
    check(zip(servers, before).map { server, before in server.calls.withLock { $0.count } - before })
    await channel.close()
    for server in servers { await server.stop() }
  }

  private static let balancing: [Case] = [
    Case(row: 35, side: .client, name: "pick_first stays with the first") {
      try await spread(.pickFirst, calls: 9) { #expect($0 == [9, 0, 0]) }
    },
    Case(row: 35, side: .client, name: "round_robin takes turns") {
      try await spread(.roundRobin, calls: 9) { #expect($0 == [3, 3, 3]) }
    },
    Case(row: 35, side: .client, name: "least_request leaves nobody out") {
      try await spread(.leastRequest(choices: 2), calls: 60) { counts in #expect(counts.allSatisfy { $0 > 0 } && counts.reduce(0, +) == 60)
      }
    },
    Case(row: 35, side: .client, name: "round_robin passes over a server that is gone, and comes back to it") {
      let first = try await ScriptedServer.start { _ in good }
      let lost = freePath()
      var options = quick
      options.balancing = .roundRobin
      let addresses = [SocketAddress(ip: "127.0.0.1", port: first.port), SocketAddress(unixPath: lost)].compactMap { $0 }
      options.resolver = Resolver(fixed: addresses)
      let channel = try HTTP2Channel(.host("two", port: 1), options: options)
      for _ in 0..<6 { #expect(try await EchoClient(channel).get(Text(), options: CallOptions(waitForReady: true)).value == "hello") }
      let server = try HTTP2Server(ServerRouter([Echo.routes(ObedientEcho())]), ServerConfiguration([.unix(path: lost)]))
      try await server.start()
      while try await EchoClient(channel).get(Text(value: "back")).value != "back" {}
      await channel.close()
      await server.shutDown(grace: .zero)
      await first.stop()
    },
    .client(35, "a lost connection is made again", options: quick, script: { number in number == 1 ? [.hangUp] : good }) {
      (scripted) async throws in
      #expect(try await scripted.echo.get(Text()).value == "hello")
      #expect(await failure { try await scripted.echo.get(Text()) }?.code == .unavailable)
      #expect(try await scripted.echo.get(Text(), options: CallOptions(waitForReady: true)).value == "hello")
      #expect(scripted.server.log.lines.count { $0 == "connected" } == 2)
    },
    .client(35, "an idle connection is closed, and made again with the next call", options: idle, script: { _ in good }) {
      (scripted) async throws in
      #expect(try await scripted.echo.get(Text()).value == "hello")
      for await state in scripted.channel.connectivityChanges() where state == .idle { break }
      #expect(try await scripted.echo.get(Text()).value == "hello")
      #expect(scripted.server.log.lines.count { $0 == "connected" } == 2)
    },
    Case(row: 35, side: .client, name: "waits between attempts grow to a bound, and differ") {
      let backoff = ChannelBackoff()
      #expect(backoff.initial == .seconds(1) && backoff.multiplier == 1.6 && backoff.jitter == 0.2 && backoff.maximum == .seconds(120))
    },
  ]

  private static let idle: HTTP2ChannelOptions = {
    var options = quick
    options.idleTimeout = .milliseconds(30)
    return options
  }()
}
