extension Google_Protobuf_Timestamp {
  /// Nanoseconds since 1970-01-01T00:00:00Z, which last until the year 2262.
  public init(nanosecondsSinceEpoch: Int64) {
    let (seconds, nanos) = nanosecondsSinceEpoch.floorDivided(by: 1_000_000_000)
    self.init(seconds: seconds, nanos: Int32(nanos))
  }

  /// Clamped to what 64 bits hold, since what came over the wire may be any time.
  public var nanosecondsSinceEpoch: Int64 { clampedNanoseconds(seconds, nanos) }
}

extension Google_Protobuf_Duration {
  /// A moment by its nanoseconds since 1970 in UTC.
  public init(nanoseconds: Int64) {
    self.init(seconds: nanoseconds / 1_000_000_000, nanos: Int32(nanoseconds % 1_000_000_000))
  }

  /// Clamped to what 64 bits hold, since what came over the wire may be any duration.
  public var nanoseconds: Int64 { clampedNanoseconds(seconds, nanos) }

  /// What is finer than a nanosecond is cut off.
  public init(_ duration: Duration) {
    let (seconds, attoseconds) = duration.components
    self.init(seconds: seconds, nanos: Int32(attoseconds / 1_000_000_000))
  }

  /// The span as the standard library has it.
  public var duration: Duration { .seconds(seconds) + .nanoseconds(Int64(nanos)) }
}

private func clampedNanoseconds(_ seconds: Int64, _ nanos: Int32) -> Int64 {
  let (whole, tooLarge) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
  if tooLarge { return seconds < 0 ? .min : .max }
  let (sum, overflow) = whole.addingReportingOverflow(Int64(nanos))
  return overflow ? (seconds < 0 ? .min : .max) : sum
}

extension Int64 {
  fileprivate func floorDivided(by divisor: Int64) -> (quotient: Int64, remainder: Int64) {
    let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
    return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
  }
}
