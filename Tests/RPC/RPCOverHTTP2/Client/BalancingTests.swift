import SpanwireEventLoop
import SpanwireRPC
import SpanwireRPCServices
import SpanwireRPCTestSupport
import SpanwireWellKnown
import Synchronization
import Testing

@testable import SpanwireRPCOverHTTP2

/// Several servers of an obedient echo, each with its health, and channels to all of them whose clock stands still until told.
final class EchoFleet: Sendable {
  let servers: [HTTP2Server]
  let health: [HealthService]
  let host = loopbackAddressOfItsOwn()
  let addresses: [SocketAddress]
  let clock = ManualLoopClock(Deadline.now().nanoseconds)
  let group: EventLoopGroup
  let observer = RecordingObserver()
  let log = Log()

  init(_ count: Int, configure: (inout ServerConfiguration) -> Void = { _ in }) async throws {
    group = EventLoopGroup(loops: 1, clock: clock)
    var servers: [HTTP2Server] = [], health: [HealthService] = [], addresses: [SocketAddress] = []
    for _ in 0..<count {
      let service = HealthService(services: [Echo.descriptor])
      var configuration = ServerConfiguration([.ip(host, port: 0)])
      configure(&configuration)
      let server = try HTTP2Server(ServerRouter([Echo.routes(ObedientEcho(log: log)), service.routes]), configuration)
      addresses.append(try await server.start()[0])
      servers.append(server)
      health.append(service)
    }
    self.servers = servers
    self.health = health
    self.addresses = addresses
  }

  func channel(_ configure: (inout HTTP2ChannelOptions) -> Void) throws -> HTTP2Channel {
    var options = HTTP2ChannelOptions()
    options.random = { 0.5 }
    options.resolver = Resolver(fixed: addresses)
    configure(&options)
    return try HTTP2Channel(.host("fleet.test", port: 1), options: options, observer: observer, group: group)
  }

  /// Moves the channels' time.
  func advance(_ span: Duration) { clock.advance(by: span, waking: group.loops[0]) }

  /// Runs once what the loop has to do by now is done.
  func settle() async { await Task(executorPreference: group.loops[0]) { await Task.yield() }.value }

  /// How many of so many calls each server gets.
  func spread(_ channel: HTTP2Channel, calls: Int) async throws -> [Int] {
    let before = observer.ended.count
    for _ in 0..<calls { _ = try await EchoClient(channel).get(Text(), options: CallOptions(waitForReady: true)) }
    let peers = observer.ended[before...].map(\.peer)
    return addresses.map { address in peers.count { $0 == address.description } }
  }

  func stop(_ channel: HTTP2Channel) async {
    await channel.close()
    for server in servers { await server.shutDown(grace: .zero) }
    group.stop()
  }
}

extension HTTP2Channel {
  /// Returns once the channel is in a state.
  func reached(_ state: ConnectivityState) async {
    for await next in connectivityChanges() where next == state { return }
  }
}

