import SpanwireSchema

/// Whether a turn may open now: by quotas of its session and its tenant, then of all together. Pure: the same turns open and waiting give
/// the same answer, whatever the time.
public struct TurnAdmission: Sendable {
  /// What is wanted, and under which quota.
  public struct Want: Sendable, Hashable {
    public var tenant: String
    /// Empty for work that belongs to no session.
    public var session: String
    public var agentSlug: String
    /// With every bound filled in.
    public let quota: TurnQuota

    /// - Parameter quota: as the agent's definition has it; what it leaves open, or wants beyond the kernel's own bounds, is the kernel's.
    public init(tenant: String, session: String, agentSlug: String, quota: TurnQuota?) {
      self.tenant = tenant
      self.session = session
      self.agentSlug = agentSlug
      func bound(_ authored: UInt32?, _ limit: Int) -> UInt32 { (authored ?? 0) == 0 ? UInt32(limit) : min(authored ?? 0, UInt32(limit)) }
      self.quota = TurnQuota(
        openPerSession: bound(quota?.openPerSession, TurnLimits.openPerSession),
        openPerTenant: bound(quota?.openPerTenant, TurnLimits.openPerTenant),
        deferredPerSession: bound(quota?.deferredPerSession, TurnLimits.deferredPerSession))
    }
  }

  public enum Decision: Sendable, Hashable {
    case admit
    /// Another must close first; asking again helps.
    case `defer`(quota: String, reason: String)
    /// Too many wait already.
    case reject(quota: String, reason: String)
  }

  private struct Count {
    var open = 0
    var deferred = 0
  }

  /// A key with its bounds.
  private struct Quota {
    var key: String
    var open: Int
    var deferred: Int
  }

  private var counts: [String: Count] = [:]

  public init() {}

  /// Turns open under a key: `tenant:vienna`, `session:vienna:PRS-1`.
  public func open(_ key: String) -> Int { counts[key]?.open ?? 0 }

  /// Turns that wait under a key.
  public func deferred(_ key: String) -> Int { counts[key]?.deferred ?? 0 }

  /// Decides, and counts what was decided: an admitted turn is open until `close`, a deferred one waits until `withdraw` or until it is
  /// admitted.
  ///
  /// - Parameter isWaiting: it was deferred before and still waits.
  public mutating func decide(_ want: Want, isWaiting: Bool) -> Decision {
    let quotas = quotas(of: want)
    if let full = quotas.first(where: { open($0.key) >= $0.open }) {
      let reason = "\(open(full.key)) of \(full.open) turns are open"
      if isWaiting { return .defer(quota: full.key, reason: reason) }
      if let crowded = quotas.first(where: { deferred($0.key) >= $0.deferred }) {
        return .reject(quota: crowded.key, reason: "\(reason), and \(deferred(crowded.key)) wait, as many as may")
      }
      for quota in quotas { counts[quota.key, default: Count()].deferred += 1 }
      return .defer(quota: full.key, reason: reason)
    }
    if isWaiting { withdraw(want) }
    for quota in quotas { counts[quota.key, default: Count()].open += 1 }
    return .admit
  }

  /// A turn that was admitted is over.
  public mutating func close(_ want: Want) { count(want) { $0.open -= 1 } }

  /// A turn that was deferred is wanted no longer.
  public mutating func withdraw(_ want: Want) { count(want) { $0.deferred -= 1 } }

  private mutating func count(_ want: Want, _ change: (inout Count) -> Void) {
    for quota in quotas(of: want) {
      guard var count = counts[quota.key] else { continue }
      change(&count)
      counts[quota.key] = count.open <= 0 && count.deferred <= 0 ? nil : count
    }
  }

  /// The narrowest first: what is said of a refusal is what the caller can change. An agent's own quota counts its turns alone.
  private func quotas(of want: Want) -> [Quota] {
    let (tenant, agent) = ("tenant:\(want.tenant)", want.agentSlug)
    var quotas = [
      Quota(key: "\(tenant):\(agent)", open: Int(want.quota.openPerTenant), deferred: TurnLimits.deferredPerTenant),
      Quota(key: tenant, open: TurnLimits.openPerTenant, deferred: TurnLimits.deferredPerTenant),
      Quota(key: "all", open: TurnLimits.open, deferred: TurnLimits.open),
    ]
    if !want.session.isEmpty {
      let session = "session:\(want.tenant):\(want.session)"
      quotas.insert(Quota(key: session, open: TurnLimits.openPerSession, deferred: TurnLimits.deferredPerSession), at: 0)
      quotas.insert(
        Quota(key: "\(session):\(agent)", open: Int(want.quota.openPerSession), deferred: Int(want.quota.deferredPerSession)), at: 0)
    }
    return quotas
  }
}
