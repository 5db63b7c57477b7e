import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// A request for a route, checked and filled in; solved against a city it is the answer and the event that tells of it.
///
/// Pure and, over a whole market, some milliseconds' work.
struct RoutePlan: Sendable {
  private let request: ComputeRouteRequest
  private let constraints: RouteConstraints
  /// No time is given for it, or the time is over before it begins.
  private let hasTime: Bool

  /// Throws INVALID_ARGUMENT with everything that is wrong with the request.
  init(_ request: ComputeRouteRequest, now: Int64) throws {
    var fields = Validation()
    fields.id(request.marketCode, "market_code")
    fields.position(request.start, "start")
    fields.moment(request.departAt, "depart_at")
    fields.moment(request.finishBy, "finish_by")
    fields.ids(request.servicePointIds, "service_point_ids", max: CityGraphLimits.routeIDs)
    fields.ids(request.requiredServicePointIds, "required_service_point_ids", max: CityGraphLimits.routeStops)
    fields.ids(request.excludedServicePointIds, "excluded_service_point_ids", max: CityGraphLimits.routeIDs)
    fields.tags(request.tags, "tags")
    let stops = request.maxStops == 0 ? CityGraphLimits.routeStopsDefault : Int(request.maxStops)
    fields.range(stops, "max_stops", 1...CityGraphLimits.routeStops)
    fields.check(
      request.requiredServicePointIds.count <= stops, "required_service_point_ids", "are more than max_stops")
    for (index, id) in request.requiredServicePointIds.enumerated() where request.excludedServicePointIds.contains(id) {
      fields.add("required_service_point_ids[\(index)]", "is excluded as well")
    }
    let speed = request.walkingMetresPerSecond == 0 ? CityGraphLimits.walkingMetresPerSecond : request.walkingMetresPerSecond
    let speeds = CityGraphLimits.walkingSpeeds
    fields.check(speeds.contains(speed), "walking_metres_per_second", "must be \(speeds.lowerBound) to \(speeds.upperBound)")
    fields.check(Int64(request.visitors) <= CityGraphLimits.visitors, "visitors", "at most \(CityGraphLimits.visitors)")
    try fields.finish()

    self.request = request
    let departAt = UnixTime.seconds(request.departAt?.nanosecondsSinceEpoch ?? now)
    let day = departAt + CityGraphLimits.routeSeconds
    let finishBy = request.finishBy.map { UnixTime.seconds($0.nanosecondsSinceEpoch) }
    hasTime = finishBy.map { $0 > departAt } ?? true
    constraints = RouteConstraints(
      start: Coordinate(request.start), departAt: departAt, finishBy: finishBy.map { min($0, day) }, maximumStops: stops,
      walkingMetresPerSecond: speed)
  }

  func solve(in city: City, isCancelled: @escaping () -> Bool) throws -> (response: ComputeRouteResponse, event: RouteComputed) {
    let places = try candidates(in: city)
    let route = try route(through: places, in: city, isCancelled: isCancelled)
    var response = ComputeRouteResponse(
      stops: route.stops.map { stop in Self.contract(stop, city, horizon: horizon) }, walkingMetres: route.walkingMetres,
      finishAt: .init(seconds: route.finishAt), experienceScore: route.experienceScore, candidates: UInt32(places.count))
    response.excluded = route.excluded.prefix(CityGraphLimits.excludedReported).map {
      ExcludedServicePoint(servicePointID: $0.id, why: $0.why.contract)
    }
    return (response, event(route, candidates: places.count))
  }

  // MARK: Inside

  private func candidates(in city: City) throws -> [CityPlace] {
    var places: [CityPlace]
    if request.servicePointIds.isEmpty {
      places = city.map.places(inMarket: request.marketCode, tags: request.tags)
    } else {
      places = try named(request.servicePointIds, in: city).filter { $0.bears(request.tags) }
    }
    let known = Set(places.map(\.id))
    places += try named(request.requiredServicePointIds.filter { !known.contains($0) }, in: city)
    let excluded = Set(request.excludedServicePointIds)
    return places.filter { !excluded.contains($0.id) }
  }

