import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Testing

@testable import SpanwireJourneys

@Suite("Routes against profiles, blocks and hours")
struct RouteCheckTests {
  static let noon: Int64 = 1_777_888_800_000_000_000
  static let hour: Int64 = 3_600_000_000_000

  static func place(
    _ id: String, latitude: Double = 48.2, market: String = "AT-VIE", score: Double = 0.8, state: OpenState = .open, opensAt: Int64? = nil,
    blocked: Bool = false
  ) -> ServicePointStatus {
    ServicePointStatus(
      servicePoint: ServicePoint(
        servicePointID: id, marketCode: market, position: GeoPoint(latitude: latitude, longitude: 16.37), experienceScore: score),
      openState: state, opensAt: opensAt.map { .init(nanosecondsSinceEpoch: $0) }, blocked: blocked)
  }

  static let check = RouteCheck(
    profiles: [
      Profile(kind: .safety(SafetyProfile(maxStops: 3, maxWalkingMetres: 2_000))),
      Profile(kind: .ops(OpsProfile(blockedServicePointIds: ["SP-OPS"]))),
      Profile(kind: .quality(QualityProfile(minExperienceScore: 0.3))),
    ], marketCode: "AT-VIE", blocked: ["SP-BLOCKED"])

  @Test(
    "The list itself is held against the profiles and the blocks",
    arguments: [
      (["A", "B", "C"], nil), (["A", "B", "C", "D"], "more than"), (["A", "A"], "twice"), (["SP-OPS"], "operations profile"),
      (["A", "SP-BLOCKED"], "is blocked"),
    ] as [([String], String?)])
  func list(_ stops: [String], says: String?) {
    let objection = Self.check.objection(to: stops)
    #expect((objection == nil) == (says == nil))
    if let says { #expect(objection?.contains(says) == true) }
  }

  @Test(
    "A stop must be in the market, good enough, open or about to open",
    arguments: [
      (place("A"), nil), (place("A", market: "DE-BER"), "market"), (place("A", score: 0.1), "experience"),
      (place("A", blocked: true), "blocked"), (place("A", state: .unknown), "unknown"), (place("A", state: .closed), "closed"),
      (place("A", state: .closed, opensAt: noon + hour), nil), (place("A", state: .closed, opensAt: noon + hour + 1), "closed"),
    ] as [(ServicePointStatus, String?)])
  func stop(_ status: ServicePointStatus, says: String?) {
    var walk = RouteCheck.Walk(time: Self.noon)
    let objection = Self.check.visit(status, at: Self.noon, in: &walk)
    #expect((objection == nil) == (says == nil))
    if let says { #expect(objection?.contains(says) == true) }
  }

  @Test("The walk is reckoned from stop to stop, and may not be too long")
  func walk() throws {
    var walk = RouteCheck.Walk(time: Self.noon)
    #expect(Self.check.visit(Self.place("A"), at: Self.noon, in: &walk) == nil)
    #expect(walk.time == Self.noon + JourneyLimits.dwell)
    // A hundredth of a degree of latitude is 1,112 metres.
    let second = Self.place("B", latitude: 48.21)
    let arrival = Self.check.arrival(at: try #require(second.servicePoint), after: walk)
    #expect(abs(Double(arrival - walk.time) / 1e9 - 1_112 / 1.25) < 1)
    #expect(Self.check.visit(second, at: arrival, in: &walk) == nil)
    #expect(Self.check.visit(Self.place("C", latitude: 48.22), at: arrival, in: &walk)?.contains("longer") == true)
  }
}
