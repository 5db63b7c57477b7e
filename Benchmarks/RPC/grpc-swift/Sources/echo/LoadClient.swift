import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Glibc

/// Unary calls one after the other on so many streams of so many connections, for so long; prints what `spanwire-echo client` prints.
struct LoadClient {
  typealias Client = GRPCClient<HTTP2ClientTransport.Posix>

  var port = 0
  var connections = 1
  var streams = 100
  var seconds = 5.0

  init(_ arguments: [String]) {
    for (name, value) in zip(arguments, arguments.dropFirst()) {
      switch name {
      case "--port": port = Int(value)!
      case "--connections": connections = Int(value)!
      case "--streams": streams = Int(value)!
      case "--seconds": seconds = Double(value)!
      default: break
      }
    }
  }

  func run() async throws {
    let clients = try (0..<connections).map { _ in
      GRPCClient(transport: try .http2NIOPosix(target: .ipv4(address: "127.0.0.1", port: port), transportSecurity: .plaintext))
    }
    let running = clients.map { client in Task { try await client.runConnections() } }
    _ = try await load(clients, for: seconds / 10)
    let begin = ContinuousClock.now, cpu = processorSeconds()
    let latencies = try await load(clients, for: seconds).sorted()
    let spent = processorSeconds() - cpu, span = (ContinuousClock.now - begin) / .seconds(1)
    for client in clients { client.beginGracefulShutdown() }
    for task in running { try await task.value }
    let calls = latencies.count
    print(
      """
      {"requests": \(calls), "failures": 0, "seconds": \(span), "requests_per_second": \(Int(Double(calls) / span)), \
      "cpu_us_per_request": \(spent * 1e6 / Double(calls)), "p50_us": \(latencies[calls / 2]), "p99_us": \(latencies[calls * 99 / 100])}
      """)
  }

  private func load(_ clients: [Client], for seconds: Double) async throws -> [Int] {
    let end = ContinuousClock.now + .seconds(seconds)
    return try await withThrowingTaskGroup(of: [Int].self) { group in
      for client in clients {
        for _ in 0..<streams { group.addTask { try await Self.call(client, until: end) } }
      }
      return try await group.reduce(into: []) { $0 += $1 }
    }
  }

  private static func call(_ client: Client, until end: ContinuousClock.Instant) async throws -> [Int] {
    var metadata = Metadata()
    metadata.addString("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", forKey: "traceparent")
    metadata.addString("0123456789abcdef", forKey: "x-request-id")
    metadata.addString("bench", forKey: "x-tenant")
    var options = CallOptions.defaults
    options.timeout = .seconds(20)
    let request = ClientRequest(message: [0x0A, 32] + Array("a text of just thirty-two bytes.".utf8), metadata: metadata)
    var microseconds: [Int] = []
    var now = ContinuousClock.now
    while now < end {
      _ = try await client.unary(
        request: request, descriptor: MethodDescriptor(fullyQualifiedService: "echo.Echo", method: "Get"), serializer: Bytes(),
        deserializer: Bytes(), options: options
      ) { try $0.message }
      let after = ContinuousClock.now
      microseconds.append(Int((after - now) / .microseconds(1)))
      now = after
    }
    return microseconds
  }

  private func processorSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }
}
