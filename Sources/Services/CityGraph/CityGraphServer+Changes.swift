import SpanwireDatabase
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// What changes the city: the registry's places, and operators' blocks.
extension CityGraphServer {
  /// Takes over the whole set of places of every market that the request names. An older revision than the stored one changes nothing.
  public func syncServicePoints(
    _ request: SyncServicePointsRequest, context: ServerContext
  ) async throws -> SyncServicePointsResponse {
    let step = try step(context)
    let sync = try await away { try PlaceSync(request) }
    let key = IdempotencyKey(request.idempotencyKey, request, context)
    return try await change("lem.sync", key, step) { tx in
      var response = SyncServicePointsResponse(hoursProblems: sync.hoursProblems)
      var removed: [String] = []
      var hasChanged = false
      var known: [String: [UInt8]] = [:]
      var taken: Set<String> = []
      for (market, timeZone) in sync.markets {
        if try CityGraphStore.revision(ofMarket: market, tenant: step.tenant, in: tx) > request.registryRevision { continue }
        taken.insert(market)
        hasChanged = true
        try CityGraphStore.put(
          market: market, timeZone: timeZone, revision: request.registryRevision, tenant: step.tenant, in: tx)
        for (id, point) in try CityGraphStore.stored(inMarket: market, tenant: step.tenant, in: tx) {
          known[id] = point
          if !sync.ids.contains(id) { removed.append(id) }
        }
      }
      for (point, encoded) in sync.points where taken.contains(point.marketCode) {
        response.stored += 1
        if known[point.servicePointID] != encoded { try CityGraphStore.put(point, encoded: encoded, tenant: step.tenant, in: tx) }
      }
      for id in removed { try CityGraphStore.remove(id, tenant: step.tenant, in: tx) }
      response.removed = UInt32(removed.count)
      if hasChanged { try CityGraphStore.advance(step.tenant, mapChanged: true, in: tx) }
      return response
    }
  }

  /// Keeps everybody away from a place, or from all that lie in a cluster; a block that stands is replaced.
  public func blockServicePoint(_ request: BlockServicePointRequest, context: ServerContext) async throws -> BlockChange {
    let step = try step(context)
    var fields = Validation()
    fields.target(request.servicePointID, request.clusterID)
    fields.intervention(request.idempotencyKey, request.reason, request.actor)
    fields.moment(request.until, "until")
    if let until = request.until { fields.check(until.nanosecondsSinceEpoch > step.now, "until", "must lie ahead") }
    try fields.finish()

    let places = try await places(request.servicePointID, orCluster: request.clusterID, step)
    let until = request.until?.nanosecondsSinceEpoch
    return try await change("lem.block", IdempotencyKey(request.idempotencyKey, request, context), step) { tx in
      for place in places {
        guard try CityGraphStore.exists(place.id, tenant: step.tenant, in: tx) else { throw Self.missing(place.id) }
        let block = PlaceBlock(
          servicePointID: place.id, reason: request.reason, actor: request.actor, since: step.now, until: until)
        try CityGraphStore.put(block, tenant: step.tenant, in: tx)
        try step.tell(
          ServicePointBlocked(servicePointID: place.id, reason: request.reason, actor: request.actor, until: request.until),
          market: place.point.marketCode, in: tx)
      }
      try CityGraphStore.advance(step.tenant, mapChanged: false, in: tx)
      return BlockChange(servicePointIds: places.map(\.id))
    }
  }

  /// Lets people come again. Where nothing is blocked it refuses, so that an operator who mistook the place learns of it.
  public func unblockServicePoint(_ request: UnblockServicePointRequest, context: ServerContext) async throws -> BlockChange {
    let step = try step(context)
    var fields = Validation()
    fields.target(request.servicePointID, request.clusterID)
    fields.intervention(request.idempotencyKey, request.reason, request.actor)
    try fields.finish()

    let places = try await places(request.servicePointID, orCluster: request.clusterID, step)
    return try await change("lem.unblock", IdempotencyKey(request.idempotencyKey, request, context), step) { tx in
      let blocked = try places.filter { place in
        try CityGraphStore.block(of: place.id, tenant: step.tenant, in: tx)?.holds(at: step.now) ?? false
      }
      if blocked.isEmpty {
        throw RPCError.failedPrecondition(
          request.clusterID.isEmpty
            ? "\(request.servicePointID) is not blocked; only a blocked service point can be unblocked"
            : "no place of \(request.clusterID) is blocked")
      }
      for place in blocked {
        try CityGraphStore.unblock(place.id, tenant: step.tenant, in: tx)
        try step.tell(
          ServicePointUnblocked(servicePointID: place.id, reason: request.reason, actor: request.actor),
          market: place.point.marketCode, in: tx)
      }
      try CityGraphStore.advance(step.tenant, mapChanged: false, in: tx)
      return BlockChange(servicePointIds: blocked.map(\.id))
    }
  }

