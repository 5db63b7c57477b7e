import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// The approval queue: who must approve comes from the matrix; four eyes at least, and nobody decides twice.
extension PolicyServer {
  public func requestApproval(_ request: RequestApprovalRequest, context: ServerContext) async throws -> Approval {
    let step = try step(context)
    let model = try await evaluator(for: context).model
    let row = model.row(of: request.category, target: request.target)
    let approvers = row.flatMap(model.approvers)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.category, "category")
    fields.check(request.category.isEmpty || approvers != nil, "category", "nothing of this category needs an approval")
    fields.optionalID(request.target, "target")
    fields.optionalID(request.targetTenantID, "target_tenant_id")
    fields.text(request.reason, "reason", max: PolicyLimits.reasonLetters)
    let ttl = request.ttl.map { Duration.seconds($0.seconds) + .nanoseconds(Int64($0.nanos)) } ?? PolicyLimits.approval
    fields.check(ttl > .zero && ttl <= PolicyLimits.longestApproval, "ttl", "must be more than nothing and at most 30 days")
    try fields.finish()
    let approval = StoredApproval(
      id: environment.ids.next(.approval), state: .pending, category: request.category, target: request.target,
      targetTenant: request.targetTenantID.isEmpty ? step.tenant : request.targetTenantID, requestedBy: step.caller.id,
      reason: request.reason, row: row ?? "", requiredApprovers: approvers ?? [], createdAt: step.now,
      expiresAt: step.now + ttl.nanoseconds)
    let key = IdempotencyKey(request.idempotencyKey, request, context)
    return try await environment.database.transaction("policy.request_approval") { tx in
      try tx.once(key, at: step.now) {
        try ApprovalStore.insert(approval, tenant: step.tenant, in: tx)
        try ApprovalTimer.set(for: approval, tenant: step.tenant, in: tx)
        try step.tell(
          ApprovalRequested(
            approvalID: approval.id, subject: approval.subject, requestedBy: approval.requestedBy,
            requiredApprovers: approval.requiredApprovers, expiresAt: .init(nanosecondsSinceEpoch: approval.expiresAt)), in: tx)
        return approval.contract
      }
    }.value
  }

  public func decideApproval(_ request: DecideApprovalRequest, context: ServerContext) async throws -> Approval {
    let step = try step(context)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.approvalID, "approval_id")
    if request.approved {
      fields.optionalText(request.note, "note", max: PolicyLimits.reasonLetters)
    } else {
      fields.text(request.note, "note", max: PolicyLimits.reasonLetters)
    }
    try fields.finish()
    let key = IdempotencyKey(request.idempotencyKey, request, context)
    return try await environment.database.transaction("policy.decide_approval") { tx in
      try tx.once(key, at: step.now) {
        guard var approval = try ApprovalStore.find(request.approvalID, tenant: step.tenant, in: tx) else {
          throw RPCError.missing(.approvalNotFound, "there is no approval \(request.approvalID)")
        }
        guard approval.state == .pending, approval.expiresAt > step.now else {
          let word = approval.state == .pending ? "expired" : approval.state.word
          throw RPCError.precondition(.approvalEnded, "\(approval.id) is \(word) already; only a pending request can be decided")
        }
        let role = try Self.role(of: step.caller, deciding: approval)
        let decision = StoredApproval.Decision(
          approver: step.caller.id, role: role, isApproved: request.approved, note: request.note, decidedAt: step.now)
        try ApprovalStore.add(decision, to: approval.id, tenant: step.tenant, in: tx)
        approval.decisions.append(decision)
        try step.audit(
          request.approved ? "approval.approve" : "approval.reject", approval.id,
          reason: request.note.isEmpty ? approval.reason : request.note, in: tx)
        if !request.approved {
          approval.state = .rejected
          try step.tell(ApprovalRejected(approvalID: approval.id, approver: step.caller.name, note: request.note), in: tx)
        } else if approval.missing.isEmpty {
          approval.state = .approved
          try step.tell(ApprovalApproved(approvalID: approval.id, approver: step.caller.name, note: request.note), in: tx)
        }
        if approval.state != .pending { try ApprovalStore.end(approval.id, as: approval.state, tenant: step.tenant, in: tx) }
        return approval.contract
      }
    }.value
  }

  /// The required role for which a caller decides: one of the caller's own for which nobody has yet.
  private static func role(of caller: Caller, deciding approval: StoredApproval) throws -> String {
    func refuse(_ rule: String, _ text: String) -> RPCError { .denied(.approvalNotYours, rule: rule, text) }
    if caller.id == approval.requestedBy { throw refuse("APPROVAL-FOUR-EYES", "who asked for an approval can't give it") }
    if approval.decisions.contains(where: { $0.approver == caller.id }) {
      throw refuse("APPROVAL-FOUR-EYES", "\(caller.id) has decided already; the rest is for others")
    }
    guard let role = approval.missing.first(where: caller.roles.contains) else {
      throw refuse(
        "APPROVAL-ROLE", "\(approval.approvalName) asks for \(approval.missing.joined(separator: ", ")), none of which the caller is")
    }
    return role
  }

  public func getApproval(_ request: GetApprovalRequest, context: ServerContext) async throws -> Approval {
    let step = try step(context)
    var fields = Validation()
    fields.id(request.approvalID, "approval_id")
    try fields.finish()
    let found = try await environment.database.read { try ApprovalStore.find(request.approvalID, tenant: step.tenant, in: $0) }
    guard let found else { throw RPCError.missing(.approvalNotFound, "there is no approval \(request.approvalID)") }
    return found.contract
  }

  public func listApprovals(_ request: ListApprovalsRequest, context: ServerContext) async throws -> ListApprovalsResponse {
    let step = try step(context)
    var fields = Validation()
    fields.known(request.state, "state")
    fields.optionalID(request.requestedBy, "requested_by")
    let size = pageSize(request.pageSize, &fields)
    try fields.finish()
    let after = try PageToken.decode(request.pageToken)
    let rows = try await environment.database.scan {
      try ApprovalStore.page(
        state: request.state, requestedBy: request.requestedBy, after: after, size: size + 1, tenant: step.tenant, in: $0)
    }
    return ListApprovalsResponse(
      approvals: rows.prefix(size).map(\.contract), nextPageToken: rows.count > size ? PageToken.encode(rows[size - 1].id) : "")
  }

  /// A request's time is over: one that nobody decided expires. One that was approved just stops counting.
  func expireApproval(_ id: String, _ step: PolicyStep, in tx: borrowing Transaction) throws {
    guard let approval = try ApprovalStore.find(id, tenant: step.tenant, in: tx), approval.state == .pending else { return }
    try ApprovalStore.end(id, as: .expired, tenant: step.tenant, in: tx)
    try step.tell(ApprovalExpired(approvalID: id), in: tx)
  }
}

/// The effect that ends a request which nobody decided.
enum ApprovalTimer {
  static let method = "approval-expiry"

  static func set(for approval: StoredApproval, tenant: String, in tx: borrowing Transaction) throws {
    try tx.perform(
      Effect(
        id: "EXPIRY-" + approval.id, owner: PolicyServer.producer, stream: approval.id, method: method, request: Array(approval.id.utf8),
        dueAt: approval.expiresAt, tenant: tenant))
  }
}

extension StoredApproval {
  /// What it is for, as events name it: `admin_flag_access/checkout`.
  var subject: String { target.isEmpty ? category : "\(category)/\(target)" }
  fileprivate var approvalName: String { "\(id) (\(subject))" }
}

extension ApprovalState {
  var word: String {
    switch self {
    case .pending: "pending"
    case .approved: "approved"
    case .rejected: "rejected"
    case .expired: "expired"
    default: "unknown"
    }
  }
}
