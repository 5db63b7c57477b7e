import SpanwireDatabase
import SpanwireSchema

/// The tables of the gateway: sessions, purchases, decisions on proposals, control actions.
enum SessionStore {
  static let migrations = Migrations(
    "gateway",
    [
      .init(
        "sessions",
        sqlite: """
          CREATE TABLE prg_sessions (
            tenant_id TEXT NOT NULL,
            session_id TEXT NOT NULL,
            user_id TEXT NOT NULL,
            product_id TEXT NOT NULL,
            product_version_id TEXT NOT NULL,
            market_code TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            state INTEGER NOT NULL,
            risk_flagged INTEGER NOT NULL,
            session BLOB NOT NULL,
            -- The variant an accepted proposal chose for the next purchase.
            chosen_variant_id TEXT NOT NULL DEFAULT '',
            -- The effect that is to start a journey, while its outcome is not known.
            starting_effect_id TEXT NOT NULL DEFAULT '',
            PRIMARY KEY (tenant_id, session_id)
          ) STRICT;
          CREATE INDEX prg_sessions_of_user ON prg_sessions (tenant_id, user_id, session_id);

          CREATE TABLE prg_purchases (
            tenant_id TEXT NOT NULL,
            purchase_id TEXT NOT NULL,
            session_id TEXT NOT NULL,
            variant_id TEXT NOT NULL,
            payment_reference TEXT NOT NULL,
            price BLOB NOT NULL,
            grants INTEGER NOT NULL,
            failure BLOB,
            response BLOB,
            PRIMARY KEY (tenant_id, purchase_id)
          ) STRICT;
          CREATE TABLE prg_purchase_grants (
            tenant_id TEXT NOT NULL,
            purchase_id TEXT NOT NULL,
            number INTEGER NOT NULL,
            entitlement BLOB NOT NULL,
            PRIMARY KEY (tenant_id, purchase_id, number)
          ) STRICT;

          CREATE TABLE prg_decisions (
            tenant_id TEXT NOT NULL,
            proposal_id TEXT NOT NULL,
            session_id TEXT NOT NULL,
            proposal BLOB NOT NULL,
            PRIMARY KEY (tenant_id, proposal_id)
          ) STRICT;

          CREATE TABLE prg_controls (
            tenant_id TEXT NOT NULL,
            control_id TEXT NOT NULL,
            request BLOB NOT NULL,
            actor TEXT NOT NULL,
            response BLOB NOT NULL,
            -- 0 under way, 1 applied, 2 refused
            state INTEGER NOT NULL,
            failure BLOB,
            PRIMARY KEY (tenant_id, control_id)
          ) STRICT;
          """)
    ])

  // MARK: Sessions

  static func insert(_ session: ProductRuntimeSession, in tx: borrowing Transaction) throws {
    try tx.execute(
      """
      INSERT INTO prg_sessions
        (tenant_id, session_id, user_id, product_id, product_version_id, market_code, created_at, state, risk_flagged, session)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
      """, session.tenantID, session.productRuntimeSessionID, session.userID, session.productID, session.productVersionID,
      session.marketCode, session.createdAt?.nanosecondsSinceEpoch ?? 0, session.state.rawValue, session.riskFlagged, session.encoded())
  }

  static func update(_ session: ProductRuntimeSession, in tx: borrowing Transaction) throws {
    try tx.execute(
      "UPDATE prg_sessions SET state = ?3, risk_flagged = ?4, session = ?5 WHERE tenant_id = ?1 AND session_id = ?2", session.tenantID,
      session.productRuntimeSessionID, session.state.rawValue, session.riskFlagged, session.encoded(), expecting: .rows(1))
  }

  static func find(
    _ id: String, tenant: String, in reader: borrowing some Reader & ~Copyable
  ) throws -> ProductRuntimeSession? {
    try reader.first("SELECT session FROM prg_sessions WHERE tenant_id = ?1 AND session_id = ?2", tenant, id, row: decode)
  }

  /// Which sessions a page shows. What is empty, unspecified or nil admits all.
  struct Filter: Sendable, Equatable {
    var tenant: String
    var userID = ""
    var state = SessionState.unspecified
    var productID = ""
    var productVersionID = ""
    var marketCode = ""
    var riskFlagged: Bool?
    var createdFrom: Int64 = 0
    var createdBefore: Int64 = .max

    /// Whether it leaves out any of the tenant's, or of the user's, sessions.
    var isSelective: Bool {
      self != Filter(tenant: tenant, userID: userID)
    }
  }

