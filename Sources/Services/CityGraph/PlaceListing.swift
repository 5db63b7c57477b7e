import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// A listing of places: nearest first when a point is given, else by id.
struct PlaceListing: Sendable {
  var market: String
  var tags: [String]
  /// Empty: all.
  var cluster: String
  var near: Coordinate?
  var withinMetres: Double?
  /// Nanoseconds since 1970.
  var at: Int64
  /// Only what one can go to: open, and not blocked.
  var openOnly: Bool

  /// Where a place stands in the listing's order.
  struct Place: Comparable {
    var metres: Double
    var id: String

    static func < (a: Self, b: Self) -> Bool { (a.metres, a.id) < (b.metres, b.id) }
  }

  func page(of city: City, after: Place?, size: Int) -> ListServicePointsResponse {
    var response = ListServicePointsResponse()
    var last: Place?
    for (element, metres) in candidates(in: city) {
      let place = Place(metres: metres, id: element.id)
      if let after, place <= after { continue }
      if openOnly {
        guard city.block(of: element.id, at: at) == nil, element.hours?.state(at: UnixTime.seconds(at), in: element.calendar) == .open
        else { continue }
      }
      if response.servicePoints.count == size {
        response.nextPageToken = last?.pageToken ?? ""
        break
      }
      response.servicePoints.append(city.status(of: element, at: at))
      last = place
    }
    return response
  }

  private func candidates(in city: City) -> [(CityPlace, Double)] {
    let lies = { (place: CityPlace) in cluster.isEmpty || place.point.clusterID == cluster }
    guard let near else { return city.map.places(inMarket: market, tags: tags).filter(lies).map { ($0, 0) } }
    return city.map.grid.within(metres: withinMetres ?? CityGraphLimits.everywhereMetres, of: near)
      .filter { (market.isEmpty || $0.element.point.marketCode == market) && $0.element.bears(tags) && lies($0.element) }
      .map { ($0.element, $0.metres) }
  }
}

extension PlaceListing.Place {
  /// The place after which a page begins; nil for the first page.
  init?(pageToken: String) throws {
    if pageToken.isEmpty { return nil }
    let keys = try PageToken.decode(pageToken, keys: 2)
    guard let bits = UInt64(keys[0]) else {
      throw RPCError.refusal(.invalidArgument, .pageTokenInvalid, "page_token is not one that was given out")
    }
    metres = Double(bitPattern: bits)
    id = keys[1]
  }

  var pageToken: String { PageToken.encode(String(metres.bitPattern), id) }
}
