import SpanwireDatabase
import SpanwireSchema
import SpanwireWellKnown

/// The rows of identity.
enum IdentityStore {
  // MARK: Tenants

  static func tenant(_ id: String, in reader: borrowing some Reader & ~Copyable) throws -> Tenant? {
    try reader.first(
      "SELECT tenant_id, display_name, state, reason, changed_by, created_at, changed_at FROM identity_tenants WHERE tenant_id = ?1", id,
      row: tenant)
  }

  static func tenants(
    state: TenantState, after: String, size: Int, in reader: borrowing some Reader & ~Copyable
  ) throws -> [Tenant] {
    try reader.query(
      """
      SELECT tenant_id, display_name, state, reason, changed_by, created_at, changed_at FROM identity_tenants
      WHERE (?1 = 0 OR state = ?1) AND tenant_id > ?2 ORDER BY tenant_id LIMIT ?3
      """, state.rawValue, after, size, row: tenant)
  }

  static func put(_ tenant: Tenant, in tx: borrowing Transaction) throws {
    try tx.execute(
      """
      INSERT INTO identity_tenants (tenant_id, display_name, state, reason, changed_by, created_at, changed_at)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
      ON CONFLICT (tenant_id) DO UPDATE SET state = excluded.state, reason = excluded.reason, changed_by = excluded.changed_by,
        changed_at = excluded.changed_at
      """, tenant.tenantID, tenant.displayName, tenant.state.rawValue, tenant.reason, tenant.changedBy,
      tenant.createdAt?.nanosecondsSinceEpoch ?? 0, tenant.changedAt?.nanosecondsSinceEpoch ?? 0, expecting: .rows(1))
  }

  private static func tenant(_ row: Row) -> Tenant {
    Tenant(
      tenantID: row[0], displayName: row[1], state: TenantState(rawValue: row[2]),
      createdAt: .init(nanosecondsSinceEpoch: row[5]), changedAt: .init(nanosecondsSinceEpoch: row[6]), changedBy: row[4], reason: row[3])
  }

  // MARK: Role bindings

  static func insert(_ binding: RoleBinding, in tx: borrowing Transaction) throws {
    try tx.execute(
      """
      INSERT INTO identity_role_bindings (tenant_id, binding_id, kind, principal_id, certificate_name, org_id, roles, segments, created_by,
        created_at, expires_at)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
      """, binding.tenantID, binding.bindingID, binding.kind.rawValue, binding.principalID, binding.certificateName, binding.orgID,
      list(binding.roles), list(binding.segments), binding.createdBy, binding.createdAt?.nanosecondsSinceEpoch ?? 0,
      binding.expiresAt?.nanosecondsSinceEpoch, expecting: .rows(1))
  }

  static func deleteBinding(_ id: String, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute(
      "DELETE FROM identity_role_bindings WHERE tenant_id = ?1 AND binding_id = ?2", tenant, id, expecting: .rows(1))
  }

