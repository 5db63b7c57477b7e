import SpanwireRPC

/// What the flags of the soak cases say.
struct SoakSettings: Sendable {
  var iterations = 10
  /// So many calls may fail or be late.
  var maxFailures = 0
  /// A call that takes longer has failed.
  var acceptableLatency = Duration.seconds(1)
  /// All calls must have been made after so long; nil stands for the sum of the latencies that are acceptable.
  var overallTimeout: Duration?
  /// From the start of one call to the start of the next, at least.
  var interval = Duration.zero
  var requestSize = InteropClient.largeRequest
  var responseSize = InteropClient.largeResponse
  /// So many share the calls, each making one after the other.
  var tasks = 1

  init() {}

  init(_ flags: InteropFlags) throws(InteropFlags.Misuse) {
    iterations = try flags.number("soak_iterations", default: iterations)
    maxFailures = try flags.number("soak_max_failures", default: maxFailures)
    acceptableLatency = .milliseconds(try flags.number("soak_per_iteration_max_acceptable_latency_ms", default: 1000))
    if flags["soak_overall_timeout_seconds"] != nil {
      overallTimeout = .seconds(try flags.number("soak_overall_timeout_seconds", default: 0))
    }
    interval = .milliseconds(try flags.number("soak_min_time_ms_between_rpcs", default: 0))
    requestSize = try flags.number("soak_request_size", default: requestSize)
    responseSize = try flags.number("soak_response_size", default: responseSize)
    tasks = max(1, try flags.number("soak_num_threads", default: 1))
  }
}

/// The soak cases: one large call after the other, over one channel or each over its own; by several tasks at a time if wanted.
extension InteropClient {
  private struct Outcome: Sendable {
    var made = 0
    var failures: [String] = []
  }

  func soak(freshChannels: Bool) async throws {
    let settings = settings.soak
    let each = settings.iterations / settings.tasks
    let end = ContinuousClock.now + (settings.overallTimeout ?? settings.acceptableLatency * settings.iterations)
    let outcome = try await withThrowingTaskGroup(of: Outcome.self) { group in
      for _ in 0..<settings.tasks {
        group.addTask { try await soak(calls: each, until: end, freshChannels: freshChannels, settings) }
      }
      return try await group.reduce(into: Outcome()) { all, one in
        all.made += one.made
        all.failures += one.failures
      }
    }
    let wanted = each * settings.tasks
    guard outcome.made == wanted else { throw InteropFailure("only \(outcome.made) of \(wanted) calls were made in time") }
    guard outcome.failures.count <= settings.maxFailures else {
      let first = outcome.failures.prefix(3).joined(separator: "; ")
      throw InteropFailure("\(outcome.failures.count) of \(wanted) calls failed; \(first)")
    }
  }

  private func soak(
    calls: Int, until end: ContinuousClock.Instant, freshChannels: Bool, _ settings: SoakSettings
  ) async throws -> Outcome {
    var outcome = Outcome()
    let clock = ContinuousClock()
    while outcome.made < calls, clock.now < end {
      let start = clock.now
      let failure = await soakCall(onFreshChannel: freshChannels, settings)
      let latency = start.duration(to: clock.now)
      outcome.made += 1
      if let failure {
        outcome.failures.append("call \(outcome.made): \(failure)")
      } else if latency > settings.acceptableLatency {
        outcome.failures.append("call \(outcome.made) took \(latency)")
      }
      if settings.interval > .zero, outcome.made < calls { try await clock.sleep(until: start + settings.interval) }
    }
    return outcome
  }

  /// Makes one call; the result is what was wrong with it.
  private func soakCall(onFreshChannel isFresh: Bool, _ settings: SoakSettings) async -> String? {
    do {
      let connection = isFresh ? try connect() : connection
      let request = Grpc_Testing_SimpleRequest(responseSize: Int32(settings.responseSize), payload: Self.zeros(settings.requestSize))
      let response = try await Grpc_Testing_TestServiceClient(connection.channel).unaryCall(request)
      try expect(response.payload, size: settings.responseSize)
      if isFresh { await connection.close() }
      return nil
    } catch {
      return "\(error)"
    }
  }
}
