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
  }
}

/// The soak cases: one large call after the other, over one channel or each over its own.
extension InteropClient {
  func soak(freshChannels: Bool) async throws {
    let settings = settings.soak
    let clock = ContinuousClock()
    let end = clock.now + (settings.overallTimeout ?? settings.acceptableLatency * settings.iterations)
    var made = 0
    var failures: [String] = []
    while made < settings.iterations, clock.now < end {
      let start = clock.now
      let outcome = await soakCall(onFreshChannel: freshChannels, settings)
      let latency = start.duration(to: clock.now)
      made += 1
      if let outcome {
        failures.append("call \(made): \(outcome)")
      } else if latency > settings.acceptableLatency {
        failures.append("call \(made) took \(latency)")
      }
      if settings.interval > .zero, made < settings.iterations { try await clock.sleep(until: start + settings.interval) }
    }
    guard made == settings.iterations else { throw InteropFailure("only \(made) of \(settings.iterations) calls were made in time") }
    guard failures.count <= settings.maxFailures else {
      throw InteropFailure("\(failures.count) of \(made) calls failed; \(failures.prefix(3).joined(separator: "; "))")
    }
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
