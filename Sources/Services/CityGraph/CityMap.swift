import SpanwireSchema
import SpanwireServiceKit

/// A tenant's places, read from their rows once and never changed: what every question is answered from without a query.
final class CityMap: Sendable {
  /// Counts up with every change of the places.
  let version: Int64
  /// By id.
  let places: [CityPlace]
  let grid: SpatialGrid<CityPlace>
  private let byID: [String: CityPlace]
  private let calendars: [String: CityCalendar]

  /// - Parameters:
  ///   - points: in the order of their ids.
  ///   - timeZones: by market.
  init(version: Int64, points: [ServicePoint], timeZones: [String: CityTimeZone]) {
    self.version = version
    calendars = Dictionary(uniqueKeysWithValues: timeZones.map { ($0, CityCalendar(market: $0, timeZone: $1)) })
    let calendars = calendars
    places = points.map { point in
      guard let calendar = calendars[point.marketCode] else {
        preconditionFailure("\(point.servicePointID) is stored without its market \(point.marketCode)")
      }
      return CityPlace(point, calendar: calendar)
    }
    byID = Dictionary(uniqueKeysWithValues: places.map { ($0.id, $0) })
    grid = SpatialGrid(places, position: \.position)
  }

  static let empty = CityMap(version: 0, points: [], timeZones: [:])

  func place(_ id: String) -> CityPlace? { byID[id] }

  func calendar(ofMarket code: String) -> CityCalendar? { calendars[code] }

  /// The places of a market, or of all, that bear every tag, in the order of their ids.
  func places(inMarket code: String, tags: [String]) -> [CityPlace] {
    places.filter { (code.isEmpty || $0.point.marketCode == code) && $0.bears(tags) }
  }

  /// The places that lie in a cluster, in the order of their ids.
  func places(inCluster id: String) -> [CityPlace] { places.filter { $0.point.clusterID == id } }
}

/// A place with what its text says, read once.
final class CityPlace: Sendable {
  let point: ServicePoint
  let position: Coordinate
  /// Nil when they are not given or can't be read: then it is never taken for open.
  let hours: OpeningHours?
  /// Why hours that are given can't be read, or which of their holidays nobody here knows; empty otherwise.
  let hoursProblem: String
  let calendar: CityCalendar

  var id: String { point.servicePointID }

  init(_ point: ServicePoint, calendar: CityCalendar) {
    guard let position = Coordinate(point.position) else { preconditionFailure("\(point.servicePointID) is stored without a position") }
    self.point = point
    self.position = position
    var calendar = calendar
    calendar.position = position
    self.calendar = calendar
    if point.openingHours.isEmpty {
      (hours, hoursProblem) = (nil, "")
    } else {
      do throws(OpeningHoursError) {
        let parsed = try OpeningHours(parsing: point.openingHours)
        (hours, hoursProblem) = (parsed, parsed.gap(in: calendar) ?? "")
      } catch {
        (hours, hoursProblem) = (nil, error.description)
      }
    }
  }

  func bears(_ tags: [String]) -> Bool { tags.allSatisfy(point.tags.contains) }

  var dwellSeconds: Int64 { point.dwell?.seconds ?? CityGraphLimits.dwellSeconds }
}

/// An operator's word that nobody is to be sent to a place.
struct PlaceBlock: Sendable, Hashable {
  var servicePointID: String
  var reason: String
  var actor: String
  var since: Int64
  /// Nanoseconds since 1970; nil: until it is unblocked.
  var until: Int64?

  func holds(at now: Int64) -> Bool { until.map { now < $0 } ?? true }
}

/// A tenant's city at one moment of its history: the map, and what is blocked and reserved on it.
struct City: Sendable {
  /// Counts up with every change of the places, blocks or reservations.
  let version: Int64
  let map: CityMap
  let blocks: [String: PlaceBlock]
  /// By place; some may be over.
  let reservations: [String: [PlaceReservation]]

  static let empty = City(version: 0, map: .empty, blocks: [:], reservations: [:])

  /// Nil where the place takes any number of visitors.
  func capacity(of place: CityPlace) -> PlaceCapacity? { PlaceCapacity(of: place.point, reservations[place.id] ?? []) }

  func block(of id: String, at now: Int64) -> PlaceBlock? { blocks[id].flatMap { $0.holds(at: now) ? $0 : nil } }

  /// A place as it is at a moment, in nanoseconds since 1970.
  func status(of place: CityPlace, at now: Int64) -> ServicePointStatus {
    status(of: place, block: block(of: place.id, at: now), at: now)
  }

  /// The same under another block than the city knows of yet.
  func status(of place: CityPlace, block: PlaceBlock?, at now: Int64) -> ServicePointStatus {
    var status = ServicePointStatus(servicePoint: place.point, openState: .unknown, hoursProblem: place.hoursProblem)
    if let opening = place.hours?.status(at: UnixTime.seconds(now), in: place.calendar) {
      status.openState = opening.state.contract
      status.openUntil = opening.openUntil.map { .init(seconds: $0) }
      status.opensAt = opening.opensAt.map { .init(seconds: $0) }
    }
    status.freeCapacity = capacity(of: place).map { UInt32($0.free(at: now)) } ?? 0
    if let block {
      status.blocked = true
      status.blockedReason = block.reason
      status.blockedUntil = block.until.map { .init(nanosecondsSinceEpoch: $0) }
    }
    return status
  }
}

/// Between the platform's nanoseconds and this room's seconds.
enum UnixTime {
  /// The second that an instant lies in.
  static func seconds(_ nanoseconds: Int64) -> UnixSeconds {
    nanoseconds >= 0 ? nanoseconds / 1_000_000_000 : -((999_999_999 - nanoseconds) / 1_000_000_000)
  }
}

extension OpeningState {
  var contract: OpenState {
    switch self {
    case .open: .open
    case .closed: .closed
    case .unknown: .unknown
    }
  }
}

extension Coordinate {
  init?(_ point: GeoPoint?) {
    guard let point else { return nil }
    self.init(latitude: point.latitude, longitude: point.longitude)
  }

  var contract: GeoPoint { GeoPoint(latitude: latitude, longitude: longitude) }
}

extension CityCalendar {
  /// A market's code begins with its country: `AT-VIE`.
  init(market code: String, timeZone: CityTimeZone) {
    self.init(
      timeZone: timeZone, holidays: PublicHolidays(country: String(code.prefix { $0 != "-" })),
      schoolHolidays: SchoolHolidays(market: code))
  }
}

extension OpeningHours {
  /// What these hours ask of a calendar that it can't tell: holidays of a country or city that we have no table for.
  func gap(in calendar: CityCalendar) -> String? {
    if calendar.holidays == .none, names(.public) { return "'PH': no public holidays are known here" }
    if calendar.schoolHolidays == .none, names(.school) { return "'SH': no school holidays are known here" }
    return nil
  }

  /// Why a text can't be read as opening hours; nil when it can. For whoever checks what authors wrote.
  public static func problem(in text: String) -> String? {
    do throws(OpeningHoursError) {
      _ = try OpeningHours(parsing: text)
      return nil
    } catch {
      return error.description
    }
  }
}
