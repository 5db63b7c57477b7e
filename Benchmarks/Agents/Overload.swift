import Foundation
import SpanwireRPC
import SpanwireSchema
import SpanwireWorker
import Synchronization

/// Two tenants and few workers: how much they get done, first as much as there is to do, then many times that, of which one tenant alone
/// asks nearly everything. What is asked for is asked at its time, whatever became of what was asked before.
struct Overload {
  let target: Target
  let seconds: Int
  let times: Int
  let places: Int
  let service: Duration

  init(_ target: Target, _ arguments: Arguments) {
    self.target = target
    seconds = arguments.number("seconds", default: 60)
    times = arguments.number("times", default: 20)
    places = arguments.number("places", default: 10)
    service = .milliseconds(arguments.number("service-ms", default: 200))
  }

  private static let greedy = "vienna"
  private static let modest = "graz"

  func run() async throws {
    let workers = (0..<2).map { number in
      Task { [target, places, service] in
        let worker = Worker(
          id: "load-\(number)", concurrency: places / 2,
          agents: [
            Target.agent: { _ in
              // Work that takes its time and no processor.
              try await Task.sleep(for: service)
              return WorkerAnswer(text: "Have a coffee.")
            }
          ])
        try await worker.run(over: target.work(as: "load-\(number)"))
      }
    }
    let ends = try await Ends(target, [Self.greedy, Self.modest])
    // What the workers can do: twice as many callers as places, each with its next task at once.
    let capacity = try await saturate(for: .seconds(5), ends)
    let modestRate = capacity / 10
    let calm = Asked(try target.operate(Self.modest))
    try await calm.ask(modestRate, for: .seconds(max(10, seconds / 3)))
    let (modest, greedy) = (Asked(try target.operate(Self.modest)), Asked(try target.operate(Self.greedy)))
    let before = ends.completed
    let begin = ContinuousClock.now
    let length = Duration.seconds(seconds)
    async let flood: Void = greedy.submit(capacity * Double(times) - modestRate, for: length)
    async let trickle: Void = modest.ask(modestRate, for: length)
    _ = try await (flood, trickle)
    let took = Double(microseconds(since: begin)) / 1e6
    let goodput = Double(ends.completed - before) / took
    say(
      """
      {"capacity": \(capacity), "goodput": \(goodput), "seconds": \(took), "asked": \(greedy.count + modest.count), \
      "refused": \(greedy.refused + modest.refused), "refused_without_retry_info": \(greedy.bare + modest.bare), \
      "modest_refused": \(modest.refused), "failed": \(greedy.failed + modest.failed), "failure": "\(greedy.failure)\(modest.failure)", \
      "late": \(ends.timedOut), "calm_p99_us": \(quantile(calm.sorted, 0.99)), "p50_us": \(quantile(modest.sorted, 0.5)), \
      "p99_us": \(quantile(modest.sorted, 0.99)), "calm_p50_us": \(quantile(calm.sorted, 0.5)), "modest": \(modest.sorted.count)}
      """)
    for worker in workers { worker.cancel() }
  }

  private func saturate(for span: Duration, _ ends: Ends) async throws -> Double {
    let callers = try (0..<(2 * places)).map { Caller(number: $0, over: try target.operate($0 % 2 == 0 ? Self.greedy : Self.modest)) }
    let begin = ContinuousClock.now
    try await withThrowingTaskGroup(of: Void.self) { group in
      for caller in callers { group.addTask { while ContinuousClock.now < begin + span { try await caller.call() } } }
      try await group.waitForAll()
    }
    return Double(callers.reduce(0) { $0 + $1.latencies.count }) / (Double(microseconds(since: begin)) / 1e6)
  }
}

/// Counts how tasks end, by the log.
final class Ends: Sendable {
  private let counts = Mutex<(completed: Int, timedOut: Int)>((0, 0))

  var completed: Int { counts.withLock { $0.completed } }
  var timedOut: Int { counts.withLock { $0.timedOut } }

  /// A channel that nobody keeps is closed.
  private let channels: [any Channel]

  init(_ target: Target, _ tenants: [String]) async throws {
    channels = try tenants.map { try target.operate($0) }
    for channel in channels {
      let request = SubscribeRequest(filter: EventFilter(types: ["agent.task.result", "agent.task.timed_out"]), fromNow: true)
      let events = try await EventsClient(channel).subscribe(request)
      Task { [self] in
        for try await response in events {
          guard case .event(let event)? = response.item else { continue }
          counts.withLock { event.type == "agent.task.result" ? ($0.completed += 1) : ($0.timedOut += 1) }
        }
      }
    }
  }
}

/// What one tenant asks for, at its rate, and what it is answered.
final class Asked: Sendable {
  private struct State {
    var count = 0
    var refused = 0
    var bare = 0
    var failed = 0
    var failure = ""
    var latencies: [UInt32] = []
  }

  private let agents: AgentOrchestratorClient
  private let state = Mutex(State())

  init(_ channel: any Channel) { agents = AgentOrchestratorClient(channel) }

  var count: Int { state.withLock { $0.count } }
  var refused: Int { state.withLock { $0.refused } }
  /// Refusals that did not say when to come again.
  var bare: Int { state.withLock { $0.bare } }
  var failed: Int { state.withLock { $0.failed } }
  var failure: String { state.withLock { $0.failure } }
  var sorted: [UInt32] { state.withLock { $0.latencies.sorted() } }

  /// Waits for the result of each.
  func ask(_ rate: Double, for span: Duration) async throws {
    try await pace(rate, for: span) { [self] in
      let begin = ContinuousClock.now
      for try await update in try await agents.runTask(Caller.request(timeoutMilliseconds: 5_000)) {
        guard case .result(let task)? = update.update else { continue }
        guard task.state == .completed else { throw RPCError.aborted("\(task.state): \(task.failure)") }
        let took = microseconds(since: begin)
        state.withLock { $0.latencies.append(took) }
      }
    }
  }

  /// Waits for no more than the receipt of each.
  func submit(_ rate: Double, for span: Duration) async throws {
    try await pace(rate, for: span) { [self] in _ = try await agents.submitTask(Caller.request(timeoutMilliseconds: 5_000)) }
  }

  /// Calls at a rate, each at its time.
  private func pace(_ rate: Double, for span: Duration, _ call: @escaping @Sendable () async throws -> Void) async throws {
    let begin = ContinuousClock.now
    let total = Int(rate * (span / .seconds(1)))
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<total {
        let due = begin + .seconds(Double(number) / rate)
        if due > .now { try await Task.sleep(until: due, clock: .continuous) }
        group.addTask { [self] in
          state.withLock { $0.count += 1 }
          do { try await call() } catch let error as RPCError { note(error) }
        }
      }
      try await group.waitForAll()
    }
  }

  private func note(_ error: RPCError) {
    let hasTime = error.retryDelay != nil
    state.withLock { state in
      if error.code == .resourceExhausted {
        state.refused += 1
        if !hasTime { state.bare += 1 }
      } else {
        state.failed += 1
        if state.failure.isEmpty { state.failure = "\(error.code) \(error.message)".replacing("\"", with: "'") }
      }
    }
  }
}
