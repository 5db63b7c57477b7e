import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireRPCTestSupport
import Testing

/// Our client with several servers of stock grpcio, which fail, or go away and come back.
@Suite(.timeLimit(.minutes(15)), .serialized) struct ForeignFleetTests {
  /// An obedient echo in Python.
  final class Server: Sendable {
    let process: ForeignProcess
    let host: String
    let port: UInt16
    var address: String { "\(host):\(port)" }
    var peer: String { "ipv4:\(address)" }

    init(_ arguments: [String] = [], inPlaceOf gone: Server? = nil) async throws {
      host = gone?.host ?? loopbackAddressOfItsOwn()
      process = try ForeignProcess("echo_server.py", arguments + ["--host", host, "--port", "\(gone?.port ?? 0)"])
      port = try await process.port()
    }
  }

  /// A channel to all of them; what fails with UNAVAILABLE is made again, three times at most. So is what is CANCELLED: that is how grpcio
  /// ends a call that comes when it has just begun to go away.
  static func channel(_ servers: [Server], _ balancing: LoadBalancing, _ observer: RecordingObserver) throws -> HTTP2Channel {
    var options = HTTP2ChannelOptions()
    options.balancing = balancing
    options.backoff = ChannelBackoff(initial: .milliseconds(10), maximum: .milliseconds(50))
    options.serviceConfig = try ServiceConfig(
      json: """
        {"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.001s", "maxBackoff": "0.002s",
          "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"]}}]}
        """)
    let target = try #require(ChannelTarget("ipv4:" + servers.map(\.address).joined(separator: ",")))
    return try HTTP2Channel(target, options: options, observer: observer)
  }

  /// Who answers so many calls, one after the other.
  static func answering(_ channel: HTTP2Channel, _ observer: RecordingObserver, calls: Int) async throws -> [String] {
    let before = observer.ended.count
    for number in 0..<calls {
      let text = Text(value: "\(number)")
      #expect(try await EchoClient(channel).get(text, options: CallOptions(waitForReady: true)) == text)
    }
    return observer.ended[before...].filter { $0.error == nil }.map(\.peer)
  }

  /// Calls until as many as there are servers are answered by these.
  static func reach(_ servers: [Server], _ channel: HTTP2Channel, _ observer: RecordingObserver) async throws {
    let wanted = Set(servers.map(\.peer))
    while Set(try await answering(channel, observer, calls: 4)) != wanted {}
  }

  @Test("a call is made again while a server is unavailable, and fails when it stays so")
  func failsFirst() async throws {
    let observer = RecordingObserver()
    let server = try await Server(["--unavailable", "6"])
    let channel = try Self.channel([server], .pickFirst, observer)
    let echo = EchoClient(channel)
    let error = await failure { try await echo.get(Text(value: "too early")) }
    #expect(error?.code == .unavailable && error?.message == "not yet")
    #expect(try await echo.get(Text(value: "again")).value == "again")
    #expect(observer.ended.map(\.error?.code) == Array(repeating: .unavailable, count: 6) + [nil])
    await channel.close()
  }

  @Test("calls go to all servers in turn, to those that are left when one dies, and to it again when it is back")
  func roundRobin() async throws {
    let observer = RecordingObserver()
    let servers = [try await Server(), try await Server()]
    let channel = try Self.channel(servers, .roundRobin, observer)
    try await Self.reach(servers, channel, observer)
    let turns = try await Self.answering(channel, observer, calls: 10)
    #expect(servers.map { server in turns.count { $0 == server.peer } } == [5, 5])

    servers[0].process.kill()
    #expect(servers[0].process.status != 0)
    try await Self.reach([servers[1]], channel, observer)
    let returned = try await Server(inPlaceOf: servers[0])
    try await Self.reach([returned, servers[1]], channel, observer)
    await channel.close()
  }

  @Test("a server that goes away in good order ends the call it has, and another gets the next")
  func goesAway() async throws {
    let observer = RecordingObserver()
    let servers = [try await Server(["--grace", "60"]), try await Server()]
    let channel = try Self.channel(servers, .pickFirst, observer)
    let held = try await EchoClient(channel).chat()
    try await held.requests.write(Text(value: "before"))
    #expect(try await held.responses.next()?.value == "before")
    servers[0].process.endInput()
    try await Self.reach([servers[1]], channel, observer)
    try await held.requests.write(Text(value: "after"))
    #expect(try await held.responses.next()?.value == "after")
    held.requests.finish()
    #expect(try await held.responses.next() == nil)
    #expect(servers[0].process.status == 0)
    await channel.close()
  }
}