  static func binding(_ id: String, tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> RoleBinding? {
    try reader.first(
      """
      SELECT tenant_id, binding_id, kind, principal_id, certificate_name, org_id, roles, segments, created_by, created_at, expires_at
      FROM identity_role_bindings WHERE tenant_id = ?1 AND binding_id = ?2
      """, tenant, id, row: binding)
  }

  /// The binding of a certificate's name, in whichever tenant.
  static func binding(ofCertificate name: String, in reader: borrowing some Reader & ~Copyable) throws -> RoleBinding? {
    try reader.first(
      """
      SELECT tenant_id, binding_id, kind, principal_id, certificate_name, org_id, roles, segments, created_by, created_at, expires_at
      FROM identity_role_bindings WHERE certificate_name = ?1 AND certificate_name <> ''
      """, name, row: binding)
  }

  /// The bindings of one principal that stand.
  static func bindings(
    of kind: PrincipalKind, _ id: String, tenant: String, at now: Int64, in reader: borrowing some Reader & ~Copyable
  ) throws -> [RoleBinding] {
    try reader.query(
      """
      SELECT tenant_id, binding_id, kind, principal_id, certificate_name, org_id, roles, segments, created_by, created_at, expires_at
      FROM identity_role_bindings
      WHERE tenant_id = ?1 AND principal_id = ?2 AND kind = ?3 AND (expires_at IS NULL OR expires_at > ?4) ORDER BY binding_id LIMIT ?5
      """, tenant, id, kind.rawValue, now, IdentityLimits.bindingsOfPrincipal, row: binding)
  }

  static func bindings(
    of principal: String, after: String, size: Int, tenant: String, in reader: borrowing some Reader & ~Copyable
  ) throws -> [RoleBinding] {
    try reader.query(
      """
      SELECT tenant_id, binding_id, kind, principal_id, certificate_name, org_id, roles, segments, created_by, created_at, expires_at
      FROM identity_role_bindings
      WHERE tenant_id = ?1 AND (?2 = '' OR principal_id = ?2) AND binding_id > ?3 ORDER BY binding_id LIMIT ?4
      """, tenant, principal, after, size, row: binding)
  }

  private static func binding(_ row: Row) -> RoleBinding {
    RoleBinding(
      bindingID: row[1], tenantID: row[0], kind: PrincipalKind(rawValue: row[2]), principalID: row[3], certificateName: row[4],
      orgID: row[5], roles: items(row[6]), segments: items(row[7]), createdAt: .init(nanosecondsSinceEpoch: row[9]), createdBy: row[8],
      expiresAt: row.get(10, as: Int64?.self).map { .init(nanosecondsSinceEpoch: $0) })
  }

  // MARK: Keys

  static func insert(_ key: ApiKey, secretHash: [UInt8], in tx: borrowing Transaction) throws {
    try tx.execute(
      """
      INSERT INTO identity_api_keys (tenant_id, key_id, secret_hash, kind, principal_id, org_id, roles, segments, label, created_by,
        created_at, expires_at, scopes)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
      """, key.tenantID, key.keyID, secretHash, key.kind.rawValue, key.principalID, key.orgID, list(key.roles), list(key.segments),
      key.label, key.createdBy, key.createdAt?.nanosecondsSinceEpoch ?? 0, key.expiresAt?.nanosecondsSinceEpoch ?? 0,
      list(key.scopes), expecting: .rows(1))
  }

  static func revoke(_ key: ApiKey, at now: Int64, in tx: borrowing Transaction) throws {
    try tx.execute(
      "UPDATE identity_api_keys SET revoked_at = ?3 WHERE tenant_id = ?1 AND key_id = ?2 AND revoked_at IS NULL", key.tenantID, key.keyID,
      now, expecting: .rows(1))
  }

  /// A key was used. Two that learn of it at once write it once.
  static func used(_ key: ApiKey, at now: Int64, in tx: borrowing Transaction) throws {
    try tx.execute(
      "UPDATE identity_api_keys SET last_used_at = ?3 WHERE tenant_id = ?1 AND key_id = ?2 AND (last_used_at IS NULL OR last_used_at < ?4)",
      key.tenantID, key.keyID, now, now - IdentityLimits.lastUsed.nanoseconds)
  }

  static func key(_ id: String, tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> ApiKey? {
    try reader.first(
      """
      SELECT tenant_id, key_id, kind, principal_id, org_id, roles, segments, label, created_by, created_at, expires_at, revoked_at,
        last_used_at, scopes
      FROM identity_api_keys WHERE tenant_id = ?1 AND key_id = ?2
      """, tenant, id, row: key)
  }

  static func key(secretHash: [UInt8], in reader: borrowing some Reader & ~Copyable) throws -> ApiKey? {
    try reader.first(
      """
      SELECT tenant_id, key_id, kind, principal_id, org_id, roles, segments, label, created_by, created_at, expires_at, revoked_at,
        last_used_at, scopes
      FROM identity_api_keys WHERE secret_hash = ?1
      """, secretHash, row: key)
  }

  static func keys(
    of principal: String, after: String, size: Int, tenant: String, in reader: borrowing some Reader & ~Copyable
  ) throws -> [ApiKey] {
    try reader.query(
      """
      SELECT tenant_id, key_id, kind, principal_id, org_id, roles, segments, label, created_by, created_at, expires_at, revoked_at,
        last_used_at, scopes
      FROM identity_api_keys WHERE tenant_id = ?1 AND (?2 = '' OR principal_id = ?2) AND key_id > ?3 ORDER BY key_id LIMIT ?4
      """, tenant, principal, after, size, row: key)
  }

  private static func key(_ row: Row) -> ApiKey {
    ApiKey(
      keyID: row[1], tenantID: row[0], kind: PrincipalKind(rawValue: row[2]), principalID: row[3], orgID: row[4], roles: items(row[5]),
      segments: items(row[6]), label: row[7], createdAt: .init(nanosecondsSinceEpoch: row[9]), createdBy: row[8],
      expiresAt: .init(nanosecondsSinceEpoch: row[10]), revokedAt: row.get(11, as: Int64?.self).map { .init(nanosecondsSinceEpoch: $0) },
      lastUsedAt: row.get(12, as: Int64?.self).map { .init(nanosecondsSinceEpoch: $0) }, scopes: items(row[13]))
  }

  // MARK: Revoked tokens

  static func put(_ token: RevokedToken, in tx: borrowing Transaction) throws {
    try tx.execute(
      """
      INSERT INTO identity_revoked_tokens (tenant_id, token_id, reason, revoked_by, revoked_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
      ON CONFLICT (tenant_id, token_id) DO UPDATE SET reason = excluded.reason, revoked_by = excluded.revoked_by,
        revoked_at = excluded.revoked_at, expires_at = CASE WHEN identity_revoked_tokens.expires_at > excluded.expires_at
          THEN identity_revoked_tokens.expires_at ELSE excluded.expires_at END
      """, token.tenantID, token.tokenID, token.reason, token.revokedBy, token.revokedAt?.nanosecondsSinceEpoch ?? 0,
      token.expiresAt?.nanosecondsSinceEpoch ?? 0, expecting: .rows(1))
  }

  static func isRevoked(_ id: String, tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> Bool {
    try reader.first("SELECT 1 FROM identity_revoked_tokens WHERE tenant_id = ?1 AND token_id = ?2", tenant, id) { _ in true } ?? false
  }

  static func revoked(
    after: String, size: Int, tenant: String, in reader: borrowing some Reader & ~Copyable
  ) throws -> [RevokedToken] {
    try reader.query(
      """
      SELECT tenant_id, token_id, reason, revoked_by, revoked_at, expires_at FROM identity_revoked_tokens
      WHERE tenant_id = ?1 AND token_id > ?2 ORDER BY token_id LIMIT ?3
      """, tenant, after, size
    ) {
      RevokedToken(
        tenantID: $0[0], tokenID: $0[1], reason: $0[2], revokedBy: $0[3], revokedAt: .init(nanosecondsSinceEpoch: $0[4]),
        expiresAt: .init(nanosecondsSinceEpoch: $0[5]))
    }
  }

  /// Forgets revocations of tokens that have expired themselves; returns how many of a batch.
  static func purge(before now: Int64, in tx: borrowing Transaction) throws -> Int {
    try tx.executeCounting(
      """
      DELETE FROM identity_revoked_tokens WHERE (tenant_id, token_id) IN
      (SELECT tenant_id, token_id FROM identity_revoked_tokens WHERE expires_at < ?1 LIMIT ?2)
      """, now, IdentityLimits.purgeBatch)
  }

  // MARK: Lists in a column

  /// Ids hold no comma.
  private static func list(_ items: [String]) -> String { items.joined(separator: ",") }

  private static func items(_ list: String) -> [String] { list.split(separator: ",").map(String.init) }
}
