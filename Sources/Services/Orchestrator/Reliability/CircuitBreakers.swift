import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Synchronization

/// The breakers of all circuits, by tenant: `agent:<slug>` for the workers of an agent, `tool:<name>` for what agents call,
/// `provider:<name>` for the language models of a provider.
///
/// What decides a call is in memory. Every change is a row and an event besides, so that a restart finds what was open.
final class CircuitBreakers: Sendable {
  /// The right to make one call, and the duty to report it.
  struct Permit: Sendable {
    fileprivate let key: Key
    fileprivate let isProbe: Bool
    fileprivate let begun: Int64
  }

  /// A call that may not go: when it may be tried, and who serves meanwhile; empty for nobody.
  struct Refusal: Sendable {
    var retryAfter: Duration
    var fallback: String

    /// As who asked sees it.
    func error(_ name: String) -> RPCError {
      .later(.unavailable, .circuitOpen, "the circuit of \(name) is open", after: retryAfter)
    }
  }

  /// Whether a call may go.
  enum Admission: Sendable {
    case go(Permit)
    case refused(Refusal)
  }

  fileprivate struct Key: Sendable, Hashable {
    var tenant: String
    var circuit: String
  }

  private struct Kept {
    var breaker: CircuitBreaker
    var fallback = ""
    var changedAt: Int64 = 0
    /// Counts changes, so that they are stored in their order.
    var version: Int64 = 0
  }

  /// What the platform's own agent is called as a fallback.
  static let builtIn = "built_in"

  private let journal: TaskJournal
  private let circuits = Mutex<[Key: Kept]>([:])

  init(journal: TaskJournal) { self.journal = journal }

  private var environment: ServiceEnvironment { journal.environment }

  /// Takes up what the last process left.
  func start() async throws {
    let rows = try await environment.database.scan { snapshot in
      try snapshot.query(
        "SELECT tenant_id, version, breaker, probe_at FROM actp_circuit_states ORDER BY tenant_id, circuit",
        row: { row in
          let breaker = try Breaker(decoding: row.get(2, as: [UInt8].self))
          return (
            tenant: row.get(0, as: String.self), version: row.get(1, as: Int64.self), breaker: breaker, probeAt: row.get(3, as: Int64.self)
          )
        })
    }
    circuits.withLock { circuits in
      for row in rows {
        var breaker = CircuitBreaker(CircuitBreaker.Config(row.breaker.config ?? BreakerConfig()))
        _ = breaker.set(CircuitBreaker.Mode(row.breaker.mode), at: row.probeAt)
        if row.breaker.state != .closed { breaker.restore(.open(probeAt: row.probeAt), reason: row.breaker.reason) }
        circuits[Key(tenant: row.tenant, circuit: row.breaker.circuit)] = Kept(
          breaker: breaker, fallback: row.breaker.config?.fallback ?? "", changedAt: row.breaker.changedAt?.nanosecondsSinceEpoch ?? 0,
          version: row.version)
      }
    }
  }

  /// Asks whether a call may go. One that may is reported by `report`.
  func admit(_ circuit: String, of tenant: String) async -> Admission {
    let (key, now) = (Key(tenant: tenant, circuit: circuit), environment.clock.now)
    let (admission, change) = circuits.withLock { circuits -> (Admission, Change?) in
      var kept = circuits[key] ?? Kept(breaker: CircuitBreaker())
      let (verdict, transition) = kept.breaker.admit(at: now)
      let change = Self.note(transition, &kept, key, now)
      circuits[key] = kept
      switch verdict {
      case .go(let isProbe): return (.go(Permit(key: key, isProbe: isProbe, begun: now)), change)
      case .refused(let after): return (.refused(Refusal(retryAfter: after, fallback: kept.fallback)), change)
      }
    }
    await tell(change)
    return admission
  }

  /// Whether a call would be refused now. Changes nothing.
  func refusal(_ circuit: String, of tenant: String) -> Refusal? {
    let now = environment.clock.now
    return circuits.withLock { circuits in
      guard var kept = circuits[Key(tenant: tenant, circuit: circuit)] else { return nil }
      // A copy answers: asking is no call.
      guard case .refused(let after) = kept.breaker.admit(at: now).0 else { return nil }
      return Refusal(retryAfter: after, fallback: kept.fallback)
    }
  }

  func report(_ permit: Permit, _ outcome: CircuitBreaker.Outcome) async {
    let now = environment.clock.now
    let change = circuits.withLock { circuits -> Change? in
      guard var kept = circuits[permit.key] else { return nil }
      let transition = kept.breaker.record(
        outcome, took: .nanoseconds(now - permit.begun), isProbe: permit.isProbe, at: now)
      let change = Self.note(transition, &kept, permit.key, now)
      circuits[permit.key] = kept
      return change
    }
    await tell(change)
  }

