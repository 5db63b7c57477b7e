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
  /// Up to here the exact search is used: 2¹³·13² steps cost a millisecond, no more than the improvement of a first tour.
  public static let exactRouteStops = 13
  /// Simulated visits the improvement may spend: some 50 ms, the interactive budget of an agent's first answer.
  public static let routeImprovementSteps = 400_000
  /// Walks of equal length that are made longer side by side: with four hundred candidates some 20 ms for a day of 25 stops.
  static let routeBeam = 64
  /// The best of them, from which the improvement begins.
  static let routeBeginnings = 2

  /// The calendars reckon until 2200: no contract of ours looks farther.
  public static let lastSecond: UnixSeconds = 7_258_118_400

  // The service

  /// Places of one SyncServicePoints: two big cities'; their rows are written in one transaction of under a second.
  public static let servicePointsPerSync = 5_000
  /// Markets of one SyncServicePoints: a registry's cities.
  public static let marketsPerSync = 200
  /// Cities kept in memory, of one tenant each: a few megabytes apiece. The one that was asked longest ago makes room.
  public static let citiesInMemory = 64
  /// Tags of a place and of a question; nobody writes more.
  public static let tags = 32
  /// Ids in one list of a route's request: as many as a market can have candidates.
  public static let routeIDs = 500
  /// Letters of a name, a street, a source: one line.
  public static let lineCharacters = 300
  /// Letters of a web address: what browsers take.
  public static let websiteCharacters = 2_000
  /// Letters of a reason that an operator gives: what an audit record shows whole.
  public static let reasonCharacters = 500
  /// Letters of an actor's name: an id with its kind before it.
  public static let actorCharacters = 200
  /// Visitors of one reservation: a coach and its trailer; more are several parties.
  public static let visitors: Int64 = 200
  /// Reservations of one place that are not over. Each is looked at when another is made.
  public static let reservationsPerPlace = 1_000
  /// The longest reservation.
  public static let dayNanoseconds: Int64 = 86_400 * 1_000_000_000
  /// Places of one blocking: those of a cluster. The journey runtime takes as many.
  public static let placesPerBlock = 200
  /// Answers about coverage that are remembered for their second: markets times kinds of token.
  public static let coverageAnswers = 1_024
  /// Clusters in an answer: a big city's quarters.
  public static let clustersReported = 500
  /// The time that opening hours are laid out for: a month, some hundred intervals.
  public static let explainedSeconds: Int64 = 31 * 86_400
  /// A week when nothing is said: most hours repeat after it.
  public static let explainedSecondsDefault: Int64 = 7 * 86_400
  public static let defaultPageSize = 100
  public static let pageSize = 500
  /// Excluded places that an answer names; the rest are of the same kinds.
  public static let excludedReported = 200
  /// Places whose hours can't be read that an answer names: more than an author mends in a day.
  public static let hoursProblemsReported = 200
  /// A visit when the place does not say: the contract's 30 minutes.
  public static let dwellSeconds: Int64 = 1_800
  /// The longest visit: a day.
  public static let dwellSecondsMaximum: Int64 = 86_400
  public static let routeStopsDefault = 5
  /// A stroll: 4.5 km/h.
  public static let walkingMetresPerSecond = 1.25
  /// From one who rests at every corner to one who runs.
  public static let walkingSpeeds = 0.1...5.0
  /// A route is a day's matter: nobody's begins more than a day after its start, whatever time is given.
  public static let routeSeconds: Int64 = 86_400
  /// A radius that holds the whole Earth.
  public static let everywhereMetres = 20_037_508.0
}
