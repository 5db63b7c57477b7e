import SpanwireDatabase
import SpanwireSchema

/// The rows of LEM: places, markets with their clocks, blocks, and how often each tenant's city changed.
enum CityGraphStore {
  static let migrations = Migrations(
    "city_graph",
    [
      .init(
        "places and blocks",
        sqlite: """
          CREATE TABLE lem_cities (
            tenant_id TEXT NOT NULL PRIMARY KEY,
            map_version INTEGER NOT NULL,
            version INTEGER NOT NULL
          ) STRICT, WITHOUT ROWID;

          CREATE TABLE lem_markets (
            tenant_id TEXT NOT NULL,
            market_code TEXT NOT NULL,
            time_zone TEXT NOT NULL,
            registry_revision INTEGER NOT NULL,
            PRIMARY KEY (tenant_id, market_code)
          ) STRICT, WITHOUT ROWID;

          CREATE TABLE lem_service_points (
            tenant_id TEXT NOT NULL,
            service_point_id TEXT NOT NULL,
            market_code TEXT NOT NULL,
            service_point BLOB NOT NULL,
            PRIMARY KEY (tenant_id, service_point_id)
          ) STRICT;
          CREATE INDEX lem_service_points_of_market ON lem_service_points (tenant_id, market_code, service_point_id);

          CREATE TABLE lem_blocks (
            tenant_id TEXT NOT NULL,
            service_point_id TEXT NOT NULL,
            reason TEXT NOT NULL,
            actor TEXT NOT NULL,
            since INTEGER NOT NULL,
            until INTEGER,
            PRIMARY KEY (tenant_id, service_point_id)
          ) STRICT;
          """),
      .init(
        "reservations",
        sqlite: """
          CREATE TABLE lem_reservations (
            tenant_id TEXT NOT NULL,
            reservation_id TEXT NOT NULL,
            service_point_id TEXT NOT NULL,
            visitors INTEGER NOT NULL,
            holder TEXT NOT NULL,
            starts_at INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            PRIMARY KEY (tenant_id, reservation_id)
          ) STRICT;
          CREATE INDEX lem_reservations_of_place ON lem_reservations (tenant_id, service_point_id, expires_at);
          """),
    ])

  // MARK: Reading

  /// A tenant's city as the rows have it. What an older one has in common with it is kept.
  static func city(of tenant: String, keeping old: City?, in reader: borrowing some Reader & ~Copyable) throws -> City {
    let versions = try reader.first("SELECT map_version, version FROM lem_cities WHERE tenant_id = ?1", tenant) {
      (map: $0.get(0, as: Int64.self), city: $0.get(1, as: Int64.self))
    }
    guard let versions else { return .empty }
    if let old, old.version == versions.city { return old }
    var map: CityMap
    if let old, old.map.version == versions.map {
      map = old.map
    } else {
      map = CityMap(
        version: versions.map, points: try points(of: tenant, in: reader), timeZones: try timeZones(of: tenant, in: reader))
    }
    let blocks = try blocks(of: tenant, in: reader)
    return City(
      version: versions.city, map: map, blocks: Dictionary(uniqueKeysWithValues: blocks.map { ($0.servicePointID, $0) }),
      reservations: Dictionary(grouping: try reservations(of: tenant, in: reader), by: \.servicePointID))
  }