  // MARK: For operators

  func list(of tenant: String) -> [Breaker] {
    let now = environment.clock.now
    return circuits.withLock { circuits in
      circuits.filter { $0.key.tenant == tenant }.map { Self.contract($0.value, $0.key, now) }.sorted { $0.circuit < $1.circuit }
    }
  }

  /// Changes a circuit's mode or its configuration, with the audit of it.
  func set(_ request: SetBreakerRequest, by caller: Caller, _ once: IdempotencyKey, _ method: String) async throws -> Breaker {
    let key = Key(tenant: caller.tenant, circuit: request.circuit)
    let (journal, stamp) = (journal, TaskStamp(environment))
    let now = stamp.now
    let plan = try circuits.withLock { circuits -> (Kept, Change) in
      let count = circuits.keys.count { $0.tenant == caller.tenant }
      guard circuits[key] != nil || count < OrchestratorLimits.circuits else {
        throw RPCError.resourceExhausted("the tenant has \(count) circuits, as many as it may")
      }
      var kept = circuits[key] ?? Kept(breaker: CircuitBreaker())
      if let config = request.config {
        kept.breaker.set(CircuitBreaker.Config(config))
        kept.fallback = config.fallback
      }
      let transition = request.mode == .unspecified ? nil : kept.breaker.set(CircuitBreaker.Mode(request.mode), at: now)
      kept.version += 1
      kept.changedAt = now
      return (kept, Change(transition: transition, key: key, breaker: Self.contract(kept, key, now), probeAt: now, version: kept.version))
    }
    let audit = AuditRecorded(
      action: "breaker.set", target: request.circuit, actor: caller.id, actorKind: "\(caller.kind)", decision: "allow",
      reason: request.reason, method: method)
    let breaker = try await environment.database.transaction("ao.breaker") { transaction in
      try transaction.once(once, at: now) {
        try Self.write(plan.1, journal, stamp, transaction)
        try journal.append(audit, tenant: key.tenant, at: stamp, transaction)
        return plan.1.breaker
      }
    }.value
    // Only what is stored counts. A repeated request finds it done.
    if breaker == plan.1.breaker { circuits.withLock { $0[key] = plan.0 } }
    return breaker
  }

  // MARK: Inside

  /// A change to be stored and told.
  private struct Change: Sendable {
    var transition: CircuitBreaker.Transition?
    var key: Key
    var breaker: Breaker
    var probeAt: Int64
    var version: Int64
  }

  private static func note(_ transition: CircuitBreaker.Transition?, _ kept: inout Kept, _ key: Key, _ now: Int64) -> Change? {
    guard let transition else { return nil }
    kept.version += 1
    kept.changedAt = now
    var probeAt = now
    if case .open(let at) = kept.breaker.state { probeAt = at }
    return Change(transition: transition, key: key, breaker: contract(kept, key, now), probeAt: probeAt, version: kept.version)
  }

  private func tell(_ change: Change?) async {
    guard let change else { return }
    let (journal, stamp) = (journal, TaskStamp(environment))
    // A breaker works without its row: what cannot be stored now is stored with its next change.
    _ = try? await environment.database.transaction("ao.circuit") { try Self.write(change, journal, stamp, $0) }
  }

  private static func write(_ change: Change, _ journal: TaskJournal, _ stamp: TaskStamp, _ transaction: borrowing Transaction) throws {
    let (circuit, tenant) = (change.key.circuit, change.key.tenant)
    // Two changes made one after the other may come here in either order: the later one stays.
    try transaction.execute(
      """
      INSERT INTO actp_circuit_states (tenant_id, circuit, version, breaker, probe_at) VALUES (?1, ?2, ?3, ?4, ?5)
      ON CONFLICT (tenant_id, circuit) DO UPDATE SET
        version = excluded.version, breaker = excluded.breaker, probe_at = excluded.probe_at
      WHERE actp_circuit_states.version < excluded.version
      """, tenant, circuit, change.version, change.breaker.encoded(), change.probeAt)
    let tool = circuit.hasPrefix("tool:") ? String(circuit.dropFirst("tool:".count)) : nil
    switch (change.transition, tool) {
    case (.opened, let tool?):
      try journal.append(ToolCircuitOpen(toolName: tool, failures: change.breaker.failures), tenant: tenant, at: stamp, transaction)
    case (.halfOpened, let tool?): try journal.append(ToolCircuitHalfOpen(toolName: tool), tenant: tenant, at: stamp, transaction)
    case (.closed, let tool?): try journal.append(ToolCircuitClosed(toolName: tool), tenant: tenant, at: stamp, transaction)
    case (.opened(let reason), nil):
      let open = CircuitOpen(circuit: circuit, failures: change.breaker.failures, reason: reason)
      try journal.append(open, tenant: tenant, at: stamp, transaction)
    case (.halfOpened, nil): try journal.append(CircuitHalfOpen(circuit: circuit), tenant: tenant, at: stamp, transaction)
    case (.closed, nil): try journal.append(CircuitClosed(circuit: circuit), tenant: tenant, at: stamp, transaction)
    case (nil, _): break
    }
  }

