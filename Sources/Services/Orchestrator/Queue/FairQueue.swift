/// Which task's turn it is: fair between tenants, in the order of arrival within one, never past a limit. Pure: no clock, no await.
///
/// Between tenants it is weighted round robin by strides: each dispatch moves its tenant forward by a step that is the shorter the more
/// the tenant weighs, and the tenant furthest behind goes next. One that comes back after a pause starts where the others are: it is owed
/// nothing for the time it wanted nothing.
struct FairQueue: Sendable {
  /// How many there may be. Open is what was admitted and has not ended, waiting or running.
  struct Limits: Sendable {
    var open = OrchestratorLimits.openTasks
    var openPerTenant = OrchestratorLimits.openTasksPerTenant
    var runningPerTenant = OrchestratorLimits.runningTasksPerTenant
    var runningPerAgent = OrchestratorLimits.runningTasksPerAgent
    var runningPerSession = OrchestratorLimits.runningTasksPerSession
  }

  /// A task that wants its turn.
  struct Entry: Sendable, Hashable {
    /// Counts up: the order of arrival.
    var id: UInt64
    var tenant: String
    var agentSlug: String
    /// Empty for a task that belongs to no session.
    var session: String
    /// Whether an attached worker must do it, or the platform's own agent does.
    var byWorkers: Bool
  }

  /// Somebody who could do a task now.
  enum Offer: Sendable, Hashable {
    case builtIn
    /// A worker of one tenant, or with nil of every one.
    case worker(tenant: String?, slugs: Set<String>)

    fileprivate func admits(tenant: String) -> Bool {
      if case .worker(let own?, _) = self { return own == tenant }
      return true
    }

    fileprivate func admits(_ lane: Lane) -> Bool {
      switch self {
      case .builtIn: !lane.byWorkers
      case .worker(_, let slugs): lane.byWorkers && slugs.contains(lane.agentSlug)
      }
    }
  }

  fileprivate struct Lane: Hashable {
    var agentSlug: String
    var byWorkers: Bool
  }

  private struct Tenant {
    var open = 0
    var running = 0
    var waiting = 0
    var pass: UInt64 = 0
    var lanes: [Lane: [Entry]] = [:]
    var runningByAgent: [String: Int] = [:]
    var runningBySession: [String: Int] = [:]
  }

  /// A tenant of weight 1 moves so far with a dispatch.
  private static let stride: UInt64 = 1 << 20

  private let limits: Limits
  private let weights: [String: UInt32]
  private var tenants: [String: Tenant] = [:]
  /// Where the tenant stood that was dispatched last.
  private var pass: UInt64 = 0
  private(set) var open = 0
  private(set) var running = 0
  private(set) var waiting = 0

  /// - Parameter weights: by tenant; 1 for those not named.
  init(limits: Limits = Limits(), weights: [String: UInt32] = [:]) {
    self.limits = limits
    self.weights = weights
  }

  /// Open tasks of one tenant: those that run, and those that wait for their turn or pause between two attempts.
  func load(of tenant: String) -> (waiting: Int, running: Int) {
    guard let state = tenants[tenant] else { return (0, 0) }
    return (state.open - state.running, state.running)
  }

  /// Tasks of one tenant and agent that wait for their turn.
  func waiting(_ lane: QueuePace.Lane) -> Int {
    tenants[lane.tenant]?.lanes[Lane(agentSlug: lane.agentSlug, byWorkers: lane.byWorkers)]?.count ?? 0
  }

  /// Counts a task in; false when there is no room for it. It is counted out by `dismiss`.
  mutating func admit(_ tenant: String) -> Bool {
    guard open < limits.open, tenants[tenant]?.open ?? 0 < limits.openPerTenant else { return false }
    open += 1
    tenants[tenant, default: Tenant()].open += 1
    return true
  }

  mutating func dismiss(_ tenant: String) {
    guard var state = tenants[tenant], state.open > 0 else { return }
    open -= 1
    state.open -= 1
    tenants[tenant] = state.open == 0 && state.running == 0 && state.waiting == 0 ? nil : state
  }

