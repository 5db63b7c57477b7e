import SpanwireDatabase
import SpanwireProtobuf
import SpanwireSchema
import SpanwireServiceKit

/// The registry's rows.
enum RegistryStore {
  static let migrations = Migrations(
    "registry",
    [
      Migrations.Step(
        "definitions, their history, revisions and snapshots",
        sqlite: """
          CREATE TABLE registry_revision (
            tenant_id TEXT NOT NULL,
            revision INTEGER NOT NULL,
            content_hash TEXT NOT NULL,
            change BLOB NOT NULL,
            effect_id TEXT NOT NULL,
            PRIMARY KEY (tenant_id, revision)
          ) STRICT, WITHOUT ROWID;
          CREATE TABLE registry_definition (
            tenant_id TEXT NOT NULL,
            kind INTEGER NOT NULL,
            id TEXT NOT NULL,
            revision INTEGER NOT NULL,
            content_hash TEXT NOT NULL,
            definition BLOB NOT NULL,
            PRIMARY KEY (tenant_id, kind, id)
          ) STRICT, WITHOUT ROWID;
          CREATE TABLE registry_history (
            tenant_id TEXT NOT NULL,
            kind INTEGER NOT NULL,
            id TEXT NOT NULL,
            revision INTEGER NOT NULL,
            -- Empty where the revision took the definition out.
            definition BLOB NOT NULL,
            PRIMARY KEY (tenant_id, kind, id, revision)
          ) STRICT, WITHOUT ROWID;
          -- Every version that was ever published, by its content: it never changes again.
          CREATE TABLE registry_published (
            tenant_id TEXT NOT NULL,
            kind INTEGER NOT NULL,
            id TEXT NOT NULL,
            version TEXT NOT NULL,
            content_hash TEXT NOT NULL,
            PRIMARY KEY (tenant_id, kind, id, version)
          ) STRICT, WITHOUT ROWID;
          CREATE TABLE registry_snapshot (
            tenant_id TEXT NOT NULL,
            snapshot_ref TEXT NOT NULL,
            config BLOB NOT NULL,
            created_at INTEGER NOT NULL,
            PRIMARY KEY (tenant_id, snapshot_ref)
          ) STRICT, WITHOUT ROWID;
          """)
    ])

  /// A revision as it stands in its row.
  struct Revision: Sendable {
    var tenant: String
    var revision: UInt64
    var contentHash: String
    var change: RegistryChange
    /// The effect that told LEM of it; empty when LEM needed not know.
    var effect: String
  }

  // MARK: Revisions

  /// The number of the newest revision; 0 before the first.
  static func head(_ reader: borrowing some Reader & ~Copyable, _ tenant: String) throws -> (revision: UInt64, contentHash: String) {
    try reader.first(
      "SELECT revision, content_hash FROM registry_revision WHERE tenant_id = ?1 ORDER BY revision DESC LIMIT 1", tenant,
      row: { (revision: $0[0], contentHash: $0[1]) }) ?? (0, "")
  }

  /// Revisions after one, the oldest first.
  static func revisions(
    _ reader: borrowing some Reader & ~Copyable, _ tenant: String, after revision: UInt64, limit: Int
  ) throws -> [Revision] {
    try reader.query(
      """
      SELECT tenant_id, revision, content_hash, change, effect_id FROM registry_revision
      WHERE tenant_id = ?1 AND revision > ?2 ORDER BY revision LIMIT ?3
      """, tenant, revision, limit, row: Self.revision)
  }

  /// Revisions before one, the newest first; of one definition, those that touched it.
  static func revisions(
    _ reader: borrowing some Reader & ~Copyable, _ tenant: String, of key: DefinitionKey?, before revision: UInt64, limit: Int
  ) throws -> [Revision] {
    guard let key else {
      return try reader.query(
        """
        SELECT tenant_id, revision, content_hash, change, effect_id FROM registry_revision
        WHERE tenant_id = ?1 AND revision < ?2 ORDER BY revision DESC LIMIT ?3
        """, tenant, revision, limit, row: Self.revision)
    }
    return try reader.query(
      """
      SELECT r.tenant_id, r.revision, r.content_hash, r.change, r.effect_id
      FROM registry_history h JOIN registry_revision r ON r.tenant_id = h.tenant_id AND r.revision = h.revision
      WHERE h.tenant_id = ?1 AND h.kind = ?2 AND h.id = ?3 AND h.revision < ?4 ORDER BY h.revision DESC LIMIT ?5
      """, tenant, key.kind.rawValue, key.id, revision, limit, row: Self.revision)
  }

  /// The effect of a revision; empty when it has none, or there is no such revision.
  static func effect(_ reader: borrowing some Reader & ~Copyable, _ tenant: String, revision: UInt64) throws -> String {
    try reader.first(
      "SELECT effect_id FROM registry_revision WHERE tenant_id = ?1 AND revision = ?2", tenant, revision,
      row: { $0.get(0, as: String.self) }) ?? ""
  }

