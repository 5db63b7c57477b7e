import Synchronization

/// A place in a distributed trace, as W3C Trace Context carries it.
public struct TraceContext: Sendable, Hashable {
  /// The 16 bytes of the trace, big-endian halves; not both zero.
  public var traceHigh: UInt64
  /// The lower half of the trace's id.
  public var traceLow: UInt64
  /// The 8 bytes of this span; not zero.
  public var spanID: UInt64
  /// The span above this one; 0 at the root.
  public var parentSpanID: UInt64
  /// Whether somebody up the line decided to record this trace.
  public var isSampled: Bool
  /// `tracestate` of other vendors, carried along unread.
  public var state: String

  /// A place in a trace; a sampled root unless said otherwise.
  public init(traceHigh: UInt64, traceLow: UInt64, spanID: UInt64, parentSpanID: UInt64 = 0, isSampled: Bool = true, state: String = "") {
    self.traceHigh = traceHigh
    self.traceLow = traceLow
    self.spanID = spanID
    self.parentSpanID = parentSpanID
    self.isSampled = isSampled
    self.state = state
  }

  /// A new trace with its first span.
  public static func root() -> TraceContext {
    TraceContext(traceHigh: SpanIDs.next(), traceLow: SpanIDs.next(), spanID: SpanIDs.next())
  }

  /// A new span below this one.
  public func child() -> TraceContext {
    TraceContext(
      traceHigh: traceHigh, traceLow: traceLow, spanID: SpanIDs.next(), parentSpanID: spanID, isSampled: isSampled, state: state)
  }

  /// A new span beside this one.
  public func sibling() -> TraceContext {
    var other = self
    other.spanID = SpanIDs.next()
    return other
  }

  /// 32 lower-case hex digits.
  public var traceID: String { Self.hex(traceHigh) + Self.hex(traceLow) }
  /// 16 lower-case hex digits.
  public var spanIDString: String { Self.hex(spanID) }

  private static func hex(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.utf8.count) + digits
  }
}

extension TraceContext {
  /// The `traceparent` header: `00-<trace>-<span>-<flags>`.
  public var traceparent: String {
    var text = ""
    withTraceparent { text = String(decoding: $0, as: UTF8.self) }
    return text
  }

  /// As `traceparent`, without a string; the bytes are valid inside the closure.
  package func withTraceparent(_ body: (UnsafeRawBufferPointer) -> Void) {
    withUnsafeTemporaryAllocation(byteCount: 55, alignment: 1) { text in
      func put(_ value: UInt64, digits: Int, at offset: Int) {
        for index in 0..<digits {
          let digit = UInt8(value >> UInt64(4 * (digits - 1 - index)) & 15)
          text[offset + index] = digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
        }
      }
      put(0, digits: 2, at: 0)
      put(traceHigh, digits: 16, at: 3)
      put(traceLow, digits: 16, at: 19)
      put(spanID, digits: 16, at: 36)
      put(isSampled ? 1 : 0, digits: 2, at: 53)
      for dash in [2, 35, 52] { text[dash] = UInt8(ascii: "-") }
      body(UnsafeRawBufferPointer(text))
    }
  }

  /// Reads a `traceparent`; nil when it is malformed, all zero, or of the forbidden version ff. Later versions are read as 00.
  public init?(traceparent: String, state: String = "") {
    var text = traceparent
    guard let parent = text.withUTF8({ TraceParent(UnsafeRawBufferPointer($0)) }) else { return nil }
    self.init(traceHigh: parent.traceHigh, traceLow: parent.traceLow, spanID: parent.spanID, isSampled: parent.isSampled, state: state)
  }

  /// A new span below the one that a caller named.
  package init(below parent: TraceParent, state: String) {
    self.init(
      traceHigh: parent.traceHigh, traceLow: parent.traceLow, spanID: SpanIDs.next(), parentSpanID: parent.spanID,
      isSampled: parent.isSampled, state: state)
  }
}

/// What a `traceparent` says.
package struct TraceParent {
  let traceHigh: UInt64
  let traceLow: UInt64
  let spanID: UInt64
  let isSampled: Bool

  /// Reads the header's text; see `TraceContext.init(traceparent:state:)`.
  package init?(_ text: UnsafeRawBufferPointer) {
    let dash = UInt8(ascii: "-")
    guard text.count >= 55, text[2] == dash, text[35] == dash, text[52] == dash,
      let version = Self.byte(text, 0), version != 0xFF,
      version == 0 ? text.count == 55 : text.count == 55 || text[55] == dash,
      let high = Self.number(text, 3), let low = Self.number(text, 19), high | low != 0,
      let span = Self.number(text, 36), span != 0,
      let flags = Self.byte(text, 53)
    else { return nil }
    traceHigh = high
    traceLow = low
    spanID = span
    isSampled = flags & 1 != 0
  }

  /// 16 digits.
  @inline(__always)
  private static func number(_ text: UnsafeRawBufferPointer, _ offset: Int) -> UInt64? {
    guard let high = word(text.loadUnaligned(fromByteOffset: offset, as: UInt64.self)),
      let low = word(text.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self))
    else { return nil }
    return UInt64(high) << 32 | UInt64(low)
  }

  /// Two digits; zeros stand before them.
  @inline(__always)
  private static func byte(_ text: UnsafeRawBufferPointer, _ offset: Int) -> UInt8? {
    let digits = UInt64(UInt16(littleEndian: text.loadUnaligned(fromByteOffset: offset, as: UInt16.self)))
    return word((0x3030_3030_3030 | digits << 48).littleEndian).map { UInt8(truncatingIfNeeded: $0) }
  }

  /// What eight lower-case hex digits count, all of them at a time.
  @inline(__always)
  private static func word(_ digits: UInt64) -> UInt32? {
    let digits = UInt64(bigEndian: digits)
    // Letters have bit 6, and count nine more than their low nibble.
    let letters = (digits & 0x4040_4040_4040_4040) >> 6
    var values = (digits & 0x0F0F_0F0F_0F0F_0F0F) &+ letters &* 9
    // What is no digit has become more than 15, or is not what the value is written as.
    let tens = ((values &+ 0x7676_7676_7676_7676) & 0x8080_8080_8080_8080) >> 7
    let written = values &+ 0x3030_3030_3030_3030 &+ tens &* 0x27
    guard values & 0xF0F0_F0F0_F0F0_F0F0 == 0, written == digits else { return nil }
    values = (values | values >> 4) & 0x00FF_00FF_00FF_00FF
    values = (values | values >> 8) & 0x0000_FFFF_0000_FFFF
    return UInt32(truncatingIfNeeded: values | values >> 16)
  }
}

/// Random-looking ids without a system call each: one atomic counter, seeded by the system, through the splitmix64 finaliser.
enum SpanIDs {
  private static let counter = Atomic<UInt64>(UInt64.random(in: .min ... .max))

  static func next() -> UInt64 {
    var value = counter.wrappingAdd(0x9E37_79B9_7F4A_7C15, ordering: .relaxed).newValue
    value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
    value ^= value >> 31
    return value == 0 ? 1 : value
  }
}