  private static func contract(_ kept: Kept, _ key: Key, _ now: Int64) -> Breaker {
    var breaker = kept.breaker
    let counts = breaker.counts(at: now)
    let state: BreakerState =
      switch breaker.state {
      case .closed: .closed
      case .open: .open
      case .halfOpen: .halfOpen
      }
    let mode: BreakerMode =
      switch breaker.mode {
      case .automatic: .automatic
      case .forcedOpen: .forcedOpen
      case .disabled: .disabled
      }
    return Breaker(
      circuit: key.circuit, state: state, mode: mode, config: breaker.config.contract(fallback: kept.fallback), calls: counts.calls,
      failures: counts.failures, slowCalls: counts.slow,
      changedAt: kept.changedAt == 0 ? nil : .init(nanosecondsSinceEpoch: kept.changedAt),
      reason: breaker.reason)
  }
}

extension CircuitBreaker.Outcome {
  /// What an error says of whoever was asked: a verdict is an answer; what its caller took back, and what policy kept from being asked, say
  /// nothing.
  init(of error: any Error, by deadline: Deadline?) {
    switch error {
    case let error as RPCError where error.reason == .policyDenied: self = .neutral
    case let error as RPCError where error.isVerdict: self = .success
    case is CancellationError: self = deadline?.hasPassed == true ? .failure : .neutral
    case let error as RPCError where error.code == .cancelled: self = deadline?.hasPassed == true ? .failure : .neutral
    default: self = .failure
    }
  }
}

extension CircuitBreaker.Mode {
  init(_ mode: BreakerMode) {
    switch mode {
    case .forcedOpen: self = .forcedOpen
    case .disabled: self = .disabled
    default: self = .automatic
    }
  }
}

extension CircuitBreaker.Config {
  /// Of a validated contract, zeros reading as the defaults.
  init(_ contract: BreakerConfig) {
    self.init()
    if contract.failureThreshold > 0 { failureThreshold = contract.failureThreshold }
    if contract.windowSeconds > 0 { window = .seconds(Int64(contract.windowSeconds)) }
    if contract.recoveryProbeSeconds > 0 { recoveryProbe = .seconds(Int64(contract.recoveryProbeSeconds)) }
    if contract.failureRate > 0 { failureRate = contract.failureRate }
    if contract.slowCallRate > 0 { slowCallRate = contract.slowCallRate }
    if contract.slowCallMs > 0 { slowCall = .milliseconds(Int64(contract.slowCallMs)) }
    if contract.minimumCalls > 0 { minimumCalls = contract.minimumCalls }
  }

  func contract(fallback: String) -> BreakerConfig {
    BreakerConfig(
      failureThreshold: failureThreshold, windowSeconds: UInt32(window.components.seconds),
      recoveryProbeSeconds: UInt32(recoveryProbe.components.seconds), fallback: fallback, failureRate: failureRate ?? 0,
      slowCallRate: slowCallRate ?? 0, slowCallMs: UInt32(slowCall.nanoseconds / 1_000_000), minimumCalls: minimumCalls)
  }

  /// What is wrong with a contract, into `validation`.
  static func check(_ contract: BreakerConfig, _ validation: inout Validation) {
    validation.range(contract.windowSeconds, "config.window_seconds", 0...OrchestratorLimits.breakerSeconds)
    validation.range(contract.recoveryProbeSeconds, "config.recovery_probe_seconds", 0...OrchestratorLimits.breakerSeconds)
    validation.check((0...1).contains(contract.failureRate), "config.failure_rate", "must be from 0 to 1")
    validation.check((0...1).contains(contract.slowCallRate), "config.slow_call_rate", "must be from 0 to 1")
    validation.check(
      ["", CircuitBreakers.builtIn].contains(contract.fallback), "config.fallback", "must be built_in, or empty for none")
  }
}
