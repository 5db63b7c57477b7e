/// A place that a route may visit.
public struct RouteCandidate: Sendable, Hashable {
  /// When one may be there.
  public enum Access: Sendable, Hashable {
    case always
    /// Only within these, which are in order and don't overlap; a visit must begin and end within one.
    case windows([TimeWindow])
    /// Its hours could not be read or are unknown for the whole time: never visited.
    case unknown
  }

  public var id: String
  public var position: Coordinate
  public var access: Access
  public var dwellSeconds: Int64
  /// How good a stop this is, 0 to 1.
  public var experienceScore: Double
  public var isRequired: Bool

  public init(
    id: String, position: Coordinate, access: Access = .always, dwellSeconds: Int64 = 1800, experienceScore: Double = 0.5,
    isRequired: Bool = false
  ) {
    precondition(dwellSeconds >= 0)
    self.id = id
    self.position = position
    self.access = access
    self.dwellSeconds = dwellSeconds
    self.experienceScore = max(0, min(1, experienceScore))
    self.isRequired = isRequired
  }

  /// The access that opening hours give between two instants.
  public static func access(
    openingHours: OpeningHours?, from start: UnixSeconds, to end: UnixSeconds, in calendar: CityCalendar
  ) -> Access {
    guard let openingHours else { return .unknown }
    return .windows(openingHours.openWindows(from: start, to: end, in: calendar))
  }
}

/// What a route must respect.
public struct RouteConstraints: Sendable, Hashable {
  /// Where the walk begins; nil: at its first stop.
  public var start: Coordinate?
  public var departAt: UnixSeconds
  /// When the last visit must be over; nil: no end.
  public var finishBy: UnixSeconds?
  public var maximumStops: Int
  public var walkingMetresPerSecond: Double
  /// How much longer streets are than the crow's flight: about 1.3 in European cities.
  public var detourFactor: Double
  public var blocked: Set<String>
  /// Places without room for those who walk.
  public var full: Set<String>

  public init(
    start: Coordinate?, departAt: UnixSeconds, finishBy: UnixSeconds? = nil, maximumStops: Int = 5,
    walkingMetresPerSecond: Double = 1.25, detourFactor: Double = 1.3, blocked: Set<String> = [],
    full: Set<String> = []
  ) {
    precondition(walkingMetresPerSecond > 0 && detourFactor >= 1)
    self.start = start
    self.departAt = departAt
    self.finishBy = finishBy
    self.maximumStops = max(0, min(maximumStops, CityGraphLimits.routeStops))
    self.walkingMetresPerSecond = walkingMetresPerSecond
    self.detourFactor = detourFactor
    self.blocked = blocked
    self.full = full
  }
}

extension RouteConstraints {
  /// Whether a visit finds time within some windows.
  func admits(_ dwellSeconds: Int64, within windows: [TimeWindow]) -> Bool {
    let end = finishBy ?? .max
    return windows.contains { max($0.start, departAt) + dwellSeconds <= min($0.end, end) }
  }
}

/// One stop of a planned route.
public struct PlannedStop: Sendable, Hashable {
  public var id: String
  public var arriveAt: UnixSeconds
  /// When the visit begins: later than the arrival if one has to wait for the door to open.
  public var beginAt: UnixSeconds
  public var leaveAt: UnixSeconds
  /// When it closes, as far as it is known and limits the visit.
  public var openUntil: UnixSeconds?
  /// From the stop before, along streets.
  public var walkingMetres: Double
}

/// Why a candidate is not in the route.
public enum RouteExclusion: Sendable, Hashable { case closed, hoursUnknown, blocked, full, noTime }

public struct PlannedRoute: Sendable, Hashable {
  public enum Method: Sendable, Hashable { case exact, improved }

  public var stops: [PlannedStop]
  public var walkingMetres: Double
  public var finishAt: UnixSeconds
  /// The mean of its stops' scores, 0 to 1; 0 without stops.
  public var experienceScore: Double
  /// The candidates left out, in the order they were given.
  public var excluded: [(id: String, why: RouteExclusion)]
  public var method: Method
  /// A required candidate is missing.
  public var isIncomplete: Bool

  public static func == (a: Self, b: Self) -> Bool {
    a.stops == b.stops && a.finishAt == b.finishAt && a.excluded.elementsEqual(b.excluded, by: ==) && a.method == b.method
  }

  public func hash(into hasher: inout Hasher) {
    hasher.combine(stops)
    hasher.combine(finishAt)
  }
}
