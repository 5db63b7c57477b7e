/// Message types with a JSON form of their own.
enum WellKnownJSON: String {
  case any = "google.protobuf.Any"
  case timestamp = "google.protobuf.Timestamp"
  case duration = "google.protobuf.Duration"
  case fieldMask = "google.protobuf.FieldMask"
  case structure = "google.protobuf.Struct"
  case value = "google.protobuf.Value"
  case listValue = "google.protobuf.ListValue"
  case doubleValue = "google.protobuf.DoubleValue"
  case floatValue = "google.protobuf.FloatValue"
  case int64Value = "google.protobuf.Int64Value"
  case uint64Value = "google.protobuf.UInt64Value"
  case int32Value = "google.protobuf.Int32Value"
  case uint32Value = "google.protobuf.UInt32Value"
  case boolValue = "google.protobuf.BoolValue"
  case stringValue = "google.protobuf.StringValue"
  case bytesValue = "google.protobuf.BytesValue"
}

/// The type an `Any` holds.
enum AnyType {
  static func resolve(_ url: String, in pool: DescriptorPool) throws(JSONError) -> MessageSchema {
    guard let slash = url.lastIndex(of: "/") else { throw JSONError("the type URL \"\(url)\" has no slash") }
    let name = String(url[url.index(after: slash)...])
    guard let schema = pool.message(name) else { throw JSONError("the type \(name) is not known here") }
    return schema
  }
}

/// Field masks: `user.displayName,photo` for `user.display_name` and `photo`.
enum JSONFieldMask {
  static func print(_ paths: [String]) throws(JSONError) -> String {
    var printed: [String] = []
    for path in paths {
      let camel = JSONName.lowerCamel(path)
      guard snake(camel) == path else { throw JSONError("the path \(path) has no JSON form") }
      printed.append(camel)
    }
    return printed.joined(separator: ",")
  }

  static func parse(_ text: String) throws(JSONError) -> [String] {
    if text.isEmpty { return [] }
    var paths: [String] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      let isPath = !part.isEmpty && part.utf8.allSatisfy { $0 != UInt8(ascii: "_") && $0 > 0x20 }
      guard isPath else { throw JSONError("\"\(part)\" is no path of a field mask") }
      paths.append(snake(String(part)))
    }
    return paths
  }

  private static func snake(_ name: String) -> String {
    var result = ""
    for character in name { result += character.isUppercase ? "_" + character.lowercased() : String(character) }
    return result
  }
}

/// Timestamps as RFC 3339 and durations as seconds.
enum JSONTime {
  /// 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z.
  private static let timestamps: ClosedRange<Int64> = -62_135_596_800...253_402_300_799
  /// Ten thousand years, the format's own bound.
  private static let durations: ClosedRange<Int64> = -315_576_000_000...315_576_000_000

  static func timestamp(seconds: Int64, nanos: Int32) throws(JSONError) -> String {
    guard timestamps.contains(seconds), (0..<1_000_000_000).contains(nanos) else { throw JSONError("the timestamp is out of range") }
    let day = seconds >= 0 ? seconds / 86_400 : (seconds - 86_399) / 86_400
    let second = seconds - day * 86_400
    let date = civil(day)
    return pad(date.year, 4) + "-" + pad(date.month, 2) + "-" + pad(date.day, 2) + "T" + pad(second / 3600, 2) + ":"
      + pad(second / 60 % 60, 2) + ":" + pad(second % 60, 2) + fraction(nanos) + "Z"
  }

  static func timestamp(_ text: String) throws(JSONError) -> (seconds: Int64, nanos: Int32) {
    let bad = JSONError("\"\(text)\" is no timestamp")
    var scanner = Scanner(text)
    guard let year = scanner.digits(4), scanner.take("-"), let month = scanner.digits(2), scanner.take("-"), let day = scanner.digits(2),
      scanner.take("T"), let hour = scanner.digits(2), scanner.take(":"), let minute = scanner.digits(2), scanner.take(":"),
      let second = scanner.digits(2), let nanos = scanner.nanos(),
      (1...12).contains(month), day >= 1, day <= daysIn(month, of: year), hour < 24, minute < 60, second < 60
    else { throw bad }
    var offset: Int64 = 0
    if !scanner.take("Z") {
      let isWest = scanner.take("-")
      guard isWest || scanner.take("+"), let hours = scanner.digits(2), scanner.take(":"), let minutes = scanner.digits(2), hours < 24,
        minutes < 60
      else { throw bad }
      offset = (hours * 3600 + minutes * 60) * (isWest ? -1 : 1)
    }
    guard scanner.isAtEnd else { throw bad }
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset
    guard year >= 1, timestamps.contains(seconds) else { throw JSONError("the timestamp \"\(text)\" is out of range") }
    return (seconds, nanos)
  }

