/// Amounts as authors write them, in the millionths in which the platform counts.
public enum Micros {
  public static let perUnit: Int64 = 1_000_000

  /// The exact value of `4`, `4.50`, `-0.000001`; nil for anything else: exponents, more than six decimals, what does not fit.
  public static func parse(_ text: String) -> Int64? {
    var rest = Substring(text).utf8
    let isNegative = rest.first == UInt8(ascii: "-")
    if isNegative { rest = rest.dropFirst() }
    var value: Int64 = 0
    var decimals: Int?
    var digits = 0
    for byte in rest {
      if byte == UInt8(ascii: ".") {
        if decimals != nil || digits == 0 { return nil }
        decimals = 0
        continue
      }
      guard (48...57).contains(byte) else { return nil }
      digits += 1
      if decimals != nil {
        decimals! += 1
        if decimals! > 6 { return nil }
      }
      // Counted downwards, since the least number has no positive counterpart.
      let (ten, first) = value.multipliedReportingOverflow(by: 10)
      let (sum, second) = ten.subtractingReportingOverflow(Int64(byte - 48))
      if first || second { return nil }
      value = sum
    }
    if digits == 0 || decimals == 0 { return nil }
    for _ in (decimals ?? 0)..<6 {
      let (ten, overflow) = value.multipliedReportingOverflow(by: 10)
      if overflow { return nil }
      value = ten
    }
    if isNegative { return value }
    return value == .min ? nil : -value
  }

  /// `4.5`, `0.000001`, `-3`.
  public static func format(_ micros: Int64) -> String {
    let magnitude = micros.magnitude
    var fraction = String(magnitude % 1_000_000)
    fraction = String(repeating: "0", count: 6 - fraction.utf8.count) + fraction
    while fraction.last == "0" { fraction.removeLast() }
    return (micros < 0 ? "-" : "") + String(magnitude / 1_000_000) + (fraction.isEmpty ? "" : "." + fraction)
  }
}
