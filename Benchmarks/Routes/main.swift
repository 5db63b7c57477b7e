import Foundation
import SpanwireCityGraph
import Yams

// How good the walks are that LEM finds, and how long it takes: against every possible order where that can be tried, and against the
// one who always goes to the nearest door. tools/bench routes runs it.

let vienna = Coordinate(latitude: 48.2085, longitude: 16.3731)!
/// Monday 2026-05-04, 00:00 in Vienna.
let midnight = CityTimeZone.vienna.instant(CivilDate(year: 2026, month: 5, day: 4), minute: 0)

struct Place {
  var id: String
  var position: Coordinate
  var hours: OpeningHours?
  var score: Double
}

/// SplitMix64: the same instances on every machine.
struct Seeded: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}

/// The places of a registry's bundle, or of a table whose columns are latitude, longitude, name, street, opening hours.
func places(_ path: String) throws -> [Place] {
  let text = try String(contentsOfFile: path, encoding: .utf8)
  var random = Seeded(state: 7)
  func place(_ id: String, _ latitude: Double?, _ longitude: Double?, _ hours: String?, _ score: Double?) -> Place? {
    guard let latitude, let longitude, let position = Coordinate(latitude: latitude, longitude: longitude) else { return nil }
    return Place(
      id: id, position: position, hours: try? OpeningHours(parsing: hours ?? ""), score: score ?? Double.random(in: 0...1, using: &random))
  }
  if path.hasSuffix(".yaml") {
    let bundle = try Yams.load(yaml: text) as? [String: Any]
    return (bundle?["service_points"] as? [[String: Any]] ?? []).compactMap { point in
      let position = point["position"] as? [String: Any]
      return place(
        point["service_point_id"] as? String ?? "", position?["latitude"] as? Double, position?["longitude"] as? Double,
        point["opening_hours"] as? String, point["experience_score"] as? Double)
    }
  }
  return text.split(whereSeparator: \.isNewline).dropFirst().enumerated().compactMap { number, line in
    var fields = [""]
    var isQuoted = false
    for character in line {
      if character == "\"" {
        isQuoted.toggle()
      } else if character == ",", !isQuoted {
        fields.append("")
      } else {
        fields[fields.count - 1].append(character)
      }
    }
    return fields.count < 5 ? nil : place("P-\(number)", Double(fields[0]), Double(fields[1]), fields[4], nil)
  }
}

func candidates(_ places: [Place]) -> [RouteCandidate] {
  places.map {
    RouteCandidate(
      id: $0.id, position: $0.position,
      access: RouteCandidate.access(openingHours: $0.hours, from: midnight, to: midnight + 2 * 86_400, in: .vienna),
      experienceScore: $0.score)
  }
}

/// What the optimiser seeks: see RouteOptimizer.
func worth(_ route: PlannedRoute, _ candidates: [RouteCandidate], _ constraints: RouteConstraints) -> Double {
  let scores = Dictionary(uniqueKeysWithValues: candidates.map { ($0.id, $0.experienceScore) })
  let dwell = Int64(route.stops.count) * 1800
  return route.stops.reduce(0) { $0 + 1 + scores[$1.id, default: 0] }
    - Double(route.finishAt - constraints.departAt - dwell) / RouteOptimizer.secondsPerWorth
}

func milliseconds(_ body: () throws -> Void) rethrows -> Double {
  let clock = ContinuousClock()
  let time = try clock.measure(body)
  return Double(time.components.attoseconds) / 1e15 + Double(time.components.seconds) * 1e3
}

func rounded(_ value: Double, _ digits: Int = 3) -> String { String(format: "%.\(digits)f", value) }

let all = try places(CommandLine.arguments.dropFirst().first ?? "Samples/vienna-coffee-pass.yaml")
print("\(all.count) places, \(all.count { $0.hours != nil }) with hours that can be read")

print("\nThe search against every order, up to nine stops (200 instances each):")
print("candidates  stops  worst      mean   exact ms   search ms")
for count in [6, 9, 11, 13] where count <= all.count {
  var random = Seeded(state: UInt64(count))
  var (worst, sum, exactTime, searchTime) = (1.0, 0.0, 0.0, 0.0)
  let instances = 200
  for instance in 0..<instances {
    let chosen = candidates(Array(all.shuffled(using: &random).prefix(count)))
    let constraints = RouteConstraints(
      start: vienna, departAt: midnight + Int64(8 + instance % 9) * 3600, finishBy: midnight + Int64(12 + instance % 11) * 3600 + 3600,
      maximumStops: min(9, 3 + instance % 7))
    let optimizer = RouteOptimizer(chosen, constraints)
    var exact: PlannedRoute?
    var searched: PlannedRoute?
    exactTime += try milliseconds { exact = try optimizer.solve(exactUpTo: 13) }
    searchTime += try milliseconds { searched = try optimizer.solve(exactUpTo: 0) }
    guard let exact, let searched else { continue }
    let best = worth(exact, chosen, constraints)
    let ratio = best > 0 ? worth(searched, chosen, constraints) / best : 1
    worst = min(worst, ratio)
    sum += ratio
  }
  print(
    "\(count)".padding(toLength: 12, withPad: " ", startingAt: 0) + "3-9    \(rounded(worst, 4))  \(rounded(sum / Double(instances), 4))"
      + "   \(rounded(exactTime / Double(instances)))      \(rounded(searchTime / Double(instances)))")
}

print("\nThe search against the nearest door, all places:")
print("stops  from   worth   nearest   gain    metres  nearest   ms")
for stops in [5, 12, 25] {
  for hour in [9, 14] {
    let chosen = candidates(all)
    let constraints = RouteConstraints(
      start: vienna, departAt: midnight + Int64(hour) * 3600, finishBy: midnight + 23 * 3600, maximumStops: stops)
    let optimizer = RouteOptimizer(chosen, constraints)
    var route: PlannedRoute?
    let time = try milliseconds { route = try optimizer.solve() }
    guard let route else { continue }
    let nearest = optimizer.nearestNeighbourRoute()
    let (found, other) = (worth(route, chosen, constraints), worth(nearest, chosen, constraints))
    let cells = [
      "\(stops)", "\(hour):00", rounded(found, 2), rounded(other, 2), "\(rounded((found / other - 1) * 100, 1)) %",
      rounded(route.walkingMetres, 0), rounded(nearest.walkingMetres, 0), rounded(time, 1),
    ]
    print(zip(cells, [7, 7, 8, 10, 8, 8, 10, 0]).map { $0.padding(toLength: max($0.count, $1), withPad: " ", startingAt: 0) }.joined())
  }
}
