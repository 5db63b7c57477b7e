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
    guard let parsed = text.withUTF8({ TraceContext(traceparentBytes: UnsafeRawBufferPointer($0)) }) else { return nil }
    self = parsed
    self.state = state
  }

  /// The value of each lower-case hex digit; 0xFF for every other byte.
  private nonisolated(unsafe) static let hexDigits: UnsafePointer<UInt8> = {
    let table = UnsafeMutablePointer<UInt8>.allocate(capacity: 256)
    table.initialize(repeating: 0xFF, count: 256)
    for (value, digit) in "0123456789abcdef".utf8.enumerated() { table[Int(digit)] = UInt8(value) }
    return UnsafePointer(table)
  }()

  package init?(traceparentBytes text: UnsafeRawBufferPointer) {
    let digitValues = Self.hexDigits
    // What is no digit leaves a mark above the low nibble: one check a number, none a digit.
    func number(_ offset: Int, _ digits: Int) -> UInt64? {
      var value: UInt64 = 0
      var marks: UInt8 = 0
      for index in offset..<offset + digits {
        let digit = digitValues[Int(text[index])]
        marks |= digit
        value = value << 4 | UInt64(digit & 15)
      }
      return marks & 0xF0 == 0 ? value : nil
    }
    let dash = UInt8(ascii: "-")
    guard text.count >= 55, text[2] == dash, text[35] == dash, text[52] == dash,
      let version = number(0, 2), version != 0xFF,
      version == 0 ? text.count == 55 : text.count == 55 || text[55] == dash,
      let high = number(3, 16), let low = number(19, 16), high | low != 0,
      let span = number(36, 16), span != 0,
      let flags = number(53, 2)
    else { return nil }
    self.init(traceHigh: high, traceLow: low, spanID: span, isSampled: flags & 1 != 0)
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
