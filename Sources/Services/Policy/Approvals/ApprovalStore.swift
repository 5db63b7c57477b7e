import SpanwireDatabase
import SpanwireSchema
import SpanwireWellKnown

/// One request for approval, with what was said to it so far.
struct StoredApproval: Sendable {
  struct Decision: Sendable {
    let approver: String
    let role: String
    let isApproved: Bool
    let note: String
    let decidedAt: Int64
  }

  let id: String
  var state: ApprovalState
  let category: String
  let target: String
  let targetTenant: String
  let requestedBy: String
  let reason: String
  let row: String
  let requiredApprovers: [String]
  let createdAt: Int64
  let expiresAt: Int64
  var decisions: [Decision] = []

  /// The required roles for which nobody has decided yet.
  var missing: [String] { requiredApprovers.filter { role in !decisions.contains { $0.role == role } } }

  var contract: Approval {
    Approval(
      approvalID: id, state: state, category: category, target: target, targetTenantID: targetTenant, requestedBy: requestedBy,
      reason: reason, approvalMatrixRow: row, requiredApprovers: requiredApprovers,
      decisions: decisions.map {
        ApprovalDecision(
          approver: $0.approver, role: $0.role, approved: $0.isApproved, note: $0.note,
          decidedAt: .init(nanosecondsSinceEpoch: $0.decidedAt))
      }, createdAt: .init(nanosecondsSinceEpoch: createdAt), expiresAt: .init(nanosecondsSinceEpoch: expiresAt))
  }
}

/// The rows of the approval queue.
enum ApprovalStore {
  static func insert(_ approval: StoredApproval, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute(
      """
      INSERT INTO policy_approvals (tenant_id, approval_id, state, category, target, target_tenant_id, requested_by, reason, matrix_row,
        required_approvers, created_at, expires_at)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
      """, tenant, approval.id, approval.state.rawValue, approval.category, approval.target, approval.targetTenant, approval.requestedBy,
      approval.reason, approval.row, approval.requiredApprovers.joined(separator: ","), approval.createdAt, approval.expiresAt,
      expecting: .rows(1))
  }

  static func add(_ decision: StoredApproval.Decision, to id: String, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute(
      """
      INSERT INTO policy_approval_decisions (tenant_id, approval_id, approver, role, approved, note, decided_at)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
      """, tenant, id, decision.approver, decision.role, decision.isApproved, decision.note, decision.decidedAt, expecting: .rows(1))
  }

  /// Ends a request that is still pending.
  static func end(_ id: String, as state: ApprovalState, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute(
      "UPDATE policy_approvals SET state = ?3 WHERE tenant_id = ?1 AND approval_id = ?2 AND state = 1", tenant, id, state.rawValue,
      expecting: .rows(1))
  }

  static func find(_ id: String, tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> StoredApproval? {
    var approval = try reader.first(
      """
      SELECT approval_id, state, category, target, target_tenant_id, requested_by, reason, matrix_row, required_approvers, created_at,
        expires_at
      FROM policy_approvals WHERE tenant_id = ?1 AND approval_id = ?2
      """, tenant, id, row: approval)
    try approval?.decisions = decisions(on: id, tenant: tenant, in: reader)
    return approval
  }

  static func page(
    state: ApprovalState, requestedBy: String, after: String, size: Int, tenant: String, in reader: borrowing some Reader & ~Copyable
  ) throws -> [StoredApproval] {
    var rows = try reader.query(
      """
      SELECT approval_id, state, category, target, target_tenant_id, requested_by, reason, matrix_row, required_approvers, created_at,
        expires_at
      FROM policy_approvals
      WHERE tenant_id = ?1 AND (?2 = 0 OR state = ?2) AND (?3 = '' OR requested_by = ?3) AND approval_id > ?4 ORDER BY approval_id LIMIT ?5
      """, tenant, state.rawValue, requestedBy, after, size, row: approval)
    for index in rows.indices { rows[index].decisions = try decisions(on: rows[index].id, tenant: tenant, in: reader) }
    return rows
  }

  private static func decisions(
    on id: String, tenant: String, in reader: borrowing some Reader & ~Copyable
  ) throws -> [StoredApproval.Decision] {
    try reader.query(
      """
      SELECT approver, role, approved, note, decided_at FROM policy_approval_decisions
      WHERE tenant_id = ?1 AND approval_id = ?2 ORDER BY decided_at, approver
      """, tenant, id
    ) { StoredApproval.Decision(approver: $0[0], role: $0[1], isApproved: $0[2], note: $0[3], decidedAt: $0[4]) }
  }

  private static func approval(_ row: Row) -> StoredApproval {
    StoredApproval(
      id: row[0], state: ApprovalState(rawValue: row[1]), category: row[2], target: row[3], targetTenant: row[4], requestedBy: row[5],
      reason: row[6], row: row[7], requiredApprovers: row.get(8, as: String.self).split(separator: ",").map(String.init),
      createdAt: row[9], expiresAt: row[10])
  }

  // MARK: What stands

  /// What was said in the approvals named that are pending or approved and have not run out, and are for this target or for any.
  static func standing(
    _ refs: [String], for target: String, tenant: String, at now: Int64, in reader: borrowing some Reader & ~Copyable
  ) throws -> [AccessEvaluator.Request.Approval] {
    var standing: [AccessEvaluator.Request.Approval] = []
    for ref in refs {
      guard let approval = try find(ref, tenant: tenant, in: reader), approval.state == .approved || approval.state == .pending,
        approval.expiresAt > now, approval.target.isEmpty || approval.target == target
      else { continue }
      for decision in approval.decisions where decision.isApproved {
        standing.append(
          AccessEvaluator.Request.Approval(
            reference: ref, approverRole: decision.role, approverUserID: decision.approver, requestedBy: approval.requestedBy,
            category: approval.category, targetTenantID: approval.targetTenant, expiresAt: approval.expiresAt))
      }
    }
    return standing
  }

  /// Whether one of the approvals named is approved in full, for this category and target.
  static func isApproved(
    _ refs: [String], category: String, target: String, tenant: String, at now: Int64, in reader: borrowing some Reader & ~Copyable
  ) throws -> Bool {
    for ref in refs {
      if let approval = try find(ref, tenant: tenant, in: reader), approval.state == .approved, approval.expiresAt > now,
        approval.category == category, approval.target.isEmpty || approval.target == target
      {
        return true
      }
    }
    return false
  }
}
