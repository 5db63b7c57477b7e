/// A place that could be the next stop.
struct NextStopCandidate: Hashable, Sendable {
  var servicePointID: String
  var name: String
  /// How far it is, as the crow flies.
  var metres: Double
  /// How good a stop it is, 0 to 1.
  var experienceScore: Double
  /// Until when it is open, in nanoseconds since the epoch; nil when nobody knows.
  var openUntil: Int64?
  /// How long a visit takes.
  var dwellNanoseconds: Int64
}

/// Orders the places that could come next: near and good first. Pure and deterministic.
enum NextStopRanking {
  /// A kilometre of walking outweighs half of all there is to experience.
  static let scorePerMetre = 0.5 / 1_000
  /// Streets are longer than the crow's way by about this much.
  static let detour = 1.3
  /// A traveller's pace.
  static let metresPerSecond = 1.25

  static func value(of candidate: NextStopCandidate) -> Double {
    candidate.experienceScore - candidate.metres * scorePerMetre
  }

  /// Whether a visit can end before the place closes; unknown hours are never taken for open.
  static func isFeasible(_ candidate: NextStopCandidate, now: Int64, finishBy: Int64?) -> Bool {
    guard let openUntil = candidate.openUntil else { return false }
    let walk = Int64(candidate.metres * detour / metresPerSecond * 1e9)
    let leaves = now + walk + candidate.dwellNanoseconds
    return leaves <= min(openUntil, finishBy ?? .max)
  }

  /// The feasible ones, best first; equals in the order of their ids.
  static func ranked(_ candidates: [NextStopCandidate], now: Int64, finishBy: Int64?, minimumScore: Double) -> [NextStopCandidate] {
    candidates
      .filter { $0.experienceScore >= minimumScore && isFeasible($0, now: now, finishBy: finishBy) }
      .sorted { left, right in
        let (a, b) = (value(of: left), value(of: right))
        return a == b ? left.servicePointID < right.servicePointID : a > b
      }
  }
}