  private func named(_ ids: [String], in city: City) throws -> [CityPlace] {
    var seen: Set<String> = []
    return try ids.filter { seen.insert($0).inserted }.map { id in
      guard let place = city.map.place(id), place.point.marketCode == request.marketCode else {
        throw RPCError.missing(.servicePointNotFound, "there is no service point \(id) in \(request.marketCode)")
      }
      return place
    }
  }

  private func route(through places: [CityPlace], in city: City, isCancelled: @escaping () -> Bool) throws -> PlannedRoute {
    let required = Set(request.requiredServicePointIds)
    let (start, end) = (self.constraints.departAt, horizon)
    var constraints = self.constraints
    var candidates: [RouteCandidate] = []
    for place in places {
      if isCancelled() { throw CancellationError() }
      var access = RouteCandidate.access(openingHours: place.hours, from: start, to: end, in: place.calendar)
      if case .windows(let open) = access, constraints.admits(place.dwellSeconds, within: open), let capacity = city.capacity(of: place) {
        let room = capacity.windows(open, for: Int64(max(1, request.visitors)))
        access = .windows(room)
        if !constraints.admits(place.dwellSeconds, within: room) { constraints.full.insert(place.id) }
      }
      candidates.append(
        RouteCandidate(
          id: place.id, position: place.position, access: access, dwellSeconds: place.dwellSeconds,
          experienceScore: place.point.experienceScore, isRequired: required.contains(place.id)))
    }
    constraints.blocked = Set(places.map(\.id).filter { city.block(of: $0, at: start * 1_000_000_000) != nil })
    var route: PlannedRoute
    if hasTime {
      route = try RouteOptimizer(candidates, constraints).solve(isCancelled: isCancelled)
    } else {
      route = PlannedRoute(
        stops: [], walkingMetres: 0, finishAt: constraints.departAt, experienceScore: 0, excluded: places.map { ($0.id, .noTime) },
        method: .exact, isIncomplete: !required.isEmpty)
    }
    if route.isIncomplete, let missing = route.excluded.first(where: { required.contains($0.id) }) {
      throw RPCError.refusal(
        .failedPrecondition, .noRoute, "no route reaches \(missing.id): \(missing.why.words)",
        metadata: [("service_point_id", missing.id), ("why", "\(missing.why)")])
    }
    return route
  }

  /// How far opening hours are looked at: a day past the end, so that a stop's closing time is the door's and not ours.
  private var horizon: UnixSeconds {
    (constraints.finishBy ?? constraints.departAt + CityGraphLimits.routeSeconds) + CityGraphLimits.routeSeconds
  }

  private static func contract(_ stop: PlannedStop, _ city: City, horizon: UnixSeconds) -> RouteStop {
    guard let place = city.map.place(stop.id) else { preconditionFailure("the route has a stop that was no candidate") }
    return RouteStop(
      servicePointID: stop.id, name: place.point.name, position: place.position.contract, arriveAt: .init(seconds: stop.arriveAt),
      leaveAt: .init(seconds: stop.leaveAt), openUntil: stop.openUntil.flatMap { $0 < horizon ? .init(seconds: $0) : nil },
      walkingMetres: stop.walkingMetres)
  }

  private func event(_ route: PlannedRoute, candidates: Int) -> RouteComputed {
    func excluded(_ why: RouteExclusion) -> UInt32 { UInt32(route.excluded.count { $0.why == why }) }
    return RouteComputed(
      marketCode: request.marketCode, servicePointIds: route.stops.map(\.id), walkingMetres: route.walkingMetres,
      candidates: UInt32(candidates), excludedClosed: excluded(.closed), excludedUnknownHours: excluded(.hoursUnknown),
      excludedBlocked: excluded(.blocked), excludedFull: excluded(.full))
  }
}

extension RouteExclusion {
  var contract: ExcludedServicePoint.Why {
    switch self {
    case .closed: .closed
    case .hoursUnknown: .hoursUnknown
    case .blocked: .blocked
    case .full: .full
    case .noTime: .noTime
    }
  }

  var words: String {
    switch self {
    case .closed: "it is closed then"
    case .hoursUnknown: "its opening hours are unknown"
    case .blocked: "it is blocked"
    case .full: "it is full"
    case .noTime: "there is not time enough"
    }
  }
}
