import Foundation
import SpanwireEventLoop
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireSchema
import Synchronization

/// Runs the callers, and says what they saw.
final class Load: Sendable {
  private let options: LoadOptions
  private let channel: HTTP2Channel
  private let callers: [LoadCaller]
  private let isStopped = Atomic<Bool>(false)

  init(_ options: LoadOptions) throws {
    self.options = options
    var settings = HTTP2ChannelOptions()
    // A server that was killed is back at once.
    settings.backoff = ChannelBackoff(initial: .milliseconds(20), maximum: .milliseconds(200))
    let channel = try HTTP2Channel(options.target, options: settings)
    self.channel = channel
    callers = (0..<options.callers).map { LoadCaller(number: $0, channel: channel, options: options) }
  }

  /// Makes the sessions and journeys in which steps are taken, and the connections.
  func prepare() async throws {
    try await each { try await $0.prepare() }
  }

  func run() async throws {
    let begin = Deadline.now()
    if let seconds = options.seconds {
      try await work(until: begin.advanced(by: .seconds(seconds)), count: nil)
    } else if let count = options.count {
      try await work(until: .never, count: count / options.callers)
    } else {
      Thread.detachNewThread { [self] in
        _ = readLine()
        isStopped.store(true, ordering: .relaxed)
      }
      try await work(until: .never, count: nil)
    }
    report(Deadline.now().remaining(at: begin) / .seconds(1))
  }

  private func work(until end: Deadline, count: Int?) async throws {
    try await each { caller in
      var done = 0
      while Deadline.now() < end, done < count ?? .max, !self.isStopped.load(ordering: .relaxed) {
        try await caller.operate()
        done += 1
      }
    }
  }

  private func each(_ body: @escaping @Sendable (LoadCaller) async throws -> Void) async throws {
    let loops = EventLoopGroup.shared.loops
    let isTraced = options.isTraced
    try await withThrowingTaskGroup(of: Void.self) { group in
      for caller in callers {
        group.addTask(executorPreference: loops[caller.number % loops.count]) {
          var trace = TraceContext.root()
          trace.isSampled = isTraced
          try await CallContext.with(principal: .anonymous, trace: trace) { try await body(caller) }
        }
      }
      try await group.waitForAll()
    }
  }

  private func report(_ seconds: Double) {
    let latencies = callers.flatMap(\.microseconds).sorted()
    let quantile = { (part: Double) in latencies.isEmpty ? 0 : latencies[min(latencies.count - 1, Int(part * Double(latencies.count)))] }
    say(
      """
      {"operations": \(latencies.count), "seconds": \(seconds), "again": \(callers.reduce(0) { $0 + $1.again }), \
      "p50_us": \(quantile(0.5)), "p99_us": \(quantile(0.99)), "max_us": \(latencies.last ?? 0)}
      """)
  }

  /// Whether the server holds what it acknowledged to these callers, once each, and nothing else; prints what it found.
  func check() async throws -> Bool {
    let books = LoadBooks(acknowledged: callers.flatMap(\.sessions), steps: callers.map(\.stepsTaken), run: options.run)
    let finding = try await books.compare(over: channel)
    say(finding.json)
    return finding.isClean
  }
}

/// A line at once: whoever measures waits for it.
func say(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }
