import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Testing

@testable import SpanwireCityGraph

@Suite("LEM, the service")
struct LemTests {
  @Test("A synchronised place answers with its hours at the moment asked for")
  func status() async throws {
    let city = try await TestCity.open()
    let stored = try await city.sync([
      TestCity.cafe("SP-1"), TestCity.cafe("SP-2", hours: "Tu-Su 08:00-22:00"), TestCity.cafe("SP-3", hours: ""),
      TestCity.cafe("SP-4", hours: "sometimes"),
    ])
    #expect(stored.stored == 4 && stored.removed == 0)
    #expect(stored.hoursProblems.count == 1 && stored.hoursProblems[0].hasPrefix("SP-4: "))

    let open = try await city.status("SP-1")
    #expect(open.openState == .open && open.openUntil?.seconds == 1_777_885_200 + 11 * 3600 && open.servicePoint?.vendorID == "VND-SP-1")
    let closed = try await city.status("SP-2")
    #expect(closed.openState == .closed && closed.opensAt?.seconds == 1_777_885_200 + 21 * 3600)
    #expect(try await city.status("SP-3").openState == .unknown)
    let unread = try await city.status("SP-4")
    #expect(unread.openState == .unknown && !unread.hoursProblem.isEmpty)
    let tonight = try await city.server.getServicePoint(
      .init(servicePointID: "SP-1", at: .init(seconds: 1_777_885_200 + 14 * 3600)), context: city.ops())
    #expect(tonight.openState == .closed)

    await city.expect(.notFound, .servicePointNotFound) { _ = try await city.status("SP-9") }
    await city.expect(.notFound, .servicePointNotFound) { _ = try await city.status("SP-1", tenant: "graz") }
  }

  @Test("A later revision replaces a market's places; an earlier one changes nothing")
  func revisions() async throws {
    let city = try await TestCity.open()
    try await city.sync([TestCity.cafe("SP-1"), TestCity.cafe("SP-2")], revision: 5)
    let later = try await city.sync([TestCity.cafe("SP-2", score: 0.9), TestCity.cafe("SP-3")], revision: 6)
    #expect(later.stored == 2 && later.removed == 1)
    #expect(try await city.list(.init()).servicePoints.map { $0.servicePoint?.servicePointID } == ["SP-2", "SP-3"])
    #expect(try await city.status("SP-2").servicePoint?.experienceScore == 0.9)
    let earlier = try await city.sync([TestCity.cafe("SP-1")], revision: 4)
    #expect(earlier.stored == 0 && earlier.removed == 0)
    #expect(try await city.list(.init()).servicePoints.count == 2)
    #expect(try await city.sync([TestCity.cafe("SP-2", score: 0.9), TestCity.cafe("SP-3")], revision: 6) == later)
    // A market without places is emptied, another is left alone.
    try await city.sync([], revision: 7, zones: ["AT-GRZ": "Europe/Vienna"])
    #expect(try await city.list(.init()).servicePoints.count == 2)
    try await city.sync([], revision: 8)
    #expect(try await city.list(.init()).servicePoints.isEmpty)
    try await city.expectSound()
  }

