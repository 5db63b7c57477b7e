import SpanwireDatabase
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// One assist or view-as grant. Nothing of it changes but that it is revoked, once: so a question about a past moment is answered alike
/// for ever.
struct HelpRow: Sendable {
  let id: String
  let kind: HelpKind
  /// Who is helped; the grant is of their tenant.
  let target: (tenant: String, user: String)
  /// Who helps.
  let helper: (tenant: String, user: String)
  let reason: String
  let grantedBy: String
  let createdAt: Int64
  let expiresAt: Int64
  var revokedAt: Int64?
  var revokedBy = ""

  func state(at now: Int64) -> HelpState {
    if revokedAt.map({ $0 <= now }) ?? false { return .revoked }
    return expiresAt <= now ? .expired : .standing
  }

  func contract(at now: Int64) -> HelpGrant {
    HelpGrant(
      grantID: id, kind: kind, state: state(at: now), grantedTo: helper.user, grantedToTenantID: helper.tenant,
      targetUserID: target.user, targetTenantID: target.tenant, reason: reason, grantedBy: grantedBy,
      createdAt: .init(nanosecondsSinceEpoch: createdAt), expiresAt: .init(nanosecondsSinceEpoch: expiresAt),
      revokedAt: revokedAt.map { .init(nanosecondsSinceEpoch: $0) }, revokedBy: revokedBy)
  }
}

/// The rows of grants.
enum HelpStore {
  static func insert(_ row: HelpRow, in tx: borrowing Transaction) throws {
    try tx.execute(
      """
      INSERT INTO policy_help_grants (tenant_id, grant_id, kind, target_user_id, granted_to, granted_to_tenant_id, reason, granted_by,
        created_at, expires_at, revoked_by)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, '')
      """, row.target.tenant, row.id, row.kind.rawValue, row.target.user, row.helper.user, row.helper.tenant, row.reason, row.grantedBy,
      row.createdAt, row.expiresAt, expecting: .rows(1))
  }

  static func revoke(_ row: HelpRow, in tx: borrowing Transaction) throws {
    try tx.execute(
      """
      UPDATE policy_help_grants SET revoked_at = ?3, revoked_by = ?4
      WHERE tenant_id = ?1 AND grant_id = ?2 AND revoked_at IS NULL
      """, row.target.tenant, row.id, row.revokedAt, row.revokedBy, expecting: .rows(1))
  }

  static func find(_ id: String, tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> HelpRow? {
    try reader.first(
      """
      SELECT grant_id, kind, tenant_id, target_user_id, granted_to_tenant_id, granted_to, reason, granted_by, created_at, expires_at,
        revoked_at, revoked_by
      FROM policy_help_grants WHERE tenant_id = ?1 AND grant_id = ?2
      """, tenant, id, row: row)
  }

  /// Which grants somebody looks for.
  struct Wanted: Sendable {
    /// Of this tenant's people.
    var tenant: String
    /// If not empty: only those over this user of the tenant, or held by them, whomever they are over.
    var person = ""
    var target = ""
    var helper = ""
    /// If given: only those that stand then.
    var standingAt: Int64?
  }

  static func page(
    _ wanted: Wanted, after: String, size: Int, in reader: borrowing some Reader & ~Copyable
  ) throws -> [HelpRow] {
    try reader.query(
      """
      SELECT grant_id, kind, tenant_id, target_user_id, granted_to_tenant_id, granted_to, reason, granted_by, created_at, expires_at,
        revoked_at, revoked_by
      FROM policy_help_grants
      WHERE (?2 = '' AND tenant_id = ?1
        OR ?2 <> '' AND (tenant_id = ?1 AND target_user_id = ?2 OR granted_to_tenant_id = ?1 AND granted_to = ?2))
        AND (?3 = '' OR target_user_id = ?3) AND (?4 = '' OR granted_to = ?4)
        AND (?5 = 0 OR expires_at > ?5 AND revoked_at IS NULL) AND grant_id > ?6
      ORDER BY grant_id LIMIT ?7
      """, wanted.tenant, wanted.person, wanted.target, wanted.helper, wanted.standingAt ?? 0, after, size, row: row)
  }

  private static func row(_ row: Row) -> HelpRow {
    HelpRow(
      id: row[0], kind: HelpKind(rawValue: row[1]), target: (row[2], row[3]), helper: (row[4], row[5]), reason: row[6], grantedBy: row[7],
      createdAt: row[8], expiresAt: row[9], revokedAt: row[10], revokedBy: row[11])
  }

  // MARK: What stands

  /// The grant that somebody claims to have, as it is kept, and as it stood at a moment. What is claimed of it besides its id must be so.
  static func standing(
    _ claimed: AccessEvaluator.Request.Grant, _ kind: HelpKind, tenant: String, at now: Int64, in reader: borrowing some Reader & ~Copyable
  ) throws -> AccessEvaluator.Request.Grant {
    guard let row = try find(claimed.id, tenant: tenant, in: reader), row.kind == kind else { return claimed.unknown }
    func agrees(_ said: String, _ kept: String) -> Bool { said.isEmpty || said == kept }
    guard agrees(claimed.grantedTo, row.helper.user), agrees(claimed.targetUserID, row.target.user),
      agrees(claimed.targetTenantID, row.target.tenant), claimed.expiresAt == 0 || claimed.expiresAt == row.expiresAt
    else { return AccessEvaluator.Request.Grant(id: row.id, fault: "the grant \(row.id) is not what is said of it") }
    if row.state(at: now) == .revoked { return AccessEvaluator.Request.Grant(id: row.id, fault: "revoked") }
    return AccessEvaluator.Request.Grant(
      id: row.id, grantedTo: row.helper.user, grantedToTenantID: row.helper.tenant, targetUserID: row.target.user,
      targetTenantID: row.target.tenant, madeAt: row.createdAt, expiresAt: row.expiresAt)
  }
}

extension AccessEvaluator.Request.Grant {
  /// The same, for a store that knows of none.
  var unknown: AccessEvaluator.Request.Grant { AccessEvaluator.Request.Grant(id: id, fault: "there is no such grant") }
}
