/// The textual forms of gRPC's headers, shared by both ends of every transport that has headers.
package enum WireText {
  /// Reads `grpc-timeout`: 1 to 8 digits and a unit; nil when it is anything else.
  package static func timeout(_ text: UnsafeRawBufferPointer) -> Duration? {
    guard let (number, unit) = numberAndUnit(text) else { return nil }
    return unit < 1_000_000_000 ? .nanoseconds(Int64(number * unit)) : .seconds(Int64(number * (unit / 1_000_000_000)))
  }

  /// As `timeout`, in nanoseconds; what is longer than they can count, 584 years, is that long.
  package static func timeoutNanoseconds(_ text: UnsafeRawBufferPointer) -> UInt64? {
    guard let (number, unit) = numberAndUnit(text) else { return nil }
    let (product, overflow) = number.multipliedReportingOverflow(by: unit)
    return overflow ? .max : product
  }

  /// The digits, and the unit in nanoseconds.
  private static func numberAndUnit(_ text: UnsafeRawBufferPointer) -> (number: UInt64, unit: UInt64)? {
    guard (2...9).contains(text.count) else { return nil }
    var number: UInt64 = 0
    for index in 0..<text.count - 1 {
      let digit = text[index] &- UInt8(ascii: "0")
      guard digit < 10 else { return nil }
      number = number &* 10 &+ UInt64(digit)
    }
    switch text[text.count - 1] {
    case UInt8(ascii: "H"): return (number, 3_600_000_000_000)
    case UInt8(ascii: "M"): return (number, 60_000_000_000)
    case UInt8(ascii: "S"): return (number, 1_000_000_000)
    case UInt8(ascii: "m"): return (number, 1_000_000)
    case UInt8(ascii: "u"): return (number, 1_000)
    case UInt8(ascii: "n"): return (number, 1)
    default: return nil
    }
  }

  /// Gives `grpc-timeout` in the finest unit that eight digits allow, rounding down but never to zero. The bytes are valid inside the closure.
  package static func withTimeout(nanoseconds: UInt64, _ body: (UnsafeRawBufferPointer) -> Void) {
    let limit: UInt64 = 99_999_999
    let (size, unit): (UInt64, Unicode.Scalar) =
      switch nanoseconds {
      case ...limit: (1, "n")
      case ...(limit * 1_000 + 999): (1_000, "u")
      case ...(limit * 1_000_000 + 999_999): (1_000_000, "m")
      case ...(limit * 1_000_000_000 + 999_999_999): (1_000_000_000, "S")
      case ...(limit * 60_000_000_000 + 59_999_999_999): (60_000_000_000, "M")
      default: (3_600_000_000_000, "H")
      }
    var number = min(max(1, nanoseconds / size), limit)
    withUnsafeTemporaryAllocation(byteCount: 9, alignment: 1) { text in
      var place = 8
      text[place] = UInt8(ascii: unit)
      repeat {
        place -= 1
        text[place] = UInt8(ascii: "0") + UInt8(number % 10)
        number /= 10
      } while number > 0
      body(UnsafeRawBufferPointer(rebasing: text[place...]))
    }
  }

  /// As `withTimeout`, as text.
  package static func timeout(nanoseconds: UInt64) -> String {
    var text = ""
    withTimeout(nanoseconds: nanoseconds) { text = String(decoding: $0, as: UTF8.self) }
    return text
  }

  /// Writes `grpc-message`: everything outside visible ASCII, and `%`, as `%XX`; blanks at the ends too, which HTTP would take away.
  package static func percentEncoded(_ message: String) -> [UInt8] {
    var text: [UInt8] = []
    text.reserveCapacity(message.utf8.count)
    let digits = Array("0123456789ABCDEF".utf8)
    let last = message.utf8.count - 1
    for (index, byte) in message.utf8.enumerated() {
      let isAtEnd = index == 0 || index == last
      if (isAtEnd ? 0x21 : 0x20)...0x7E ~= byte, byte != UInt8(ascii: "%") {
        text.append(byte)
      } else {
        text += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
      }
    }
    return text
  }

  /// Reads `grpc-message`. A broken `%` sequence stands for itself: a message is never lost.
  package static func percentDecoded(_ text: UnsafeRawBufferPointer) -> String {
    func digit(_ byte: UInt8) -> UInt8? {
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
      case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
      case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
      default: nil
      }
    }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.count)
    var index = 0
    while index < text.count {
      if text[index] == UInt8(ascii: "%"), index + 2 < text.count, let high = digit(text[index + 1]), let low = digit(text[index + 2]) {
        bytes.append(high << 4 | low)
        index += 3
      } else {
        bytes.append(text[index])
        index += 1
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
