/// Orders visits: which of the candidates, in which order, so that each is open while one is there.
///
/// An orienteering problem with time windows. What is sought, in this order: all required stops; as much worth as possible, where
/// every stop counts 1 and its score at most 1 more, and every two hours of walking and waiting cost 1; the earliest end; the
/// shortest walk. Up to `CityGraphLimits.exactRouteStops` candidates a dynamic programme over (set visited, last stop) finds the
/// best in the first three, since of two ways through the same stops the earlier is never worse. Above, a nearest-neighbour tour is
/// improved by 2-opt, or-opt, insertion and exchange until nothing helps or the budget of steps is spent. Both are deterministic: the
/// same input gives the same route.
public struct RouteOptimizer: Sendable {
  private let constraints: RouteConstraints
  private let all: [RouteCandidate]
  /// Those that can be visited at all, in the order they were given.
  private let candidates: [RouteCandidate]
  private let exclusions: [String: RouteExclusion]
  /// Walking from i to j; row n is the start.
  private let metres: [[Double]]
  private let seconds: [[Int64]]

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
    var search = Search(optimizer: self, isCancelled: isCancelled)
    return route(try search.run(), .improved)
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
  private func begin(_ index: Int, arrival: UnixSeconds) -> (at: UnixSeconds, closes: UnixSeconds?)? {
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

  private func worth(_ index: Int) -> Double {
    1 + candidates[index].experienceScore + (candidates[index].isRequired ? 1000 : 0)
  }

  /// The value of an order, comparable; nil if it cannot be walked.
  fileprivate struct Value: Comparable {
    var worth: Double
    var finish: UnixSeconds
    var metres: Double

    static func < (a: Value, b: Value) -> Bool {
      if abs(a.worth - b.worth) > 1e-9 { return a.worth < b.worth }
      if a.finish != b.finish { return a.finish > b.finish }
      return a.metres > b.metres + 1e-6
    }
  }

  fileprivate func value(_ order: some Sequence<Int>) -> Value? {
    var value = Value(worth: 0, finish: constraints.departAt, metres: 0)
    var here = candidates.count
    for next in order {
      guard let begin = begin(next, arrival: value.finish + seconds[here][next]) else { return nil }
      value.worth -= Double(begin.at - value.finish) / Self.secondsPerWorth
      value.finish = begin.at + candidates[next].dwellSeconds
      value.metres += metres[here][next]
      value.worth += worth(next)
      here = next
    }
    return value
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
    let nothing = Value(worth: 0, finish: constraints.departAt, metres: 0)
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

  // MARK: Heuristic

  private func nearestNeighbourOrder() -> [Int] {
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

  /// Local search from the nearest-neighbour tour.
  private struct Search {
    let optimizer: RouteOptimizer
    let isCancelled: () -> Bool
    var order: [Int]
    var value: Value
    var steps = 0

    init(optimizer: RouteOptimizer, isCancelled: @escaping () -> Bool) {
      self.optimizer = optimizer
      self.isCancelled = isCancelled
      order = optimizer.nearestNeighbourOrder()
      value = optimizer.value(order)!
      // Required stops are placed first where the tour of near ones would leave no room for them.
      let required = optimizer.candidates.indices.filter { optimizer.candidates[$0].isRequired }
      if required.contains(where: { !order.contains($0) }) {
        var placed: [Int] = []
        for stop in required where placed.count < optimizer.constraints.maximumStops {
          let places = (0...placed.count).map { Array(placed[..<$0]) + [stop] + Array(placed[$0...]) }
          let walkable = places.compactMap { order in optimizer.value(order).map { (order, $0) } }
          if let best = walkable.max(by: { $0.1 < $1.1 }) { placed = best.0 }
        }
        if let other = optimizer.value(placed), value < other { (order, value) = (placed, other) }
      }
    }

    func goOn() throws {
      if isCancelled() { throw CancellationError() }
    }

    var hasBudget: Bool { steps < CityGraphLimits.routeImprovementSteps }

    mutating func run() throws -> [Int] {
      while hasBudget, try insert() || twoOpt() || orOpt() || exchange() {}
      return order
    }

    mutating func take(_ candidate: [Int]) -> Bool {
      steps += candidate.count + 1
      guard let other = optimizer.value(candidate), value < other else { return false }
      (order, value) = (candidate, other)
      return true
    }

    /// Puts one more stop where it costs least.
    mutating func insert() throws -> Bool {
      guard order.count < optimizer.constraints.maximumStops else { return false }
      var best: (order: [Int], value: Value)?
      for next in optimizer.candidates.indices where !order.contains(next) {
        try goOn()
        for place in 0...order.count where hasBudget {
          var candidate = order
          candidate.insert(next, at: place)
          steps += candidate.count
          if let other = optimizer.value(candidate), best == nil || best!.value < other { best = (candidate, other) }
        }
      }
      guard let best, value < best.value else { return false }
      (order, value) = best
      return true
    }

    /// Walks a stretch the other way round.
    mutating func twoOpt() throws -> Bool {
      guard order.count > 1 else { return false }
      for i in 0..<order.count - 1 {
        try goOn()
        for j in i + 1..<order.count where hasBudget {
          if take(order[..<i] + order[i...j].reversed() + order[(j + 1)...]) { return true }
        }
      }
      return false
    }

    /// Moves one to three neighbouring stops elsewhere.
    mutating func orOpt() throws -> Bool {
      for length in 1...3 where length < order.count {
        for from in 0...order.count - length {
          try goOn()
          var rest = order
          let segment = Array(rest[from..<from + length])
          rest.removeSubrange(from..<from + length)
          for place in 0...rest.count where place != from && hasBudget {
            if take(Array(rest[..<place]) + segment + Array(rest[place...])) { return true }
          }
        }
      }
      return false
    }

    /// Replaces one stop by another, at the place where that is best.
    mutating func exchange() throws -> Bool {
      for out in order.indices {
        var rest = order
        rest.remove(at: out)
        for next in optimizer.candidates.indices where !order.contains(next) {
          try goOn()
          for place in 0...rest.count where hasBudget {
            var candidate = rest
            candidate.insert(next, at: place)
            if take(candidate) { return true }
          }
        }
      }
      return false
    }
  }
}
