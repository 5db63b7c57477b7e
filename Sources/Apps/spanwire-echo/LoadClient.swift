import Glibc
import SpanwireEventLoop
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireTLS

/// Unary calls one after the other on so many streams of so many connections, for so long; then what a call cost this process, as JSON.
///
/// Every call carries a deadline, a trace and two more headers, as the calls of h2load do.
struct LoadClient {
  var host = "127.0.0.1"
  var port: UInt16 = 0
  var connections = 1
  var streams = 100
  var seconds = 5.0
  /// The authority of the server's certificate, for TLS.
  var authority: String?
  /// Callers run on a loop of the channel's, as handlers do that call on; without, on Swift's own threads, as any program's tasks.
  var isOnLoop = true

  static let usage = """
    usage: spanwire-echo client --port PORT [--host HOST] [--connections N] [--streams N] [--seconds S] [--authority FILE] [--off-loop]
    """

  /// nil when the arguments are none of ours.
  init?(_ arguments: some Collection<String>) {
    var rest = arguments[...]
    while let name = rest.popFirst() {
      if name == "--off-loop" {
        isOnLoop = false
        continue
      }
      guard let value = rest.popFirst() else { return nil }
      switch name {
      case "--host": host = value
      case "--port": port = UInt16(value) ?? 0
      case "--connections": connections = Int(value) ?? 0
      case "--streams": streams = Int(value) ?? 0
      case "--seconds": seconds = Double(value) ?? 0
      case "--authority": authority = value
      default: return nil
      }
    }
    if port == 0 || connections < 1 || streams < 1 || seconds <= 0 { return nil }
  }

  /// What one caller saw.
  private struct Tally: Sendable {
    var calls = 0
    var failures = 0
    var microseconds: [UInt32] = []
  }

  func run() async throws {
    let tls = authority.map { TLSClientConfiguration(trust: .authorities(.file(path: $0))) }
    let channels = try (0..<connections).map { _ in try HTTP2Channel(.host(host, port: port), tls: tls) }
    // Connections and buffers are made before the clock runs.
    _ = await load(channels, until: .after(.seconds(seconds / 10)))
    let begin = Deadline.now(), cpu = Self.processorSeconds()
    let tallies = await load(channels, until: begin.advanced(by: .seconds(seconds)))
    let spent = Self.processorSeconds() - cpu, span = Deadline.now().remaining(at: begin) / .seconds(1)
    for channel in channels { await channel.close() }
    let calls = tallies.reduce(0) { $0 + $1.calls }, failures = tallies.reduce(0) { $0 + $1.failures }
    let latencies = tallies.flatMap(\.microseconds).sorted()
    let quantile = { (part: Double) in latencies.isEmpty ? 0 : latencies[min(latencies.count - 1, Int(part * Double(latencies.count)))] }
    print(
      """
      {"requests": \(calls), "failures": \(failures), "seconds": \(Self.short(span)), \
      "requests_per_second": \(Int(Double(calls) / span)), "cpu_us_per_request": \(Self.short(spent * 1e6 / Double(max(1, calls)))), \
      "p50_us": \(quantile(0.5)), "p99_us": \(quantile(0.99))}
      """)
    if failures > 0 { exit(1) }
  }

  private func load(_ channels: [HTTP2Channel], until end: Deadline) async -> [Tally] {
    await withTaskGroup(of: Tally.self, returning: [Tally].self) { group in
      for (number, channel) in channels.enumerated() {
        let loops = EventLoopGroup.shared.loops
        for _ in 0..<streams {
          group.addTask(executorPreference: isOnLoop ? loops[number % loops.count] : nil) { await Self.call(channel, until: end) }
        }
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
  }

  private static func call(_ channel: HTTP2Channel, until end: Deadline) async -> Tally {
    let client = Echo_EchoClient(channel)
    var options = CallOptions(timeout: .seconds(20))
    options.metadata.add("x-request-id", "0123456789abcdef")
    options.metadata.add("x-tenant", "bench")
    let request = Echo_EchoRequest(text: "a text of just thirty-two bytes.")
    return await CallContext.with(principal: .anonymous, trace: .root()) {
      var tally = Tally()
      var now = Deadline.now()
      while now < end {
        do {
          _ = try await client.get(request, options: options)
          tally.calls += 1
        } catch {
          tally.failures += 1
        }
        let after = Deadline.now()
        tally.microseconds.append(UInt32(clamping: (after.nanoseconds - now.nanoseconds) / 1000))
        now = after
      }
      return tally
    }
  }

  private static func processorSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }

  private static func short(_ number: Double) -> Double { (number * 1000).rounded() / 1000 }
}