@Suite(.serialized, .timeLimit(.minutes(15))) struct BalancingTests {
  static let never = Duration.seconds(1_000_000)

  @Test("pick-first uses one server, and another once that one is gone")
  func pickFirst() async throws {
    let fleet = try await EchoFleet(3)
    let channel = try fleet.channel { _ in }
    #expect(channel.connectivity == .idle)
    #expect(try await fleet.spread(channel, calls: 6) == [6, 0, 0])
    #expect(channel.connectivity == .ready)
    await fleet.servers[0].shutDown(grace: .zero)
    await channel.reached(.idle)
    #expect(try await fleet.spread(channel, calls: 6) == [0, 6, 0])
    await fleet.stop(channel)
  }

  @Test("round robin uses all servers in turn, and those that are left when one goes")
  func roundRobin() async throws {
    let fleet = try await EchoFleet(3)
    let channel = try fleet.channel { $0.balancing = .roundRobin }
    try await Self.allReady(fleet, channel)
    #expect(try await fleet.spread(channel, calls: 9) == [3, 3, 3])
    await fleet.servers[1].shutDown(grace: .zero)
    try await Self.until { try await fleet.spread(channel, calls: 4) == [2, 0, 2] }
    #expect(channel.connectivity == .ready)
    await fleet.stop(channel)
  }

  @Test("least request avoids the server that has calls open")
  func leastRequest() async throws {
    let fleet = try await EchoFleet(2)
    // Each pair of draws sees both servers, each first in turn.
    let draws = Mutex(0)
    let channel = try fleet.channel { options in
      options.balancing = .leastRequest()
      options.random = {
        draws.withLock {
          $0 += 1
          return [0.25, 0.25, 0.75, 0.75][$0 % 4]
        }
      }
    }
    try await Self.allReady(fleet, channel)
    let held = try await EchoClient(channel).chat()
    try await held.requests.write(Text(value: "hold"))
    _ = try await held.responses.next()
    let spread = try await fleet.spread(channel, calls: 5)
    #expect(spread.sorted() == [0, 5])
    held.requests.finish()
    _ = try await held.responses.next()
    await fleet.stop(channel)
  }

  @Test("servers that say they do not serve get no calls until they do again")
  func health() async throws {
    let fleet = try await EchoFleet(2)
    fleet.health[0].set(Echo.descriptor.fullName, isServing: false)
    let channel = try fleet.channel { options in
      options.balancing = .roundRobin
      options.healthService = Echo.descriptor.fullName
    }
    #expect(try await fleet.spread(channel, calls: 4) == [0, 4])
    fleet.health[0].set(Echo.descriptor.fullName, isServing: true)
    try await Self.until { try await fleet.spread(channel, calls: 4) == [2, 2] }
    for health in fleet.health { health.set(Echo.descriptor.fullName, isServing: false) }
    await channel.reached(.transientFailure)
    let error = await failure { try await EchoClient(channel).get(Text()) }
    #expect(error?.code == .unavailable && error?.message.contains("spanwire.test.Echo") == true, "\(error as Any)")
    let patient = Task { try await EchoClient(channel).get(Text(value: "x"), options: CallOptions(waitForReady: true)).value }
    fleet.health[1].set(Echo.descriptor.fullName, isServing: true)
    #expect(try await patient.value == "x")
    // The watch is not counted among the calls, and nobody observes it.
    #expect(Set(fleet.observer.ended.map(\.method.name)) == ["Get"])
    await fleet.stop(channel)
  }

  @Test("a server without the health service is taken for healthy")
  func noHealth() async throws {
    var options = HTTP2ChannelOptions()
    options.balancing = .roundRobin
    options.healthService = "anything"
    let server = try await EchoServer.start(options: options)
    #expect(try await server.echo.get(Text(value: "x")).value == "x")
    await server.stop()
  }

  @Test("a resolver is asked again when a server is lost, not more often than allowed, and its new list counts")
  func reresolution() async throws {
    let fleet = try await EchoFleet(3)
    let answers = Mutex((asked: 0, list: Array(fleet.addresses[0...1])))
    let asked = Log()
    let channel = try fleet.channel { options in
      options.balancing = .roundRobin
      options.resolver = Resolver {
        asked.add("asked")
        return answers.withLock { $0.list }
      }
    }
    try await Self.until { try await fleet.spread(channel, calls: 4) == [2, 2, 0] }
    answers.withLock { $0.list = Array(fleet.addresses[1...2]) }
    await fleet.servers[0].shutDown(grace: .zero)
    try await Self.until { try await fleet.spread(channel, calls: 4) == [0, 4, 0] }
    #expect(asked.lines.count == 1)
    fleet.advance(.seconds(31))
    await asked.wait(for: "asked", count: 2)
    try await Self.until { try await fleet.spread(channel, calls: 4) == [0, 2, 2] }
    #expect(asked.lines.count == 2)
    await fleet.stop(channel)
  }

  @Test("a resolver that fails is asked again after a pause, and calls that can wait do")
  func failingResolver() async throws {
    let fleet = try await EchoFleet(1)
    let asked = Log()
    let channel = try fleet.channel { options in
      let addresses = fleet.addresses
      options.resolver = Resolver {
        asked.add("asked")
        if asked.lines.count == 1 { throw RPCError.unavailable("no such host") }
        return asked.lines.count == 2 ? [] : addresses
      }
    }
    let error = await failure { try await EchoClient(channel).get(Text()) }
    #expect(error?.code == .unavailable && error?.message.contains("no such host") == true)
    #expect(channel.connectivity == .transientFailure)
    let patient = Task { try await EchoClient(channel).get(Text(value: "x"), options: CallOptions(waitForReady: true)).value }
    fleet.advance(.seconds(2))
    await asked.wait(for: "asked", count: 2)
    await fleet.settle()
    fleet.advance(.seconds(3))
    #expect(try await patient.value == "x")
    await fleet.stop(channel)
  }

  @Test("an address that does not answer is tried again after growing pauses, and calls fail meanwhile unless they wait")
  func backoff() async throws {
    let fleet = try await EchoFleet(1)
    let port = fleet.addresses[0].port!
    await fleet.servers[0].shutDown(grace: .zero)
    let channel = try fleet.channel { _ in }
    channel.connect()
    await channel.reached(.transientFailure)
    for _ in 0..<3 { #expect(await failure { try await EchoClient(channel).get(Text()) }?.code == .unavailable) }
    // In pauses of 1 and 1.6 seconds.
    let server = try HTTP2Server(ServerRouter([Echo.routes(ObedientEcho())]), ServerConfiguration(host: fleet.host, port: port))
    fleet.advance(.milliseconds(900))
    await fleet.settle()
    #expect(channel.connectivity == .transientFailure)
    try await server.start()
    #expect(await failure { try await EchoClient(channel).get(Text()) }?.code == .unavailable)
    fleet.advance(.milliseconds(200))
    await channel.reached(.ready)
    #expect(try await EchoClient(channel).get(Text(value: "x")).value == "x")
    await server.shutDown(grace: .zero)
    await fleet.stop(channel)
  }

  @Test("a channel without calls goes to idle and connects again with the next; one with calls does not")
  func idle() async throws {
    let fleet = try await EchoFleet(1)
    let channel = try fleet.channel { options in
      options.idleTimeout = .seconds(60)
      options.healthService = ""
      options.balancing = .roundRobin
    }
    #expect(try await fleet.spread(channel, calls: 1) == [1])
    let held = try await EchoClient(channel).chat()
    try await held.requests.write(Text(value: "hold"))
    _ = try await held.responses.next()
    for _ in 0..<3 {
      fleet.advance(.seconds(61))
      await fleet.settle()
      #expect(channel.connectivity == .ready)
    }
    held.requests.finish()
    #expect(try await held.responses.next() == nil)
    await fleet.settle()
    for _ in 0..<2 {
      fleet.advance(.seconds(61))
      await fleet.settle()
    }
    await channel.reached(.idle)
    #expect(try await fleet.spread(channel, calls: 1) == [1])
    await fleet.stop(channel)
  }

  @Test("a connection of some age makes place for another, and its calls go on")
  func age() async throws {
    let fleet = try await EchoFleet(2)
    let answers = Mutex(fleet.addresses)
    let channel = try fleet.channel { options in
      options.maxConnectionAge = .seconds(100)
      options.resolver = Resolver { answers.withLock { $0 } }
    }
    let held = try await EchoClient(channel).chat()
    try await held.requests.write(Text(value: "hold"))
    #expect(try await held.responses.next()?.value == "hold")
    answers.withLock { $0.reverse() }
    fleet.advance(.seconds(101))
    await channel.reached(.idle)
    #expect(try await fleet.spread(channel, calls: 2) == [0, 2])
    try await held.requests.write(Text(value: "still"))
    #expect(try await held.responses.next()?.value == "still")
    held.requests.finish()
    #expect(try await held.responses.next() == nil)
    await fleet.stop(channel)
  }

  @Test("calls beyond what a server lets a connection have wait for their turn; those that give up leave the queue")
  func queue() async throws {
    let fleet = try await EchoFleet(1) { $0.limits.maxConcurrentStreams = 1 }
    let channel = try fleet.channel { _ in }
    let echo = EchoClient(channel)
    let held = try await echo.chat()
    try await held.requests.write(Text(value: "hold"))
    _ = try await held.responses.next()
    let tasks = (0..<10).map { number in Task { try await echo.get(Text(value: "\(number)")).value } }
    let gone = Task { try await echo.get(Text()) }
    await fleet.settle()
    gone.cancel()
    #expect(await failure { try await gone.value }?.code == .cancelled)
    let late = await failure { try await echo.get(Text(), options: CallOptions(deadline: Deadline(nanoseconds: 1))) }
    #expect(late?.code == .deadlineExceeded)
    held.requests.finish()
    #expect(try await held.responses.next() == nil)
    for (number, task) in tasks.enumerated() { #expect(try await task.value == "\(number)") }
    await fleet.stop(channel)
  }

  @Test("calls are hedged to servers that have not seen them")
  func hedged() async throws {
    let fleet = try await EchoFleet(3)
    let channel = try fleet.channel { options in
      var config = ServiceConfig()
      config.balancing = .roundRobin
      config.methods[""] = .init(repetition: .hedge(HedgingPolicy(maxAttempts: 3, nonFatalCodes: [.aborted])))
      options.serviceConfig = config
    }
    channel.connect()
    try await Self.allReady(fleet, channel)
    let before = fleet.observer.ended.count
    #expect(await failure { try await EchoClient(channel).get(Text(value: "fail ABORTED x")) }?.code == .aborted)
    #expect(Set(fleet.observer.ended[before...].map(\.peer)).count == 3)
    await fleet.stop(channel)
  }

  @Test("a closed channel says so to those who watch it")
  func closed() async throws {
    let fleet = try await EchoFleet(1)
    let channel = try fleet.channel { _ in }
    var states: [ConnectivityState] = []
    let changes = channel.connectivityChanges()
    _ = try await fleet.spread(channel, calls: 1)
    await fleet.stop(channel)
    for await state in changes { states.append(state) }
    #expect(states == [.idle, .connecting, .ready, .shutdown])
    #expect(channel.connectivity == .shutdown)
  }

  // MARK: -

  /// Every server has answered a call.
  static func allReady(_ fleet: EchoFleet, _ channel: HTTP2Channel) async throws {
    try await until { try await fleet.spread(channel, calls: 2 * fleet.servers.count).allSatisfy { $0 > 0 } }
  }

  /// Returns once a condition holds; what makes it hold is under way. The suite's time limit ends a wait in vain.
  static func until(_ condition: () async throws -> Bool) async throws {
    while try await !condition() { await Task.yield() }
  }
}