  /// A page of sessions, newest first, from before an id on; and before which id the next page begins, if there may be one.
  static func page(
    _ filter: Filter, before place: String, size: Int, scanning scanned: Int = GatewayLimits.sessionsScanned,
    in reader: borrowing some Reader & ~Copyable
  ) throws -> (sessions: [ProductRuntimeSession], next: String?) {
    // The highest id there can be: ids are made of ASCII.
    let before = place.isEmpty ? "\u{7f}" : place
    let floor = filter.isSelective ? try floor(filter, before: before, scanning: scanned, in: reader) : nil
    let risk = filter.riskFlagged.map { $0 ? 1 : 0 } ?? -1
    let sessions =
      !filter.userID.isEmpty
      ? try reader.query(
        """
        SELECT session FROM prg_sessions
        WHERE tenant_id = ?1 AND session_id < ?2 AND session_id >= ?3 AND (?4 = 0 OR state = ?4) AND (?5 = '' OR product_id = ?5)
          AND (?6 = '' OR product_version_id = ?6) AND (?7 = '' OR market_code = ?7) AND (?8 = -1 OR risk_flagged = ?8)
          AND created_at >= ?9 AND created_at < ?10 AND user_id = ?12
        ORDER BY session_id DESC LIMIT ?11
        """, filter.tenant, before, floor ?? "", filter.state.rawValue, filter.productID, filter.productVersionID, filter.marketCode,
        risk, filter.createdFrom, filter.createdBefore, size, filter.userID, row: decode)
      : try reader.query(
        """
        SELECT session FROM prg_sessions
        WHERE tenant_id = ?1 AND session_id < ?2 AND session_id >= ?3 AND (?4 = 0 OR state = ?4) AND (?5 = '' OR product_id = ?5)
          AND (?6 = '' OR product_version_id = ?6) AND (?7 = '' OR market_code = ?7) AND (?8 = -1 OR risk_flagged = ?8)
          AND created_at >= ?9 AND created_at < ?10
        ORDER BY session_id DESC LIMIT ?11
        """, filter.tenant, before, floor ?? "", filter.state.rawValue, filter.productID, filter.productVersionID, filter.marketCode,
        risk, filter.createdFrom, filter.createdBefore, size, row: decode)
    return (sessions, sessions.count == size ? sessions.last?.productRuntimeSessionID : floor)
  }

  /// Where a page's search ends, should it not be full before; nil where there are not so many. It walks one index that far.
  private static func floor(
    _ filter: Filter, before: String, scanning scanned: Int, in reader: borrowing some Reader & ~Copyable
  ) throws -> String? {
    if filter.userID.isEmpty {
      return try reader.first(
        """
        SELECT session_id FROM prg_sessions WHERE tenant_id = ?1 AND session_id < ?2 ORDER BY session_id DESC LIMIT 1 OFFSET ?3
        """, filter.tenant, before, scanned - 1, row: { $0.get(0, as: String.self) })
    }
    return try reader.first(
      """
      SELECT session_id FROM prg_sessions WHERE tenant_id = ?1 AND user_id = ?2 AND session_id < ?3
      ORDER BY session_id DESC LIMIT 1 OFFSET ?4
      """, filter.tenant, filter.userID, before, scanned - 1, row: { $0.get(0, as: String.self) })
  }

  /// The next sessions of all tenants, by (tenant, id): for the check against the log.
  static func all(
    afterTenant tenant: String, id: String, limit: Int, in reader: borrowing some Reader & ~Copyable
  ) throws -> [(session: ProductRuntimeSession, isFiledRight: Bool)] {
    try reader.query(
      """
      SELECT session, tenant_id, session_id, user_id, product_id, product_version_id, market_code, state, risk_flagged, created_at
      FROM prg_sessions WHERE tenant_id > ?1 OR (tenant_id = ?1 AND session_id > ?2) ORDER BY tenant_id, session_id LIMIT ?3
      """, tenant, id, limit
    ) { row in
      let session = try decode(row)
      let keys = [
        session.tenantID, session.productRuntimeSessionID, session.userID, session.productID, session.productVersionID, session.marketCode,
      ]
      let isFiledRight =
        keys == (1...6).map { row[$0] } && session.state.rawValue == row[7] && session.riskFlagged == row[8]
        && session.createdAt?.nanosecondsSinceEpoch ?? 0 == row[9]
      return (session, isFiledRight)
    }
  }

  private static func decode(_ row: Row) throws -> ProductRuntimeSession {
    try ProductRuntimeSession(decoding: row.get(0, as: [UInt8].self))
  }

  static func chosenVariant(_ session: String, tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> String {
    try reader.first("SELECT chosen_variant_id FROM prg_sessions WHERE tenant_id = ?1 AND session_id = ?2", tenant, session) { $0[0] } ?? ""
  }

  static func choose(variant: String, for session: ProductRuntimeSession, in tx: borrowing Transaction) throws {
    try tx.execute(
      "UPDATE prg_sessions SET chosen_variant_id = ?3 WHERE tenant_id = ?1 AND session_id = ?2", session.tenantID,
      session.productRuntimeSessionID, variant, expecting: .rows(1))
  }

  static func startingEffect(_ session: String, tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> String {
    try reader.first("SELECT starting_effect_id FROM prg_sessions WHERE tenant_id = ?1 AND session_id = ?2", tenant, session) { $0[0] }
      ?? ""
  }

  static func setStarting(effect: String, session: String, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute(
      "UPDATE prg_sessions SET starting_effect_id = ?3 WHERE tenant_id = ?1 AND session_id = ?2", tenant, session, effect,
      expecting: .rows(1))
  }
}
