import SpanwireDatabase
import SpanwireEventLog
import SpanwireSchema
import SpanwireServiceKit

extension CityGraphServer {
  /// Proves that blocks are what the log tells of, and that the city in memory is the one in the rows.
  public func verify() async throws -> [Verification] {
    [
      try await lookingAgain {
        let told = try await self.blocksInTheLog()
        return try await self.environment.database.scan { try Self.compare(told, in: $0) }
      },
      try await lookingAgain {
        let told = try await self.reservationsInTheLog()
        let now = self.environment.clock.now
        return try await self.environment.database.scan { try Self.compare(told, at: now, in: $0) }
      },
      try await memoryAgainstRows(),
    ]
  }

  /// What happens between reading the log and reading the rows would look like a fault; a second look tells.
  private func lookingAgain(_ look: () async throws -> Verification) async throws -> Verification {
    var looks = 0
    while true {
      let check = try await look()
      looks += 1
      if check.isSound || looks == 3 { return check }
    }
  }

  /// What was reserved and not released, by tenant and id.
  private func reservationsInTheLog() async throws -> [String: [String: PlaceReservation]] {
    var told: [String: [String: PlaceReservation]] = [:]
    try await environment.log.replay(LogFilter(types: ["lem.capacity.*"], tenant: nil)) { event in
      if let it = try event.payload(CapacityReserved.self) {
        told[event.header.tenant, default: [:]][it.reservationID] = PlaceReservation(
          id: it.reservationID, servicePointID: it.servicePointID, visitors: Int64(it.visitors), holder: it.holder,
          startsAt: it.startsAt?.nanosecondsSinceEpoch ?? 0, expiresAt: it.expiresAt?.nanosecondsSinceEpoch ?? 0)
      } else if let it = try event.payload(CapacityReleased.self) {
        told[event.header.tenant]?[it.reservationID] = nil
      }
    }
    return told
  }

  private static func compare(
    _ told: [String: [String: PlaceReservation]], at now: Int64, in reader: borrowing some Reader & ~Copyable
  ) throws -> Verification {
    var check = Verification("lem: reservations agree with the log")
    for tenant in Set(try CityGraphStore.tenants(in: reader)).union(told.keys).sorted() {
      let rows = try CityGraphStore.reservations(of: tenant, in: reader).filter { $0.expiresAt > now }
      let stored = Dictionary(uniqueKeysWithValues: rows.map { ($0.id, $0) })
      let expected = (told[tenant] ?? [:]).filter { $0.value.expiresAt > now }
      for id in Set(stored.keys).union(expected.keys).sorted() {
        check.examine()
        if stored[id] != expected[id] {
          check.found("\(tenant) \(id): the rows and the log tell of different reservations", of: .tenant(tenant))
        }
      }
    }
    return check
  }

  /// The blocks that stand, by tenant and place.
  private func blocksInTheLog() async throws -> [String: [String: PlaceBlock]] {
    var told: [String: [String: PlaceBlock]] = [:]
    try await environment.log.replay(LogFilter(types: ["lem.service_point.*"], tenant: nil)) { event in
      if let it = try event.payload(ServicePointBlocked.self) {
        let since = try event.decoded().occurredAt?.nanosecondsSinceEpoch ?? 0
        told[event.header.tenant, default: [:]][it.servicePointID] = PlaceBlock(
          servicePointID: it.servicePointID, reason: it.reason, actor: it.actor, since: since, until: it.until?.nanosecondsSinceEpoch)
      } else if let it = try event.payload(ServicePointUnblocked.self) {
        told[event.header.tenant]?[it.servicePointID] = nil
      }
    }
    return told
  }

  private static func compare(
    _ told: [String: [String: PlaceBlock]], in reader: borrowing some Reader & ~Copyable
  ) throws -> Verification {
    var check = Verification("lem: blocks agree with the log")
    for tenant in Set(try CityGraphStore.tenants(in: reader)).union(told.keys).sorted() {
      let rows = try CityGraphStore.blocks(of: tenant, in: reader)
      let stored = Dictionary(uniqueKeysWithValues: rows.map { ($0.servicePointID, $0) })
      let expected = told[tenant] ?? [:]
      for id in Set(stored.keys).union(expected.keys).sorted() {
        check.examine()
        if stored[id] != expected[id] { check.found("\(tenant) \(id): the rows and the log tell of different blocks", of: .tenant(tenant)) }
      }
    }
    return check
  }

  private func memoryAgainstRows() async throws -> Verification {
    var check = Verification("lem: the city in memory is the one in the rows")
    for tenant in try await environment.database.scan({ try CityGraphStore.tenants(in: $0) }) {
      let held = try await cities.city(of: tenant)
      let stored = try await environment.database.scan { try CityGraphStore.city(of: tenant, keeping: nil, in: $0) }
      check.examine(stored.map.places.count)
      // A change that came in between has made another version: nothing to compare.
      guard held.version == stored.version else { continue }
      if held.map.places.map(\.point) != stored.map.places.map(\.point) || held.blocks != stored.blocks
        || held.reservations != stored.reservations
      {
        check.found("\(tenant): the city in memory is not the one in the rows", of: .tenant(tenant))
      }
    }
    return check
  }
}
