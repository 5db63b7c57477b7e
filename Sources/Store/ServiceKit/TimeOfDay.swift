import Foundation

/// A time as the clock on the wall says it, such as `22:00`.
public struct TimeOfDay: Hashable, Sendable {
  public var hour: Int
  public var minute: Int

  /// Nil for what is not two digits, a colon and two digits of a day.
  public init?(_ text: String) {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard text.utf8.count == 5, parts.count == 2, let hour = Int(parts[0]), let minute = Int(parts[1]),
      (0...23).contains(hour), (0...59).contains(minute)
    else { return nil }
    self.hour = hour
    self.minute = minute
  }

  /// The moment, in nanoseconds since 1970, when the clocks of a time zone say so on the day that it is there; nil for an unknown zone.
  public func moment(onDayOf now: Int64, in timeZone: String) -> Int64? {
    guard let zone = TimeZone(identifier: timeZone) else { return nil }
    var calendar = Calendar(identifier: .gregorian)
    calendar.timeZone = zone
    let day = Date(timeIntervalSince1970: Double(now / 1_000_000_000))
    guard let moment = calendar.date(bySettingHour: hour, minute: minute, second: 0, of: day) else { return nil }
    return Int64(moment.timeIntervalSince1970) * 1_000_000_000
  }
}
