import SpanwireDatabase

/// The rows of Trutta: entitlements, redemptions, the ledger's lines, settlements and their corrections.
///
/// What creates value keeps its caller's idempotency key in a unique column of its own row, for ever: an effect that was performed
/// before a long outage must not issue or redeem again when it is performed after it.
enum EntitlementsStore {
  static let migrations = Migrations(
    "entitlements",
    [
      .init(
        "ledger",
        sqlite: """
          CREATE TABLE trutta_entitlements (
            tenant_id TEXT NOT NULL,
            entitlement_id TEXT NOT NULL,
            session_id TEXT NOT NULL,
            holder TEXT NOT NULL,
            token_id TEXT NOT NULL,
            issued INTEGER NOT NULL,
            remaining INTEGER NOT NULL CHECK (remaining >= 0),
            phase TEXT NOT NULL,
            issued_at INTEGER NOT NULL,
            expires_at INTEGER,
            compensates TEXT,
            unit_micros INTEGER NOT NULL,
            currency TEXT NOT NULL,
            revision INTEGER NOT NULL,
            idempotency_key TEXT NOT NULL,
            request_hash BLOB NOT NULL,
            PRIMARY KEY (tenant_id, entitlement_id)
          ) STRICT;
          CREATE UNIQUE INDEX trutta_entitlements_by_key ON trutta_entitlements (tenant_id, idempotency_key);
          CREATE INDEX trutta_entitlements_of_session ON trutta_entitlements (tenant_id, session_id, entitlement_id);
          CREATE INDEX trutta_entitlements_of_holder ON trutta_entitlements (tenant_id, holder, entitlement_id);
          CREATE INDEX trutta_compensations ON trutta_entitlements (tenant_id, compensates) WHERE compensates IS NOT NULL;

          CREATE TABLE trutta_redemptions (
            tenant_id TEXT NOT NULL,
            redemption_id TEXT NOT NULL,
            entitlement_id TEXT NOT NULL,
            token_id TEXT NOT NULL,
            quantity INTEGER NOT NULL,
            -- What the entitlement held after it: part of the answer that is given again.
            remaining INTEGER NOT NULL,
            service_point_id TEXT NOT NULL,
            vendor_id TEXT NOT NULL,
            journey_instance_id TEXT NOT NULL,
            redeemed_at INTEGER NOT NULL,
            amount_micros INTEGER NOT NULL,
            currency TEXT NOT NULL,
            ledger_transaction_id TEXT NOT NULL,
            settlement_id TEXT,
            idempotency_key TEXT NOT NULL,
            request_hash BLOB NOT NULL,
            PRIMARY KEY (tenant_id, redemption_id)
          ) STRICT;
          CREATE UNIQUE INDEX trutta_redemptions_by_key ON trutta_redemptions (tenant_id, idempotency_key);
          CREATE INDEX trutta_unsettled ON trutta_redemptions (tenant_id, vendor_id, redemption_id) WHERE settlement_id IS NULL;

          CREATE TABLE trutta_ledger (
            tenant_id TEXT NOT NULL,
            ledger_transaction_id TEXT NOT NULL,
            line INTEGER NOT NULL,
            account TEXT NOT NULL,
            token_id TEXT NOT NULL,
            quantity INTEGER NOT NULL,
            at INTEGER NOT NULL,
            cause TEXT NOT NULL,
            PRIMARY KEY (tenant_id, ledger_transaction_id, line)
          ) STRICT, WITHOUT ROWID;
          CREATE INDEX trutta_ledger_of_account ON trutta_ledger (tenant_id, account, ledger_transaction_id, line);

          CREATE TABLE trutta_settlements (
            tenant_id TEXT NOT NULL,
            settlement_id TEXT NOT NULL,
            vendor_id TEXT NOT NULL,
            currency TEXT NOT NULL,
            -- With all corrections.
            total_micros INTEGER NOT NULL,
            settled_at INTEGER NOT NULL,
            ledger_transaction_id TEXT NOT NULL,
            -- A Settlement that holds what never changes: lines, vendor, period.
            lines BLOB NOT NULL,
            PRIMARY KEY (tenant_id, settlement_id)
          ) STRICT;
          CREATE INDEX trutta_settlements_of_vendor ON trutta_settlements (tenant_id, vendor_id, settlement_id);

          CREATE TABLE trutta_corrections (
            tenant_id TEXT NOT NULL,
            ledger_transaction_id TEXT NOT NULL,
            settlement_id TEXT NOT NULL,
            micros INTEGER NOT NULL,
            total_micros INTEGER NOT NULL,
            reason TEXT NOT NULL,
            actor TEXT NOT NULL,
            at INTEGER NOT NULL,
            idempotency_key TEXT NOT NULL,
            request_hash BLOB NOT NULL,
            PRIMARY KEY (tenant_id, ledger_transaction_id)
          ) STRICT;
          CREATE UNIQUE INDEX trutta_corrections_by_key ON trutta_corrections (tenant_id, idempotency_key);
          """)
    ])

