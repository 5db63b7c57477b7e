import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// Rollouts: what a flag serves and why, and how it moves from stage to stage.
extension FlagsServer {
  // MARK: Asking

  public func explainFlag(_ request: ExplainFlagRequest, context: ServerContext) async throws -> FlagEvaluation {
    try await explain(request.flagKey, for: request.subject, context).evaluation
  }

  public func isEnabled(_ request: IsEnabledRequest, context: ServerContext) async throws -> IsEnabledResponse {
    let (evaluation, evaluator) = try await explain(request.flagKey, for: request.subject, context)
    return IsEnabledResponse(enabled: evaluator.isEnabled(evaluation), source: evaluation.source)
  }

  private func explain(
    _ key: String, for subject: FlagSubject?, _ context: ServerContext
  ) async throws -> (evaluation: FlagEvaluation, FlagEvaluator) {
    let (caller, subject) = (try Caller(context), subject ?? FlagSubject())
    let clock = environment.clock.now
    var fields = Validation()
    fields.text(key, "flag_key", max: FlagLimits.keyBytes)
    fields.optionalText(subject.userID, "subject.user_id", max: FlagLimits.keyBytes)
    fields.optionalText(subject.tenantID, "subject.tenant_id", max: FlagLimits.keyBytes)
    fields.known(subject.env, "subject.env")
    fields.known(subject.tier, "subject.tier")
    fields.ids(subject.approvalRefs, "subject.approval_refs", max: FlagLimits.approvals)
    let pinned = subject.nowIso.isEmpty ? clock : RFC3339.parse(subject.nowIso)
    fields.check(pinned != nil, "subject.now_iso", "must be an instant of RFC 3339")
    try fields.finish()
    try caller.admit(tenant: subject.tenantID)
    let now = pinned ?? clock
    let evaluator = try await flags(of: caller.tenant).evaluator
    let asker = FlagAsker(
      userID: subject.userID, tenantID: caller.tenant, tier: subject.tier.word, environment: subject.env.word,
      attributes: subject.attributes.map(FlagValue.members) ?? [:], approved: try await approved(by: subject.approvalRefs, at: now),
      now: now)
    return (evaluator.evaluate(key, for: asker), evaluator)
  }

  /// The flags that approvals of the queue are for; nil for one that is for any. What isn't there, has ended or is for something else counts
  /// for nothing; a queue that can't be asked fails the call.
  private func approved(by references: [String], at now: Int64) async throws -> Set<String>? {
    var keys: Set<String> = []
    for reference in references {
      guard let approval = try await approval(reference), Self.stands(approval, at: now) else { continue }
      if approval.target.isEmpty { return nil }
      keys.insert(approval.target)
    }
    return keys
  }

  private func approval(_ id: String) async throws -> Approval? {
    do {
      return try await policy.getApproval(GetApprovalRequest(approvalID: id))
    } catch let error as RPCError where error.code == .notFound {
      return nil
    }
  }

  private static func stands(_ approval: Approval, at now: Int64) -> Bool {
    approval.state == .approved && approval.category == flagCategory && (approval.expiresAt?.nanosecondsSinceEpoch ?? 0) > now
  }

  /// The category under which the approval matrix and access policies know flags.
  private static let flagCategory = "admin_flag_access"

  public func getFlag(_ request: GetFlagRequest, context: ServerContext) async throws -> FlagStatus {
    let caller = try Caller(context)
    var fields = Validation()
    fields.text(request.flagKey, "flag_key", max: FlagLimits.keyBytes)
    try fields.finish()
    return try Self.known(request.flagKey, try await flags(of: caller.tenant)).contract
  }

  private static func known(_ key: String, _ flags: FlagBook.Snapshot) throws -> FlagRollout {
    guard let rollout = flags.evaluator.rollout(of: key) else { throw RPCError.missing(.flagNotFound, "there is no flag \(key)") }
    return rollout
  }

  // MARK: Moving

  public func transitionFlag(_ request: TransitionFlagRequest, context: ServerContext) async throws -> FlagStatus {
    let (caller, now) = (try Caller(context), environment.clock.now)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.text(request.flagKey, "flag_key", max: FlagLimits.keyBytes)
    fields.known(request.move, "move")
    fields.check(request.move != .unspecified, "move", "must be promote, pause, resume or roll back")
    fields.text(request.reason, "reason", max: FlagLimits.reasonCharacters)
    fields.optionalID(request.approvalID, "approval_id")
    fields.check(
      request.expectedStage.isEmpty || FlagStage(rawValue: request.expectedStage) != nil, "expected_stage",
      "must be one of \(FlagStage.allCases.map(\.rawValue).joined(separator: ", "))")
    try fields.finish()
    // Flags are definitions: who may write these may move those.
    try await policy.authorise(caller, to: .write, "registry_definitions")
    let rollout = try Self.known(request.flagKey, try await book.committedFlags(of: caller.tenant, now: now))
    let approval = request.approvalID.isEmpty ? nil : try await approval(request.approvalID)
    let key = IdempotencyKey(request.idempotencyKey, request, context)
    let (environment, trace, method) = (environment, context.trace, context.method.path)
    return try await environment.database.transaction("flags.transition") { tx in
      try tx.once(key, at: now) {
        let moved = try FlagStageStore.find(request.flagKey, tenant: caller.tenant, in: tx)
        let before = FlagRollout(rollout.definition, moved: moved)
        let after = try Self.move(before, request, approval, caller, now: now)
        try FlagStageStore.put(after, tenant: caller.tenant, in: tx)
        let transition = FlagTransition(
          number: after.transitions, flagKey: request.flagKey, fromStage: before.position.stage.rawValue,
          toStage: after.position.stage.rawValue, move: request.move, actor: caller.name, reason: request.reason,
          approvalID: request.approvalID)
        try FlagStageStore.insert(transition, at: now, tenant: caller.tenant, in: tx)
        for event: any EventPayload in [
          FlagTransitioned(
            flagKey: request.flagKey, fromStage: transition.fromStage, toStage: transition.toStage, actor: caller.name,
            reason: request.reason, approvalID: request.approvalID),
          AuditRecorded(
            action: "flag.\(request.move.word.replacing(" ", with: "_"))", target: request.flagKey, actor: caller.name,
            actorKind: "\(caller.kind)", decision: "allow", reason: request.reason, method: method),
        ] {
          try tx.append(
            EventDraft(
              event, producer: Self.producer, tenant: caller.tenant, org: caller.organization, occurredAt: now, trace: trace), environment)
        }
        return FlagRollout(rollout.definition, moved: after).contract
      }
    }.value
  }

