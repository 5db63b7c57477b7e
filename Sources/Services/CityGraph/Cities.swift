import SpanwireDatabase
import Synchronization

/// The cities in memory. A call that begins after a change was committed sees it: the change drops the city, and the next call reads
/// its rows again.
final class Cities: Sendable {
  private let database: any Database
  private let known = Mutex(Known())

  fileprivate struct Known {
    var cities: [String: Entry] = [:]
    /// Counts uses, to find the city that was asked longest ago.
    var clock: UInt64 = 0
    /// Counts changes: what was read while something changed may be older than the change, and is not kept.
    var changes: UInt64 = 0
  }

  fileprivate struct Entry {
    var city: City
    var isCurrent = true
    var lastUse: UInt64
  }

  init(database: any Database) {
    self.database = database
  }

  /// A tenant's city: from memory, or from its rows.
  func city(of tenant: String) async throws -> City {
    let (held, changes) = known.withLock { known -> (Entry?, UInt64) in
      known.clock += 1
      known.cities[tenant]?.lastUse = known.clock
      return (known.cities[tenant], known.changes)
    }
    if let held, held.isCurrent { return held.city }
    let city = try await database.scan { try CityGraphStore.city(of: tenant, keeping: held?.city, in: $0) }
    known.withLock { known in
      if known.changes == changes { known.keep(city, of: tenant) }
    }
    return city
  }

  /// Says that a tenant's city was changed, or that nobody knows whether it was.
  func changed(_ tenant: String) {
    known.withLock { known in
      known.changes += 1
      known.cities[tenant]?.isCurrent = false
    }
  }
}

extension Cities.Known {
  fileprivate mutating func keep(_ city: City, of tenant: String) {
    if cities[tenant] == nil, cities.count >= CityGraphLimits.citiesInMemory,
      let oldest = cities.min(by: { $0.value.lastUse < $1.value.lastUse })?.key
    {
      cities[oldest] = nil
    }
    cities[tenant] = Cities.Entry(city: city, lastUse: clock)
  }
}
