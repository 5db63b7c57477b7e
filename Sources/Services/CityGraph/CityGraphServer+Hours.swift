import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

extension CityGraphServer {
  /// Lays out what opening hours say about a stretch of time, or where in their text they can't be read.
  public func explainHours(_ request: ExplainHoursRequest, context: ServerContext) async throws -> ExplainHoursResponse {
    let step = try step(context)
    let from = UnixTime.seconds(request.from?.nanosecondsSinceEpoch ?? step.now)
    let until = request.until.map { UnixTime.seconds($0.nanosecondsSinceEpoch) } ?? from + CityGraphLimits.explainedSecondsDefault
    var fields = Validation()
    fields.optionalID(request.servicePointID, "service_point_id")
    fields.optionalID(request.marketCode, "market_code")
    fields.optionalText(request.openingHours, "opening_hours", max: CityGraphLimits.openingHoursBytes)
    fields.check(
      request.servicePointID.isEmpty != request.openingHours.isEmpty, "opening_hours", "either a place or a text is to be explained")
    fields.check(request.openingHours.isEmpty || !request.marketCode.isEmpty, "market_code", "is needed with opening_hours")
    fields.moment(request.from, "from")
    fields.moment(request.until, "until")
    fields.check(from < until, "until", "must come after from")
    fields.check(until - from <= CityGraphLimits.explainedSeconds, "until", "is more than 31 days after from")
    try fields.finish()

    let city = try await cities.city(of: step.tenant)
    let (text, calendar) = try hours(request, in: city)
    return try await away {
      var response = ExplainHoursResponse(openingHours: text, timeZone: calendar.timeZone.identifier, state: .unknown)
      let hours: OpeningHours
      do throws(OpeningHoursError) {
        hours = try OpeningHours(parsing: text)
      } catch {
        response.problem = error.description
        response.problemOffset = UInt32(error.offset)
        return response
      }
      response.problem = hours.gap(in: calendar) ?? ""
      response.intervals = hours.intervals(from: from, to: until, in: calendar).map {
        OpeningInterval(
          start: .init(seconds: $0.start), end: .init(seconds: $0.end), state: $0.state.contract, comment: $0.comment ?? "")
      }
      response.state = response.intervals.first?.state ?? .unknown
      response.nextChange = hours.nextChange(after: from, in: calendar).map { .init(seconds: $0) }
      return response
    }
  }

  private func hours(_ request: ExplainHoursRequest, in city: City) throws -> (text: String, calendar: CityCalendar) {
    if !request.servicePointID.isEmpty {
      let place = try Self.place(request.servicePointID, in: city)
      return (place.point.openingHours, place.calendar)
    }
    guard let calendar = city.map.calendar(ofMarket: request.marketCode) else {
      throw RPCError.missing(.marketNotFound, "there is no market \(request.marketCode)")
    }
    return (request.openingHours, calendar)
  }

  /// The places of a market as the groups they lie in.
  public func listClusters(_ request: ListClustersRequest, context: ServerContext) async throws -> ListClustersResponse {
    let step = try step(context)
    var fields = Validation()
    fields.id(request.marketCode, "market_code")
    fields.tags(request.tags, "tags")
    fields.moment(request.at, "at")
    try fields.finish()
    let city = try await cities.city(of: step.tenant)
    let at = request.at?.nanosecondsSinceEpoch ?? step.now
    return try await away {
      let places = city.map.places(inMarket: request.marketCode, tags: request.tags).filter { !$0.point.clusterID.isEmpty }
      let clusters = Dictionary(grouping: places, by: \.point.clusterID).sorted { $0.key < $1.key }
      return ListClustersResponse(
        clusters: clusters.prefix(CityGraphLimits.clustersReported).map { Self.cluster($0.key, $0.value, in: city, at: at) })
    }
  }

  private static func cluster(_ id: String, _ places: [CityPlace], in city: City, at now: Int64) -> Cluster {
    let count = Double(places.count)
    let mean = Coordinate(
      latitude: places.reduce(0) { $0 + $1.position.latitude } / count,
      longitude: places.reduce(0) { $0 + $1.position.longitude } / count)
    // The mean of valid positions is one.
    let centre = mean ?? places[0].position
    let open = places.count {
      city.block(of: $0.id, at: now) == nil && $0.hours?.state(at: UnixTime.seconds(now), in: $0.calendar) == .open
    }
    return Cluster(
      clusterID: id, centre: centre.contract, radiusMetres: places.map { centre.metres(to: $0.position) }.max() ?? 0,
      servicePoints: UInt32(places.count), openNow: UInt32(open),
      experienceScore: places.reduce(0) { $0 + $1.point.experienceScore } / count)
  }
}
