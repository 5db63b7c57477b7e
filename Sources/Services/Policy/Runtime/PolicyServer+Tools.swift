import SpanwireDatabase
import SpanwireEventLog
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// Tool calls: judged before they are made, with their cost set aside, and settled after.
extension PolicyServer {
  public func checkTool(_ request: CheckToolRequest, context: ServerContext) async throws -> ToolDecision {
    let step = try step(context)
    let ttl = try Self.validate(request)
    let call = ToolCall(
      agentSlug: request.agentSlug, toolName: request.toolName, tier: request.actionType, runID: request.runID,
      sessionID: request.productRuntimeSessionID, userID: request.userID, orgID: request.orgID, targetURL: request.targetURL)
    var gate = ToolGate(call, try await book.policies(for: call, tenant: step.tenant, now: step.now))
    do {
      try gate.checkHost()
      try gate.checkSafety(approved: try await isApproved(request, step))
      // What goes on was counted when it began.
      if request.extendsReservationID.isEmpty { try gate.checkRates(rates, now: step.now) }
    } catch let refusal as ToolGate.Refusal {
      return await refuse(refusal, call, trace: gate.trace, step)
    }
    guard let cost = request.estimatedCost else { return ToolDecision(allowed: true, trace: gate.trace) }
    do {
      return try await reserve(cost, ttl: ttl, request, gate, step, context)
    } catch let overdraft as Overdraft {
      if request.extendsReservationID.isEmpty { gate.takeBack(rates, at: step.now) }
      let (bucket, refusal) = (overdraft.bucket, overdraft.refusal)
      let exhausted = BudgetExhausted(
        scope: bucket.name, limitMicros: bucket.limit, askedMicros: cost.micros, currency: bucket.currency)
      return await refuse(refusal, call, trace: gate.trace, after: [step.draft(exhausted)], step)
    } catch {
      if request.extendsReservationID.isEmpty { gate.takeBack(rates, at: step.now) }
      throw error
    }
  }

  /// A refusal changes nothing, and is audited with what else tells of it: a flood of the same as a count.
  private func refuse(
    _ refusal: ToolGate.Refusal, _ call: ToolCall, trace: [String], after others: [EventDraft] = [], _ step: PolicyStep
  ) async -> ToolDecision {
    let record = AuditRecorded(
      action: "tool.\(call.tier)", target: call.toolName, actor: call.agentSlug.isEmpty ? step.caller.name : "agent:\(call.agentSlug)",
      actorKind: call.agentSlug.isEmpty ? "\(step.caller.kind)" : "agent", decision: "deny", rule: refusal.policyID, reason: refusal.reason,
      method: step.method)
    var decision = refusal.contract(trace: trace)
    decision.auditEventID = await environment.auditDenial(step.draft(record), after: others)
    return decision
  }

  private static func validate(_ request: CheckToolRequest) throws -> Duration {
    var fields = Validation()
    fields.optionalID(request.agentSlug, "agent_slug")
    fields.id(request.toolName, "tool_name")
    fields.check(
      ToolTier.all.contains(request.actionType), "action_type", "must be one of \(ToolTier.all.joined(separator: ", "))")
    fields.optionalID(request.runID, "run_id")
    fields.optionalID(request.productRuntimeSessionID, "product_runtime_session_id")
    fields.optionalID(request.userID, "user_id")
    fields.optionalID(request.orgID, "org_id")
    fields.optionalText(request.targetURL, "target_url", max: RequestedHost.maxURLLength)
    fields.ids(request.approvalRefs, "approval_refs", max: PolicyLimits.approvalReferences)
    if let cost = request.estimatedCost {
      fields.idempotencyKey(request.idempotencyKey)
      fields.money(cost, "estimated_cost")
      fields.range(cost.micros, "estimated_cost.micros", 0...PolicyLimits.micros)
    } else {
      fields.optionalID(request.idempotencyKey, "idempotency_key")
      fields.check(
        request.extendsReservationID.isEmpty, "extends_reservation_id", "is for what costs something: estimated_cost must be given")
    }
    fields.optionalID(request.extendsReservationID, "extends_reservation_id")
    let ttl = request.reservationTtl.map { Duration.seconds($0.seconds) + .nanoseconds(Int64($0.nanos)) } ?? PolicyLimits.reservation
    fields.check(
      ttl > .zero && ttl <= PolicyLimits.longestReservation, "reservation_ttl", "must be more than nothing and at most an hour")
    try fields.finish()
    return ttl
  }

