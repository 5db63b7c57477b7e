import Synchronization

/// How often a caller may call: so many calls at once, then so many a second.
public struct RateLimit: Sendable, Hashable {
  /// Calls at once.
  public var burst: Int
  /// Calls a second in the long run.
  public var perSecond: Double

  /// - Parameters:
  ///   - burst: calls that a caller who was quiet may make at once; at least 1.
  ///   - perSecond: calls in the long run; more than 0.
  public init(burst: Int, perSecond: Double) {
    precondition(burst >= 1 && perSecond > 0, "a limit that lets nobody through")
    self.burst = burst
    self.perSecond = perSecond
  }
}

/// How much callers have made use of a rate. Of each only one moment is kept, and of those who have been quiet nothing.
public final class CallerRates: Sendable {
  /// Callers remembered at a time: some 100 bytes each. When more call at once, those who have waited longest start afresh.
  public static let maxCallers = 20_000

  private let now: @Sendable () -> Deadline
  /// Nanoseconds that a call costs.
  private let cost: UInt64
  /// Nanoseconds that may be owed.
  private let credit: UInt64
  private let debts = Mutex<[String: UInt64]>([:])

  /// - Parameters:
  ///   - limit: how many calls each caller may make, and how fast.
  ///   - now: the monotonic clock, for tests to set.
  public init(_ limit: RateLimit, now: @escaping @Sendable () -> Deadline = Deadline.now) {
    self.now = now
    cost = UInt64(min(1e9 / limit.perSecond, 1e15))
    credit = UInt64(clamping: limit.burst - 1).multipliedReportingOverflow(by: cost).overflow ? .max / 4 : UInt64(limit.burst - 1) * cost
  }

  /// How many nanoseconds too early a further call of a caller would be; nil when it would not.
  public func wait(of caller: String) -> UInt64? {
    let now = now().nanoseconds
    return debts.withLock { wait($0, caller, now) }
  }

  /// Counts a call of a caller, whether or not it is too early.
  public func charge(_ caller: String) {
    let now = now().nanoseconds
    debts.withLock { charge(&$0, caller, now) }
  }

  /// Counts one call of a caller; else how many nanoseconds too early it is.
  public func take(_ caller: String) -> UInt64? {
    let now = now().nanoseconds
    return debts.withLock { debts in
      if let wait = wait(debts, caller, now) { return wait }
      charge(&debts, caller, now)
      return nil
    }
  }

  /// What is kept is the moment at which the caller will owe nothing more. A call may come while that lies no farther ahead than the credit.
  private func wait(_ debts: [String: UInt64], _ caller: String, _ now: UInt64) -> UInt64? {
    let owed = max(debts[caller] ?? 0, now) - now
    return owed > credit ? owed - credit : nil
  }

  private func charge(_ debts: inout [String: UInt64], _ caller: String, _ now: UInt64) {
    let settled = max(debts[caller] ?? 0, now)
    if debts[caller] == nil, debts.count >= Self.maxCallers { Self.forget(&debts, now) }
    // Nobody owes more than one call beyond the credit: who was refused often waits no longer than who was refused once.
    debts[caller] = min(settled + cost, now + credit + cost)
  }

  /// Those who owe nothing are as good as unknown; if that is not enough, those who owe least go too.
  private static func forget(_ debts: inout [String: UInt64], _ now: UInt64) {
    debts = debts.filter { $0.value > now }
    guard debts.count > maxCallers * 3 / 4 else { return }
    let middle = debts.values.sorted()[debts.count / 2]
    debts = debts.filter { $0.value > middle }
  }
}

/// Keeps every caller to a rate: who calls more often gets RESOURCE_EXHAUSTED with `google.rpc.RetryInfo`, before the request is decoded.
///
/// Stands after the interceptor that establishes the principal. Callers are told apart by a key of their call; one without a key is not
/// limited.
public final class RateLimitInterceptor: ServerInterceptor {
  private let key: @Sendable (ServerContext) -> String?
  private let rates: CallerRates

  /// - Parameters:
  ///   - limit: how many calls each caller may make, and how fast.
  ///   - key: what tells callers apart; by default the principal, and of callers without a credential the address.
  ///   - now: the monotonic clock, for tests to set.
  public init(
    _ limit: RateLimit, by key: @escaping @Sendable (ServerContext) -> String? = RateLimitInterceptor.caller,
    now: @escaping @Sendable () -> Deadline = Deadline.now
  ) {
    self.key = key
    rates = CallerRates(limit, now: now)
  }

  /// Whose call it is: kind, tenant and id of the principal; for callers without a credential the address without its port.
  public static let caller: @Sendable (ServerContext) -> String? = { context in
    let principal = context.principal
    return principal.kind == .anonymous ? context.peer.host : "\(principal.kind)/\(principal.tenant)/\(principal.id)"
  }

  /// Refuses with RESOURCE_EXHAUSTED and the time to wait, or goes on.
  public func intercept(_ call: any ServerCall, next: NextServerHandler) async throws {
    if let key = key(call.context), let wait = rates.take(key) {
      throw RPCError.resourceExhausted("too many calls").retry(after: .nanoseconds(Int64(clamping: wait)))
    }
    try await next(call)
  }
}

extension Peer {
  /// The address without its port: what connections of one machine have in common.
  public var host: String { String(address[..<(address.lastIndex(of: ":") ?? address.endIndex)]) }
}
