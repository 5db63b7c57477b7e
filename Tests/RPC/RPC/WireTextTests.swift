import SpanwireRPC
import Testing

@Suite struct WireTextTests {
  @Test(
    "a timeout is one to eight digits and a unit",
    arguments: [
      ("1n", .nanoseconds(1)), ("20u", .microseconds(20)), ("300m", .milliseconds(300)), ("4S", .seconds(4)), ("5M", .seconds(300)),
      ("6H", .seconds(21600)), ("0S", .zero), ("99999999H", .seconds(99_999_999 * 3600)), ("", nil), ("S", nil), ("1", nil),
      ("123456789n", nil), ("1x", nil), ("-1S", nil), ("1 S", nil), ("1s", nil), ("+1S", nil),
    ] as [(String, Duration?)])
  func timeout(text: String, span: Duration?) {
    #expect(Array(text.utf8).withUnsafeBytes { WireText.timeout($0) } == span)
  }

  @Test(
    "a timeout is written as finely as eight digits allow",
    arguments: [
      (1, "1n"), (99_999_999, "99999999n"), (100_000_000, "100000u"), (3_600_000_000_000, "3600000m"), (0, "1n"),
      (UInt64.max, "5124095H"),
    ] as [(UInt64, String)])
  func writeTimeout(nanoseconds: UInt64, text: String) {
    #expect(WireText.timeout(nanoseconds: nanoseconds) == text)
  }

  @Test("a message survives percent-encoding whatever is in it")
  func messageRoundTrip() {
    let message = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
    let encoded = WireText.percentEncoded(message)
    #expect(encoded.allSatisfy { 0x20...0x7E ~= $0 })
    #expect(encoded.withUnsafeBytes { WireText.percentDecoded($0) } == message)
    #expect(WireText.percentEncoded("50% ☺") == Array("50%25 %E2%98%BA".utf8))
  }

  @Test(
    "broken percent sequences stand for themselves",
    arguments: [("%", "%"), ("%4", "%4"), ("%zz", "%zz"), ("a%41%", "aA%"), ("%2525", "%25"), ("%e2%98%ba", "☺")])
  func brokenMessages(text: String, message: String) {
    #expect(Array(text.utf8).withUnsafeBytes { WireText.percentDecoded($0) } == message)
  }
}

@Suite struct DeadlineTests {
  @Test("spans add up, saturate at never and stop at zero")
  func arithmetic() {
    let moment = Deadline(nanoseconds: 1_000)
    #expect(moment.advanced(by: .nanoseconds(500)).nanoseconds == 1_500)
    #expect(moment.advanced(by: .nanoseconds(-5_000)).nanoseconds == 0)
    #expect(moment.advanced(by: .seconds(99_999_999 * 3600)) == .never)
    #expect(Deadline.never.advanced(by: .seconds(-1)) == .never)
    #expect(moment.remaining(at: Deadline(nanoseconds: 400)) == .nanoseconds(600))
    #expect(moment.remaining(at: Deadline(nanoseconds: 4_000)) == .zero)
    #expect(Deadline.never.remaining == nil)
    #expect(!Deadline.never.hasPassed && moment.hasPassed)
  }
}

@Suite struct TraceContextTests {
  @Test("a traceparent is read and written back")
  func roundTrip() throws {
    let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    let trace = try #require(TraceContext(traceparent: text, state: "vendor=1"))
    #expect(trace.traceparent == text)
    #expect(trace.traceID == "4bf92f3577b34da6a3ce929d0e0e4736")
    #expect(trace.spanIDString == "00f067aa0ba902b7")
    let child = trace.child()
    #expect(child.traceID == trace.traceID && child.parentSpanID == trace.spanID && child.spanID != trace.spanID)
    #expect(child.state == "vendor=1" && child.isSampled)
  }

  @Test(
    "what is not a traceparent is refused; later versions are read",
    arguments: [
      ("", false), ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0", false),
      ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false),
      ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false),
      ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false),
      ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false),
      ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra", false),
      ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra", true),
      ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", true),
    ])
  func malformed(text: String, isRead: Bool) {
    #expect((TraceContext(traceparent: text) != nil) == isRead)
  }
}
