import FoundationEssentials
import SpanwireDatabase
import SpanwireSchema
import SpanwireServiceKit

/// One journey's row.
struct JourneyRow: Sendable {
  var id: String
  /// What it was started with.
  var origin: StartJourneyRequest
  var journey: Journey
}

/// The tables of the journey runtime.
enum JourneyStore {
  static let migrations = Migrations(
    "journeys",
    [
      .init(
        "journeys",
        sqlite: """
          CREATE TABLE tjm_journeys (
            tenant_id TEXT NOT NULL,
            journey_instance_id TEXT NOT NULL,
            session_id TEXT NOT NULL,
            state INTEGER NOT NULL,
            revision INTEGER NOT NULL,
            origin BLOB NOT NULL,
            journey BLOB NOT NULL,
            PRIMARY KEY (tenant_id, journey_instance_id)
          ) STRICT;
          CREATE INDEX tjm_journeys_of_session ON tjm_journeys (tenant_id, session_id, journey_instance_id);
          CREATE INDEX tjm_journeys_running ON tjm_journeys (tenant_id, journey_instance_id) WHERE state = 2;
          CREATE TABLE tjm_configs (
            tenant_id TEXT NOT NULL,
            snapshot_ref TEXT NOT NULL,
            config BLOB NOT NULL,
            PRIMARY KEY (tenant_id, snapshot_ref)
          ) STRICT;
          """)
    ])

  static func insert(_ row: JourneyRow, in tx: borrowing Transaction) throws {
    try tx.execute(
      """
      INSERT INTO tjm_journeys (tenant_id, journey_instance_id, session_id, state, revision, origin, journey)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
      """, row.origin.tenantID, row.id, row.origin.productRuntimeSessionID, row.journey.status.contract.rawValue, row.journey.revision,
      row.origin.encoded(), try encode(row.journey))
  }

  static func update(_ row: JourneyRow, from revision: UInt64, in tx: borrowing Transaction) throws {
    try tx.execute(
      """
      UPDATE tjm_journeys SET state = ?3, revision = ?4, journey = ?5
      WHERE tenant_id = ?1 AND journey_instance_id = ?2 AND revision = ?6
      """, row.origin.tenantID, row.id, row.journey.status.contract.rawValue, row.journey.revision, try encode(row.journey), revision,
      expecting: .rows(1))
  }

  static func find(_ id: String, tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> JourneyRow? {
    try reader.first(
      "SELECT journey_instance_id, origin, journey FROM tjm_journeys WHERE tenant_id = ?1 AND journey_instance_id = ?2", tenant, id,
      row: decode)
  }

  /// A page of a session's journeys, or of all, newest first.
  static func page(
    tenant: String, session: String, state: JourneyState, before: String, size: Int, in reader: borrowing some Reader & ~Copyable
  ) throws -> [JourneyRow] {
    // The highest id there can be: ids are made of ASCII.
    let before = before.isEmpty ? "\u{7f}" : before
    if session.isEmpty {
      return try reader.query(
        """
        SELECT journey_instance_id, origin, journey FROM tjm_journeys
        WHERE tenant_id = ?1 AND journey_instance_id < ?2 AND (?3 = 0 OR state = ?3) ORDER BY journey_instance_id DESC LIMIT ?4
        """, tenant, before, state.rawValue, size, row: decode)
    }
    return try reader.query(
      """
      SELECT journey_instance_id, origin, journey FROM tjm_journeys
      WHERE tenant_id = ?1 AND session_id = ?5 AND journey_instance_id < ?2 AND (?3 = 0 OR state = ?3)
      ORDER BY journey_instance_id DESC LIMIT ?4
      """, tenant, before, state.rawValue, size, session, row: decode)
  }

  /// The ids of a tenant's running journeys.
  static func running(tenant: String, limit: Int, in reader: borrowing some Reader & ~Copyable) throws -> [String] {
    try reader.query(
      "SELECT journey_instance_id FROM tjm_journeys WHERE tenant_id = ?1 AND state = 2 ORDER BY journey_instance_id LIMIT ?2", tenant,
      limit
    ) { $0[0] }
  }

  /// The next journeys of all tenants, by (tenant, id): for the check against the log.
  static func all(
    afterTenant tenant: String, id: String, limit: Int, in reader: borrowing some Reader & ~Copyable
  ) throws -> [JourneyRow] {
    try reader.query(
      """
      SELECT journey_instance_id, origin, journey FROM tjm_journeys
      WHERE tenant_id > ?1 OR (tenant_id = ?1 AND journey_instance_id > ?2) ORDER BY tenant_id, journey_instance_id LIMIT ?3
      """, tenant, id, limit, row: decode)
  }

  // MARK: Frozen configurations

  static func freeze(_ config: [UInt8], reference: String, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute(
      "INSERT INTO tjm_configs (tenant_id, snapshot_ref, config) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING", tenant, reference, config)
  }

  static func frozen(_ reference: String, tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> [UInt8]? {
    try reader.first("SELECT config FROM tjm_configs WHERE tenant_id = ?1 AND snapshot_ref = ?2", tenant, reference) { $0[0] }
  }

  // MARK: Rows

  private static func decode(_ row: Row) throws -> JourneyRow {
    JourneyRow(
      id: row[0], origin: try StartJourneyRequest(decoding: row.get(1, as: [UInt8].self)),
      journey: try JSONDecoder().decode(Journey.self, from: Data(row.get(2, as: [UInt8].self))))
  }

  private static func encode(_ journey: Journey) throws -> [UInt8] { Array(try JSONEncoder().encode(journey)) }
}
