import SpanwireRPCTestSupport
import SpanwireWellKnown
import Synchronization
import Testing

@testable import SpanwireRPC

@Suite struct RateLimitTests {
  /// A clock that a test sets.
  final class Clock: Sendable {
    private let state = Mutex<UInt64>(1_000_000_000)
    var now: Deadline { Deadline(nanoseconds: state.withLock { $0 }) }
    func pass(_ nanoseconds: UInt64) { state.withLock { $0 += nanoseconds } }
  }

  private func limiter(_ limit: RateLimit, _ clock: Clock) -> CallerRates { CallerRates(limit, now: { clock.now }) }

  @Test("a caller has its burst at once, then its rate, and is told how long to wait")
  func rate() {
    let clock = Clock()
    let limiter = limiter(RateLimit(burst: 3, perSecond: 10), clock)
    #expect((0..<4).map { _ in limiter.take("a") } == [nil, nil, nil, 100_000_000])
    #expect(limiter.take("b") == nil, "others are not touched")
    clock.pass(60_000_000)
    #expect(limiter.take("a") == 40_000_000)
    clock.pass(40_000_000)
    #expect(limiter.take("a") == nil)
    #expect(limiter.take("a") == 100_000_000)
    // Whoever was quiet for long has the burst again, and no more.
    clock.pass(3_600_000_000_000)
    #expect((0..<4).map { _ in limiter.take("a") == nil } == [true, true, true, false])
  }

  @Test(
    "no limit overflows", arguments: [RateLimit(burst: .max, perSecond: 1e-12), RateLimit(burst: 1, perSecond: .greatestFiniteMagnitude)])
  func extremes(limit: RateLimit) {
    let clock = Clock()
    let limiter = limiter(limit, clock)
    for _ in 0..<1000 { _ = limiter.take("a") }
    clock.pass(.max / 2)
    #expect(limiter.take("a") == nil)
  }

  @Test("of any number of callers a bounded number is remembered, and those who owe most are")
  func bound() {
    let clock = Clock()
    let limiter = limiter(RateLimit(burst: 2, perSecond: 1), clock)
    #expect(limiter.take("greedy") == nil && limiter.take("greedy") == nil)
    for number in 0..<CallerRates.maxCallers { _ = limiter.take("caller \(number)") }
    #expect(limiter.take("greedy") != nil)
  }

  @Test("callers are told apart by principal, and without a credential by address")
  func callers() {
    func key(_ principal: Principal, _ address: String) -> String? {
      RateLimitInterceptor.caller(ServerContext(method: Echo.Methods.get, peer: Peer(address: address), principal: principal))
    }
    let user = Principal(kind: .user, id: "u1", tenant: "t", surface: .edge)
    #expect(key(user, "ipv4:10.0.0.1:1") == key(user, "ipv4:10.0.0.2:2"))
    #expect(key(user, "") != key(Principal(kind: .user, id: "u1", tenant: "other", surface: .edge), ""))
    #expect(key(.anonymous, "ipv4:10.0.0.1:1") == key(.anonymous, "ipv4:10.0.0.1:2"))
    #expect(key(.anonymous, "ipv4:10.0.0.1:1") != key(.anonymous, "ipv4:10.0.0.2:1"))
  }
}
