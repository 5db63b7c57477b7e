#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// What the sun does twice a day, by the names that opening hours have for it.
enum SunEvent: String, Sendable, Hashable {
  case dawn, sunrise, sunset, dusk

  /// How high the sun's centre then stands, in degrees: at the horizon it is half a disc and the air's refraction below; dawn and dusk
  /// are the civil ones.
  private var elevation: Double {
    switch self {
    case .dawn, .dusk: -6
    case .sunrise, .sunset: -0.833
    }
  }

  /// When it happens on a date; nil where it does not, near the poles. Good to a minute between the polar circles.
  ///
  /// Source: the sunrise equation with the terms of the Astronomical Almanac's low-precision sun.
  func instant(on date: CivilDate, at position: Coordinate) -> UnixSeconds? {
    let radians = Double.pi / 180
    let noon = Double(date.daysSinceEpoch - 10_957) - position.longitude / 360  // days since 2000-01-01T12:00Z
    let anomaly = (357.5291 + 0.985_600_28 * noon) * radians
    let centre = 1.9148 * sin(anomaly) + 0.02 * sin(2 * anomaly) + 0.0003 * sin(3 * anomaly)
    let longitude = anomaly + (centre + 180 + 102.9372) * radians
    let transit = noon + 0.0053 * sin(anomaly) - 0.0069 * sin(2 * longitude)
    let sine = sin(longitude) * sin(23.4397 * radians)
    let latitude = position.latitude * radians
    let cosine = (sin(elevation * radians) - sin(latitude) * sine) / (cos(latitude) * (1 - sine * sine).squareRoot())
    guard abs(cosine) <= 1 else { return nil }
    let arc = acos(cosine) / (2 * .pi)
    let isMorning = self == .dawn || self == .sunrise
    return Int64(((transit + (isMorning ? -arc : arc)) * 86_400).rounded()) + 946_728_000
  }
}
