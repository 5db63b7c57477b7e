import SpanwireDatabase
import SpanwireSchema
import SpanwireServiceKit

/// One journey: what it was started with, and how it stands.
struct JourneyRow: Sendable {
  var id: String
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
            journey_doc_id TEXT NOT NULL,
            state INTEGER NOT NULL,
            revision INTEGER NOT NULL,
            journey BLOB NOT NULL,
            PRIMARY KEY (tenant_id, journey_instance_id)
          ) STRICT;
          CREATE INDEX tjm_journeys_of_session ON tjm_journeys (tenant_id, session_id, journey_instance_id);
          CREATE INDEX tjm_journeys_of_document ON tjm_journeys (tenant_id, journey_doc_id, journey_instance_id);
          CREATE INDEX tjm_journeys_in_state ON tjm_journeys (tenant_id, state, journey_instance_id);
          CREATE TABLE tjm_configs (
            tenant_id TEXT NOT NULL,
            snapshot_ref TEXT NOT NULL,
            config BLOB NOT NULL,
            PRIMARY KEY (tenant_id, snapshot_ref)
          ) STRICT;
          CREATE TABLE tjm_blocks (
            tenant_id TEXT NOT NULL,
            service_point_id TEXT NOT NULL,
            reason TEXT NOT NULL,
            until INTEGER NOT NULL,
            expiry TEXT NOT NULL,
            lifting INTEGER NOT NULL,
            PRIMARY KEY (tenant_id, service_point_id)
          ) STRICT;
          """)
    ])

  static func insert(_ row: JourneyRow, in tx: borrowing Transaction) throws {
    try tx.execute(
      """
      INSERT INTO tjm_journeys (tenant_id, journey_instance_id, session_id, journey_doc_id, state, revision, journey)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
      """, row.origin.tenantID, row.id, row.origin.productRuntimeSessionID, row.origin.journeyDocID, row.journey.status.contract.rawValue,
      row.journey.revision, row.stored.encoded())
  }

  /// Most steps leave a journey running: then no index is touched.
  static func update(_ row: JourneyRow, from before: Journey, in tx: borrowing Transaction) throws {
    if row.journey.status == before.status {
      try tx.execute(
        """
        UPDATE tjm_journeys SET revision = ?3, journey = ?4
        WHERE tenant_id = ?1 AND journey_instance_id = ?2 AND revision = ?5
        """, row.origin.tenantID, row.id, row.journey.revision, row.stored.encoded(), before.revision, expecting: .rows(1))
    } else {
      try tx.execute(
        """
        UPDATE tjm_journeys SET state = ?3, revision = ?4, journey = ?5
        WHERE tenant_id = ?1 AND journey_instance_id = ?2 AND revision = ?6
        """, row.origin.tenantID, row.id, row.journey.status.contract.rawValue, row.journey.revision, row.stored.encoded(),
        before.revision, expecting: .rows(1))
    }
  }

  static func find(_ id: String, tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> JourneyInstance? {
    try reader.first(
      "SELECT journey FROM tjm_journeys WHERE tenant_id = ?1 AND journey_instance_id = ?2", tenant, id, row: decode)
  }

  /// Which journeys a listing wants, and between which ids.
  struct Filter: Sendable {
    var tenant: String
    var session = ""
    var document = ""
    var state = JourneyState.unspecified
    var from = ""
    var before = ""
  }

  /// A page of journeys, newest first.
  static func page(_ filter: Filter, size: Int, in reader: borrowing some Reader & ~Copyable) throws -> [JourneyInstance] {
    // The highest id there can be: ids are made of ASCII.
    let before = filter.before.isEmpty ? "\u{7f}" : filter.before
    let state = filter.state.rawValue
    // Each by the index that narrows most.
    if !filter.session.isEmpty {
      return try reader.query(
        """
        SELECT journey FROM tjm_journeys
        WHERE tenant_id = ?1 AND session_id = ?5 AND journey_instance_id >= ?2 AND journey_instance_id < ?3
          AND (?4 = 0 OR state = ?4) AND (?6 = '' OR journey_doc_id = ?6)
        ORDER BY journey_instance_id DESC LIMIT ?7
        """, filter.tenant, filter.from, before, state, filter.session, filter.document, size, row: decode)
    }
    if !filter.document.isEmpty {
      return try reader.query(
        """
        SELECT journey FROM tjm_journeys
        WHERE tenant_id = ?1 AND journey_doc_id = ?5 AND journey_instance_id >= ?2 AND journey_instance_id < ?3
          AND (?4 = 0 OR state = ?4)
        ORDER BY journey_instance_id DESC LIMIT ?6
        """, filter.tenant, filter.from, before, state, filter.document, size, row: decode)
    }
    if filter.state != .unspecified {
      return try reader.query(
        """
        SELECT journey FROM tjm_journeys
        WHERE tenant_id = ?1 AND state = ?4 AND journey_instance_id >= ?2 AND journey_instance_id < ?3
        ORDER BY journey_instance_id DESC LIMIT ?5
        """, filter.tenant, filter.from, before, state, size, row: decode)
    }
    return try reader.query(
      """
      SELECT journey FROM tjm_journeys WHERE tenant_id = ?1 AND journey_instance_id >= ?2 AND journey_instance_id < ?3
      ORDER BY journey_instance_id DESC LIMIT ?4
      """, filter.tenant, filter.from, before, size, row: decode)
  }

  /// A tenant's next running journeys, oldest first.
  static func running(
    tenant: String, after id: String, limit: Int, in reader: borrowing some Reader & ~Copyable
  ) throws -> [JourneyInstance] {
    try reader.query(
      """
      SELECT journey FROM tjm_journeys WHERE tenant_id = ?1 AND state = ?2 AND journey_instance_id > ?3
      ORDER BY journey_instance_id LIMIT ?4
      """, tenant, JourneyState.running.rawValue, id, limit, row: decode)
  }

  /// The next journeys of all tenants, by (tenant, id): for the check against the log.
  static func all(
    afterTenant tenant: String, id: String, limit: Int, in reader: borrowing some Reader & ~Copyable
  ) throws -> [(journey: JourneyInstance, isFiledRight: Bool)] {
    try reader.query(
      """
      SELECT journey, tenant_id, journey_instance_id, session_id, journey_doc_id, state, revision FROM tjm_journeys
      WHERE (tenant_id, journey_instance_id) > (?1, ?2) ORDER BY tenant_id, journey_instance_id LIMIT ?3
      """, tenant, id, limit
    ) { row in
      let journey = try decode(row)
      let keys = [journey.tenantID, journey.journeyInstanceID, journey.productRuntimeSessionID, journey.journeyDocID]
      return (journey, keys == (1...4).map { row[$0] } && journey.state.rawValue == row[5] && journey.revision == row[6])
    }
  }

  private static func decode(_ row: Row) throws -> JourneyInstance { try JourneyInstance(decoding: row.get(0, as: [UInt8].self)) }

  // MARK: Frozen configurations

  static func freeze(_ config: [UInt8], reference: String, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute(
      "INSERT INTO tjm_configs (tenant_id, snapshot_ref, config) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING", tenant, reference, config)
  }

  static func frozen(_ reference: String, tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> [UInt8]? {
    try reader.first("SELECT config FROM tjm_configs WHERE tenant_id = ?1 AND snapshot_ref = ?2", tenant, reference) { $0[0] }
  }
}
