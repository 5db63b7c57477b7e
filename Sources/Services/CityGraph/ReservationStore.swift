import SpanwireDatabase

/// The rows of reserved capacity.
extension CityGraphStore {
  /// Every reservation of a tenant, those that are over and not yet forgotten among them.
  static func reservations(of tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> [PlaceReservation] {
    try reader.query(
      """
      SELECT reservation_id, service_point_id, visitors, holder, starts_at, expires_at FROM lem_reservations
      WHERE tenant_id = ?1 ORDER BY reservation_id
      """, tenant, row: reservation)
  }

  static func reservations(
    of place: String, tenant: String, in reader: borrowing some Reader & ~Copyable
  ) throws -> [PlaceReservation] {
    try reader.query(
      """
      SELECT reservation_id, service_point_id, visitors, holder, starts_at, expires_at FROM lem_reservations
      WHERE tenant_id = ?1 AND service_point_id = ?2
      """, tenant, place, row: reservation)
  }

  /// A page of them in the order of their ids; those of one place unless it is empty.
  static func reservations(
    after id: String?, of place: String, notOverAt now: Int64, count: Int, tenant: String, in reader: borrowing some Reader & ~Copyable
  ) throws -> [PlaceReservation] {
    try reader.query(
      """
      SELECT reservation_id, service_point_id, visitors, holder, starts_at, expires_at FROM lem_reservations
      WHERE tenant_id = ?1 AND reservation_id > ?2 AND (?3 = '' OR service_point_id = ?3) AND expires_at > ?4
      ORDER BY reservation_id LIMIT ?5
      """, tenant, id ?? "", place, now, count, row: reservation)
  }

  static func reservation(_ id: String, tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> PlaceReservation? {
    try reader.first(
      """
      SELECT reservation_id, service_point_id, visitors, holder, starts_at, expires_at FROM lem_reservations
      WHERE tenant_id = ?1 AND reservation_id = ?2
      """, tenant, id, row: reservation)
  }

  private static func reservation(_ row: Row) throws -> PlaceReservation {
    PlaceReservation(id: row[0], servicePointID: row[1], visitors: row[2], holder: row[3], startsAt: row[4], expiresAt: row[5])
  }

  static func put(_ reservation: PlaceReservation, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute(
      """
      INSERT INTO lem_reservations (tenant_id, reservation_id, service_point_id, visitors, holder, starts_at, expires_at)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
      """, tenant, reservation.id, reservation.servicePointID, reservation.visitors, reservation.holder, reservation.startsAt,
      reservation.expiresAt, expecting: .rows(1))
  }

  static func removeReservation(_ id: String, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute("DELETE FROM lem_reservations WHERE tenant_id = ?1 AND reservation_id = ?2", tenant, id, expecting: .rows(1))
  }

  /// Deletes the reservations of a place that are over.
  static func forgetReservations(of place: String, until now: Int64, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute(
      "DELETE FROM lem_reservations WHERE tenant_id = ?1 AND service_point_id = ?2 AND expires_at <= ?3", tenant, place, now,
      expecting: .any)
  }
}