  static func duration(seconds: Int64, nanos: Int32) throws(JSONError) -> String {
    guard durations.contains(seconds), nanos.magnitude < 1_000_000_000, seconds == 0 || nanos == 0 || (seconds < 0) == (nanos < 0) else {
      throw JSONError("the duration is out of range")
    }
    let sign = seconds < 0 || nanos < 0 ? "-" : ""
    return sign + String(seconds.magnitude) + fraction(Int32(nanos.magnitude)) + "s"
  }

  static func duration(_ text: String) throws(JSONError) -> (seconds: Int64, nanos: Int32) {
    var scanner = Scanner(text)
    let isNegative = scanner.take("-")
    guard let whole = scanner.number(), let nanos = scanner.nanos(), scanner.take("s"), scanner.isAtEnd else {
      throw JSONError("\"\(text)\" is no duration")
    }
    guard durations.contains(whole) else { throw JSONError("the duration \"\(text)\" is out of range") }
    return isNegative ? (-whole, -nanos) : (whole, nanos)
  }

  // MARK: - Pieces

  /// Nothing, or three, six or nine digits.
  private static func fraction(_ nanos: Int32) -> String {
    if nanos == 0 { return "" }
    if nanos % 1_000_000 == 0 { return "." + pad(Int64(nanos / 1_000_000), 3) }
    if nanos % 1000 == 0 { return "." + pad(Int64(nanos / 1000), 6) }
    return "." + pad(Int64(nanos), 9)
  }

  private static func pad(_ number: Int64, _ width: Int) -> String {
    let text = String(number)
    return String(repeating: "0", count: max(0, width - text.count)) + text
  }

  // Days since 1970 and dates, by Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms": years begin in March there, so that
  // the leap day comes last; 400 years have 146,097 days; 719,468 days lie between 0000-03-01 and 1970-01-01.
  private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
    let shifted = month <= 2 ? year - 1 : year
    let era = (shifted >= 0 ? shifted : shifted - 399) / 400
    let yearOfEra = shifted - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }

  private static func civil(_ days: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let shifted = days + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
  }

  private static func daysIn(_ month: Int64, of year: Int64) -> Int64 {
    switch month {
    case 4, 6, 9, 11: 30
    case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
    default: 31
    }
  }

  private struct Scanner {
    private var rest: Substring.UTF8View

    init(_ text: String) { rest = Substring(text).utf8 }

    var isAtEnd: Bool { rest.isEmpty }

    mutating func take(_ expected: Unicode.Scalar) -> Bool {
      guard rest.first == UInt8(ascii: expected) else { return false }
      rest = rest.dropFirst()
      return true
    }

    mutating func digit() -> Int64? {
      guard let byte = rest.first, byte >= 0x30, byte <= 0x39 else { return nil }
      rest = rest.dropFirst()
      return Int64(byte - 0x30)
    }

    mutating func digits(_ count: Int) -> Int64? {
      var value: Int64 = 0
      for _ in 0..<count {
        guard let digit = digit() else { return nil }
        value = value * 10 + digit
      }
      return value
    }

    /// A whole number of any length, held at a value above every bound once it is there.
    mutating func number() -> Int64? {
      guard var value = digit() else { return nil }
      while let digit = digit() { value = min(value * 10 + digit, 1_000_000_000_000) }
      return value
    }

    /// A point and one to nine digits; zero if there is no point.
    mutating func nanos() -> Int32? {
      guard take(".") else { return 0 }
      guard var value = digit() else { return nil }
      var count = 1
      while let digit = digit() {
        count += 1
        if count > 9 { return nil }
        value = value * 10 + digit
      }
      for _ in count..<9 { value *= 10 }
      return Int32(value)
    }
  }
}