  /// The place that is named, or those that lie in a cluster.
  private func places(_ id: String, orCluster cluster: String, _ step: CityStep) async throws -> [CityPlace] {
    let city = try await cities.city(of: step.tenant)
    guard !cluster.isEmpty else { return [try Self.place(id, in: city)] }
    let places = try await away { city.map.places(inCluster: cluster) }
    if places.isEmpty { throw RPCError.missing(.servicePointNotFound, "there is no place in a cluster \(cluster)") }
    guard places.count <= CityGraphLimits.placesPerBlock else {
      throw RPCError.failedPrecondition(
        "\(cluster) holds \(places.count) places; at most \(CityGraphLimits.placesPerBlock) are blocked at once: block them by themselves")
    }
    return places
  }

  /// Changes the city once per key; the next question sees it.
  func change<Response: Message>(
    _ name: StaticString, _ key: IdempotencyKey, _ step: CityStep,
    _ body: @escaping @Sendable (borrowing Transaction) throws -> Response
  ) async throws -> Response {
    do {
      let response = try await environment.database.transaction(name) { tx in
        try tx.once(key, at: step.now) { try body(tx) }
      }.value
      cities.changed(step.tenant)
      return response
    } catch let refusal as RPCError {
      throw refusal
    } catch {
      // It may have been committed all the same.
      cities.changed(step.tenant)
      throw error
    }
  }
}

/// A set of places as the registry sent it, checked whole before anything is written.
struct PlaceSync: Sendable {
  /// In the order of their codes.
  private(set) var markets: [(code: String, timeZone: CityTimeZone)] = []
  private(set) var points: [(point: ServicePoint, encoded: [UInt8])] = []
  private(set) var ids: Set<String> = []
  private(set) var hoursProblems: [String] = []

  /// Throws INVALID_ARGUMENT with everything that is wrong.
  init(_ request: SyncServicePointsRequest) throws {
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.check(request.registryRevision > 0, "registry_revision", "is required")
    let limit = CityGraphLimits.servicePointsPerSync
    fields.check(request.servicePoints.count <= limit, "service_points", "at most \(limit)")
    fields.check(
      request.marketTimeZones.count <= CityGraphLimits.marketsPerSync, "market_time_zones", "at most \(CityGraphLimits.marketsPerSync)")
    var zones: [String: CityTimeZone] = [:]
    for (market, identifier) in request.marketTimeZones.prefix(CityGraphLimits.marketsPerSync) {
      fields.id(market, "market_time_zones")
      if let zone = CityTimeZone(identifier: identifier) {
        zones[market] = zone
      } else {
        fields.add("market_time_zones[\(market)]", "\(identifier) is no IANA time zone")
      }
    }
    for (index, point) in request.servicePoints.prefix(limit).enumerated() {
      Self.check(point, "service_points[\(index)]", &fields)
      fields.check(
        request.marketTimeZones[point.marketCode] != nil, "service_points[\(index)].market_code", "has no time zone in market_time_zones")
      fields.check(ids.insert(point.servicePointID).inserted, "service_points[\(index)].service_point_id", "occurs twice")
      points.append((point, point.encoded()))
      if !point.openingHours.isEmpty, let problem = OpeningHours.problem(in: point.openingHours),
        hoursProblems.count < CityGraphLimits.hoursProblemsReported
      {
        hoursProblems.append("\(point.servicePointID): \(problem)")
      }
    }
    try fields.finish()
    markets = zones.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }

  private static func check(_ point: ServicePoint, _ path: String, _ fields: inout Validation) {
    fields.id(point.servicePointID, "\(path).service_point_id")
    fields.text(point.name, "\(path).name", max: CityGraphLimits.lineCharacters)
    fields.id(point.marketCode, "\(path).market_code")
    if point.position == nil { fields.add("\(path).position", "is required") }
    fields.position(point.position, "\(path).position")
    fields.optionalText(point.street, "\(path).street", max: CityGraphLimits.lineCharacters)
    // Hours that can't be read are a finding, not a fault: the place is then never taken for open.
    fields.optionalText(point.openingHours, "\(path).opening_hours", max: CityGraphLimits.openingHoursBytes)
    fields.tags(point.tags, "\(path).tags")
    fields.optionalID(point.clusterID, "\(path).cluster_id")
    fields.optionalID(point.vendorID, "\(path).vendor_id")
    fields.optionalText(point.website, "\(path).website", max: CityGraphLimits.websiteCharacters)
    fields.optionalText(point.attribution, "\(path).attribution", max: CityGraphLimits.lineCharacters)
    fields.check((0...1).contains(point.experienceScore), "\(path).experience_score", "must be 0 to 1")
    if let dwell = point.dwell {
      fields.check(
        (0...CityGraphLimits.dwellSecondsMaximum).contains(dwell.seconds) && (0..<1_000_000_000).contains(dwell.nanos), "\(path).dwell",
        "must be 0 to 24 hours")
    }
  }
}

extension Validation {
  fileprivate mutating func target(_ place: String, _ cluster: String) {
    optionalID(place, "service_point_id")
    optionalID(cluster, "cluster_id")
    check(place.isEmpty != cluster.isEmpty, "service_point_id", "exactly one of service_point_id and cluster_id must be given")
  }

  fileprivate mutating func intervention(_ key: String, _ reason: String, _ actor: String) {
    idempotencyKey(key)
    text(reason, "reason", max: CityGraphLimits.reasonCharacters)
    text(actor, "actor", max: CityGraphLimits.actorCharacters)
  }
}