  /// The row after a move, or why it is refused.
  private static func move(
    _ rollout: FlagRollout, _ request: TransitionFlagRequest, _ approval: Approval?, _ caller: Caller, now: Int64
  ) throws -> FlagStageRow {
    let (key, stage) = (request.flagKey, rollout.position.stage)
    guard request.expectedStage.isEmpty || request.expectedStage == stage.rawValue else {
      throw RPCError.precondition(.flagTransitionInvalid, "\(key) is \(stage.rawValue), not \(request.expectedStage)")
    }
    guard let position = rollout.position.after(request.move) else {
      let moves = rollout.position.moves.map(\.word)
      throw RPCError.precondition(
        .flagTransitionInvalid,
        "\(key) is \(stage.rawValue), from where it can't \(request.move.word)\(moves.isEmpty ? "" : ", only \(moves.joined(separator: " or "))")"
      )
    }
    let isWider = (request.move == .promote || request.move == .resume) && position.stage != .draft
    if isWider, rollout.needsApprovalToMove { try check(approval, named: request.approvalID, for: key, caller, now: now) }
    // Who pauses keeps what was approved for the record; it takes another approval to resume.
    let kept = position.stage == .paused ? rollout.approvalID : isWider ? request.approvalID : ""
    return FlagStageRow(key: key, position: position, approvalID: kept, transitions: rollout.transitions + 1)
  }

  private static func check(_ approval: Approval?, named id: String, for key: String, _ caller: Caller, now: Int64) throws {
    func refuse(_ why: String) -> RPCError { .denied(.flagApprovalMissing, rule: "FLAG-APPROVAL", why) }
    guard !id.isEmpty else {
      throw refuse("\(key) is sensitive or requires approval: it takes an approval of category \(flagCategory) for it to serve more people")
    }
    guard let approval else { throw refuse("there is no approval \(id)") }
    guard approval.state == .approved else { throw refuse("approval \(id) is \(approval.state)") }
    guard stands(approval, at: now) else { throw refuse("approval \(id) has expired, or is for \(approval.category)") }
    guard approval.target.isEmpty || approval.target == key else { throw refuse("approval \(id) is for \(approval.target)") }
    guard approval.requestedBy == caller.id else { throw refuse("approval \(id) was given to \(approval.requestedBy)") }
  }

  public func listFlagTransitions(
    _ request: ListFlagTransitionsRequest, context: ServerContext
  ) async throws -> ListFlagTransitionsResponse {
    let caller = try Caller(context)
    var fields = Validation()
    fields.text(request.flagKey, "flag_key", max: FlagLimits.keyBytes)
    let size = fields.pageSize(request.pageSize, default: FlagLimits.defaultHistoryPage, max: FlagLimits.historyPage)
    try fields.finish()
    let after = try PageToken.decode(request.pageToken)
    let before = UInt64(after)
    if !after.isEmpty, before == nil { throw RPCError.invalidField("page_token", "is none of this list") }
    let rows = try await environment.database.scan {
      try FlagStageStore.transitions(of: request.flagKey, before: before, size: size + 1, tenant: caller.tenant, in: $0)
    }
    return ListFlagTransitionsResponse(
      transitions: Array(rows.prefix(size)), nextPageToken: rows.count > size ? PageToken.encode(String(rows[size - 1].number)) : "")
  }

  /// That every flag is where its last transition brought it.
  public func verify() async throws -> [Verification] {
    try await environment.database.scan { reader in
      var check = Verification("flags: stages are where their transitions lead", examined: try FlagStageStore.count(in: reader))
      for key in try FlagStageStore.inconsistent(limit: Verification.maxFindings, in: reader) {
        check.found("\(key) is not where its transitions lead", of: .platform)
      }
      return [check]
    }
  }
}

extension Tier {
  /// As rules name it; staff where nothing was said.
  fileprivate var word: String {
    switch self {
    case .anonymous: "anonymous"
    case .member: "member"
    case .gold: "gold"
    case .platinum: "platinum"
    case .admin: "admin"
    case .staff, .unspecified, .unrecognized: "staff"
    }
  }
}

extension Environment {
  fileprivate var word: String {
    switch self {
    case .staging: "staging"
    case .dev: "dev"
    case .prod, .unspecified, .unrecognized: "prod"
    }
  }
}
