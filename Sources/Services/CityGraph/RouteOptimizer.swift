/// Orders visits: which of the candidates, in which order, so that each is open while one is there.
///
/// An orienteering problem with time windows. What is sought, in this order: all required stops; as much worth as possible, where
/// every stop counts 1 and its score at most 1 more, and every two hours of walking and waiting cost 1; the earliest end; the
/// shortest walk. Up to `CityGraphLimits.exactRouteStops` candidates a dynamic programme over (set visited, last stop) finds the
/// best in the first three, since of two ways through the same stops the earlier is never worse. Above, `RouteSearch` looks for it. Both
/// are deterministic: the same input gives the same route.
public struct RouteOptimizer: Sendable {
  let constraints: RouteConstraints
  private let all: [RouteCandidate]
  /// Those that can be visited at all, in the order they were given.
  let candidates: [RouteCandidate]
  private let exclusions: [String: RouteExclusion]
  /// Walking from i to j; row n is the start.
  let metres: [[Double]]
  let seconds: [[Int64]]

  public init(_ all: [RouteCandidate], _ constraints: RouteConstraints) {
    self.all = all
    self.constraints = constraints
    var exclusions: [String: RouteExclusion] = [:]
    var usable: [RouteCandidate] = []
    var seen: Set<String> = []
    for candidate in all where seen.insert(candidate.id).inserted {
      if let why = Self.exclusion(candidate, constraints) { exclusions[candidate.id] = why } else { usable.append(candidate) }
    }
    if usable.count > CityGraphLimits.routeCandidates {
      let kept = Self.mostPromising(usable, constraints)
      for candidate in usable where !kept.contains(candidate.id) { exclusions[candidate.id] = .noTime }
      usable.removeAll { !kept.contains($0.id) }
    }
    candidates = usable
    self.exclusions = exclusions
    let origins = usable.map(\.position) + (constraints.start.map { [$0] } ?? [])
    var metres = origins.map { from in usable.map { from.metres(to: $0.position) * constraints.detourFactor } }
    if constraints.start == nil { metres.append(Array(repeating: 0, count: usable.count)) }
    self.metres = metres
    seconds = metres.map { $0.map { Int64(($0 / constraints.walkingMetresPerSecond).rounded(.up)) } }
  }

  /// The best route found. It may be empty; `isIncomplete` tells whether a required stop is missing.
  ///
  /// - Parameters:
  ///   - exactUpTo: up to how many candidates every order is considered; to measure the search by.
  ///   - isCancelled: asked every few dozen microseconds; when it says so, the search ends with a `CancellationError`.
  public func solve(
    exactUpTo: Int = CityGraphLimits.exactRouteStops, isCancelled: @escaping () -> Bool = { false }
  ) throws -> PlannedRoute {
    if candidates.count <= exactUpTo { return route(try exactOrder(isCancelled), .exact) }
    return route(try RouteSearch(self, isCancelled: isCancelled).bestOrder(), .improved)
  }

  /// The route of one who always walks to the next door that is nearest: what the optimiser is measured against.
  public func nearestNeighbourRoute() -> PlannedRoute { route(nearestNeighbourOrder(), .improved) }

  // MARK: Feasibility

  private static func exclusion(_ candidate: RouteCandidate, _ constraints: RouteConstraints) -> RouteExclusion? {
    if constraints.blocked.contains(candidate.id) { return .blocked }
    if constraints.full.contains(candidate.id) { return .full }
    switch candidate.access {
    case .unknown: return .hoursUnknown
    case .always: return nil
    case .windows(let windows): return constraints.admits(candidate.dwellSeconds, within: windows) ? nil : .closed
    }
  }

  private static func mostPromising(_ candidates: [RouteCandidate], _ constraints: RouteConstraints) -> Set<String> {
    let ranked = candidates.enumerated().map { index, candidate -> (Double, Int) in
      let distance = constraints.start?.metres(to: candidate.position) ?? 0
      return (candidate.isRequired ? -1 : distance / (0.5 + candidate.experienceScore), index)
    }
    return Set(ranked.sorted(by: <).prefix(CityGraphLimits.routeCandidates).map { candidates[$0.1].id })
  }

  /// When a visit can begin for one who arrives at `arrival`; nil if never.
  func begin(_ index: Int, arrival: UnixSeconds) -> (at: UnixSeconds, closes: UnixSeconds?)? {
    let dwell = candidates[index].dwellSeconds
    let limit = constraints.finishBy ?? .max
    switch candidates[index].access {
    case .unknown: return nil
    case .always: return arrival + dwell <= limit ? (arrival, nil) : nil
    case .windows(let windows):
      for window in windows where window.end - dwell >= arrival {
        let at = max(arrival, window.start)
        return at + dwell <= limit ? (at, window.end) : nil
      }
      return nil
    }
  }

  /// Two hours under way cost what a stop without a score is worth: nobody crosses the city for a slightly better coffee.
  public static let secondsPerWorth = 7200.0

  func worth(_ index: Int) -> Double {
    1 + candidates[index].experienceScore + (candidates[index].isRequired ? 1000 : 0)
  }

  /// The value of an order, comparable; nil if it cannot be walked.
  struct Value: Comparable {
    var worth: Double
    var finish: UnixSeconds
    var metres: Double

