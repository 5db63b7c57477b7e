import SpanwireSchema
import SpanwireServiceKit

/// Plans the day: an order of visits in which everything is open when she comes, within what the profiles allow.
enum TripPlanner {
  static func plan(_ run: AgentRun) async throws -> AgentAnswer {
    try await run.progress("limits", 10, "Looks up what the pass allows")
    let limits = ProfileLimits(try await run.config())
    let journey = try await run.journey()
    let held = try await run.entitlements()

    try await run.progress("places", 30, "Looks which places are open")
    let barred = limits.blocked.union(journey?.blocks.map(\.servicePointID) ?? []).union(journey?.visitedServicePointIds ?? [])
    let places = try await run.places(tags: limits.tags).filter { status in
      guard let place = status.servicePoint else { return false }
      return !status.blocked && !barred.contains(place.servicePointID) && place.experienceScore >= limits.minimumScore
    }
    guard !places.isEmpty, let start = run.context.position ?? centre(of: places) else {
      return AgentAnswer(text: "There is no place I could send you to now.")
    }

    try await run.progress("route", 60, "Weighs \(places.count) places and the ways between them")
    var wanted = stopsWanted(held, limits)
    var request = ComputeRouteRequest(
      marketCode: run.context.marketCode, start: start, departAt: .init(nanosecondsSinceEpoch: run.now),
      finishBy: run.finishBy(limits).map { .init(nanosecondsSinceEpoch: $0) },
      servicePointIds: places.compactMap(\.servicePoint?.servicePointID))
    var answer = AgentAnswer(text: "")
    while wanted > 0, answer.drafts.count < run.maxSuggestions {
      request.maxStops = UInt32(wanted)
      let route = try await run.tool("Lem.ComputeRoute") { try await run.sources.lem.computeRoute(request) }
      if route.stops.isEmpty {
        if answer.drafts.isEmpty { answer.text = nothing(route) }
        break
      }
      if limits.maxWalkingMetres == 0 || route.walkingMetres <= limits.maxWalkingMetres {
        answer.drafts.append(draft(route, limits, alternative: !answer.drafts.isEmpty))
      }
      wanted = min(wanted, route.stops.count) - 1
      // One shorter day beside the full one is a choice; a list of ever shorter ones is not.
      if answer.drafts.count == 2 { break }
    }
    if let first = answer.drafts.first { answer.text = "I suggest \(first.summary)." }
    if answer.text.isEmpty {
      answer.text = "Every route would be a longer walk than the \(Int(limits.maxWalkingMetres)) m that are allowed."
    }
    try await run.partial(answer.text)
    return answer
  }

  /// As many stops as there are tokens to redeem, within the safety profile.
  private static func stopsWanted(_ held: [Entitlement], _ limits: ProfileLimits) -> Int {
    let tokens = held.filter { $0.state == .active }.reduce(Int64(0)) { $0 + $1.remaining }
    let wanted = tokens > 0 ? Int(min(tokens, 25)) : 3
    return limits.maxStops > 0 ? min(wanted, limits.maxStops) : wanted
  }

  /// The middle of the places, for a traveller who did not say where she is.
  static func centre(of places: [ServicePointStatus]) -> GeoPoint? {
    let positions = places.compactMap { $0.servicePoint?.position }
    guard !positions.isEmpty else { return nil }
    let count = Double(positions.count)
    return GeoPoint(
      latitude: positions.reduce(0) { $0 + $1.latitude } / count, longitude: positions.reduce(0) { $0 + $1.longitude } / count)
  }

  private static func draft(_ route: ComputeRouteResponse, _ limits: ProfileLimits, alternative: Bool) -> AgentAnswer.Draft {
    let names = route.stops.map(\.name).joined(separator: ", ")
    let end = route.finishAt.map { limits.wallClock($0.nanosecondsSinceEpoch) } ?? "?"
    let stops = route.stops.count == 1 ? "one stop" : "\(route.stops.count) stops"
    return AgentAnswer.Draft(
      summary: "\(stops), \(Int(route.walkingMetres)) m on foot, done by \(end): \(names)",
      rationale: alternative
        ? "A shorter day, if you would rather walk less."
        : "Every stop is open until you leave it; chosen from \(route.candidates) places by experience and way.",
      confidence: alternative ? 0.6 : 0.9,
      kind: .route(RouteProposal(servicePointIds: route.stops.map(\.servicePointID), route: route)))
  }

  private static func nothing(_ route: ComputeRouteResponse) -> String {
    let closed = route.excluded.count { $0.why == .closed }
    let unknown = route.excluded.count { $0.why == .hoursUnknown }
    let late = route.excluded.count { $0.why == .noTime }
    return "I found no route: of \(route.candidates) places \(closed) are closed, \(late) cannot be reached in time, "
      + "and of \(unknown) nobody knows the hours."
  }
}
