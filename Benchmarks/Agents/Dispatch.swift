import Foundation
import SpanwireEventLoop
import SpanwireRPC
import SpanwireSchema
import SpanwireWorker

/// What the platform takes to bring a task to a worker and its answer back: workers that answer at once, and callers that each give their
/// next task when the last is answered.
struct Dispatch {
  let target: Target
  let inFlight: Int
  let seconds: Int
  let workers: Int

  init(_ target: Target, _ arguments: Arguments) {
    self.target = target
    inFlight = arguments.number("in-flight", default: 1)
    seconds = arguments.number("seconds", default: 5)
    workers = arguments.number("workers", default: 2)
  }

  func run() async throws {
    let here = (0..<workers).map { number in
      Task { [target, inFlight] in
        let worker = Worker(
          id: "load-\(number)", concurrency: min(256, inFlight), agents: [Target.agent: { _ in WorkerAnswer(text: "Have a coffee.") }])
        try await worker.run(over: target.work(as: "load-\(number)"))
      }
    }
    // Both tenants of the bundle, since one alone may not have all the places.
    let callers = try (0..<inFlight).map { try Caller(number: $0, over: channel(of: $0)) }
    try await Self.run(callers, until: .now + .milliseconds(500))
    for caller in callers { caller.reset() }
    say("begin")
    let begin = ContinuousClock.now
    try await Self.run(callers, until: begin + .seconds(seconds))
    let took = Double(microseconds(since: begin)) / 1e6
    say("end")
    let latencies = callers.flatMap(\.latencies).sorted()
    say(
      """
      {"in_flight": \(inFlight), "tasks": \(latencies.count), "seconds": \(took), "per_second": \(Double(latencies.count) / took), \
      "p50_us": \(quantile(latencies, 0.5)), "p99_us": \(quantile(latencies, 0.99))}
      """)
    for worker in here { worker.cancel() }
  }

  private static let connections = 8
  private let channels = ChannelShelf()

  private func channel(of number: Int) throws -> any Channel {
    try channels.channel(number % Self.connections) { try target.operate(number % 2 == 0 ? "vienna" : "graz") }
  }

  private static func run(_ callers: [Caller], until end: ContinuousClock.Instant) async throws {
    let loops = EventLoopGroup.shared.loops
    try await withThrowingTaskGroup(of: Void.self) { group in
      for caller in callers {
        group.addTask(executorPreference: loops[caller.number % loops.count]) {
          while ContinuousClock.now < end { try await caller.call() }
        }
      }
      try await group.waitForAll()
    }
  }
}

/// Connections that several callers share.
final class ChannelShelf {
  private var channels: [Int: any Channel] = [:]

  func channel(_ number: Int, _ make: () throws -> any Channel) rethrows -> any Channel {
    if let channel = channels[number] { return channel }
    let channel = try make()
    channels[number] = channel
    return channel
  }
}

/// Gives one task after the other, and waits for the result of each.
final class Caller: @unchecked Sendable {
  // Sendable: one task at a time calls it, and who reads what it noted waits for that task's end.
  let number: Int
  private let agents: AgentOrchestratorClient
  private(set) var latencies: [UInt32] = []

  init(number: Int, over channel: any Channel) {
    self.number = number
    agents = AgentOrchestratorClient(channel)
  }

  func reset() { latencies = [] }

  func call() async throws {
    let begin = ContinuousClock.now
    var isDone = false
    for try await update in try await agents.runTask(Caller.request()) {
      guard case .result(let task)? = update.update else { continue }
      guard task.state == .completed else { throw RPCError.aborted("\(task.agentTaskID) \(task.state): \(task.failure)") }
      isDone = true
    }
    guard isDone else { throw RPCError(.dataLoss, "a task without a result") }
    latencies.append(microseconds(since: begin))
  }

  static func request(timeoutMilliseconds: UInt32 = 60_000) -> RunTaskRequest {
    RunTaskRequest(
      idempotencyKey: UUID().uuidString, invoker: "ops_console", context: AgentContext(marketCode: "AT-VIE"),
      task: AgentTaskSpec(
        agentType: "journey_guide", intent: "suggest_next_stop", constraints: AgentConstraints(timeoutMs: timeoutMilliseconds),
        message: "Where should I go next?"))
  }
}
