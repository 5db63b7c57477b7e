/// Is a market served at a time: are there places, and is one certainly open.
public struct Coverage: Sendable, Hashable {
  public var isCovered: Bool
  public var servicePoints: Int
  public var openNow: Int
  public var closedNow: Int
  public var unknownNow: Int
  /// Why not, when it is not.
  public var reason: String?

  /// - Parameters:
  ///   - places: the hours of each place of the market that is not blocked; nil where they can't be read.
  public init(of places: some Sequence<OpeningHours?>, at instant: UnixSeconds, in calendar: CityCalendar) {
    var (open, closed, unknown) = (0, 0, 0)
    for hours in places {
      switch hours?.state(at: instant, in: calendar) ?? .unknown {
      case .open: open += 1
      case .closed: closed += 1
      case .unknown: unknown += 1
      }
    }
    servicePoints = open + closed + unknown
    (openNow, closedNow, unknownNow) = (open, closed, unknown)
    isCovered = open > 0
    reason =
      if servicePoints == 0 {
        "no service point matches"
      } else if open == 0 {
        unknown == 0 ? "all \(closed) service points are closed" : "none is certainly open: \(closed) closed, \(unknown) unknown"
      } else {
        nil
      }
  }
}
