import SpanwireSchema
import SpanwireServiceKit

/// Knows where to go next: the best open place near by that was not visited yet.
enum JourneyGuide {
  static func suggestNextStop(_ run: AgentRun) async throws -> AgentAnswer {
    try await run.progress("limits", 10, "Looks up what the pass allows")
    let limits = ProfileLimits(try await run.config())
    let journey = try await run.journey()
    let visited = journey?.visitedServicePointIds ?? []
    if limits.maxStops > 0, visited.count >= limits.maxStops {
      return AgentAnswer(text: "You have seen \(visited.count) places; the pass allows \(limits.maxStops) a day.")
    }

    try await run.progress("places", 40, "Looks for what is open near by")
    guard let here = try await position(run, journey, limits) else { return AgentAnswer(text: "I do not know where you are.") }
    let barred = limits.blocked.union(journey?.blocks.map(\.servicePointID) ?? []).union(visited)
    let candidates = try await run.places(tags: limits.tags, near: here, openOnly: true).compactMap { status -> NextStopCandidate? in
      guard let place = status.servicePoint, !status.blocked, !barred.contains(place.servicePointID) else { return nil }
      return candidate(place, status, from: here)
    }
    let ranked = NextStopRanking.ranked(
      candidates, now: run.now, finishBy: run.finishBy(limits), minimumScore: limits.minimumScore)

    try await run.progress("way", 70, "Works out the way")
    var answer = AgentAnswer(text: "")
    for candidate in ranked where answer.drafts.count < run.maxSuggestions {
      if let draft = try await draft(candidate, from: here, run, limits) { answer.drafts.append(draft) }
    }
    answer.text = answer.drafts.first.map { "I suggest \($0.summary)." } ?? "Nothing near by is open long enough for a visit."
    try await run.partial(answer.text)
    return answer
  }

  /// Where the traveller is: where she says, else where she was last, else the middle of the market.
  private static func position(_ run: AgentRun, _ journey: JourneyInstance?, _ limits: ProfileLimits) async throws -> GeoPoint? {
    if let position = run.context.position { return position }
    if let journey {
      let last = journey.visitedServicePointIds.last ?? journey.currentServicePointID
      if !last.isEmpty {
        let status = try await run.tool("Lem.GetServicePoint") {
          try await run.sources.lem.getServicePoint(GetServicePointRequest(servicePointID: last))
        }
        return status.servicePoint?.position
      }
    }
    return TripPlanner.centre(of: try await run.places(tags: limits.tags))
  }

  private static func candidate(_ place: ServicePoint, _ status: ServicePointStatus, from here: GeoPoint) -> NextStopCandidate? {
    guard let position = place.position else { return nil }
    return NextStopCandidate(
      servicePointID: place.servicePointID, name: place.name, metres: GreatCircle.metres(here, position),
      experienceScore: place.experienceScore, openUntil: status.openUntil?.nanosecondsSinceEpoch,
      dwellNanoseconds: place.dwell?.nanoseconds ?? 1_800_000_000_000)
  }

  /// The proposal for one place, with its way; nil when LEM, which knows better, says that it cannot be done.
  private static func draft(
    _ candidate: NextStopCandidate, from here: GeoPoint, _ run: AgentRun, _ limits: ProfileLimits
  ) async throws -> AgentAnswer.Draft? {
    let request = ComputeRouteRequest(
      marketCode: run.context.marketCode, start: here, departAt: .init(nanosecondsSinceEpoch: run.now),
      finishBy: run.finishBy(limits).map { .init(nanosecondsSinceEpoch: $0) }, servicePointIds: [candidate.servicePointID], maxStops: 1)
    let route = try await run.tool("Lem.ComputeRoute") { try await run.sources.lem.computeRoute(request) }
    guard let stop = route.stops.first else { return nil }
    let until = stop.openUntil.map { limits.wallClock($0.nanosecondsSinceEpoch) } ?? "?"
    return AgentAnswer.Draft(
      summary: "\(stop.name), \(Int(stop.walkingMetres)) m from here, open until \(until)",
      rationale: "Not visited yet, near, and liked: \((candidate.experienceScore * 100).rounded() / 100) of 1.",
      confidence: max(0.1, min(1, NextStopRanking.value(of: candidate))),
      kind: .route(RouteProposal(servicePointIds: [stop.servicePointID], route: route)))
  }
}
