import Glibc
import SpanwireSchema

/// Step two of a route's change: does the proposed route fit the session's frozen profiles, the blocks, and the hours of its places?
///
/// Pure: what the city graph says of each place at the time she would be there comes in by `visit`. The walk is reckoned as the
/// crow flies and from the first stop on, so that it is never longer than what a planner reckoned: a plan that was right stays so.
struct RouteCheck: Sendable {
  var profiles: [Profile]
  var marketCode: String
  var blocked: Set<String>
  /// When the safety profile wants the day to be over; nil when it doesn't say.
  var latestEnd: Int64?

  /// Where the walk stands: at a place, at a time.
  struct Walk: Sendable {
    var time: Int64
    var metres = 0.0
    var position: GeoPoint?
  }

  /// What the profiles and blocks say of the list itself; nil when nothing stands against it.
  func objection(to stops: [String]) -> String? {
    if Set(stops).count != stops.count { return "a place occurs twice" }
    for case .safety(let safety) in profiles.compactMap(\.kind) where safety.maxStops > 0 && stops.count > Int(safety.maxStops) {
      return "\(stops.count) stops are more than the safety profile's \(safety.maxStops)"
    }
    for case .ops(let ops) in profiles.compactMap(\.kind) {
      if let stop = stops.first(where: ops.blockedServicePointIds.contains) { return "\(stop) is blocked by the operations profile" }
    }
    if let stop = stops.first(where: blocked.contains) { return "\(stop) is blocked" }
    return nil
  }

  /// When she would be at a place next, given where the walk stands.
  func arrival(at place: ServicePoint, after walk: Walk) -> Int64 {
    guard let here = walk.position, let there = place.position else { return walk.time }
    return walk.time + Int64(here.metres(to: there) / JourneyLimits.walkingMetresPerSecond * 1e9)
  }

  /// Takes a stop into the walk; the objection when she could not be there.
  func visit(_ status: ServicePointStatus, at arrival: Int64, in walk: inout Walk) -> String? {
    guard let place = status.servicePoint else { return "a place is unknown to the city graph" }
    let id = place.servicePointID
    if place.marketCode != marketCode { return "\(id) is in market \(place.marketCode), the journey in \(marketCode)" }
    if status.blocked { return "\(id) is blocked" + (status.blockedReason.isEmpty ? "" : ": \(status.blockedReason)") }
    for case .quality(let quality) in profiles.compactMap(\.kind) where place.experienceScore < quality.minExperienceScore {
      return "\(id) is below the quality profile's experience score"
    }
    var begins = arrival
    switch status.openState {
    case .open: break
    case .closed:
      guard let opens = status.opensAt?.nanosecondsSinceEpoch, opens <= arrival + JourneyLimits.waitForOpening else {
        return "\(id) is closed when the route comes there"
      }
      begins = opens
    default: return "the hours of \(id) are unknown"
    }
    if let there = place.position {
      if let here = walk.position { walk.metres += here.metres(to: there) }
      walk.position = there
    }
    walk.time = begins + (place.dwell?.nanoseconds ?? JourneyLimits.dwell)
    for case .safety(let safety) in profiles.compactMap(\.kind) where safety.maxWalkingMetres > 0 && walk.metres > safety.maxWalkingMetres {
      return "the route is longer than the safety profile's \(Int(safety.maxWalkingMetres)) metres"
    }
    if let latestEnd, walk.time > latestEnd { return "the route ends later than the safety profile allows: at \(id)" }
    return nil
  }
}

extension GeoPoint {
  /// The distance as the crow flies, by the haversine formula on a sphere of the earth's mean radius.
  func metres(to other: GeoPoint) -> Double {
    let radians = Double.pi / 180
    let dLatitude = (other.latitude - latitude) * radians
    let dLongitude = (other.longitude - longitude) * radians
    let a =
      sin(dLatitude / 2) * sin(dLatitude / 2)
      + cos(latitude * radians) * cos(other.latitude * radians) * sin(dLongitude / 2) * sin(dLongitude / 2)
    return 2 * 6_371_008.8 * asin(min(1, a.squareRoot()))
  }
}
