/// Moments as RFC 3339 writes them.
public enum RFC3339 {
  /// Nanoseconds since 1970 of `2026-05-04T09:00:00.5+02:00`; nil for anything else. A leap second reads as the second after it.
  public static func parse(_ text: String) -> Int64? {
    var rest = Substring(text).utf8
    func number(_ digits: Int, _ range: ClosedRange<Int64>) -> Int64? {
      var value: Int64 = 0
      for _ in 0..<digits {
        guard let byte = rest.popFirst(), (48...57).contains(byte) else { return nil }
        value = value * 10 + Int64(byte - 48)
      }
      return range.contains(value) ? value : nil
    }
    func take(_ choices: String) -> UInt8? {
      guard let byte = rest.first, choices.utf8.contains(byte) else { return nil }
      rest = rest.dropFirst()
      return byte
    }
    guard let year = number(4, 0...9999), take("-") != nil, let month = number(2, 1...12), take("-") != nil,
      let day = number(2, 1...daysIn(month, year)), take("Tt ") != nil, let hour = number(2, 0...23), take(":") != nil,
      let minute = number(2, 0...59), take(":") != nil, let second = number(2, 0...60)
    else { return nil }
    var fraction: Int64 = 0
    if take(".") != nil {
      var unit: Int64 = 100_000_000
      guard let first = rest.first, (48...57).contains(first) else { return nil }
      while let byte = rest.first, (48...57).contains(byte) {
        rest = rest.dropFirst()
        fraction += Int64(byte - 48) * unit
        unit /= 10
      }
    }
    var offset: Int64 = 0
    guard let zone = take("Zz+-") else { return nil }
    if zone == UInt8(ascii: "+") || zone == UInt8(ascii: "-") {
      guard let hours = number(2, 0...23), take(":") != nil, let minutes = number(2, 0...59) else { return nil }
      offset = (hours * 60 + minutes) * (zone == UInt8(ascii: "-") ? -60 : 60)
    }
    guard rest.isEmpty else { return nil }
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second - offset
    let (nanoseconds, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    return overflow ? nil : nanoseconds + fraction
  }

  /// In UTC, with as many digits of the second as there are: `2026-05-04T07:00:00.5Z`.
  public static func format(_ nanoseconds: Int64) -> String {
    let seconds = floorDivide(nanoseconds, 1_000_000_000)
    let fraction = nanoseconds - seconds * 1_000_000_000
    let day = floorDivide(seconds, 86_400)
    let time = seconds - day * 86_400
    let (year, month, dayOfMonth) = date(day)
    var text =
      "\(pad(year, 4))-\(pad(month, 2))-\(pad(dayOfMonth, 2))T\(pad(time / 3600, 2)):\(pad(time / 60 % 60, 2)):\(pad(time % 60, 2))"
    if fraction > 0 {
      var digits = pad(fraction, 9)
      while digits.last == "0" { digits.removeLast() }
      text += "." + digits
    }
    return text + "Z"
  }

  private static func pad(_ value: Int64, _ digits: Int) -> String {
    let text = String(value)
    return String(repeating: "0", count: max(0, digits - text.utf8.count)) + text
  }

  private static func floorDivide(_ value: Int64, _ by: Int64) -> Int64 { value >= 0 ? value / by : -((by - 1 - value) / by) }

  private static func daysIn(_ month: Int64, _ year: Int64) -> Int64 {
    switch month {
    case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
    case 4, 6, 9, 11: 30
    default: 31
    }
  }

  /// Days since 1970-01-01 in the proleptic Gregorian calendar (Howard Hinnant's `days_from_civil`).
  static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
    let year = month <= 2 ? year - 1 : year
    let era = floorDivide(year, 400)
    let yearOfEra = year - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }

  private static func date(_ day: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let shifted = day + 719_468
    let era = floorDivide(shifted, 146_097)
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
  }
}
