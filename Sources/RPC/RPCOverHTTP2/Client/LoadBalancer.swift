/// How a channel spreads its calls over the addresses behind its target.
public enum LoadBalancing: Sendable, Hashable {
  /// The first address that answers serves all calls, until it is lost.
  case pickFirst
  /// Connects to all addresses, and deals calls out in turn.
  case roundRobin
  /// Connects to all addresses; of `choices` drawn by lot, each call goes to the one with fewest calls open. Two choices are nearly as good
  /// as looking at all, and do not send everybody to the same idle newcomer.
  case leastRequest(choices: Int = 2)

  /// Whether every address gets its connection.
  var connectsToAll: Bool { self != .pickFirst }
}

/// Deals calls out. Pure: it is told who can take a call, how many each has, and the random numbers.
struct LoadBalancer {
  let policy: LoadBalancing
  private var turn = 0

  init(_ policy: LoadBalancing) { self.policy = policy }

  /// Which of `count` takes the next call; nil when none can. `load` is how many calls one has open, nil when it takes no more.
  mutating func pick(_ count: Int, random: () -> Double, load: (Int) -> Int?) -> Int? {
    guard count > 0 else { return nil }
    switch policy {
    case .pickFirst: return (0..<count).first { load($0) != nil }
    case .roundRobin: return next(count, load)
    case .leastRequest(let choices):
      var best: (index: Int, load: Int)?
      for _ in 0..<max(1, choices) {
        let index = min(count - 1, Int(random() * Double(count)))
        if let load = load(index), load < best?.load ?? .max { best = (index, load) }
      }
      // Only full or absent ones were drawn: anyone else will do.
      return best?.index ?? next(count, load)
    }
  }

  private mutating func next(_ count: Int, _ load: (Int) -> Int?) -> Int? {
    for step in 0..<count {
      let index = (turn + step) % count
      if load(index) != nil {
        turn = (index + 1) % count
        return index
      }
    }
    return nil
  }
}
