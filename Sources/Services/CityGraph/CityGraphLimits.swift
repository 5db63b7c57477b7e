/// Every bound of this room, with its reason.
public enum CityGraphLimits {
  /// OpenStreetMap allows 255 characters per tag value; three joined values are the longest seen in practice.
  public static let openingHoursBytes = 1024
  /// A rule costs a comparison per day; the longest real value has under 20.
  public static let openingHoursRules = 64
  /// A year and a month: the rarest opening that people write down is once a year.
  public static let nextOpeningDays = 400
  /// An open stretch longer than a week is reported as having no end: nobody plans by it.
  public static let openStretchDays = 8
  /// A walking route is a day's matter; the contract's `max_stops`.
  public static let routeStops = 25
  /// Candidates that enter the optimiser; the best by score and distance when there are more. Two cities' first districts.
  public static let routeCandidates = 400
  /// Up to here the exact search is used: 2⁹·9² steps cost under a millisecond.
  public static let exactRouteStops = 9
  /// Simulated visits the improvement may spend: some 50 ms, the interactive budget of an agent's first answer.
  public static let routeImprovementSteps = 400_000
}
