/// Looks for a good walk among too many candidates to try every order: begins in several ways, improves the best of them, and keeps the best.
///
/// The beginnings are the walk to ever the nearest door, the required stops each where it fits best, and a beam: walks are made longer
/// stop by stop, and of all that are equally long the most promising are kept, so that a door that is open only for a while is walked to
/// in time. They are improved by insertion, 2-opt, or-opt and exchange until nothing helps or the budget of steps is spent.
struct RouteSearch {
  private typealias Value = RouteOptimizer.Value

  private let optimizer: RouteOptimizer
  private let isCancelled: () -> Bool
  private var order: [Int] = []
  private var value: Value
  /// Simulated visits that are left to spend.
  private var left = 0

  init(_ optimizer: RouteOptimizer, isCancelled: @escaping () -> Bool) {
    self.optimizer = optimizer
    self.isCancelled = isCancelled
    value = optimizer.nothing
  }

  /// The best order found; it may be empty.
  func bestOrder() throws -> [Int] {
    var best: (order: [Int], value: Value) = ([], optimizer.nothing)
    let beginnings = try beam() + [optimizer.nearestNeighbourOrder(), requiredFirst()]
    for beginning in beginnings {
      var search = self
      guard let value = optimizer.value(beginning) else { continue }
      (search.order, search.value) = (beginning, value)
      search.left = CityGraphLimits.routeImprovementSteps / beginnings.count
      try search.improve()
      if best.value < search.value { best = (search.order, search.value) }
    }
    return best.order
  }

  private func goOn() throws {
    if isCancelled() { throw CancellationError() }
  }

  // MARK: Beginnings

  /// The required stops alone: walks of near ones may leave no room for them.
  private func requiredFirst() -> [Int] {
    var placed: [Int] = []
    for stop in optimizer.candidates.indices
    where optimizer.candidates[stop].isRequired && placed.count < optimizer.constraints.maximumStops {
      let places = (0...placed.count).map { Array(placed[..<$0]) + [stop] + Array(placed[$0...]) }
      let walkable = places.compactMap { order in optimizer.value(order).map { (order, $0) } }
      if let best = walkable.max(by: { $0.1 < $1.1 }) { placed = best.0 }
    }
    return placed
  }

  private struct Partial {
    var order: [Int]
    /// The same for every walk by the same doors, whatever their order.
    var doors: UInt64
    var value: Value
  }

  private struct Place: Hashable {
    var doors: UInt64
    var last: Int
  }

  /// The best few walks of all that the beam came by.
  private func beam() throws -> [[Int]] {
    let marks = optimizer.candidates.indices.map { Self.mixed(UInt64($0)) }
    var level = [Partial(order: [], doors: 0, value: optimizer.nothing)]
    var best: [Partial] = []
    while !level.isEmpty, level[0].order.count < optimizer.constraints.maximumStops {
      var reached: [(from: Int, next: Int, value: Value)] = []
      for (from, partial) in level.enumerated() {
        try goOn()
        let here = partial.order.last ?? optimizer.candidates.count
        for next in optimizer.candidates.indices where !partial.order.contains(next) {
          if let value = optimizer.value(partial.value, from: here, to: next) { reached.append((from, next, value)) }
        }
      }
      reached.sort { ($1.value, $0.from, $0.next) < ($0.value, $1.from, $1.next) }
      // Of all walks by the same doors to the same last one, the best goes on.
      var seen: Set<Place> = []
      var longer: [Partial] = []
      for step in reached where longer.count < CityGraphLimits.routeBeam {
        let doors = level[step.from].doors ^ marks[step.next]
        guard seen.insert(Place(doors: doors, last: step.next)).inserted else { continue }
        longer.append(Partial(order: level[step.from].order + [step.next], doors: doors, value: step.value))
      }
      level = longer
      best = Array(
        (best + level.prefix(CityGraphLimits.routeBeginnings)).sorted { $1.value < $0.value }.prefix(CityGraphLimits.routeBeginnings))
    }
    return best.map(\.order)
  }

  /// A number for a number (SplitMix64), so that sets of them have sums of their own.
  private static func mixed(_ number: UInt64) -> UInt64 {
    var z = number &* 0x9e37_79b9_7f4a_7c15 &+ 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  // MARK: Improving

  private var hasBudget: Bool { left > 0 }

  private mutating func improve() throws {
    while hasBudget, try insert() || twoOpt() || orOpt() || exchange() {}
  }

  private mutating func take(_ candidate: [Int]) -> Bool {
    left -= candidate.count + 1
    guard let other = optimizer.value(candidate), value < other else { return false }
    (order, value) = (candidate, other)
    return true
  }

  /// Puts one more stop where it costs least.
  private mutating func insert() throws -> Bool {
    guard order.count < optimizer.constraints.maximumStops else { return false }
    var best: (order: [Int], value: Value)?
    for next in optimizer.candidates.indices where !order.contains(next) {
      try goOn()
      for place in 0...order.count where hasBudget {
        var candidate = order
        candidate.insert(next, at: place)
        left -= candidate.count
        if let other = optimizer.value(candidate), best == nil || best!.value < other { best = (candidate, other) }
      }
    }
    guard let best, value < best.value else { return false }
    (order, value) = best
    return true
  }

  /// Walks a stretch the other way round.
  private mutating func twoOpt() throws -> Bool {
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
  private mutating func orOpt() throws -> Bool {
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
  private mutating func exchange() throws -> Bool {
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
