import Foundation
import Synchronization

/// A city's clock: how far it is from UTC, and when that changes.
///
/// The rules are those of Foundation's time zone database, laid out once per zone as a table: the evaluator asks for thousands of days
/// per route, and a calendar library would dominate its cost.
public struct CityTimeZone: Hashable, Sendable {
  /// Its IANA identifier.
  public let identifier: String
  private let table: OffsetTable

  /// Nil for an identifier that the database does not have.
  public init?(identifier: String) {
    guard let table = OffsetTable.of(identifier) else { return nil }
    self.identifier = identifier
    self.table = table
  }

  public static let vienna = CityTimeZone(identifier: "Europe/Vienna")!

  public static func == (a: Self, b: Self) -> Bool { a.identifier == b.identifier }
  public func hash(into hasher: inout Hasher) { hasher.combine(identifier) }

  /// Seconds east of UTC at an instant.
  public func offsetSeconds(at instant: UnixSeconds) -> Int64 { table.offset(at: instant) }

  /// The local date and the second of that day.
  public func local(_ instant: UnixSeconds) -> (date: CivilDate, second: Int64) {
    let shifted = instant + offsetSeconds(at: instant)
    let days = shifted >= 0 ? shifted / 86_400 : (shifted - 86_399) / 86_400
    return (CivilDate(daysSinceEpoch: Int(days)), shifted - days * 86_400)
  }

  /// The instant at which the local clock shows a minute of a day; minutes past 1440 are on the following days.
  ///
  /// A time that the clock skips is taken as much later as it skips, one that occurs twice is taken the first time.
  public func instant(_ date: CivilDate, minute: Int) -> UnixSeconds {
    let wall = Int64(date.daysSinceEpoch) * 86_400 + Int64(minute) * 60
    // No clock is farther from UTC than 14 hours.
    let before = offsetSeconds(at: wall - 14 * 3600)
    let after = offsetSeconds(at: wall + 14 * 3600)
    if before == after || offsetSeconds(at: wall - before) == before { return wall - before }
    return offsetSeconds(at: wall - after) == after ? wall - after : wall - before
  }
}

/// A zone's offsets and the instants from which they hold.
private final class OffsetTable: Sendable {
  private let since: [UnixSeconds]
  private let offsets: [Int64]

  /// Tables made so far: at most as many as there are zones.
  private static let known = Mutex<[String: OffsetTable]>([:])

  static func of(_ identifier: String) -> OffsetTable? {
    if let table = known.withLock({ $0[identifier] }) { return table }
    guard let zone = TimeZone(identifier: identifier) else { return nil }
    let table = OffsetTable(zone)
    return known.withLock { known in
      if let other = known[identifier] { return other }
      known[identifier] = table
      return table
    }
  }

  /// Looks at the clock every ten days of the years that our calendars reckon with, and where it changed, at which second.
  private init(_ zone: TimeZone) {
    func offset(_ instant: Int64) -> Int64 { Int64(zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(instant)))) }
    let (first, last, step) = (Int64(0), CityGraphLimits.lastSecond, Int64(864_000))
    var since = [Int64.min]
    var offsets = [offset(first)]
    for sample in stride(from: first, to: last, by: Int(step)) {
      var (low, high) = (sample, sample + step)
      var (before, after) = (offsets[offsets.count - 1], offset(high))
      guard before != after else { continue }
      while high - low > 1 {
        let middle = low + (high - low) / 2
        if offset(middle) == before { low = middle } else { (high, after) = (middle, offset(middle)) }
      }
      before = after
      since.append(high)
      offsets.append(before)
    }
    self.since = since
    self.offsets = offsets
  }

  func offset(at instant: UnixSeconds) -> Int64 {
    var (low, high) = (0, since.count)
    while high - low > 1 {
      let middle = (low + high) / 2
      if since[middle] <= instant { low = middle } else { high = middle }
    }
    return offsets[low]
  }
}
