import SpanwireRPC
import Testing

@testable import SpanwireRPCOverHTTP2

@Suite struct AttemptPlanTests {
  static let retry = AttemptPlan.Policy.retry(
    RetryPolicy(
      maxAttempts: 4, initialBackoff: .seconds(1), maxBackoff: .seconds(3), backoffMultiplier: 2, retryableCodes: [.unavailable]))
  static let hedge = AttemptPlan.Policy.hedge(
    HedgingPolicy(maxAttempts: 3, hedgingDelay: .seconds(1), nonFatalCodes: [.unavailable]))

  struct End: Sendable {
    var code: RPCError.Code?
    var exposure = CallExposure.seen
    var pushback: RetryPushback?
    var others = 0
  }

  struct Row: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let policy: AttemptPlan.Policy
    let ends: [(End, AttemptPlan.Step)]

    init(_ name: String, _ policy: AttemptPlan.Policy, _ ends: [(End, AttemptPlan.Step)]) {
      testDescription = name
      self.policy = policy
      self.ends = ends
    }
  }

  static let unavailable = End(code: .unavailable)

  @Test(
    "what follows from the end of an attempt",
    arguments: [
      Row("success is the end", retry, [(End(), .commit)]),
      Row("without a policy a failure is the end", .once, [(unavailable, .commit)]),
      Row("a status that is not retryable is the end", retry, [(End(code: .internal), .commit)]),
      Row(
        "pauses grow to their maximum, attempts are counted", retry,
        [
          (unavailable, .launch(after: .seconds(1))), (unavailable, .launch(after: .seconds(2))),
          (unavailable, .launch(after: .seconds(3))), (unavailable, .commit),
        ]),
      Row(
        "a server's own pause counts, and the next begins anew", retry,
        [
          (unavailable, .launch(after: .seconds(1))),
          (End(code: .unavailable, pushback: .after(.seconds(7))), .launch(after: .seconds(7))),
          (unavailable, .launch(after: .seconds(1))), (unavailable, .commit),
        ]),
      Row("a server that wants no more is obeyed", retry, [(End(code: .unavailable, pushback: .never), .commit)]),
      Row(
        "a server's pause does not make a status retryable", retry, [(End(code: .internal, pushback: .after(.seconds(1))), .commit)]),
      Row(
        "what no server saw is made again once, what was never sent as often as it takes, and neither counts", .once,
        [
          (End(code: .unavailable, exposure: .unsent), .launch(after: .zero)),
          (End(code: .unavailable, exposure: .unseen), .launch(after: .zero)),
          (End(code: .unavailable, exposure: .unsent), .launch(after: .zero)),
          (End(code: .unavailable, exposure: .unseen), .commit),
        ]),
      Row(
        "what was unseen twice is retried by policy", retry,
        [
          (End(code: .unavailable, exposure: .unseen), .launch(after: .zero)),
          (End(code: .unavailable, exposure: .unseen), .launch(after: .seconds(1))),
        ]),
      Row(
        "hedges that fail bring the next at once, the last one's failure is the call's", hedge,
        [
          (unavailable, .launch(after: .zero)), (End(code: .unavailable, others: 1), .launch(after: .zero)),
          (End(code: .unavailable, others: 1), .wait), (unavailable, .commit),
        ]),
      Row("a fatal status ends all hedges", hedge, [(End(code: .internal, others: 2), .commit)]),
      Row(
        "no more hedges for a server that wants none, but those under way go on", hedge,
        [(End(code: .unavailable, pushback: .never, others: 1), .wait), (unavailable, .commit)]),
    ])
  func steps(row: Row) {
    var plan = AttemptPlan(row.policy)
    plan.launched()
    for (end, step) in row.ends {
      let next = plan.ended(
        end.code.map { RPCError($0) }, end.exposure, end.pushback, others: end.others, throttle: nil, random: 0.5)
      #expect(next == step)
      if case .launch = next { plan.launched() }
    }
  }

  @Test("never more than five attempts, whatever a config says")
  func bound() {
    let policy = RetryPolicy(
      maxAttempts: 100, initialBackoff: .seconds(1), maxBackoff: .seconds(1), backoffMultiplier: 1, retryableCodes: [.aborted])
    var plan = AttemptPlan(.retry(policy))
    plan.launched()
    while case .launch = plan.ended(RPCError(.aborted), .seen, nil, others: 0, throttle: nil, random: 0) { plan.launched() }
    #expect(plan.attempts == 5)
  }

  @Test("pauses lie a fifth around the backoff")
  func jitter() {
    let policy = RetryPolicy(
      maxAttempts: 5, initialBackoff: .seconds(10), maxBackoff: .seconds(15), backoffMultiplier: 10, retryableCodes: [.aborted])
    #expect(policy.backoff(beforeRetry: 1, random: 0) == .seconds(8))
    #expect(policy.backoff(beforeRetry: 1, random: 0.999_999) < .seconds(12))
    #expect(policy.backoff(beforeRetry: 1_000_000, random: 0.5) == .seconds(15))
  }

  @Test("while half of the tokens are gone nothing is retried, and successes bring them back")
  func throttle() {
    let throttle = RetryThrottle(maxTokens: 4, tokenRatio: 0.5)
    func retried(_ code: RPCError.Code, _ pushback: RetryPushback? = nil) -> Bool {
      var plan = AttemptPlan(Self.retry)
      plan.launched()
      if case .launch = plan.ended(RPCError(code), .seen, pushback, others: 0, throttle: throttle, random: 0.5) { return true }
      return false
    }
    #expect(!retried(.internal) && throttle.allows)  // 4: such a failure says nothing of the server's load
    #expect(retried(.unavailable))  // 3
    #expect(!retried(.unavailable) && !throttle.allows)  // 2
    throttle.succeeded()  // 2.5
    #expect(throttle.allows)
    #expect(!retried(.internal, .never) && !throttle.allows)  // 1.5
    for _ in 0..<100 { throttle.succeeded() }
    #expect(retried(.unavailable))
    for _ in 0..<100 { throttle.failed() }
    for _ in 0..<4 { throttle.succeeded() }
    #expect(!throttle.allows)
    throttle.succeeded()
    #expect(throttle.allows)
  }

  @Test(
    "reads grpc-retry-pushback-ms",
    arguments: [
      ("0", .after(.zero)), ("15", .after(.milliseconds(15))), ("2147483647", .after(.milliseconds(2_147_483_647))), ("-1", .never),
      ("2147483648", .never), ("", .never), ("1.5", .never), ("soon", .never),
    ] as [(String, RetryPushback)])
  func pushback(text: String, meaning: RetryPushback) {
    #expect(Array(text.utf8).withUnsafeBytes { RetryPushback($0) } == meaning)
  }
}

