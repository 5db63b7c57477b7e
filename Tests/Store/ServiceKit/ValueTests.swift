import SpanwireServiceKit
import Testing

@Suite struct ValueTests {
  @Test(
    "authored decimals are exact in micro-units",
    arguments: [
      ("0.50", 500_000), ("4", 4_000_000), ("-0.000001", -1), ("12.345678", 12_345_678), ("0", 0), ("-0", 0), ("", nil), (".5", nil),
      ("5.", nil), ("1.2345678", nil), ("1e3", nil), ("1,5", nil), ("+1", nil), ("9223372036854.775807", Int64.max),
      ("9223372036854.775808", nil), ("-9223372036854.775808", Int64.min), ("--1", nil), ("1.2.3", nil), ("99999999999999999999", nil),
    ])
  func micros(text: String, value: Int64?) {
    #expect(Micros.parse(text) == value)
    if let value { #expect(Micros.parse(Micros.format(value)) == value) }
  }

  @Test(
    "moments of RFC 3339",
    arguments: [
      ("1970-01-01T00:00:00Z", 0), ("2026-05-04T09:00:00+02:00", 1_777_878_000_000_000_000),
      ("2026-05-04T07:00:00.5Z", 1_777_878_000_500_000_000),
      ("1969-12-31T23:59:59.999999999Z", -1), ("2024-02-29T12:00:00Z", 1_709_208_000_000_000_000), ("2025-02-29T12:00:00Z", nil),
      ("2026-13-01T00:00:00Z", nil), ("2026-05-04T24:00:00Z", nil), ("2026-05-04 09:00:00Z", 1_777_885_200_000_000_000),
      ("2026-05-04T09:00:00", nil), ("2026-05-04T09:00:00Z ", nil), ("2026-05-04T09:00:00.Z", nil), ("9999-12-31T00:00:00Z", nil),
      ("2026-05-04T09:00:00-00:30", 1_777_887_000_000_000_000),
    ])
  func moments(text: String, value: Int64?) {
    #expect(RFC3339.parse(text) == value)
    if let value { #expect(RFC3339.parse(RFC3339.format(value)) == value) }
  }

  @Test(
    "SHA-256 of the standard's examples",
    arguments: [
      ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
      ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
      ("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
    ])
  func sha256(text: String, hex: String) {
    #expect(SHA256.hex(SHA256.hash(Array(text.utf8))) == hex)
    var pieces = SHA256()
    for byte in text.utf8 { pieces.update([byte]) }
    #expect(SHA256.hex(pieces.finish()) == hex)
  }

  @Test("a long hash, in any pieces")
  func longHash() {
    let bytes = [UInt8](repeating: UInt8(ascii: "a"), count: 1_000)
    // What is hashed at once is padded elsewhere than what comes in pieces.
    for length in [55, 56, 63, 64, 119, 120, 1_000] {
      var pieces = SHA256()
      for byte in bytes[..<length] { pieces.update([byte]) }
      #expect(SHA256.hash(Array(bytes[..<length])) == pieces.finish())
    }
    for size in [1, 63, 64, 65, 127, 999] {
      var hash = SHA256()
      for start in stride(from: 0, to: bytes.count, by: size) { hash.update(Array(bytes[start..<min(bytes.count, start + size)])) }
      #expect(SHA256.hex(hash.finish()) == "41edece42d63e8d9bf515a9ba6932e1c20cbc9f5a5d134645adb5db1b9737ea3")
    }
  }

  @Test("ids sort by the time they were made, and within a millisecond too")
  func ids() {
    let clock = ManualClock()
    let ids = IDGenerator(clock: clock)
    var made: [String] = []
    for index in 0..<2_000 {
      if index % 100 == 99 { clock.advance(by: .milliseconds(1)) }
      if index == 1_000 { clock.advance(by: .seconds(-5)) }
      made.append(ids.next(.session))
    }
    #expect(made == made.sorted() && Set(made).count == 2_000)
    #expect(made.allSatisfy { $0.hasPrefix("PRS-") && $0.utf8.count == 30 && Identifier.isValid($0) })
    #expect(ULID(high: 0, low: 31).text("X") == "X-0000000000000000000000000Z")
    #expect(ULID(high: .max, low: .max).text("X") == "X-7ZZZZZZZZZZZZZZZZZZZZZZZZZ")
  }

  @Test(
    "ids from outside",
    arguments: [
      ("PRS-01J", true), ("a", true), ("A.b_c-9", true), ("", false), ("a:b", false), ("a b", false), ("ä", false), ("a/b", false),
      (String(repeating: "x", count: 128), true), (String(repeating: "x", count: 129), false),
    ])
  func identifiers(text: String, isValid: Bool) { #expect(Identifier.isValid(text) == isValid) }
}