  @Test("What can't be taken over is told whole, and nothing of it is")
  func invalidSync() async throws {
    let city = try await TestCity.open()
    var nowhere = TestCity.cafe("SP-1")
    nowhere.position = nil
    var foreign = TestCity.cafe("SP 2", score: 2)
    foreign.marketCode = "AT-GRZ"
    let error = await #expect(throws: RPCError.self) {
      try await city.sync([TestCity.cafe("SP-0"), nowhere, foreign, TestCity.cafe("SP-0")], zones: ["AT-VIE": "Europe/Atlantis"])
    }
    #expect(
      Set(error?.violatedFields ?? []) == [
        "market_time_zones[AT-VIE]", "service_points[1].position", "service_points[2].service_point_id",
        "service_points[2].vendor_id", "service_points[2].experience_score", "service_points[2].market_code",
        "service_points[3].service_point_id",
      ])
    #expect(try await city.list(.init()).servicePoints.isEmpty)
  }

  @Test("Nearest come first, pages hold everything once, and open means that one can go there")
  func listing() async throws {
    let city = try await TestCity.open()
    let hours = [2: "", 3: "Su 10:00-12:00"]
    try await city.sync(
      (0..<9).map { (number: Int) -> ServicePoint in
        let tags: [String] = number % 2 == 0 ? ["cafe", "cake"] : ["cafe"]
        return TestCity.cafe("SP-\(number)", north: 8 - number, hours: hours[number] ?? "24/7", tags: tags)
      })
    _ = try await city.block("SP-4")
    var request = ListServicePointsRequest(
      marketCode: "AT-VIE", near: GeoPoint(latitude: 48.2, longitude: 16.37), withinMetres: 700, pageSize: 2)
    var found: [String] = []
    repeat {
      let page = try await city.list(request)
      found += page.servicePoints.compactMap { $0.servicePoint?.servicePointID }
      request.pageToken = page.nextPageToken
    } while !request.pageToken.isEmpty
    #expect(found == ["SP-8", "SP-7", "SP-6", "SP-5", "SP-4", "SP-3", "SP-2"])
    func ids(_ request: ListServicePointsRequest) async throws -> [String] {
      try await city.list(request).servicePoints.compactMap { $0.servicePoint?.servicePointID }
    }
    #expect(try await ids(.init(openOnly: true)) == ["SP-0", "SP-1", "SP-5", "SP-6", "SP-7", "SP-8"])
    #expect(try await ids(.init(tags: ["cafe", "cake"])) == ["SP-0", "SP-2", "SP-4", "SP-6", "SP-8"])
    #expect(try await ids(.init(marketCode: "AT-GRZ")) == [])
    let error = await #expect(throws: RPCError.self) {
      _ = try await city.list(.init(marketCode: "a b", near: GeoPoint(latitude: 91, longitude: 0), withinMetres: -1, pageSize: 501))
    }
    #expect(error?.violatedFields == ["market_code", "near.latitude", "within_metres", "page_size"])
    await city.expect(.invalidArgument, .pageTokenInvalid) { _ = try await city.list(.init(pageToken: "nonsense")) }
  }

  @Test("A market is covered when one of its places is certainly open")
  func coverage() async throws {
    let city = try await TestCity.open()
    try await city.sync([
      TestCity.cafe("SP-1"), TestCity.cafe("SP-2", hours: "Su 10:00-12:00"), TestCity.cafe("SP-3", hours: "", tags: ["sight"]),
    ])
    func check(_ market: String = "AT-VIE", _ tags: [String] = []) async throws -> CheckCoverageResponse {
      try await city.server.checkCoverage(.init(marketCode: market, tags: tags), context: city.ops())
    }
    let vienna = try await check()
    #expect(vienna.covered && vienna.servicePoints == 3 && vienna.openNow == 1 && vienna.reason.isEmpty)
    #expect(try await city.eventTypes().isEmpty)
    for missed in [try await check("AT-GRZ"), try await check("AT-VIE", ["sight"]), try await check("AT-VIE", ["pool"])] {
      #expect(!missed.covered && !missed.reason.isEmpty)
    }
    _ = try await city.block("SP-1")
    #expect(try await check().covered == false)
    #expect(
      try await city.eventTypes() == [
        "lem.coverage.missed", "lem.coverage.missed", "lem.coverage.missed", "lem.service_point.blocked", "lem.coverage.missed",
      ])
  }

  @Test("Coverage that was found is found anew when a block comes, ends within the second, or the night falls")
  func coverageAnew() async throws {
    let city = try await TestCity.open()
    try await city.sync([TestCity.cafe("SP-1")])
    func open() async throws -> UInt32 {
      try await city.server.checkCoverage(.init(marketCode: "AT-VIE"), context: city.ops()).openNow
    }
    #expect(try await open() == 1)
    _ = try await city.block("SP-1", until: city.clock.now + 500_000_000)
    #expect(try await open() == 0)
    city.clock.advance(by: .milliseconds(499))
    #expect(try await open() == 0)
    city.clock.advance(by: .milliseconds(1))
    #expect(try await open() == 1)
    city.clock.advance(by: .seconds(15 * 3600))
    #expect(try await open() == 0)
    try await city.sync([TestCity.cafe("SP-1", hours: "24/7")], revision: 2)
    #expect(try await open() == 1)
  }

  @Test("A block is seen at once, ends at its time, and is taken back with a reason")
  func blocks() async throws {
    let city = try await TestCity.open()
    try await city.sync([TestCity.cafe("SP-1"), TestCity.cafe("SP-2")])
    #expect(try await city.status("SP-1").blocked == false)
    let change = try await city.block("SP-1", until: city.clock.now + 3_600_000_000_000)
    #expect(change.servicePointIds == ["SP-1"])
    let blocked = try await city.status("SP-1")
    #expect(blocked.blocked && blocked.blockedReason == "broken glass" && blocked.openState == .open)
    #expect(try await city.status("SP-2").blocked == false)
    #expect(try await city.block("SP-1", until: city.clock.now + 3_600_000_000_000) == change)
    city.clock.advance(by: .seconds(3600))
    #expect(try await city.status("SP-1").blocked == false)
    await city.expect(.failedPrecondition, nil) { _ = try await city.unblock("SP-1") }

    _ = try await city.block("SP-1", key: "block-2")
    city.clock.advance(by: .seconds(3600 * 24))
    #expect(try await city.status("SP-1").blocked)
    #expect(try await city.unblock("SP-1", key: "unblock-2").servicePointIds == ["SP-1"])
    #expect(try await city.status("SP-1").blocked == false)
    await city.expect(.failedPrecondition, nil) { _ = try await city.unblock("SP-1", key: "unblock-3") }
    await city.expect(.notFound, .servicePointNotFound) { _ = try await city.block("SP-9", key: "block-3") }
    await city.expect(.invalidArgument, .invalidFields) { _ = try await city.block("SP-1", key: "block-4", until: city.clock.now) }
    #expect(
      try await city.eventTypes() == ["lem.service_point.blocked", "lem.service_point.blocked", "lem.service_point.unblocked"])
    try await city.expectSound()
  }

  @Test("A route visits what is open and free, and says why it leaves out the rest")
  func route() async throws {
    let city = try await TestCity.open()
    try await city.sync([
      TestCity.cafe("SP-1", north: 1), TestCity.cafe("SP-2", north: 2), TestCity.cafe("SP-3", north: 3),
      TestCity.cafe("SP-4", north: 4, hours: "Mo 08:00-10:00"), TestCity.cafe("SP-5", north: 5, hours: ""),
      TestCity.cafe("SP-6", north: 6),
    ])
    _ = try await city.block("SP-6")
    let start = GeoPoint(latitude: 48.2, longitude: 16.37)
    let route = try await city.route(.init(marketCode: "AT-VIE", start: start, maxStops: 2))
    #expect(route.stops.count == 2 && route.candidates == 6 && route.walkingMetres > 0)
    #expect(route.stops.allSatisfy { $0.openUntil?.seconds == 1_777_885_200 + 11 * 3600 && !$0.name.isEmpty })
    let why = Dictionary(uniqueKeysWithValues: route.excluded.map { ($0.servicePointID, $0.why) })
    #expect(why["SP-4"] == .closed && why["SP-5"] == .hoursUnknown && why["SP-6"] == .blocked && why.count == 4)
    #expect(why.values.contains(.noTime))

    let all = try await city.route(.init(marketCode: "AT-VIE", start: start))
    #expect(all.stops.map(\.servicePointID) == ["SP-1", "SP-2", "SP-3"])
    let without = try await city.route(
      .init(marketCode: "AT-VIE", start: start, requiredServicePointIds: ["SP-3"], excludedServicePointIds: ["SP-1"], maxStops: 1))
    #expect(without.stops.map(\.servicePointID) == ["SP-3"])
    let late = try await city.route(.init(marketCode: "AT-VIE", start: start, finishBy: .init(seconds: 1_777_885_200 - 60)))
    #expect(late.stops.isEmpty && late.excluded.allSatisfy { $0.why == .noTime })
    #expect(try await city.eventTypes().filter { $0 == "lem.route.computed" }.count == 4)

    await city.expect(.failedPrecondition, .noRoute) {
      _ = try await city.route(.init(marketCode: "AT-VIE", start: start, requiredServicePointIds: ["SP-6"]))
    }
    await city.expect(.notFound, .servicePointNotFound) {
      _ = try await city.route(.init(marketCode: "AT-VIE", servicePointIds: ["SP-1", "SP-9"]))
    }
    let error = await #expect(throws: RPCError.self) {
      _ = try await city.route(
        .init(
          requiredServicePointIds: ["SP-1", "SP-2"], excludedServicePointIds: ["SP-2"], maxStops: 26, walkingMetresPerSecond: .nan))
    }
    #expect(
      error?.violatedFields == ["market_code", "max_stops", "required_service_point_ids[1]", "walking_metres_per_second"])
  }

  @Test("Readers who come while the city changes see one city or the next, and afterwards the last")
  func readersAndWriters() async throws {
    let city = try await TestCity.open()
    try await city.sync([TestCity.cafe("SP-1")])
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<20 {
        group.addTask { _ = try await city.block("SP-1", key: "b\(number)", until: city.clock.now + 1_000_000_000 + Int64(number)) }
        group.addTask { for _ in 0..<5 { _ = try await city.status("SP-1") } }
      }
      try await group.waitForAll()
    }
    _ = try await city.block("SP-1", key: "last")
    let last = try await city.status("SP-1")
    #expect(last.blocked && last.blockedUntil == nil)
    try await city.expectSound()
  }

  @Test("Room is kept until it ends, is given back or runs out, and nobody is sent where there is none")
  func capacity() async throws {
    let city = try await TestCity.open()
    var small = TestCity.cafe("SP-1")
    small.capacity = 10
    try await city.sync([small, TestCity.cafe("SP-2", north: 40)])
    let hour: Int64 = 3_600_000_000_000
    let now = city.clock.now
    func reserve(_ visitors: UInt32, _ key: String, from: Int64 = 0, to: Int64 = hour, at place: String = "SP-1") async throws
      -> ReserveCapacityResponse
    {
      try await city.server.reserveCapacity(
        .init(
          idempotencyKey: key, servicePointID: place, visitors: visitors, holder: "party \(key)",
          startsAt: .init(nanosecondsSinceEpoch: now + from), expiresAt: .init(nanosecondsSinceEpoch: now + to)), context: city.ops())
    }
    #expect(try await city.status("SP-1").freeCapacity == 10)
    let first = try await reserve(6, "a")
    #expect(first.freeCapacity == 4)
    #expect(try await reserve(6, "a") == first)
    #expect(try await city.status("SP-1").freeCapacity == 4)
    await city.expect(.failedPrecondition, .capacityExceeded) { _ = try await reserve(5, "b") }
    #expect(try await reserve(8, "c", from: hour, to: 2 * hour).freeCapacity == 2)
    // It overlaps both of the former, the fuller of which decides.
    await city.expect(.failedPrecondition, .capacityExceeded) { _ = try await reserve(3, "d", to: 2 * hour) }
    #expect(try await reserve(2, "e", to: 2 * hour).freeCapacity == 0)
    #expect(try await reserve(100, "f", at: "SP-2").freeCapacity == 0)
    await city.expect(.notFound, .servicePointNotFound) { _ = try await reserve(1, "g", at: "SP-9") }
    await city.expect(.invalidArgument, .invalidFields) { _ = try await reserve(1, "h", to: 25 * hour) }
    await city.expect(.invalidArgument, .invalidFields) { _ = try await reserve(1, "i", to: 0) }

    // Three walk together: there is room for two now, and for none in an hour.
    let start = GeoPoint(latitude: 48.2, longitude: 16.37)
    let soon = ComputeRouteRequest(
      marketCode: "AT-VIE", start: start, finishBy: .init(nanosecondsSinceEpoch: now + 3 * hour / 2), tags: ["cafe"], visitors: 3)
    let route = try await city.route(soon)
    let left = route.excluded.first { $0.servicePointID == "SP-1" }
    #expect(left?.why == .full)

    var page = try await city.server.listReservations(.init(servicePointID: "SP-1", pageSize: 2), context: city.ops())
    var listed = page.reservations
    page = try await city.server.listReservations(
      .init(servicePointID: "SP-1", pageSize: 2, pageToken: page.nextPageToken), context: city.ops())
    listed += page.reservations
    let visitors = listed.map(\.visitors)
    #expect(visitors == [6, 8, 2] && page.nextPageToken.isEmpty)

    let id = try #require(first.reservation?.reservationID)
    let released = try await city.server.releaseCapacity(.init(idempotencyKey: "z", reservationID: id), context: city.ops())
    #expect(released.visitors == 6)
    #expect(try await city.status("SP-1").freeCapacity == 8)
    await city.expect(.notFound, .reservationNotFound) {
      _ = try await city.server.releaseCapacity(.init(idempotencyKey: "y", reservationID: id), context: city.ops())
    }
    try await city.expectSound()
    city.clock.advance(by: .seconds(7200))
    #expect(try await city.status("SP-1").freeCapacity == 10)
    try await city.expectSound()
    let told = try await city.eventTypes().filter { $0.hasPrefix("lem.capacity") }
    #expect(told.count == 5)
  }

  @Test("Hours are laid out for a place or for any text, and where they can't be read it says where")
  func explains() async throws {
    let city = try await TestCity.open()
    try await city.sync([TestCity.cafe("SP-1", hours: "Mo 10:00-12:00 open \"ring\"")])
    func explain(_ request: ExplainHoursRequest) async throws -> ExplainHoursResponse {
      try await city.server.explainHours(request, context: city.ops())
    }
    let place = try await explain(.init(servicePointID: "SP-1"))
    #expect(place.timeZone == "Europe/Vienna" && place.state == .open && place.nextChange?.seconds == 1_777_885_200 + 3600)
    let states = place.intervals.map(\.state)
    #expect(states == [.open, .closed, .open] && place.intervals.first?.comment == "ring")
    let isAWeek = place.intervals.last?.end?.seconds == 1_777_885_200 + 7 * 86_400
    #expect(isAWeek)
    let wrong = try await explain(.init(openingHours: "Mo-Fr 10:00-12:00; Sa 10:00", marketCode: "AT-VIE"))
    #expect(wrong.state == .unknown && wrong.problemOffset == 22 && !wrong.problem.isEmpty && wrong.intervals.isEmpty)
    await city.expect(.notFound, .marketNotFound) { _ = try await explain(.init(openingHours: "24/7", marketCode: "AT-GRZ")) }
    await city.expect(.invalidArgument, .invalidFields) { _ = try await explain(.init()) }
    await city.expect(.invalidArgument, .invalidFields) {
      _ = try await explain(.init(servicePointID: "SP-1", until: .init(seconds: 1_777_885_200 + 40 * 86_400)))
    }
  }

  @Test("Holidays that nobody here knows are a problem of the hours that name them")
  func unknownHolidays() async throws {
    let city = try await TestCity.open()
    var points = [TestCity.cafe("SP-1", hours: "Mo-Su 10:00-12:00; PH off"), TestCity.cafe("SP-2", hours: "SH off")]
    for index in points.indices { points[index].marketCode = "DE-BER" }
    try await city.sync(points, zones: ["DE-BER": "Europe/Berlin"])
    #expect(try await city.status("SP-1").hoursProblem.contains("PH"))
    #expect(try await city.status("SP-2").hoursProblem.contains("SH"))
  }

  @Test("Clusters are told with their middle and what is open in them, and places can be listed by them")
  func clusters() async throws {
    let city = try await TestCity.open()
    var points = (0..<4).map { TestCity.cafe("SP-\($0)", north: $0 * 2, hours: $0 == 1 ? "Su 10:00-12:00" : "24/7", score: 0.5) }
    for index in 0..<3 { points[index].clusterID = index < 2 ? "CL-A" : "CL-B" }
    try await city.sync(points)
    let clusters = try await city.server.listClusters(.init(marketCode: "AT-VIE"), context: city.ops()).clusters
    let (ids, counts, open) = (clusters.map(\.clusterID), clusters.map(\.servicePoints), clusters.map(\.openNow))
    #expect(ids == ["CL-A", "CL-B"] && counts == [2, 1] && open == [1, 1])
    #expect(abs((clusters[0].centre?.latitude ?? 0) - 48.201) < 1e-9 && abs((clusters[0].centre?.longitude ?? 0) - 16.37) < 1e-9)
    #expect(abs(clusters[0].radiusMetres - 111.2) < 0.2 && clusters[1].radiusMetres == 0)
    let members = try await city.list(.init(clusterID: "CL-A")).servicePoints.compactMap(\.servicePoint?.servicePointID)
    #expect(members == ["SP-0", "SP-1"])
  }

  @Test("All places of a cluster are blocked at once, and those that still are come back at once")
  func clusterBlocks() async throws {
    let city = try await TestCity.open()
    var points = (0..<4).map { TestCity.cafe("SP-\($0)", north: $0) }
    for index in 0..<3 { points[index].clusterID = "CL-A" }
    try await city.sync(points)
    let until = city.clock.now + 3_600_000_000_000
    #expect(try await city.block(cluster: "CL-A", until: until).servicePointIds == ["SP-0", "SP-1", "SP-2"])
    #expect(try await city.block(cluster: "CL-A", until: until).servicePointIds == ["SP-0", "SP-1", "SP-2"])
    let listed = try await city.list(.init()).blockedIDs
    #expect(listed == ["SP-0", "SP-1", "SP-2"])
    _ = try await city.unblock("SP-1", key: "one")
    #expect(try await city.unblock(cluster: "CL-A", key: "rest").servicePointIds == ["SP-0", "SP-2"])
    await city.expect(.failedPrecondition, nil) { _ = try await city.unblock(cluster: "CL-A", key: "again") }
    _ = try await city.block(cluster: "CL-A", key: "anew", until: city.clock.now + 1_000_000_000)
    city.clock.advance(by: .seconds(1))
    let after = try await city.list(.init()).blockedIDs
    #expect(after.isEmpty)
    await city.expect(.notFound, .servicePointNotFound) { _ = try await city.block(cluster: "CL-B", key: "none") }
    await city.expect(.invalidArgument, .invalidFields) { _ = try await city.block("SP-1", cluster: "CL-A", key: "both") }
    await city.expect(.invalidArgument, .invalidFields) { _ = try await city.block(key: "neither") }
    let events = try await city.eventTypes()
    let (blocks, unblocks) = (
      events.count { $0 == "lem.service_point.blocked" }, events.count { $0 == "lem.service_point.unblocked" }
    )
    #expect(blocks == 6 && unblocks == 3)
    try await city.expectSound()
  }

  @Test("A route that nobody waits for is given up")
  func abandoned() async throws {
    let city = try await TestCity.open()
    try await city.sync((0..<300).map { TestCity.cafe("SP-\($0)", north: $0 % 40, hours: "24/7", score: Double($0 % 7) / 7) })
    let route = Task { try await city.route(.init(marketCode: "AT-VIE", maxStops: 25)) }
    route.cancel()
    await #expect(throws: CancellationError.self) { _ = try await route.value }
    #expect(try await city.eventTypes().isEmpty)
  }
}

extension ListServicePointsResponse {
  fileprivate var blockedIDs: [String] { servicePoints.filter(\.blocked).compactMap(\.servicePoint?.servicePointID) }
}