  private static func revision(_ row: Row) throws -> Revision {
    Revision(
      tenant: row[0], revision: row[1], contentHash: row[2], change: try RegistryChange(decoding: row.get(3, as: [UInt8].self)),
      effect: row[4])
  }

  static func insert(_ revision: Revision, _ transaction: borrowing Transaction) throws {
    try transaction.execute(
      "INSERT INTO registry_revision (tenant_id, revision, content_hash, change, effect_id) VALUES (?1, ?2, ?3, ?4, ?5)",
      revision.tenant, revision.revision, revision.contentHash, revision.change.encoded(), revision.effect, expecting: .rows(1))
  }

  // MARK: Definitions

  static func definition(_ reader: borrowing some Reader & ~Copyable, _ tenant: String, _ key: DefinitionKey) throws -> Definition? {
    try reader.first(
      "SELECT definition FROM registry_definition WHERE tenant_id = ?1 AND kind = ?2 AND id = ?3", tenant, key.kind.rawValue, key.id,
      row: { try Definition(decoding: $0.get(0, as: [UInt8].self)) })
  }

  /// A definition of the tenant's, else the one that is shared with it.
  static func effective(_ reader: borrowing some Reader & ~Copyable, _ tenant: String, _ key: DefinitionKey) throws -> Definition? {
    if let own = try definition(reader, tenant, key) { return own }
    guard key.kind.isShared, tenant != Caller.platformTenant else { return nil }
    return try definition(reader, Caller.platformTenant, key)
  }

  /// A definition as it was at a revision; nil when it was not there.
  static func definition(
    _ reader: borrowing some Reader & ~Copyable, _ tenant: String, _ key: DefinitionKey, at revision: UInt64
  ) throws -> Definition? {
    let bytes = try reader.first(
      """
      SELECT definition FROM registry_history
      WHERE tenant_id = ?1 AND kind = ?2 AND id = ?3 AND revision <= ?4 ORDER BY revision DESC LIMIT 1
      """, tenant, key.kind.rawValue, key.id, revision, row: { $0.get(0, as: [UInt8].self) })
    guard let bytes, !bytes.isEmpty else { return nil }
    return try Definition(decoding: bytes)
  }

  /// All definitions of a tenant.
  static func everything(_ reader: borrowing some Reader & ~Copyable, _ tenant: String) throws -> [DefinitionKey: Definition.Value] {
    var all: [DefinitionKey: Definition.Value] = [:]
    var after: DefinitionKey?
    repeat {
      let page = try definitions(reader, tenant, kind: nil, after: after, limit: RegistryLimits.readPage)
      for definition in page { if let value = definition.value { all[value.key] = value } }
      after = page.count < RegistryLimits.readPage ? nil : page.last?.value?.key
    } while after != nil
    return all
  }

  /// All definitions of a tenant as they were at a revision.
  static func everything(
    _ reader: borrowing some Reader & ~Copyable, _ tenant: String, at revision: UInt64
  ) throws -> [DefinitionKey: Definition.Value] {
    var all: [DefinitionKey: Definition.Value] = [:]
    var after = DefinitionKey(.unspecified, "")
    while true {
      let page = try reader.query(
        """
        SELECT kind, id, definition FROM registry_history h
        WHERE tenant_id = ?1 AND (kind, id) > (?2, ?3) AND revision = (
          SELECT MAX(revision) FROM registry_history
          WHERE tenant_id = h.tenant_id AND kind = h.kind AND id = h.id AND revision <= ?4)
        ORDER BY kind, id LIMIT ?5
        """, tenant, after.kind.rawValue, after.id, revision, RegistryLimits.readPage,
        row: { (DefinitionKey(DefinitionKind(rawValue: $0[0]), $0[1]), $0.get(2, as: [UInt8].self)) })
      for (key, bytes) in page where !bytes.isEmpty { all[key] = try Definition(decoding: bytes).value }
      guard page.count == RegistryLimits.readPage, let last = page.last else { return all }
      after = last.0
    }
  }

  /// A page of definitions in the order of kind and id, of one kind or of all.
  static func definitions(
    _ reader: borrowing some Reader & ~Copyable, _ tenant: String, kind: DefinitionKind?, after: DefinitionKey?, limit: Int
  ) throws -> [Definition] {
    let low = after ?? DefinitionKey(kind ?? .unspecified, "")
    let last = kind?.rawValue ?? Int32.max
    return try reader.query(
      """
      SELECT definition FROM registry_definition
      WHERE tenant_id = ?1 AND (kind, id) > (?2, ?3) AND kind <= ?4 ORDER BY kind, id LIMIT ?5
      """, tenant, low.kind.rawValue, low.id, last, limit, row: { try Definition(decoding: $0.get(0, as: [UInt8].self)) })
  }

