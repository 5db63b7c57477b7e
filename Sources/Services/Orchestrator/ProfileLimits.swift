import Foundation
import SpanwireSchema
import SpanwireServiceKit

/// What the profiles of a runtime configuration allow, in one place.
struct ProfileLimits: Hashable, Sendable {
  /// 0: not limited.
  var maxStops = 0
  var maxWalkingMetres = 0.0
  /// "22:00" in the market's time zone; empty: no limit.
  var latestEndLocal = ""
  var timeZone = "UTC"
  var blocked: Set<String> = []
  var minimumScore = 0.0
  var stampsPerReward: UInt32 = 0
  var priceCeiling: Money?
  /// Tags of the places that take the product's tokens; empty when the product has none.
  var tags: [String] = []

  init(_ config: RuntimeConfig? = nil) {
    guard let config else { return }
    timeZone = config.market?.timeZone ?? "UTC"
    tags = Set(config.tokens.flatMap(\.redeemableTags)).sorted()
    for profile in config.profiles {
      switch profile.kind {
      case .safety(let safety):
        maxStops = Int(safety.maxStops)
        maxWalkingMetres = safety.maxWalkingMetres
        latestEndLocal = safety.latestEndLocal
      case .ops(let ops): blocked.formUnion(ops.blockedServicePointIds)
      case .quality(let quality): minimumScore = quality.minExperienceScore
      case .loyalty(let loyalty): stampsPerReward = loyalty.stampsPerReward
      case .pricing(let pricing): priceCeiling = pricing.ceiling
      case .token, .ui, nil: break
      }
    }
  }

  /// The latest end of a day that is under way, in nanoseconds since the epoch; nil without a limit.
  func latestEnd(onDayOf now: Int64) -> Int64? { TimeOfDay(latestEndLocal)?.moment(onDayOf: now, in: timeZone) }

  /// A moment as the clock on the wall says it: "14:05".
  func wallClock(_ nanoseconds: Int64) -> String {
    let zone = TimeZone(identifier: timeZone) ?? .gmt
    let seconds = nanoseconds / 1_000_000_000
    let offset = Int64(zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(seconds))))
    let minutes = ((seconds + offset) / 60) % 1_440
    let two = { (value: Int64) in value < 10 ? "0\(value)" : "\(value)" }
    return "\(two(minutes / 60)):\(two(minutes % 60))"
  }
}