  /// Lets an admitted task wait for its turn.
  mutating func enqueue(_ entry: Entry) {
    var tenant = tenants.removeValue(forKey: entry.tenant) ?? Tenant()
    if tenant.waiting == 0 && tenant.running == 0 { tenant.pass = max(tenant.pass, pass) }
    tenant.waiting += 1
    waiting += 1
    tenant.lanes[Lane(agentSlug: entry.agentSlug, byWorkers: entry.byWorkers), default: []].append(entry)
    tenants[entry.tenant] = tenant
  }

  /// Takes back a task that waits; false when it does not.
  mutating func remove(_ entry: Entry) -> Bool {
    let lane = Lane(agentSlug: entry.agentSlug, byWorkers: entry.byWorkers)
    guard let index = tenants[entry.tenant]?.lanes[lane]?.firstIndex(where: { $0.id == entry.id }) else { return false }
    take(at: index, lane, of: entry.tenant)
    return true
  }

  /// The task that goes to an offer; it runs from now on, until `end`.
  mutating func next(_ offer: Offer) -> Entry? {
    var best: (name: String, pass: UInt64, lane: Lane, index: Int)?
    for (name, tenant) in tenants where tenant.waiting > 0 && tenant.running < limits.runningPerTenant && offer.admits(tenant: name) {
      if let best, (best.pass, best.name) < (tenant.pass, name) { continue }
      if let (lane, index) = first(for: offer, of: tenant) { best = (name, tenant.pass, lane, index) }
    }
    guard let best else { return nil }
    let entry = take(at: best.index, best.lane, of: best.name)
    pass = max(pass, best.pass)
    running += 1
    tenants[best.name]?.pass = best.pass + Self.stride / UInt64(max(1, weights[best.name] ?? 1))
    tenants[best.name]?.running += 1
    tenants[best.name]?.runningByAgent[entry.agentSlug, default: 0] += 1
    if !entry.session.isEmpty { tenants[best.name]?.runningBySession[entry.session, default: 0] += 1 }
    return entry
  }

  /// The run of a task is over; the task may wait for another.
  mutating func end(_ entry: Entry) {
    running -= 1
    tenants[entry.tenant]?.running -= 1
    Self.countDown(&tenants[entry.tenant, default: Tenant()].runningByAgent, entry.agentSlug)
    if !entry.session.isEmpty { Self.countDown(&tenants[entry.tenant, default: Tenant()].runningBySession, entry.session) }
  }

  /// A tenant's first task in the order of arrival that the offer may take now.
  private func first(for offer: Offer, of tenant: Tenant) -> (Lane, Int)? {
    var best: (id: UInt64, lane: Lane, index: Int)?
    for (lane, entries) in tenant.lanes where offer.admits(lane) {
      guard tenant.runningByAgent[lane.agentSlug] ?? 0 < limits.runningPerAgent else { continue }
      let index = entries.firstIndex { entry in
        entry.session.isEmpty || tenant.runningBySession[entry.session] ?? 0 < limits.runningPerSession
      }
      guard let index, entries[index].id < best?.id ?? .max else { continue }
      best = (entries[index].id, lane, index)
    }
    return best.map { ($0.lane, $0.index) }
  }

  @discardableResult
  private mutating func take(at index: Int, _ lane: Lane, of name: String) -> Entry {
    guard let entry = tenants[name]?.lanes[lane]?.remove(at: index) else { preconditionFailure("it waits there") }
    if tenants[name]?.lanes[lane]?.isEmpty == true { tenants[name]?.lanes[lane] = nil }
    tenants[name]?.waiting -= 1
    waiting -= 1
    return entry
  }

  private static func countDown(_ counts: inout [String: Int], _ key: String) {
    let left = (counts[key] ?? 1) - 1
    counts[key] = left > 0 ? left : nil
  }
}
