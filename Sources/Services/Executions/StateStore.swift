import SpanwireDatabase
import SpanwireSchema

/// The rows of state: one document a key, with the revision that whoever writes must have read.
enum StateStore {
  struct StateRow: Sendable {
    var document: StateDocument
    var revision: UInt64
    /// 0: never.
    var expiresAt: Int64

    func isThere(at now: Int64) -> Bool { expiresAt == 0 || expiresAt > now }
  }

  static func row(_ reader: borrowing some Reader & ~Copyable, tenant: String, key: String) throws -> StateRow? {
    try reader.first(
      "SELECT document, revision, expires_at FROM exec_state WHERE tenant_id = ?1 AND key = ?2", tenant, key,
      row: { StateRow(document: try StateDocument(decoding: $0.get(0, as: [UInt8].self)), revision: $0[1], expiresAt: $0[2]) })
  }

  static func put(_ document: StateDocument, tenant: String, expiresAt: Int64, _ transaction: borrowing Transaction) throws {
    try transaction.execute(
      """
      INSERT INTO exec_state (tenant_id, key, revision, expires_at, document) VALUES (?1, ?2, ?3, ?4, ?5)
      ON CONFLICT (tenant_id, key) DO UPDATE SET
        revision = excluded.revision, expires_at = excluded.expires_at, document = excluded.document
      """, tenant, document.key, document.revision, expiresAt, document.encoded(), expecting: .rows(1))
  }

  static func page(
    _ reader: borrowing some Reader & ~Copyable, tenant: String, at now: Int64, after key: String, limit: Int
  ) throws -> [StateDocument] {
    try reader.query(
      """
      SELECT document FROM exec_state WHERE tenant_id = ?1 AND key > ?2 AND (expires_at = 0 OR expires_at > ?3) ORDER BY key LIMIT ?4
      """, tenant, key, now, limit, row: { try StateDocument(decoding: $0.get(0, as: [UInt8].self)) })
  }

  /// Forgets what has expired so long ago that nobody writes against its revision; returns how many.
  static func purge(before: Int64, limit: Int, _ transaction: borrowing Transaction) throws -> Int {
    try transaction.executeCounting(
      """
      DELETE FROM exec_state WHERE (tenant_id, key) IN
      (SELECT tenant_id, key FROM exec_state WHERE expires_at > 0 AND expires_at < ?1 LIMIT ?2)
      """, before, limit)
  }
}