  // MARK: Entitlements

  static func insert(
    _ held: HeldEntitlement, tenant: String, key: String, hash: [UInt8], in tx: borrowing Transaction
  ) throws {
    try tx.execute(
      """
      INSERT INTO trutta_entitlements (tenant_id, entitlement_id, session_id, holder, token_id, issued, remaining, phase, issued_at,
        expires_at, compensates, unit_micros, currency, revision, idempotency_key, request_hash)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
      """, tenant, held.id, held.sessionID, held.holder, held.tokenID, held.issued, held.remaining, held.phase.rawValue, held.issuedAt,
      held.expiresAt, held.compensates, held.unitValue.micros, held.unitValue.currency, held.revision, key, hash, expecting: .rows(1))
  }

  /// Writes what an entitlement became; its revision before must still be the row's.
  static func update(_ held: HeldEntitlement, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute(
      """
      UPDATE trutta_entitlements SET remaining = ?3, phase = ?4, revision = ?5
      WHERE tenant_id = ?1 AND entitlement_id = ?2 AND revision = ?5 - 1
      """, tenant, held.id, held.remaining, held.phase.rawValue, held.revision, expecting: .rows(1))
  }

  static func entitlement(
    _ id: String, tenant: String, in reader: borrowing some Reader & ~Copyable
  ) throws -> HeldEntitlement? {
    try reader.first(
      """
      SELECT entitlement_id, session_id, holder, token_id, issued, remaining, phase, issued_at, expires_at, compensates, unit_micros,
        currency, revision FROM trutta_entitlements WHERE tenant_id = ?1 AND entitlement_id = ?2
      """, tenant, id, row: held)
  }

  /// What was issued under a key, and the hash of the request that asked for it.
  static func issued(
    key: String, tenant: String, in reader: borrowing some Reader & ~Copyable
  ) throws -> (entitlement: HeldEntitlement, hash: [UInt8])? {
    try reader.first(
      """
      SELECT entitlement_id, session_id, holder, token_id, issued, remaining, phase, issued_at, expires_at, compensates, unit_micros,
        currency, revision, request_hash FROM trutta_entitlements WHERE tenant_id = ?1 AND idempotency_key = ?2
      """, tenant, key
    ) { (held($0), $0.get(13)) }
  }

