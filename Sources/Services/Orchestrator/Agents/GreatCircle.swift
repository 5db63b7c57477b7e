import Foundation
import SpanwireSchema

/// Distances over the globe.
enum GreatCircle {
  static let earthRadiusMetres = 6_371_008.8

  /// By the haversine formula, exact to half a percent.
  static func metres(_ from: GeoPoint, _ to: GeoPoint) -> Double {
    let radians = Double.pi / 180
    let latitude = (to.latitude - from.latitude) * radians
    let longitude = (to.longitude - from.longitude) * radians
    let a =
      sin(latitude / 2) * sin(latitude / 2)
      + cos(from.latitude * radians) * cos(to.latitude * radians) * sin(longitude / 2) * sin(longitude / 2)
    return 2 * earthRadiusMetres * asin(min(1, a.squareRoot()))
  }
}
