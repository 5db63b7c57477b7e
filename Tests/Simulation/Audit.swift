import SpanwireDatabase
import SpanwireSchema

/// Looks at the rows themselves, with questions of its own, and compares them with what the log told.
enum Audit {
  /// What must hold when all that was begun has ended.
  ///
  /// - Parameter now: a moment so long ago that what was due then is done.
  static func checkRest(_ store: SimulatedStore, at now: Int64) throws {
    let findings = try store.look { reader in
      try reader.query(
        """
        SELECT e.entitlement_id, p.purchase_id FROM prg_purchases AS p
        JOIN trutta_entitlements AS e ON e.tenant_id = p.tenant_id AND e.idempotency_key LIKE p.purchase_id || '-%'
        WHERE p.failure IS NOT NULL AND e.phase = 'active'
        """
      ) { Violation("purchase", "\($0.get(0, as: String.self)) is left of \($0.get(1, as: String.self)), which failed") }
        + reader.query("SELECT purchase_id FROM prg_purchases WHERE failure IS NULL AND response IS NULL") {
          Violation("purchase", "\($0.get(0, as: String.self)) never ends")
        }
        + reader.query("SELECT service_point_id FROM tjm_blocks WHERE until > 0 AND until <= ?1", now) {
          Violation("timer", "the block of \($0.get(0, as: String.self)) never ends")
        }
        + reader.query(
          """
          SELECT r.reservation_id FROM lem_reservations AS r
          JOIN tjm_journeys AS j ON j.tenant_id = r.tenant_id AND r.reservation_id LIKE 'RSV-' || j.journey_instance_id || '.%'
          WHERE r.expires_at > ?1 AND j.state <> 2
          """, VirtualTime.now
        ) { Violation("room", "\($0.get(0, as: String.self)) is kept for a journey that is over") }
    }
    if let first = findings.first { throw first }
  }

  static func check(_ witness: Witness, _ store: SimulatedStore) throws {
    let findings = try store.look { reader in
      try ledger(reader) + log(reader) + redemptions(reader) + rooms(reader) + agreement(witness, reader)
    }
    if let first = findings.first { throw first }
  }

  private static func ledger(_ reader: borrowing Snapshot) throws -> [Violation] {
    try reader.query("SELECT token_id, SUM(quantity) FROM trutta_ledger GROUP BY tenant_id, token_id HAVING SUM(quantity) <> 0") {
      Violation("ledger", "\($0.get(0, as: String.self)) is off by \($0.get(1, as: Int64.self))")
    }
      + reader.query(
        """
        SELECT account, token_id, SUM(quantity) FROM trutta_ledger WHERE account <> 'issuer'
        GROUP BY tenant_id, account, token_id HAVING SUM(quantity) < 0
        """
      ) { Violation("ledger", "\($0.get(0, as: String.self)) holds \($0.get(2, as: Int64.self)) of \($0.get(1, as: String.self))") }
      + reader.query("SELECT entitlement_id, remaining FROM trutta_entitlements WHERE remaining < 0 OR remaining > issued") {
        Violation("ledger", "\($0.get(0, as: String.self)) has \($0.get(1, as: Int64.self)) left")
      }
  }

  private static func log(_ reader: borrowing Snapshot) throws -> [Violation] {
    let (count, last) = try reader.first("SELECT count(*), COALESCE(max(position), 0) FROM event_log") {
      ($0.get(0, as: Int64.self), $0.get(1, as: Int64.self))
    }!
    return count == last ? [] : [Violation("sequence", "\(count) events, the last at \(last)")]
  }

  /// A node of a journey redeems once a visit, and every redemption took what it says.
  private static func redemptions(_ reader: borrowing Snapshot) throws -> [Violation] {
    try reader.query(
      "SELECT idempotency_key, count(*) FROM trutta_redemptions GROUP BY tenant_id, idempotency_key HAVING count(*) > 1"
    ) { Violation("redemption", "\($0.get(0, as: String.self)) was redeemed \($0.get(1, as: Int64.self)) times") }
      + reader.query(
        """
        SELECT e.entitlement_id, e.issued, e.remaining, COALESCE(SUM(r.quantity), 0) FROM trutta_entitlements AS e
        LEFT JOIN trutta_redemptions AS r ON r.tenant_id = e.tenant_id AND r.entitlement_id = e.entitlement_id
        WHERE e.phase <> 'expired' GROUP BY e.tenant_id, e.entitlement_id HAVING e.issued - e.remaining <> COALESCE(SUM(r.quantity), 0)
        """
      ) {
        let (issued, remaining) = ($0.get(1, as: Int64.self), $0.get(2, as: Int64.self))
        let text = "\($0.get(0, as: String.self)) has \(remaining) of \(issued), redeemed \($0.get(3, as: Int64.self))"
        return Violation("redemption", text)
      }
  }

  /// No place holds more than it takes, at any moment at which somebody's time there begins.
  private static func rooms(_ reader: borrowing Snapshot) throws -> [Violation] {
    try reader.query(
      """
      SELECT a.reservation_id, SUM(b.visitors) FROM lem_reservations AS a
      JOIN lem_reservations AS b ON b.tenant_id = a.tenant_id AND b.service_point_id = a.service_point_id
        AND b.starts_at <= a.starts_at AND b.expires_at > a.starts_at
      GROUP BY a.tenant_id, a.reservation_id HAVING SUM(b.visitors) > ?1
      """, Product.capacity
    ) { Violation("room", "\($0.get(1, as: Int64.self)) are expected when \($0.get(0, as: String.self)) begins") }
  }

  private static func agreement(_ witness: Witness, _ reader: borrowing Snapshot) throws -> [Violation] {
    var findings: [Violation] = []
    let sessions = try reader.query("SELECT session_id, state FROM prg_sessions ORDER BY session_id") {
      (id: $0.get(0, as: String.self), state: SessionState(rawValue: Int32($0.get(1, as: Int64.self))))
    }
    for row in sessions where witness.sessions[row.id] != row.state {
      findings.append(
        Violation("session", "\(row.id) is \(row.state), the log says \(witness.sessions[row.id].map { "\($0)" } ?? "nothing")"))
    }
    if sessions.count != witness.sessions.count {
      findings.append(Violation("session", "\(sessions.count) sessions, the log tells of \(witness.sessions.count)"))
    }
    let journeys = try reader.query("SELECT journey_instance_id, state FROM tjm_journeys ORDER BY journey_instance_id") {
      (id: $0.get(0, as: String.self), state: JourneyState(rawValue: Int32($0.get(1, as: Int64.self))))
    }
    for row in journeys where witness.paths[row.id]?.state != row.state {
      findings.append(
        Violation("branch", "\(row.id) is \(row.state), the log says \(witness.paths[row.id].map { "\($0.state)" } ?? "nothing")"))
    }
    if journeys.count != witness.paths.count {
      findings.append(Violation("branch", "\(journeys.count) journeys, the log tells of \(witness.paths.count)"))
    }
    let held = try reader.query("SELECT entitlement_id, remaining FROM trutta_entitlements ORDER BY entitlement_id") {
      (id: $0.get(0, as: String.self), remaining: $0.get(1, as: Int64.self))
    }
    for row in held where witness.purses[row.id]?.remaining != row.remaining {
      findings.append(
        Violation("redemption", "\(row.id) has \(row.remaining), the log says \(witness.purses[row.id]?.remaining ?? -1)"))
    }
    return findings
  }
}
