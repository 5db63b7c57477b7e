import SpanwireDatabase
import SpanwireSchema
import SpanwireWellKnown

/// The rows of flags: each tenant's set as it was given, with who gave it.
enum FlagStore {
  static let migrations = Migrations(
    "flags",
    [
      .init(
        "sets",
        sqlite: """
          CREATE TABLE flag_sets (
            tenant_id TEXT NOT NULL PRIMARY KEY,
            revision INTEGER NOT NULL,
            configuration TEXT NOT NULL,
            applied_at INTEGER NOT NULL,
            actor TEXT NOT NULL,
            reason TEXT NOT NULL
          ) STRICT;
          """)
    ])

  /// Nil when the tenant never had one.
  static func configuration(of tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> FlagConfiguration? {
    try reader.first(
      "SELECT revision, configuration, applied_at, actor, reason FROM flag_sets WHERE tenant_id = ?1", tenant
    ) {
      FlagConfiguration(
        revision: $0[0], json: $0[1], appliedAt: .init(nanosecondsSinceEpoch: $0[2]), actor: $0[3], reason: $0[4])
    }
  }

  /// 0 when the tenant never had one.
  static func revision(of tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> UInt64 {
    try reader.first("SELECT revision FROM flag_sets WHERE tenant_id = ?1", tenant) { $0[0] } ?? 0
  }

  static func tenants(in reader: borrowing some Reader & ~Copyable) throws -> [String] {
    try reader.query("SELECT tenant_id FROM flag_sets ORDER BY tenant_id") { $0[0] }
  }

  static func put(_ configuration: FlagConfiguration, at now: Int64, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute(
      """
      INSERT INTO flag_sets (tenant_id, revision, configuration, applied_at, actor, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
      ON CONFLICT (tenant_id) DO UPDATE SET revision = excluded.revision, configuration = excluded.configuration,
        applied_at = excluded.applied_at, actor = excluded.actor, reason = excluded.reason
      """, tenant, configuration.revision, configuration.json, now, configuration.actor, configuration.reason, expecting: .rows(1))
  }
}