  /// How much was given for an entitlement in earlier compensations.
  static func compensated(_ id: String, tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> Int64 {
    try reader.first(
      "SELECT COALESCE(SUM(issued), 0) FROM trutta_entitlements WHERE tenant_id = ?1 AND compensates = ?2", tenant, id
    ) { $0[0] } ?? 0
  }

  struct Filter: Sendable {
    var tenant: String
    var sessionID: String
    var holder: String
    /// The id after which the page begins.
    var after: String
  }

  /// A page of entitlements in the order of their ids, which is that of their making.
  static func page(_ filter: Filter, size: Int, in reader: borrowing some Reader & ~Copyable) throws -> [HeldEntitlement] {
    if !filter.sessionID.isEmpty {
      return try reader.query(
        """
        SELECT entitlement_id, session_id, holder, token_id, issued, remaining, phase, issued_at, expires_at, compensates, unit_micros,
          currency, revision FROM trutta_entitlements
        WHERE tenant_id = ?1 AND session_id = ?2 AND entitlement_id > ?3 AND (?4 = '' OR holder = ?4) ORDER BY entitlement_id LIMIT ?5
        """, filter.tenant, filter.sessionID, filter.after, filter.holder, size, row: held)
    }
    if !filter.holder.isEmpty {
      return try reader.query(
        """
        SELECT entitlement_id, session_id, holder, token_id, issued, remaining, phase, issued_at, expires_at, compensates, unit_micros,
          currency, revision FROM trutta_entitlements
        WHERE tenant_id = ?1 AND holder = ?2 AND entitlement_id > ?3 ORDER BY entitlement_id LIMIT ?4
        """, filter.tenant, filter.holder, filter.after, size, row: held)
    }
    return try reader.query(
      """
      SELECT entitlement_id, session_id, holder, token_id, issued, remaining, phase, issued_at, expires_at, compensates, unit_micros,
        currency, revision FROM trutta_entitlements WHERE tenant_id = ?1 AND entitlement_id > ?2 ORDER BY entitlement_id LIMIT ?3
      """, filter.tenant, filter.after, size, row: held)
  }

  private static func held(_ row: Row) -> HeldEntitlement {
    HeldEntitlement(
      id: row[0], tokenID: row[3], holder: row[2], sessionID: row[1], issued: row[4], remaining: row[5], phase: row[6], issuedAt: row[7],
      expiresAt: row[8], compensates: row[9], unitValue: Amount(micros: row[10], currency: row[11]), revision: row[12])
  }

  // MARK: The ledger

  /// Appends a posting's lines under a transaction id of their own.
  static func post(_ posting: LedgerPosting, id: String, at now: Int64, tenant: String, in tx: borrowing Transaction) throws {
    for (number, line) in posting.lines.enumerated() {
      try tx.execute(
        """
        INSERT INTO trutta_ledger (tenant_id, ledger_transaction_id, line, account, token_id, quantity, at, cause)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
        """, tenant, id, number + 1, line.account.description, line.tokenID, line.quantity, now, posting.cause.rawValue,
        expecting: .rows(1))
    }
  }

  struct LedgerFilter: Sendable {
    var tenant: String
    var tokenID: String
    var account: String
    /// The transaction and line after which the page begins.
    var after: String
    var afterLine: Int64
  }

  static func ledger(_ filter: LedgerFilter, size: Int, in reader: borrowing some Reader & ~Copyable) throws -> [PostedLine] {
    if !filter.account.isEmpty {
      return try reader.query(
        """
        SELECT ledger_transaction_id, line, account, token_id, quantity, at, cause FROM trutta_ledger
        WHERE tenant_id = ?1 AND account = ?2 AND (ledger_transaction_id, line) > (?3, ?4) AND (?5 = '' OR token_id = ?5)
        ORDER BY ledger_transaction_id, line LIMIT ?6
        """, filter.tenant, filter.account, filter.after, filter.afterLine, filter.tokenID, size, row: PostedLine.init)
    }
    return try reader.query(
      """
      SELECT ledger_transaction_id, line, account, token_id, quantity, at, cause FROM trutta_ledger
      WHERE tenant_id = ?1 AND (ledger_transaction_id, line) > (?2, ?3) AND (?4 = '' OR token_id = ?4)
      ORDER BY ledger_transaction_id, line LIMIT ?5
      """, filter.tenant, filter.after, filter.afterLine, filter.tokenID, size, row: PostedLine.init)
  }
}

extension HeldEntitlement.Phase: SQLValue {}

/// One line of the ledger as it is stored.
struct PostedLine: Sendable, Hashable {
  var transactionID: String
  var line: Int64
  var account: String
  var tokenID: String
  var quantity: Int64
  var at: Int64
  var cause: String

  init(_ row: Row) {
    transactionID = row[0]
    line = row[1]
    account = row[2]
    tokenID = row[3]
    quantity = row[4]
    at = row[5]
    cause = row[6]
  }
}
