#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// A position on WGS 84, in degrees.
public struct Coordinate: Hashable, Sendable {
  public var latitude: Double
  public var longitude: Double

  /// Nil unless the latitude is within ±90° and the longitude within ±180°, both finite.
  public init?(latitude: Double, longitude: Double) {
    guard (-90...90).contains(latitude), (-180...180).contains(longitude) else { return nil }
    self.latitude = latitude
    self.longitude = longitude
  }

  /// The great-circle distance (haversine, on a sphere of the mean Earth radius): within 0.5 % of the ellipsoid's.
  public func metres(to other: Coordinate) -> Double {
    let radians = Double.pi / 180
    let (a, b) = (latitude * radians, other.latitude * radians)
    let (dLatitude, dLongitude) = (b - a, (other.longitude - longitude) * radians)
    let chord = sin(dLatitude / 2) * sin(dLatitude / 2) + cos(a) * cos(b) * sin(dLongitude / 2) * sin(dLongitude / 2)
    return 2 * Self.earthRadiusMetres * asin(min(1, chord.squareRoot()))
  }

  static let earthRadiusMetres = 6_371_008.8
  static let metresPerDegree = earthRadiusMetres * Double.pi / 180
}

/// Places in square cells of a grid: what is near a point, without looking at the whole city.
///
/// Built once and never changed; a new registry revision builds a new one. Cells do not wrap at the 180th meridian.
public struct SpatialGrid<Element: Sendable>: Sendable {
  private struct Cell: Hashable { var row: Int32, column: Int32 }

  public let elements: [Element]
  private let positions: [Coordinate]
  private let cells: [Cell: [Int]]
  private let rowDegrees: Double
  private let columnDegrees: Double

  /// - Parameter cellMetres: the side of a cell; about the radius that is asked for most.
  public init(_ elements: [Element], cellMetres: Double = 250, position: (Element) -> Coordinate) {
    self.elements = elements
    positions = elements.map(position)
    let widest = positions.map { abs($0.latitude) }.max() ?? 0
    rowDegrees = cellMetres / Coordinate.metresPerDegree
    columnDegrees = rowDegrees / max(0.01, cos(widest * .pi / 180))
    var cells: [Cell: [Int]] = [:]
    for (index, position) in positions.enumerated() {
      cells[Self.cell(position, rowDegrees, columnDegrees), default: []].append(index)
    }
    self.cells = cells
  }

  /// The elements within a radius, nearest first; equally near ones in the order they were given.
  public func within(metres radius: Double, of centre: Coordinate) -> [(element: Element, metres: Double)] {
    guard radius >= 0, !elements.isEmpty else { return [] }
    let rows = radius / Coordinate.metresPerDegree
    let poleward = min(89.9, abs(centre.latitude) + rows)
    let columns = rows / cos(poleward * .pi / 180)
    let low = Self.cell(centre.latitude - rows, centre.longitude - columns, rowDegrees, columnDegrees)
    let high = Self.cell(centre.latitude + rows, centre.longitude + columns, rowDegrees, columnDegrees)
    var found: [(index: Int, metres: Double)] = []
    func look(_ indexes: [Int]) {
      for index in indexes {
        let metres = centre.metres(to: positions[index])
        if metres <= radius { found.append((index, metres)) }
      }
    }
    // A radius that spans more cells than are filled is cheaper the other way round.
    if Double(high.row - low.row + 1) * Double(high.column - low.column + 1) > Double(cells.count) {
      cells.values.forEach(look)
    } else {
      for row in low.row...high.row {
        for column in low.column...high.column { cells[Cell(row: row, column: column)].map(look) }
      }
    }
    return found.sorted { ($0.metres, $0.index) < ($1.metres, $1.index) }.map { (elements[$0.index], $0.metres) }
  }

  /// The nearest elements, at most `count`, nearest first.
  public func nearest(_ count: Int, to centre: Coordinate) -> [(element: Element, metres: Double)] {
    guard count > 0, !elements.isEmpty else { return [] }
    var radius = rowDegrees * Coordinate.metresPerDegree
    while radius < Coordinate.earthRadiusMetres * .pi {
      let found = within(metres: radius, of: centre)
      if found.count >= min(count, elements.count) { return Array(found.prefix(count)) }
      radius *= 2
    }
    return Array(within(metres: Coordinate.earthRadiusMetres * .pi, of: centre).prefix(count))
  }

  private static func cell(_ position: Coordinate, _ rowDegrees: Double, _ columnDegrees: Double) -> Cell {
    cell(position.latitude, position.longitude, rowDegrees, columnDegrees)
  }

  private static func cell(_ latitude: Double, _ longitude: Double, _ rowDegrees: Double, _ columnDegrees: Double) -> Cell {
    func clamp(_ value: Double) -> Int32 { Int32(max(-2e9, min(2e9, value.rounded(.down)))) }
    return Cell(row: clamp(latitude / rowDegrees), column: clamp(longitude / columnDegrees))
  }
}
