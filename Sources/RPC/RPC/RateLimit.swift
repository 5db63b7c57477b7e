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

/// Keeps every caller to a rate: who calls more often gets RESOURCE_EXHAUSTED with `google.rpc.RetryInfo`, before the request is decoded.
///
/// Stands after the interceptor that establishes the principal. Callers are told apart by a key of their call; one without a key is not
/// limited. Of each only one moment is kept, and of those who have been quiet nothing.
public final class RateLimitInterceptor: ServerInterceptor {
  /// Callers remembered at a time: some 100 bytes each. When more call at once, those who have waited longest start afresh.
  public static let maxCallers = 20_000

  private let key: @Sendable (ServerContext) -> String?
  private let now: @Sendable () -> Deadline
  /// Nanoseconds that a call costs.
  private let cost: UInt64
  /// Nanoseconds that may be owed.
  private let credit: UInt64
  private let debts = Mutex<[String: UInt64]>([:])

  /// - Parameters:
  ///   - limit: how many calls each caller may make, and how fast.
  ///   - key: what tells callers apart; by default the principal, and of callers without a credential the address.
  ///   - now: the monotonic clock, for tests to set.
  public init(
    _ limit: RateLimit, by key: @escaping @Sendable (ServerContext) -> String? = RateLimitInterceptor.caller,
    now: @escaping @Sendable () -> Deadline = Deadline.now
  ) {
    self.key = key
    self.now = now
    cost = UInt64(min(1e9 / limit.perSecond, 1e15))
    credit = UInt64(clamping: limit.burst - 1).multipliedReportingOverflow(by: cost).overflow ? .max / 4 : UInt64(limit.burst - 1) * cost
  }

  /// Whose call it is: kind, tenant and id of the principal; for callers without a credential the address without its port.
  public static let caller: @Sendable (ServerContext) -> String? = { context in
    let principal = context.principal
    if principal.kind != .anonymous { return "\(principal.kind)/\(principal.tenant)/\(principal.id)" }
    let address = context.peer.address
    return String(address[..<(address.lastIndex(of: ":") ?? address.endIndex)])
  }

  /// Refuses with RESOURCE_EXHAUSTED and the time to wait, or goes on.
  public func intercept(_ call: any ServerCall, next: NextServerHandler) async throws {
    if let key = key(call.context), let wait = take(key) {
      throw RPCError.resourceExhausted("too many calls").retry(after: .nanoseconds(Int64(clamping: wait)))
    }
    try await next(call)
  }

  /// Takes one call of a caller; else how many nanoseconds too early it is.
  func take(_ key: String) -> UInt64? {
    let now = now().nanoseconds
    return debts.withLock { debts in
      // The moment at which the caller will owe nothing more. A call may come while that lies no farther ahead than the credit.
      let settled = max(debts[key] ?? 0, now)
      if settled - now > credit { return settled - now - credit }
      if debts[key] == nil, debts.count >= Self.maxCallers { Self.forget(&debts, now) }
      debts[key] = settled.addingReportingOverflow(cost).overflow ? .max : settled + cost
      return nil
    }
  }

  /// Those who owe nothing are as good as unknown; if that is not enough, those who owe least go too.
  private static func forget(_ debts: inout [String: UInt64], _ now: UInt64) {
    debts = debts.filter { $0.value > now }
    guard debts.count > maxCallers * 3 / 4 else { return }
    let middle = debts.values.sorted()[debts.count / 2]
    debts = debts.filter { $0.value > middle }
  }
}
