/// A condition on a journey's state, as an edge's `when` is written: tests joined by ` and `, each perhaps after `not `. Without a test
/// it is true.
public struct JourneyCondition: Sendable, Hashable {
  enum Test: Sendable, Hashable {
    /// A stop of the route is ahead that is not blocked.
    case routeHasMore
    /// Something is left to redeem; taken for true before anybody counted.
    case tokensLeft
    case visited(String)
    case signalled(String)
    /// The traveller belongs to it.
    case segment(String)
    /// How a node ended when it was last left.
    case outcome(node: String, String)

    /// Nil for what is none. The second names the tests that are another's contrary.
    static func read(_ text: String) -> (test: Test, isContrary: Bool)? {
      switch text {
      case "route_has_more": return (.routeHasMore, false)
      case "route_done": return (.routeHasMore, true)
      case "tokens_left": return (.tokensLeft, false)
      case "no_tokens_left": return (.tokensLeft, true)
      default: break
      }
      guard let colon = text.firstIndex(of: ":") else { return nil }
      let argument = String(text[text.index(after: colon)...])
      if argument.isEmpty || argument.contains(" ") { return nil }
      switch text[..<colon] {
      case "visited": return (.visited(argument), false)
      case "signalled": return (.signalled(argument), false)
      case "segment": return (.segment(argument), false)
      case "outcome":
        let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else { return nil }
        return (.outcome(node: parts[0], parts[1]), false)
      default: return nil
      }
    }
  }

  struct Term: Sendable, Hashable {
    var test: Test
    var isTrue: Bool
  }

  let terms: [Term]

  /// How one is written, for whoever wrote it otherwise.
  static let grammar =
    "route_has_more, route_done, tokens_left, no_tokens_left, visited:PLACE, signalled:NAME, segment:NAME, outcome:NODE=OUTCOME; "
    + "with 'not ' before and ' and ' between them"

  /// Nil when the text is no condition.
  public init?(_ text: String) {
    if text.isEmpty {
      terms = []
      return
    }
    var terms: [Term] = []
    for var part in text.split(separator: " and ", omittingEmptySubsequences: false) {
      let isNegated = part.hasPrefix("not ")
      if isNegated { part.removeFirst(4) }
      guard let (test, isContrary) = Test.read(String(part)) else { return nil }
      terms.append(Term(test: test, isTrue: isNegated == isContrary))
    }
    self.terms = terms
  }

  /// Whether one of the two always holds: each is one test, and one the other's contrary.
  func excludesNothing(with other: JourneyCondition) -> Bool {
    terms.count == 1 && other.terms.count == 1 && terms[0].test == other.terms[0].test && terms[0].isTrue != other.terms[0].isTrue
  }
}

extension Journey {
  func satisfies(_ condition: JourneyCondition) -> Bool { condition.terms.allSatisfy { holds($0.test) == $0.isTrue } }

  private func holds(_ test: JourneyCondition.Test) -> Bool {
    switch test {
    case .routeHasMore: nextOpenStop != nil
    case .tokensLeft: (tokensLeft ?? 1) > 0
    case .visited(let place): visitedServicePointIDs.contains(place)
    case .signalled(let name): signals.contains { $0.name == name }
    case .segment(let name): segments.contains(name)
    case .outcome(let node, let outcome): record(node)?.outcome == outcome
    }
  }
}
