/// A number in JSON's grammar, in parts, so that integers are read exactly: `1e3` and `1000.0` are integers, `0.5` is none.
struct JSONNumber {
  let isNegative: Bool
  /// Digits before and after the point.
  private let digits: [UInt8]
  /// Where the point stands: the value is digits × 10^shift.
  private let shift: Int

  init?(_ text: String) {
    var rest = Substring(text).utf8[...]
    let negative = rest.first == UInt8(ascii: "-")
    if negative { rest = rest.dropFirst() }
    func run() -> [UInt8] {
      let run = rest.prefix { $0 >= 0x30 && $0 <= 0x39 }
      rest = rest.dropFirst(run.count)
      return run.map { $0 - 0x30 }
    }
    let whole = run()
    if whole.isEmpty || (whole.count > 1 && whole[0] == 0) { return nil }
    var fraction: [UInt8] = []
    if rest.first == UInt8(ascii: ".") {
      rest = rest.dropFirst()
      fraction = run()
      if fraction.isEmpty { return nil }
    }
    var exponent = 0
    if rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") {
      rest = rest.dropFirst()
      let down = rest.first == UInt8(ascii: "-")
      if down || rest.first == UInt8(ascii: "+") { rest = rest.dropFirst() }
      let power = run()
      if power.isEmpty { return nil }
      // Beyond this no integer of 64 bits is left either way.
      exponent = power.reduce(0) { min($0 * 10 + Int($1), 100_000) } * (down ? -1 : 1)
    }
    if !rest.isEmpty { return nil }
    isNegative = negative
    digits = whole + fraction
    shift = exponent - fraction.count
  }

  /// The magnitude, if it is a whole number of 64 bits.
  var magnitude: UInt64? {
    var kept = digits[...]
    var shift = shift
    while shift < 0, let last = kept.last {
      if last != 0 { return nil }
      kept = kept.dropLast()
      shift += 1
    }
    var value: UInt64 = 0
    for digit in kept {
      let (product, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = product.addingReportingOverflow(UInt64(digit))
      if overflow || carry { return nil }
      value = sum
    }
    if value == 0 { return 0 }
    while shift > 0 {
      let (product, overflow) = value.multipliedReportingOverflow(by: 10)
      if overflow { return nil }
      value = product
      shift -= 1
    }
    return value
  }

  func integer<T: FixedWidthInteger>(_ type: T.Type) -> T? {
    guard let magnitude else { return nil }
    if !isNegative { return T(exactly: magnitude) }
    if magnitude == 0 { return 0 }
    guard T.isSigned, magnitude <= 1 << 63 else { return nil }
    return T(exactly: Int64(truncatingIfNeeded: 0 &- magnitude))
  }
}
