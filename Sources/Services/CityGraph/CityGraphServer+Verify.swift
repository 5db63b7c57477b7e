import SpanwireDatabase
import SpanwireEventLog
import SpanwireSchema
import SpanwireServiceKit

extension CityGraphServer {
  /// Proves that blocks are what the log tells of, and that the city in memory is the one in the rows.
  public func verify() async throws -> [Verification] {
    [try await blocksAgainstTheLog(), try await memoryAgainstRows()]
  }

  /// What happens between reading the log and reading the rows would look like a fault; a second look tells.
  private func blocksAgainstTheLog() async throws -> Verification {
    var looks = 0
    while true {
      let told = try await blocksInTheLog()
      let check = try await environment.database.scan { try Self.compare(told, in: $0) }
      looks += 1
      if check.isSound || looks == 3 { return check }
    }
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
        if stored[id] != expected[id] { check.found("\(tenant) \(id): the rows and the log tell of different blocks") }
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
      if held.map.places.map(\.point) != stored.map.places.map(\.point) || held.blocks != stored.blocks {
        check.found("\(tenant): the city in memory is not the one in the rows")
      }
    }
    return check
  }
}