  /// A budget that has not enough left.
  private struct Overdraft: Error {
    let bucket: BudgetBucket
    let refusal: ToolGate.Refusal
  }

  /// Sets the cost aside on every budget that the call falls into, or on none: then it throws the `Overdraft`.
  private func reserve(
    _ cost: Money, ttl: Duration, _ request: CheckToolRequest, _ gate: ToolGate, _ step: PolicyStep, _ context: ServerContext
  ) async throws -> ToolDecision {
    let buckets = gate.buckets(now: step.now, halved: try await halvesBudgets())
    let ids = (reservation: environment.ids.next(.reservation), entry: environment.ids.next(.budgetEntry))
    let key = IdempotencyKey(request.idempotencyKey, request, context)
    let row = ReservationRow(
      id: ids.reservation, state: .held, micros: cost.micros, spent: 0, currency: cost.currency, agentSlug: request.agentSlug,
      toolName: request.toolName, runID: request.runID, createdAt: step.now, expiresAt: step.now + ttl.nanoseconds)
    let trace = gate.trace
    return try await environment.database.transaction("policy.reserve") { tx -> ToolDecision in
      // A refusal is judged anew when it is asked again; what was set aside is given again.
      if case .done(let bytes) = try tx.recall(key, at: step.now) { return try ToolDecision(decoding: bytes) }
      if !request.extendsReservationID.isEmpty { try Self.checkExtension(request, tenant: step.tenant, in: tx) }
      for bucket in buckets {
        if let refusal = try Self.refusal(of: cost, by: bucket, now: step.now, in: tx) { throw Overdraft(bucket: bucket, refusal: refusal) }
      }
      try BudgetStore.insert(row, tenant: step.tenant, in: tx)
      for (line, bucket) in buckets.enumerated() {
        try BudgetStore.post(
          bucket, "reserve", entry: ids.entry, line: line, reserved: cost.micros, spent: 0, of: row, now: step.now, tenant: step.tenant,
          in: tx)
      }
      try ReservationTimer.set(for: row, tenant: step.tenant, in: tx)
      try step.tell(
        BudgetReserved(reservationID: row.id, scope: buckets.names, micros: cost.micros, currency: cost.currency), in: tx)
      let decision = ToolDecision(
        allowed: true, reservation: row.contract(policies: buckets.policyIDs),
        trace: trace + buckets.map { "\($0.policyID): budget passed (\($0.period))" })
      try tx.remember(key, decision.encoded(), at: step.now)
      return decision
    }.value
  }

  /// What goes on must be a call that something is set aside for: or anybody's call could say that it is none of its own.
  private static func checkExtension(_ request: CheckToolRequest, tenant: String, in tx: borrowing Transaction) throws {
    let id = request.extendsReservationID
    guard let row = try BudgetStore.reservation(id, tenant: tenant, in: tx) else {
      throw RPCError.missing(.budgetReservationNotFound, "there is no reservation \(id)")
    }
    guard row.state == .held else {
      throw RPCError.precondition(.budgetReservationEnded, "reservation \(id) is \(row.state.word); only what is held can be extended")
    }
    guard (row.agentSlug, row.toolName, row.runID) == (request.agentSlug, request.toolName, request.runID) else {
      throw RPCError.invalidField("extends_reservation_id", "is of another call: of \(row.toolName) by \(row.agentSlug) in \(row.runID)")
    }
  }

  private static func refusal(
    of cost: Money, by bucket: BudgetBucket, now: Int64, in tx: borrowing Transaction
  ) throws -> ToolGate.Refusal? {
    guard bucket.currency == cost.currency else {
      return ToolGate.Refusal(
        policyID: bucket.policyID, type: "budget", reason: "the budget is in \(bucket.currency), the cost in \(cost.currency)")
    }
    let balance = try BudgetStore.balance(of: bucket, in: tx)
    let left = bucket.limit - balance.reserved - balance.spent
    if cost.micros <= left { return nil }
    return ToolGate.Refusal(
      policyID: bucket.policyID, type: "budget",
      reason: "\(Micros.format(max(0, left))) of \(Micros.format(bucket.limit)) \(bucket.currency) are left for \(bucket.period)",
      retryAfter: ToolGate.wait(for: bucket, now: now))
  }