  private static func points(of tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> [ServicePoint] {
    try reader.query("SELECT service_point FROM lem_service_points WHERE tenant_id = ?1 ORDER BY service_point_id", tenant) {
      try ServicePoint(decoding: $0.get(0, as: [UInt8].self))
    }
  }

  private static func timeZones(of tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> [String: CityTimeZone] {
    let rows = try reader.query("SELECT market_code, time_zone FROM lem_markets WHERE tenant_id = ?1", tenant) {
      (code: $0.get(0, as: String.self), zone: $0.get(1, as: String.self))
    }
    return Dictionary(
      uniqueKeysWithValues: rows.map { row in
        guard let zone = CityTimeZone(identifier: row.zone) else { preconditionFailure("\(row.code) is stored with the zone \(row.zone)") }
        return (row.code, zone)
      })
  }

  static func blocks(of tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> [PlaceBlock] {
    try reader.query(
      "SELECT service_point_id, reason, actor, since, until FROM lem_blocks WHERE tenant_id = ?1 ORDER BY service_point_id", tenant
    ) { PlaceBlock(servicePointID: $0[0], reason: $0[1], actor: $0[2], since: $0[3], until: $0[4]) }
  }

  static func block(of id: String, tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> PlaceBlock? {
    try reader.first(
      "SELECT service_point_id, reason, actor, since, until FROM lem_blocks WHERE tenant_id = ?1 AND service_point_id = ?2", tenant, id
    ) { PlaceBlock(servicePointID: $0[0], reason: $0[1], actor: $0[2], since: $0[3], until: $0[4]) }
  }

  static func exists(_ id: String, tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> Bool {
    try reader.first("SELECT 1 FROM lem_service_points WHERE tenant_id = ?1 AND service_point_id = ?2", tenant, id) { _ in true } ?? false
  }

  static func point(_ id: String, tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> ServicePoint? {
    try reader.first(
      "SELECT service_point FROM lem_service_points WHERE tenant_id = ?1 AND service_point_id = ?2", tenant, id
    ) { try ServicePoint(decoding: $0.get(0, as: [UInt8].self)) }
  }

  static func tenants(in reader: borrowing some Reader & ~Copyable) throws -> [String] {
    try reader.query("SELECT tenant_id FROM lem_cities ORDER BY tenant_id") { $0[0] }
  }

  // MARK: Writing

  /// Counts a change of a city, by which readers tell whether what they hold still stands.
  static func advance(_ tenant: String, mapChanged: Bool, in tx: borrowing Transaction) throws {
    try tx.execute(
      """
      INSERT INTO lem_cities (tenant_id, map_version, version) VALUES (?1, 1, 1)
      ON CONFLICT (tenant_id) DO UPDATE SET map_version = lem_cities.map_version + ?2, version = lem_cities.version + 1
      """, tenant, mapChanged, expecting: .rows(1))
  }

  /// The registry's revision that a market was last taken over from; 0 for a new one.
  static func revision(ofMarket code: String, tenant: String, in tx: borrowing Transaction) throws -> UInt64 {
    try tx.first("SELECT registry_revision FROM lem_markets WHERE tenant_id = ?1 AND market_code = ?2", tenant, code) { $0[0] } ?? 0
  }

  static func put(market code: String, timeZone: CityTimeZone, revision: UInt64, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute(
      """
      INSERT INTO lem_markets (tenant_id, market_code, time_zone, registry_revision) VALUES (?1, ?2, ?3, ?4)
      ON CONFLICT (tenant_id, market_code) DO UPDATE SET time_zone = excluded.time_zone, registry_revision = excluded.registry_revision
      """, tenant, code, timeZone.identifier, revision, expecting: .rows(1))
  }

  /// The places of a market as they are stored, by id.
  static func stored(inMarket code: String, tenant: String, in tx: borrowing Transaction) throws -> [(id: String, point: [UInt8])] {
    try tx.query(
      "SELECT service_point_id, service_point FROM lem_service_points WHERE tenant_id = ?1 AND market_code = ?2", tenant, code
    ) { ($0.get(0), $0.get(1)) }
  }

  static func put(_ point: ServicePoint, encoded: [UInt8], tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute(
      """
      INSERT INTO lem_service_points (tenant_id, service_point_id, market_code, service_point) VALUES (?1, ?2, ?3, ?4)
      ON CONFLICT (tenant_id, service_point_id)
      DO UPDATE SET market_code = excluded.market_code, service_point = excluded.service_point
      """, tenant, point.servicePointID, point.marketCode, encoded, expecting: .rows(1))
  }

  static func remove(_ id: String, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute("DELETE FROM lem_service_points WHERE tenant_id = ?1 AND service_point_id = ?2", tenant, id, expecting: .rows(1))
  }

  static func put(_ block: PlaceBlock, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute(
      """
      INSERT INTO lem_blocks (tenant_id, service_point_id, reason, actor, since, until) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
      ON CONFLICT (tenant_id, service_point_id)
      DO UPDATE SET reason = excluded.reason, actor = excluded.actor, since = excluded.since, until = excluded.until
      """, tenant, block.servicePointID, block.reason, block.actor, block.since, block.until, expecting: .rows(1))
  }

  static func unblock(_ id: String, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute("DELETE FROM lem_blocks WHERE tenant_id = ?1 AND service_point_id = ?2", tenant, id, expecting: .rows(1))
  }
}
