import SpanwireDatabase

extension IdentityServer {
  public static let migrations = Migrations(
    "identity",
    [
      .init(
        "tenants, bindings, keys, revocations",
        sqlite: """
          CREATE TABLE identity_tenants (
            tenant_id TEXT NOT NULL PRIMARY KEY,
            display_name TEXT NOT NULL,
            state INTEGER NOT NULL,
            reason TEXT NOT NULL,
            changed_by TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            changed_at INTEGER NOT NULL
          ) STRICT, WITHOUT ROWID;
          -- It owns what is shared, and its administrators make the others.
          INSERT INTO identity_tenants VALUES ('platform', 'The platform itself', 1, '', '', 0, 0);

          CREATE TABLE identity_role_bindings (
            tenant_id TEXT NOT NULL,
            binding_id TEXT NOT NULL,
            kind INTEGER NOT NULL,
            principal_id TEXT NOT NULL,
            -- Empty: it only adds roles.
            certificate_name TEXT NOT NULL,
            org_id TEXT NOT NULL,
            -- Ids, a comma between two.
            roles TEXT NOT NULL,
            segments TEXT NOT NULL,
            created_by TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            expires_at INTEGER,
            PRIMARY KEY (tenant_id, binding_id)
          ) STRICT, WITHOUT ROWID;
          CREATE INDEX identity_role_bindings_of_principal ON identity_role_bindings (tenant_id, principal_id, kind, binding_id);
          CREATE UNIQUE INDEX identity_role_bindings_of_certificate ON identity_role_bindings (certificate_name)
            WHERE certificate_name <> '';

          CREATE TABLE identity_api_keys (
            tenant_id TEXT NOT NULL,
            key_id TEXT NOT NULL,
            -- SHA-256 of the secret, which is 256 random bits.
            secret_hash BLOB NOT NULL,
            kind INTEGER NOT NULL,
            principal_id TEXT NOT NULL,
            org_id TEXT NOT NULL,
            roles TEXT NOT NULL,
            segments TEXT NOT NULL,
            label TEXT NOT NULL,
            created_by TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            revoked_at INTEGER,
            last_used_at INTEGER,
            PRIMARY KEY (tenant_id, key_id)
          ) STRICT, WITHOUT ROWID;
          CREATE UNIQUE INDEX identity_api_keys_by_secret ON identity_api_keys (secret_hash);

          CREATE TABLE identity_revoked_tokens (
            tenant_id TEXT NOT NULL,
            token_id TEXT NOT NULL,
            reason TEXT NOT NULL,
            revoked_by TEXT NOT NULL,
            revoked_at INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            PRIMARY KEY (tenant_id, token_id)
          ) STRICT, WITHOUT ROWID;
          CREATE INDEX identity_revoked_tokens_by_end ON identity_revoked_tokens (expires_at);
          """),
      .init(
        "scopes of keys",
        sqlite: """
          -- Ids, a comma between two; empty: whatever the principal may.
          ALTER TABLE identity_api_keys ADD COLUMN scopes TEXT NOT NULL DEFAULT '';
          """),
    ])
}