@Suite struct LoadBalancerTests {
  /// The picks of so many calls over servers with these loads; nil stands for one that takes none.
  static func picks(_ policy: LoadBalancing, _ loads: [Int?], calls: Int, random: [Double] = []) -> [Int?] {
    var balancer = LoadBalancer(policy)
    var loads = loads
    var random = random[...]
    return (0..<calls).map { _ in
      let pick = balancer.pick(loads.count, random: { random.popFirst() ?? 0 }, load: { loads[$0] })
      if let pick { loads[pick]! += 1 }
      return pick
    }
  }

  @Test("pick-first takes the first that can")
  func first() {
    #expect(Self.picks(.pickFirst, [nil, 5, 0], calls: 3) == [1, 1, 1])
    #expect(Self.picks(.pickFirst, [nil], calls: 1) == [nil])
    #expect(Self.picks(.pickFirst, [], calls: 1) == [nil])
  }

  @Test("round robin goes round, past those that cannot")
  func roundRobin() {
    #expect(Self.picks(.roundRobin, [0, 0, 0], calls: 5) == [0, 1, 2, 0, 1])
    #expect(Self.picks(.roundRobin, [0, nil, 0, nil], calls: 4) == [0, 2, 0, 2])
    #expect(Self.picks(.roundRobin, [nil, nil], calls: 1) == [nil])
  }

  @Test("least request takes the less busy of two drawn by lot, or whoever can")
  func leastRequest() {
    #expect(Self.picks(.leastRequest(), [3, 1, 2], calls: 3, random: [0, 0.4, 0.4, 0.9, 0, 0.99]) == [1, 1, 2])
    #expect(Self.picks(.leastRequest(), [nil, nil, 9], calls: 1, random: [0, 0.4]) == [2])
    #expect(Self.picks(.leastRequest(), [nil, nil], calls: 1, random: [0, 0.9]) == [nil])
    var balancer = LoadBalancer(.leastRequest())
    #expect(balancer.pick(2, random: { 1 }, load: { $0 }) == 1)
  }
}
