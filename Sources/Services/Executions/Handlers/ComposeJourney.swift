import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import SpanwireWorker

/// `compose_journey`: plans an order of visits in which everything is open, and keeps the itinerary as an artifact.
///
/// Parameters: `market_code`; `latitude`, `longitude` of the start; `tags` that places bear (cafe unless said); `stops` (3); `finish_by`, RFC
/// 3339. Output: `stops`, each with `service_point_id`, `name`, `arrive_at`, `leave_at`; `walking_metres`; `artifact_id`. The session's state
/// gets `itinerary`, the artifact's id.
enum ComposeJourney {
  static let run: IntentHandler = { run in
    let parameters = run.parameters
    guard let market = parameters["market_code"]?.text, Identifier.isValid(market) else {
      throw RPCError.invalidField("parameters.market_code", "is required")
    }
    let lem = LemClient(run.channel)
    let found = try await run.step("places", input: parameters) { _ in try await open(in: market, parameters, run, lem) }
    let route = try await run.step("route", input: found) { _ in try await walk(in: market, parameters, found, run, lem) }
    let stops = route["stops"]?.list ?? []
    guard !stops.isEmpty else { throw GiveUp("no place of \(market) can be visited in that time") }
    let written = try await run.step("itinerary", input: route) { _ in
      let artifact = try await run.artifacts.store(
        "itinerary", type: "itinerary", format: "text/markdown", content: Array(text(route).utf8),
        describedBy: ["market_code": Google_Protobuf_Value(market), "stops": Google_Protobuf_Value(Double(stops.count))])
      return ["artifact_id": Google_Protobuf_Value(artifact.artifactID)]
    }
    _ = try await run.step("session", input: written) { _ in
      let known = try await run.state.session()
      var state = known.state ?? [:]
      state["itinerary"] = written["artifact_id"]
      // Somebody else's write in between makes this attempt fail; the next one reads what they wrote.
      let revision = try await run.state.setSession(state, ifAt: known.revision).revision
      return ["revision": Google_Protobuf_Value(Double(revision))]
    }
    var output = route
    output["artifact_id"] = written["artifact_id"]
    return HandlerResult(
      output: output, artifactIds: [written["artifact_id"]?.text ?? ""],
      events: [DomainEvent(recordType: "itinerary.composed", payload: written)])
  }

  /// Places that are open now, by their experience.
  private static func open(
    in market: String, _ parameters: Google_Protobuf_Struct, _ run: ExecutionRun, _ lem: LemClient
  ) async throws -> Google_Protobuf_Struct {
    let tags = (parameters["tags"]?.list ?? ["cafe"]).compactMap(\.text)
    let page = try await lem.listServicePoints(
      ListServicePointsRequest(marketCode: market, tags: tags, at: run.context.createdAt, openOnly: true, pageSize: 500))
    let open = page.servicePoints.filter { !$0.blocked }.compactMap(\.servicePoint)
      .sorted { ($1.experienceScore, $0.servicePointID) < ($0.experienceScore, $1.servicePointID) }.prefix(100)
    return ["service_point_ids": Google_Protobuf_Value(open.map { Google_Protobuf_Value($0.servicePointID) })]
  }

  private static func walk(
    in market: String, _ parameters: Google_Protobuf_Struct, _ found: Google_Protobuf_Struct, _ run: ExecutionRun, _ lem: LemClient
  ) async throws -> Google_Protobuf_Struct {
    let ids = (found["service_point_ids"]?.list ?? []).compactMap(\.text)
    if ids.isEmpty { return ["stops": []] }
    guard let latitude = parameters["latitude"]?.number, let longitude = parameters["longitude"]?.number else {
      throw RPCError.invalidField("parameters.latitude", "and longitude must be given")
    }
    let finish = parameters["finish_by"]?.text.flatMap { RFC3339.parse($0) }
    let route = try await lem.computeRoute(
      ComputeRouteRequest(
        marketCode: market, start: GeoPoint(latitude: latitude, longitude: longitude), departAt: run.context.createdAt,
        finishBy: finish.map { .init(nanosecondsSinceEpoch: $0) }, servicePointIds: ids,
        maxStops: UInt32(min(max(parameters["stops"]?.number ?? 3, 1), 25))))
    let stops = route.stops.map { stop -> Google_Protobuf_Value in
      [
        "service_point_id": Google_Protobuf_Value(stop.servicePointID), "name": Google_Protobuf_Value(stop.name),
        "arrive_at": Google_Protobuf_Value(time(stop.arriveAt)), "leave_at": Google_Protobuf_Value(time(stop.leaveAt)),
      ]
    }
    return ["stops": Google_Protobuf_Value(stops), "walking_metres": Google_Protobuf_Value(route.walkingMetres.rounded())]
  }

  private static func time(_ time: Google_Protobuf_Timestamp?) -> String { time.map { RFC3339.format($0.nanosecondsSinceEpoch) } ?? "" }

  private static func text(_ route: Google_Protobuf_Struct) -> String {
    let stops = (route["stops"]?.list ?? []).compactMap(\.object).enumerated().map { index, stop in
      "\(index + 1). \(stop["arrive_at"]?.text ?? "") – \(stop["leave_at"]?.text ?? "")  \(stop["name"]?.text ?? "")"
    }
    return "# Itinerary\n\n\(stops.joined(separator: "\n"))\n\n\(Int(route["walking_metres"]?.number ?? 0)) m on foot\n"
  }
}
