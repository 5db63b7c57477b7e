import SpanwireWellKnown
import Testing

@testable import SpanwireProtobuf
@testable import SpanwireRPC

/// Numbers and texts that only an attacker sends: whatever they are, nothing traps, and what cannot be is nil or saturates.
@Suite struct ExtremesTests {
  /// Always the same numbers: a failure can be seen again.
  struct Seeded: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
      state &+= 0x9E37_79B9_7F4A_7C15
      var mixed = state
      mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
      mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
      return mixed ^ mixed >> 31
    }
  }

  /// Bytes of an alphabet that gets past the first checks more often than not.
  private func texts(_ alphabet: String, count: Int = 20_000, upTo length: Int) -> [[UInt8]] {
    var random = Seeded(state: 33)
    let letters = Array(alphabet.utf8) + [0, 0x7F, 0x80, 0xFF]
    return (0..<count).map { _ in (0..<Int.random(in: 0...length, using: &random)).map { _ in letters.randomElement(using: &random)! } }
  }

  @Test("timeouts")
  func timeouts() {
    for text in texts("0123456789999HMSmun", upTo: 10) {
      text.withUnsafeBytes { bytes in
        let span = WireText.timeout(bytes)
        let nanoseconds = WireText.timeoutNanoseconds(bytes)
        #expect((span == nil) == (nanoseconds == nil))
        if let span { #expect(Deadline.after(span) >= Deadline(nanoseconds: 0)) }
      }
    }
    for nanoseconds in [0, 1, 99_999_999, .max - 1, .max] as [UInt64] {
      let text = WireText.timeout(nanoseconds: nanoseconds)
      #expect(Array(text.utf8).withUnsafeBytes { WireText.timeoutNanoseconds($0) } != nil, "\(text)")
    }
  }

  @Test("moments and spans")
  func moments() {
    let spans: [Duration] = [
      .zero, .nanoseconds(1), .nanoseconds(-1), .nanoseconds(Int64.max), .nanoseconds(Int64.min), .seconds(Int64.max), .seconds(Int64.min),
      Duration(secondsComponent: .max, attosecondsComponent: 999_999_999_999_999_999),
    ]
    for moment in [0, 1, 1 << 62, .max - 1, .max] as [UInt64] {
      for span in spans {
        let later = Deadline(nanoseconds: moment).advanced(by: span)
        if moment != .max { #expect(span < .zero ? later.nanoseconds <= moment : later.nanoseconds >= moment) }
        _ = later.remaining(at: Deadline(nanoseconds: moment))
      }
    }
  }

  @Test("messages in percent-encoding are never lost")
  func messages() {
    for text in texts("%%%0123456789abcdefABCDEFgxyz ", upTo: 12) {
      let message = text.withUnsafeBytes { WireText.percentDecoded($0) }
      #expect(message.isEmpty == text.isEmpty)
      #expect(WireText.percentEncoded(message).withUnsafeBytes { WireText.percentDecoded($0) } == message)
    }
  }

  @Test("base64")
  func base64() {
    for text in texts("ABCZabcz0129+/-_====", upTo: 14) {
      guard let bytes = text.withUnsafeBytes({ Base64.decode($0) }) else { continue }
      #expect(Base64.encodedBytes(bytes).withUnsafeBytes { Base64.decode($0) } == bytes)
    }
  }

  @Test("trace contexts")
  func traces() {
    for text in texts("0000123456789abcdef----ff", upTo: 60) {
      guard let trace = TraceContext(traceparent: String(decoding: text, as: UTF8.self)) else { continue }
      #expect(TraceContext(traceparent: trace.traceparent) != nil)
    }
  }

  @Test("statuses with codes that nobody defined", arguments: [Int32.min, -1, 0, 17, 255, 256, .max])
  func statuses(code: Int32) {
    #expect(RPCError(status: Google_Rpc_Status(code: code))?.code == (code == 0 ? nil : .unknown))
  }

  @Test("delays beyond what a clock counts", arguments: [(Int64.max, Int32.max), (.min, .min), (-1, 1), (315_576_000_001, 0)])
  func delays(seconds: Int64, nanos: Int32) {
    let info = Google_Rpc_RetryInfo(retryDelay: Google_Protobuf_Duration(seconds: seconds, nanos: nanos))
    let delay = RPCError(.unavailable).adding(info).retryDelay
    #expect(delay != nil)
    _ = Deadline.after(delay ?? .zero)
  }

  @Test("lengths of metadata up to what a peer may ever send", arguments: [0, 1, 65_535, 65_536, 70_000])
  func lengths(count: Int) {
    let name = [UInt8](repeating: UInt8(ascii: "n"), count: count)
    var metadata = Metadata()
    name.withUnsafeBytes { metadata.appendWire(name: $0, value: UnsafeRawBufferPointer(start: nil, count: 0)) }
    [UInt8(ascii: "a")].withUnsafeBytes { metadata.appendWire(name: $0, value: $0) }
    #expect(metadata.count == 2)
    #expect(metadata["a"] == "a")
    #expect(metadata[String(decoding: name, as: UTF8.self)]?.isEmpty == true)
  }
}