    static func < (a: Value, b: Value) -> Bool {
      if abs(a.worth - b.worth) > 1e-9 { return a.worth < b.worth }
      if a.finish != b.finish { return a.finish > b.finish }
      return a.metres > b.metres + 1e-6
    }
  }

  func value(_ order: some Sequence<Int>) -> Value? {
    var value = nothing
    var here = candidates.count
    for next in order {
      guard let further = self.value(value, from: here, to: next) else { return nil }
      (value, here) = (further, next)
    }
    return value
  }

  /// The value of going nowhere.
  var nothing: Value { Value(worth: 0, finish: constraints.departAt, metres: 0) }

  /// The value of a walk that goes on from its last stop to one more; nil if it can't.
  func value(_ value: Value, from here: Int, to next: Int) -> Value? {
    guard let begin = begin(next, arrival: value.finish + seconds[here][next]) else { return nil }
    return Value(
      worth: value.worth + worth(next) - Double(begin.at - value.finish) / Self.secondsPerWorth,
      finish: begin.at + candidates[next].dwellSeconds, metres: value.metres + metres[here][next])
  }

  private func route(_ order: [Int], _ method: PlannedRoute.Method) -> PlannedRoute {
    var stops: [PlannedStop] = []
    var now = constraints.departAt
    var here = candidates.count
    for next in order {
      let arrival = now + seconds[here][next]
      guard let begin = begin(next, arrival: arrival) else { preconditionFailure("the search kept an order that can't be walked") }
      now = begin.at + candidates[next].dwellSeconds
      stops.append(
        PlannedStop(
          id: candidates[next].id, arriveAt: arrival, beginAt: begin.at, leaveAt: now, openUntil: begin.closes,
          walkingMetres: metres[here][next]))
      here = next
    }
    let chosen = Set(stops.map(\.id))
    let left = all.filter { !chosen.contains($0.id) }
    return PlannedRoute(
      stops: stops, walkingMetres: stops.reduce(0) { $0 + $1.walkingMetres }, finishAt: now,
      experienceScore: order.isEmpty ? 0 : order.reduce(0) { $0 + candidates[$1].experienceScore } / Double(order.count),
      excluded: left.map { ($0.id, exclusions[$0.id] ?? .noTime) }, method: method, isIncomplete: left.contains(where: \.isRequired))
  }

  // MARK: Exact

  private func exactOrder(_ isCancelled: () -> Bool) throws -> [Int] {
    let n = candidates.count
    struct Reached { var finish: UnixSeconds, metres: Double, before: Int }
    var table = [Reached?](repeating: nil, count: (1 << n) * n)
    func offer(_ set: Int, _ last: Int, _ reached: Reached) {
      if let known = table[set * n + last], (known.finish, known.metres) <= (reached.finish, reached.metres) { return }
      table[set * n + last] = reached
    }
    var best: (set: Int, last: Int, value: Value)?
    for next in 0..<n {
      guard let begin = begin(next, arrival: constraints.departAt + seconds[n][next]) else { continue }
      offer(1 << next, next, Reached(finish: begin.at + candidates[next].dwellSeconds, metres: metres[n][next], before: -1))
    }
    for set in 1..<max(2, 1 << n) where set.nonzeroBitCount <= constraints.maximumStops {
      if set & 63 == 0, isCancelled() { throw CancellationError() }
      let members = (0..<n).filter { set & (1 << $0) != 0 }
      let dwell = members.reduce(0) { $0 + candidates[$1].dwellSeconds }
      let worth = members.reduce(0) { $0 + self.worth($1) }
      for last in members {
        guard let reached = table[set * n + last] else { continue }
        let underway = Double(reached.finish - constraints.departAt - dwell) / Self.secondsPerWorth
        let value = Value(worth: worth - underway, finish: reached.finish, metres: reached.metres)
        if (best?.value ?? nothing) < value { best = (set, last, value) }
        for next in 0..<n where set & (1 << next) == 0 {
          guard let begin = begin(next, arrival: reached.finish + seconds[last][next]) else { continue }
          offer(
            set | (1 << next), next,
            Reached(
              finish: begin.at + candidates[next].dwellSeconds, metres: reached.metres + metres[last][next], before: last))
        }
      }
    }
    guard let best else { return [] }
    var order: [Int] = []
    var (set, last) = (best.set, best.last)
    while last >= 0, let reached = table[set * n + last] {
      order.append(last)
      set &= ~(1 << last)
      last = reached.before
    }
    return order.reversed()
  }

  // MARK: The nearest door

  func nearestNeighbourOrder() -> [Int] {
    var order: [Int] = []
    var left = Array(candidates.indices)
    var now = constraints.departAt
    var here = candidates.count
    while order.count < constraints.maximumStops {
      var best: (position: Int, at: UnixSeconds)?
      for (position, next) in left.enumerated() {
        guard let begin = begin(next, arrival: now + seconds[here][next]) else { continue }
        if let best, metres[here][left[best.position]] <= metres[here][next] { continue }
        best = (position, begin.at)
      }
      guard let best else { break }
      here = left.remove(at: best.position)
      now = best.at + candidates[here].dwellSeconds
      order.append(here)
    }
    return order
  }
}
