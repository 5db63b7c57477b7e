import SpanwireDatabase

/// The rows of places that a tenant's operators took out of journeys: what a journey that starts, or is given another route, goes by.
enum JourneyBlocks {
  struct Entry: Sendable {
    var block: Journey.Block
    /// The effect that lifts it when its time is over; empty without a time.
    var expiry: String
    /// It is being lifted: journeys let go of it, and none takes it any more.
    var isLifting: Bool
  }

  /// All of a tenant's; bounded by `JourneyLimits.blockedServicePoints`.
  static func all(tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> [Entry] {
    try reader.query(
      """
      SELECT service_point_id, reason, until, expiry, lifting FROM tjm_blocks WHERE tenant_id = ?1 ORDER BY service_point_id LIMIT ?2
      """, tenant, JourneyLimits.blockedServicePoints, row: decode)
  }

  static func find(_ place: String, tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> Entry? {
    try reader.first(
      "SELECT service_point_id, reason, until, expiry, lifting FROM tjm_blocks WHERE tenant_id = ?1 AND service_point_id = ?2", tenant,
      place, row: decode)
  }

  static func put(_ block: Journey.Block, expiry: String, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute(
      """
      INSERT INTO tjm_blocks (tenant_id, service_point_id, reason, until, expiry, lifting) VALUES (?1, ?2, ?3, ?4, ?5, 0)
      ON CONFLICT (tenant_id, service_point_id) DO UPDATE
      SET reason = excluded.reason, until = excluded.until, expiry = excluded.expiry, lifting = 0
      """, tenant, block.servicePointID, block.reason, block.until ?? 0, expiry)
  }

  static func beginLifting(_ place: String, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute("UPDATE tjm_blocks SET lifting = 1 WHERE tenant_id = ?1 AND service_point_id = ?2", tenant, place)
  }

  /// Forgets it, unless it was blocked anew meanwhile.
  static func remove(_ place: String, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute("DELETE FROM tjm_blocks WHERE tenant_id = ?1 AND service_point_id = ?2 AND lifting = 1", tenant, place)
  }

  private static func decode(_ row: Row) throws -> Entry {
    let until: Int64 = row[2]
    let lifting: Int64 = row[4]
    return Entry(
      block: Journey.Block(servicePointID: row[0], reason: row[1], until: until == 0 ? nil : until), expiry: row[3],
      isLifting: lifting != 0)
  }
}
