import Testing

@testable import SpanwireCityGraph

/// A generator whose numbers are the same on every run (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

let stephansplatz = Coordinate(latitude: 48.2085, longitude: 16.3731)!

func city(_ count: Int, seed: UInt64, windows: Bool) -> [RouteCandidate] {
  var random = SeededGenerator(state: seed)
  return (0..<count).map { index in
    let position = Coordinate(
      latitude: 48.2 + Double.random(in: 0...0.02, using: &random), longitude: 16.36 + Double.random(in: 0...0.025, using: &random))!
    let opens = at(2026, 11, 20, 8) + Int64.random(in: 0...6, using: &random) * 3600
    let access: RouteCandidate.Access =
      windows ? .windows([TimeWindow(start: opens, end: opens + Int64.random(in: 2...8, using: &random) * 3600)]) : .always
    return RouteCandidate(
      id: "SP-\(index)", position: position, access: access, dwellSeconds: 1800,
      experienceScore: Double(Int.random(in: 0...10, using: &random)) / 10)
  }
}

@Suite("Routes")
struct RouteOptimizerTests {
  /// Every order of every subset, by hand: what the exact search must find.
  func bruteForce(_ candidates: [RouteCandidate], _ constraints: RouteConstraints) -> (worth: Double, finish: UnixSeconds) {
    var best = (worth: 0.0, finish: constraints.departAt)
    func walk(_ position: Coordinate?, _ now: UnixSeconds, _ worth: Double, _ left: [RouteCandidate], _ stops: Int) {
      if worth > best.worth + 1e-9 || (abs(worth - best.worth) <= 1e-9 && now < best.finish) { best = (worth, now) }
      guard stops < constraints.maximumStops else { return }
      for (index, next) in left.enumerated() {
        let metres = (position?.metres(to: next.position) ?? 0) * constraints.detourFactor
        let arrival = now + Int64((metres / constraints.walkingMetresPerSecond).rounded(.up))
        var begin: UnixSeconds?
        switch next.access {
        case .always: begin = arrival
        case .windows(let windows): begin = windows.first { $0.end - next.dwellSeconds >= arrival }.map { max($0.start, arrival) }
        case .unknown: begin = nil
        }
        guard let begin, begin + next.dwellSeconds <= constraints.finishBy ?? .max else { continue }
        var rest = left
        rest.remove(at: index)
        let gain = 1 + next.experienceScore - Double(begin - now) / RouteOptimizer.secondsPerWorth
        walk(next.position, begin + next.dwellSeconds, worth + gain, rest, stops + 1)
      }
    }
    walk(constraints.start, constraints.departAt, 0, candidates, 0)
    return best
  }

  /// What the optimiser seeks, reckoned from the route it gave.
  func worth(_ route: PlannedRoute, _ candidates: [RouteCandidate], _ constraints: RouteConstraints) -> Double {
    let visited = route.stops.map { stop in candidates.first { $0.id == stop.id }! }
    let dwell = visited.reduce(0) { $0 + $1.dwellSeconds }
    return visited.reduce(0) { $0 + 1 + $1.experienceScore } - Double(route.finishAt - constraints.departAt - dwell)
      / RouteOptimizer.secondsPerWorth
  }

  @Test("Up to nine candidates, no order of any subset is better", arguments: 0..<12)
  func exact(_ seed: UInt64) throws {
    let candidates = city(6, seed: seed, windows: seed % 2 == 0)
    let constraints = RouteConstraints(
      start: seed % 3 == 0 ? nil : stephansplatz, departAt: at(2026, 11, 20, 9), finishBy: at(2026, 11, 20, 13),
      maximumStops: 3 + Int(seed % 4))
    let route = try RouteOptimizer(candidates, constraints).solve()
    let best = bruteForce(candidates, constraints)
    let worth = worth(route, candidates, constraints)
    #expect(route.method == .exact)
    #expect(abs(worth - best.worth) < 1e-9)
    #expect(route.finishAt == best.finish)
  }

  @Test("Above, it beats the nearest neighbour and keeps every constraint", arguments: 0..<6)
  func improves(_ seed: UInt64) throws {
    let candidates = city(40, seed: seed, windows: seed % 2 == 0)
    let constraints = RouteConstraints(
      start: stephansplatz, departAt: at(2026, 11, 20, 9), finishBy: at(2026, 11, 20, 18), maximumStops: 12, blocked: ["SP-3"])
    let optimizer = RouteOptimizer(candidates, constraints)
    let route = try optimizer.solve()
    let nearest = optimizer.nearestNeighbourRoute()
    #expect(worth(route, candidates, constraints) > worth(nearest, candidates, constraints))
    check(route, candidates, constraints)
    #expect(route.excluded.contains { $0 == ("SP-3", .blocked) })
    #expect(try RouteOptimizer(candidates, constraints).solve() == route)
  }