  private func isApproved(_ request: CheckToolRequest, _ step: PolicyStep) async throws -> Bool {
    if request.approvalRefs.isEmpty { return false }
    let (refs, tool, tier) = (request.approvalRefs, request.toolName, request.actionType)
    return try await environment.database.read { reader in
      try ApprovalStore.isApproved(refs, category: tier, target: tool, tenant: step.tenant, at: step.now, in: reader)
    }
  }

  // MARK: After the call

  public func settleReservation(_ request: SettleReservationRequest, context: ServerContext) async throws -> BudgetReservation {
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.reservationID, "reservation_id")
    fields.money(request.spent, "spent")
    try fields.finish()
    let spent = request.spent ?? Money()
    return try await end(request.reservationID, IdempotencyKey(request.idempotencyKey, request, context), "settle", context) { row in
      guard spent.currency == row.currency else {
        throw RPCError.invalidField("spent.currency", "the reservation is in \(row.currency)")
      }
      guard spent.micros <= row.micros else {
        throw RPCError.invalidField(
          "spent.micros", "is more than the \(row.micros) that were set aside; reserve what more is needed before it is spent")
      }
      row.state = .settled
      row.spent = spent.micros
    }
  }

  public func releaseReservation(_ request: ReleaseReservationRequest, context: ServerContext) async throws -> BudgetReservation {
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.reservationID, "reservation_id")
    try fields.finish()
    return try await end(request.reservationID, IdempotencyKey(request.idempotencyKey, request, context), "release", context) { row in
      row.state = .released
    }
  }

  private func end(
    _ id: String, _ key: IdempotencyKey, _ kind: StaticString, _ context: ServerContext,
    _ change: @escaping @Sendable (inout ReservationRow) throws -> Void
  ) async throws -> BudgetReservation {
    let step = try step(context)
    let entry = environment.ids.next(.budgetEntry)
    return try await environment.database.transaction("policy.end_reservation") { [self] tx in
      try tx.once(key, at: step.now) {
        guard var row = try BudgetStore.reservation(id, tenant: step.tenant, in: tx) else {
          throw RPCError.missing(.budgetReservationNotFound, "there is no reservation \(id)")
        }
        guard row.state == .held else {
          throw RPCError.precondition(
            .budgetReservationEnded, "reservation \(id) is \(row.state.word) already; only what is held can be settled or released")
        }
        try change(&row)
        return try close(row, kind, entry: entry, step, in: tx)
      }
    }.value
  }

  /// Gives what was set aside back, spends what was spent, and takes the timer away.
  @discardableResult
  private func close(
    _ row: ReservationRow, _ kind: StaticString, entry: String, _ step: PolicyStep, in tx: borrowing Transaction
  ) throws -> BudgetReservation {
    try BudgetStore.end(row, tenant: step.tenant, in: tx)
    let buckets = try BudgetStore.buckets(of: row.id, tenant: step.tenant, in: tx)
    for (line, bucket) in buckets.enumerated() {
      try BudgetStore.post(
        bucket, kind, entry: entry, line: line, reserved: -row.micros, spent: row.spent, of: row, now: step.now, tenant: step.tenant,
        in: tx)
    }
    if row.state != .expired { try ReservationTimer.cancel(for: row.id, at: step.now, in: tx) }
    if row.state == .settled {
      try step.tell(BudgetSettled(reservationID: row.id, scope: buckets.names, micros: row.spent, currency: row.currency), in: tx)
    } else {
      try step.tell(BudgetReleased(reservationID: row.id, scope: buckets.names, micros: row.micros, currency: row.currency), in: tx)
    }
    return row.contract(policies: buckets.policyIDs)
  }

  /// Nobody settled it in its time: what was set aside comes back.
  func expireReservation(_ id: String, entry: String, _ step: PolicyStep, in tx: borrowing Transaction) throws {
    guard var row = try BudgetStore.reservation(id, tenant: step.tenant, in: tx), row.state == .held else { return }
    row.state = .expired
    try close(row, "expire", entry: entry, step, in: tx)
  }

  // MARK: Reading

  public func listBudgetReservations(_ request: ListBudgetReservationsRequest, context: ServerContext) async throws
    -> ListBudgetReservationsResponse
  {
    let step = try step(context)
    var fields = Validation()
    fields.known(request.state, "state")
    fields.optionalID(request.runID, "run_id")
    let size = pageSize(request.pageSize, &fields)
    try fields.finish()
    let after = try PageToken.decode(request.pageToken)
    return try await environment.database.scan { reader in
      let rows = try BudgetStore.page(
        state: request.state, runID: request.runID, after: after, size: size + 1, tenant: step.tenant, in: reader)
      return ListBudgetReservationsResponse(
        reservations: try rows.prefix(size).map { row in
          row.contract(policies: try BudgetStore.buckets(of: row.id, tenant: step.tenant, in: reader).policyIDs)
        }, nextPageToken: rows.count > size ? PageToken.encode(rows[size - 1].id) : "")
    }
  }

  public func listBudgets(_ request: ListBudgetsRequest, context: ServerContext) async throws -> ListBudgetsResponse {
    let step = try step(context)
    var fields = Validation()
    fields.optionalID(request.policyID, "policy_id")
    let size = pageSize(request.pageSize, &fields)
    try fields.finish()
    let keys = request.pageToken.isEmpty ? ["", "", ""] : try PageToken.decode(request.pageToken, keys: 3)
    let own = try await book.policies(of: step.tenant, now: step.now)
    let halved = try await halvesBudgets()
    let rows = try await environment.database.scan { reader in
      try BudgetStore.used(
        policy: request.policyID, after: (keys[0], keys[1], keys[2]), size: size + 1, tenant: step.tenant, in: reader)
    }
    let budgets = rows.prefix(size).map { row in
      let policy = own[row.policyID]
      var limit: Money?
      if case .budget(let budget)? = policy?.config { limit = row.period.hasPrefix("day:") ? budget.daily(halved: halved) : budget.perRun }
      return BudgetUse(
        policyID: row.policyID, scope: policy?.scope ?? "", bucket: row.period, limit: limit,
        reserved: Money(micros: row.balance.reserved, currency: row.currency),
        spent: Money(micros: row.balance.spent, currency: row.currency))
    }
    let last = rows.count > size ? rows[size - 1] : nil
    return ListBudgetsResponse(
      budgets: budgets, nextPageToken: last.map { PageToken.encode($0.policyID, $0.period, $0.currency) } ?? "")
  }
}