  /// The hash of every definition, by which a revision's content is named.
  static func hashes(_ reader: borrowing some Reader & ~Copyable, _ tenant: String) throws -> [DefinitionKey: String] {
    let rows = try reader.query(
      "SELECT kind, id, content_hash FROM registry_definition WHERE tenant_id = ?1 LIMIT ?2", tenant,
      RegistryLimits.definitionsPerTenant + 1,
      row: { (DefinitionKey(DefinitionKind(rawValue: $0[0]), $0[1]), $0.get(2, as: String.self)) })
    return Dictionary(rows) { first, _ in first }
  }

  static func put(_ definition: Definition, tenant: String, _ transaction: borrowing Transaction) throws {
    let value = definition.value!
    let key = value.key
    let bytes = definition.encoded()
    try transaction.execute(
      """
      INSERT INTO registry_definition (tenant_id, kind, id, revision, content_hash, definition) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
      ON CONFLICT (tenant_id, kind, id)
      DO UPDATE SET revision = excluded.revision, content_hash = excluded.content_hash, definition = excluded.definition
      """, tenant, key.kind.rawValue, key.id, definition.revision, definition.contentHash, bytes, expecting: .rows(1))
    try remember(key, bytes, at: definition.revision, tenant, transaction)
    guard let version = value.publishedVersion else { return }
    try transaction.execute(
      """
      INSERT INTO registry_published (tenant_id, kind, id, version, content_hash) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING
      """, tenant, key.kind.rawValue, key.id, version, definition.contentHash)
  }

  static func remove(_ key: DefinitionKey, at revision: UInt64, tenant: String, _ transaction: borrowing Transaction) throws {
    try transaction.execute(
      "DELETE FROM registry_definition WHERE tenant_id = ?1 AND kind = ?2 AND id = ?3", tenant, key.kind.rawValue, key.id,
      expecting: .rows(1))
    try remember(key, [], at: revision, tenant, transaction)
  }

  private static func remember(
    _ key: DefinitionKey, _ definition: [UInt8], at revision: UInt64, _ tenant: String, _ transaction: borrowing Transaction
  ) throws {
    try transaction.execute(
      "INSERT INTO registry_history (tenant_id, kind, id, revision, definition) VALUES (?1, ?2, ?3, ?4, ?5)",
      tenant, key.kind.rawValue, key.id, revision, definition, expecting: .rows(1))
  }

  /// Of these definitions, the versions that were published before, by their content.
  static func published(
    _ reader: borrowing some Reader & ~Copyable, _ tenant: String, of values: [Definition.Value]
  ) throws -> [PublishedVersion: String] {
    var found: [PublishedVersion: String] = [:]
    for value in values {
      guard let version = value.publishedVersion else { continue }
      let key = value.key
      found[PublishedVersion(key: key, version: version)] = try reader.first(
        "SELECT content_hash FROM registry_published WHERE tenant_id = ?1 AND kind = ?2 AND id = ?3 AND version = ?4",
        tenant, key.kind.rawValue, key.id, version, row: { $0.get(0, as: String.self) })
    }
    return found
  }

  /// Which revision brought each definition in the form it has, for the check against the log.
  static func origins(_ reader: borrowing some Reader & ~Copyable, _ tenant: String) throws -> [DefinitionKey: UInt64] {
    let rows = try reader.query(
      "SELECT kind, id, revision FROM registry_definition WHERE tenant_id = ?1 LIMIT ?2", tenant, RegistryLimits.definitionsPerTenant + 1,
      row: { (DefinitionKey(DefinitionKind(rawValue: $0[0]), $0[1]), $0.get(2, as: UInt64.self)) })
    return Dictionary(rows) { first, _ in first }
  }

  // MARK: Snapshots

  static func snapshot(_ reader: borrowing some Reader & ~Copyable, _ tenant: String, _ reference: String) throws -> RuntimeConfig? {
    try reader.first(
      "SELECT config FROM registry_snapshot WHERE tenant_id = ?1 AND snapshot_ref = ?2", tenant, reference,
      row: { try RuntimeConfig(decoding: $0.get(0, as: [UInt8].self)) })
  }

  static func hasSnapshot(_ reader: borrowing some Reader & ~Copyable, _ tenant: String, _ reference: String) throws -> Bool {
    try reader.first(
      "SELECT 1 FROM registry_snapshot WHERE tenant_id = ?1 AND snapshot_ref = ?2", tenant, reference, row: { _ in true }) ?? false
  }

  /// Keeps a snapshot; one that is there already has the same content, because its reference names it.
  static func put(_ config: RuntimeConfig, tenant: String, now: Int64, _ transaction: borrowing Transaction) throws {
    try transaction.execute(
      "INSERT INTO registry_snapshot (tenant_id, snapshot_ref, config, created_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
      tenant, config.snapshotRef, config.encoded(), now)
  }
}