  @Test("Without trying every order it comes within five per cent of the best", arguments: 0..<20)
  func nearExact(_ seed: UInt64) throws {
    let candidates = city(9 + Int(seed % 4), seed: seed &+ 500, windows: seed % 2 == 0)
    let constraints = RouteConstraints(
      start: stephansplatz, departAt: at(2026, 11, 20, 9), finishBy: at(2026, 11, 20, 18), maximumStops: 4 + Int(seed % 6))
    let optimizer = RouteOptimizer(candidates, constraints)
    let (searched, best) = (try optimizer.solve(exactUpTo: 0), try optimizer.solve(exactUpTo: 13))
    #expect(searched.method == .improved && best.method == .exact)
    let (found, possible) = (worth(searched, candidates, constraints), worth(best, candidates, constraints))
    #expect(found <= possible + 1e-9)
    #expect(found >= possible * 0.95, "\(found) of \(possible)")
  }

  @Test("A search that nobody waits for ends at once", arguments: [9, 60])
  func cancelled(_ count: Int) {
    let optimizer = RouteOptimizer(city(count, seed: 3, windows: true), RouteConstraints(start: nil, departAt: at(2026, 11, 20, 9)))
    var asked = 0
    do {
      _ = try optimizer.solve {
        asked += 1
        return true
      }
      Issue.record("it went on")
    } catch {
      #expect(error is CancellationError)
    }
    #expect(asked == 1)
  }

  @Test("With the same stops and no hours, the walk gets shorter", arguments: 0..<5)
  func shortens(_ seed: UInt64) throws {
    let candidates = city(18, seed: seed &+ 99, windows: false)
    let optimizer = RouteOptimizer(candidates, RouteConstraints(start: stephansplatz, departAt: at(2026, 11, 20, 0), maximumStops: 18))
    let route = try optimizer.solve()
    let nearest = optimizer.nearestNeighbourRoute()
    #expect(route.stops.count == 18 && nearest.stops.count == 18)
    #expect(route.walkingMetres <= nearest.walkingMetres)
  }

  func check(_ route: PlannedRoute, _ candidates: [RouteCandidate], _ constraints: RouteConstraints) {
    #expect(route.stops.count <= constraints.maximumStops)
    #expect(Set(route.stops.map(\.id)).count == route.stops.count)
    #expect(route.stops.count + route.excluded.count == candidates.count)
    var now = constraints.departAt
    for stop in route.stops {
      let candidate = candidates.first { $0.id == stop.id }!
      #expect(stop.arriveAt >= now && stop.beginAt >= stop.arriveAt && stop.leaveAt == stop.beginAt + candidate.dwellSeconds)
      if case .windows(let windows) = candidate.access {
        #expect(windows.contains { $0.start <= stop.beginAt && stop.leaveAt <= $0.end })
      }
      #expect(!constraints.blocked.contains(stop.id))
      now = stop.leaveAt
    }
    #expect(now <= constraints.finishBy ?? .max)
  }

  @Test("A required stop comes before nearer ones, and its absence shows")
  func required() throws {
    var candidates = city(30, seed: 5, windows: false)
    candidates[29].isRequired = true
    let constraints = RouteConstraints(start: stephansplatz, departAt: 0, finishBy: 5400, maximumStops: 2)
    let route = try RouteOptimizer(candidates, constraints).solve()
    #expect(route.stops.contains { $0.id == "SP-29" })
    #expect(!route.isIncomplete)
    candidates[29].access = .unknown
    let without = try RouteOptimizer(candidates, constraints).solve()
    #expect(without.isIncomplete)
    #expect(without.excluded.contains { $0 == ("SP-29", .hoursUnknown) })
  }

  @Test("Nothing to visit is an empty route, not an error")
  func empty() throws {
    let constraints = RouteConstraints(start: nil, departAt: 1000)
    #expect(try RouteOptimizer([], constraints).solve().stops.isEmpty)
    let closed = RouteCandidate(id: "a", position: stephansplatz, access: .windows([]))
    #expect(try RouteOptimizer([closed], constraints).solve().excluded.elementsEqual([("a", .closed)], by: ==))
  }
}

@Suite("Distances and the grid")
struct SpatialTests {
  @Test("Distances are the known ones")
  func distances() {
    let westbahnhof = Coordinate(latitude: 48.1967, longitude: 16.3378)!
    #expect(abs(stephansplatz.metres(to: westbahnhof) - 2924) < 20)
    #expect(stephansplatz.metres(to: stephansplatz) == 0)
    #expect(Coordinate(latitude: 91, longitude: 0) == nil)
    #expect(Coordinate(latitude: .nan, longitude: 0) == nil)
  }

  @Test("The grid finds what a full look finds", arguments: [0.0, 80, 250, 900, 5000, 100_000])
  func grid(_ radius: Double) {
    let places = city(300, seed: 11, windows: false)
    let grid = SpatialGrid(places, cellMetres: 200) { $0.position }
    let full = places.filter { $0.position.metres(to: stephansplatz) <= radius }
    #expect(Set(grid.within(metres: radius, of: stephansplatz).map(\.element.id)) == Set(full.map(\.id)))
    let nearest = grid.nearest(7, to: stephansplatz)
    #expect(nearest.map(\.metres) == places.map { $0.position.metres(to: stephansplatz) }.sorted().prefix(7).map { $0 })
  }
}