/// The effect that gives an abandoned reservation back.
enum ReservationTimer {
  static let method = "reservation-expiry"

  private static func id(_ reservation: String) -> String { "EXPIRY-" + reservation }

  static func set(for row: ReservationRow, tenant: String, in tx: borrowing Transaction) throws {
    try tx.perform(
      Effect(
        id: id(row.id), owner: PolicyServer.producer, stream: row.id, method: method, request: Array(row.id.utf8), dueAt: row.expiresAt,
        tenant: tenant))
  }

  static func cancel(for reservation: String, at now: Int64, in tx: borrowing Transaction) throws {
    _ = try tx.cancelEffect(id(reservation), at: now)
  }
}

extension BudgetBucket {
  /// `POL-1/day:2026-05-04`, as events name it.
  var name: String { "\(policyID)/\(period)" }
}

extension [BudgetBucket] {
  var names: String { map(\.name).joined(separator: " ") }
  var policyIDs: [String] {
    var ids: [String] = []
    for bucket in self where !ids.contains(bucket.policyID) { ids.append(bucket.policyID) }
    return ids
  }
}

extension ReservationRow {
  func contract(policies: [String]) -> BudgetReservation {
    BudgetReservation(
      reservationID: id, state: state, reserved: Money(micros: micros, currency: currency), spent: Money(micros: spent, currency: currency),
      agentSlug: agentSlug, toolName: toolName, runID: runID, policyIds: policies, createdAt: .init(nanosecondsSinceEpoch: createdAt),
      expiresAt: .init(nanosecondsSinceEpoch: expiresAt))
  }
}

extension BudgetReservationState {
  var word: String {
    switch self {
    case .held: "held"
    case .settled: "settled"
    case .released: "released"
    case .expired: "expired"
    default: "unknown"
    }
  }
}

extension ToolGate.Refusal {
  func contract(trace: [String]) -> ToolDecision {
    ToolDecision(
      allowed: false, policyID: policyID, policyType: type, reason: reason,
      retryAfter: retryAfter.map { Google_Protobuf_Duration(nanoseconds: $0) }, trace: trace + ["\(policyID): \(type) refused"])
  }
}
