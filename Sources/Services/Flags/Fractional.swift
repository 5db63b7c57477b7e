/// flagd's `fractional`: a share of all callers to each variant, the same caller always to the same.
///
/// What callers are told apart by is encoded in CBOR's canonical form, so that an evaluator in another language makes the same bytes of
/// it, and hashed with MurmurHash3 (x86, 32 bit, seed 0); the hash falls into one of as many buckets as the weights add up to.
enum Fractional {
  /// - Parameter values: what to tell callers apart by, unless the first value is a list; then lists of a variant and its weight, 1
  ///   when it is not given.
  /// - Returns: nil where the arguments say nothing, or nobody is there to be told apart.
  static func variant(_ values: [FlagValue], flagKey: String, targetingKey: FlagValue?) -> FlagValue? {
    guard let first = values.first else { return nil }
    var shares = values[...]
    let key: FlagValue
    if case .list = first {
      guard case .string(let target)? = targetingKey, !target.isEmpty else { return nil }
      key = .list([.string(flagKey), .string(target)])
    } else {
      guard first != .null else { return nil }
      key = first
      shares = shares.dropFirst()
    }
    var weights: [(variant: FlagValue, weight: UInt64)] = []
    for share in shares {
      guard case .list(let pair) = share, (1...2).contains(pair.count) else { return nil }
      var weight: UInt64 = 1
      if pair.count == 2 {
        guard case .number(let number) = pair[1], let whole = Int64(exactly: number) else { return nil }
        weight = UInt64(max(0, whole))  // a calculation may have gone below zero
      }
      guard weight <= maximum else { return nil }
      weights.append((pair[0], weight))
    }
    let total = weights.reduce(0) { $0 + $1.weight }
    guard (1...maximum).contains(total) else { return nil }
    let bucket = (UInt64(Murmur3.hash(CanonicalCBOR.encode(key))) * total) >> 32
    var end: UInt64 = 0
    for (variant, weight) in weights {
      end += weight
      if bucket < end { return variant }
    }
    return nil
  }

  /// What a 32-bit integer holds: flagd's bound on the sum of the weights.
  private static let maximum: UInt64 = 2_147_483_647
}

/// MurmurHash3_x86_32 with seed 0 (Austin Appleby, public domain).
enum Murmur3 {
  static func hash(_ bytes: [UInt8]) -> UInt32 {
    func rotated(_ value: UInt32, by bits: UInt32) -> UInt32 { value << bits | value >> (32 - bits) }
    func mixed(_ block: UInt32) -> UInt32 { rotated(block &* 0xcc9e_2d51, by: 15) &* 0x1b87_3593 }
    var hash: UInt32 = 0
    let blocks = bytes.count / 4
    for block in 0..<blocks {
      let at = block * 4
      let word = UInt32(bytes[at]) | UInt32(bytes[at + 1]) << 8 | UInt32(bytes[at + 2]) << 16 | UInt32(bytes[at + 3]) << 24
      hash = rotated(hash ^ mixed(word), by: 13) &* 5 &+ 0xe654_6b64
    }
    var tail: UInt32 = 0
    for (index, byte) in bytes[(blocks * 4)...].enumerated() { tail |= UInt32(byte) << UInt32(8 * index) }
    if bytes.count % 4 != 0 { hash ^= mixed(tail) }
    hash ^= UInt32(truncatingIfNeeded: bytes.count)
    hash = (hash ^ hash >> 16) &* 0x85eb_ca6b
    hash = (hash ^ hash >> 13) &* 0xc2b2_ae35
    return hash ^ hash >> 16
  }
}

/// The canonical CBOR of RFC 7049 §3.9: shortest heads, shortest numbers that lose nothing, keys by length and bytes.
enum CanonicalCBOR {
  static func encode(_ value: FlagValue) -> [UInt8] {
    var bytes: [UInt8] = []
    write(value, &bytes)
    return bytes
  }

  private static func write(_ value: FlagValue, _ bytes: inout [UInt8]) {
    switch value {
    case .null: bytes.append(0xf6)
    case .bool(let value): bytes.append(value ? 0xf5 : 0xf4)
    case .number(let number): write(number, &bytes)
    case .string(let text):
      head(3, UInt64(text.utf8.count), &bytes)
      bytes += text.utf8
    case .list(let values):
      head(4, UInt64(values.count), &bytes)
      for value in values { write(value, &bytes) }
    case .object(let members):
      head(5, UInt64(members.count), &bytes)
      let keys = members.map { (encode(.string($0.key)), $0.value) }
      for (key, value) in keys.sorted(by: { precedes($0.0, $1.0) }) {
        bytes += key
        write(value, &bytes)
      }
    }
  }

  private static func precedes(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    a.count != b.count ? a.count < b.count : a.lexicographicallyPrecedes(b)
  }

  /// A number without a fraction is an integer, whichever way it was written.
  private static func write(_ number: Double, _ bytes: inout [UInt8]) {
    if let whole = UInt64(exactly: number) {
      head(0, whole, &bytes)
    } else if let whole = Int64(exactly: number) {
      head(1, UInt64(-1 - whole), &bytes)
    } else if number.isNaN {
      bytes += [0xf9, 0x7e, 0x00]
    } else if let half = halfPrecision(number) {
      bytes += [0xf9, UInt8(half >> 8), UInt8(half & 0xff)]
    } else if Double(Float(number)) == number {
      bytes.append(0xfa)
      append(UInt64(Float(number).bitPattern), 4, &bytes)
    } else {
      bytes.append(0xfb)
      append(number.bitPattern, 8, &bytes)
    }
  }

  /// The bits of the same number in half precision, if it has one. `Float16` is not to be had on every platform.
  private static func halfPrecision(_ number: Double) -> UInt16? {
    let sign: UInt16 = number.sign == .minus ? 0x8000 : 0
    if number.isInfinite { return sign | 0x7c00 }
    if number == 0 { return sign }
    let magnitude = number.magnitude
    let exponent = Int(magnitude.exponent)
    guard exponent <= 15, exponent >= -24 else { return nil }
    if exponent < -14 {
      // Below the normal ones: so many 2⁻²⁴.
      guard let count = UInt16(exactly: magnitude * 16_777_216) else { return nil }
      return sign | count
    }
    let fraction = (magnitude.significand - 1) * 1024
    guard let bits = UInt16(exactly: fraction) else { return nil }
    return sign | UInt16(exponent + 15) << 10 | bits
  }

  private static func head(_ major: UInt8, _ count: UInt64, _ bytes: inout [UInt8]) {
    let type = major << 5
    switch count {
    case ..<24: bytes.append(type | UInt8(count))
    case ..<0x100:
      bytes.append(type | 24)
      append(count, 1, &bytes)
    case ..<0x1_0000:
      bytes.append(type | 25)
      append(count, 2, &bytes)
    case ..<0x1_0000_0000:
      bytes.append(type | 26)
      append(count, 4, &bytes)
    default:
      bytes.append(type | 27)
      append(count, 8, &bytes)
    }
  }

  private static func append(_ value: UInt64, _ count: Int, _ bytes: inout [UInt8]) {
    for index in (0..<count).reversed() { bytes.append(UInt8(truncatingIfNeeded: value >> UInt64(8 * index))) }
  }
}
