/// What RFC 9113, section 8, asks of one message: which fields it may have, in which order, and how long its body may be. A message that
/// breaks a rule is malformed, and its stream is reset.
///
/// nghttp2 knows these rules too. It looks at every byte of every field by itself, three thousand instructions for an ordinary request.
struct MessageRules {
  /// Who sends the message.
  enum Kind { case request, response }

  /// What a message has had so far.
  struct Seen: OptionSet {
    let rawValue: UInt16
    static let method = Seen(rawValue: 1 << 0)
    static let scheme = Seen(rawValue: 1 << 1)
    static let path = Seen(rawValue: 1 << 2)
    static let authority = Seen(rawValue: 1 << 3)
    static let status = Seen(rawValue: 1 << 4)
    static let host = Seen(rawValue: 1 << 5)
    static let length = Seen(rawValue: 1 << 6)
    /// Anything that is no pseudo-header: none may follow.
    static let field = Seen(rawValue: 1 << 7)
    /// The whole leading block: what comes now are trailers.
    static let head = Seen(rawValue: 1 << 8)
    static let connect = Seen(rawValue: 1 << 9)
    static let options = Seen(rawValue: 1 << 10)
    /// A scheme whose paths begin with a slash.
    static let web = Seen(rawValue: 1 << 11)
    static let slash = Seen(rawValue: 1 << 12)
    static let asterisk = Seen(rawValue: 1 << 13)
    /// A response of 1xx, which another must follow.
    static let informational = Seen(rawValue: 1 << 14)
  }

  private var seen: Seen = []
  private var status: Int64 = 0
  /// What `content-length` promises; negative for nothing.
  private var length: Int64 = -1
  private var received: Int64 = 0

  /// Whether the leading block has ended; one of 1xx does not count.
  var hasHead: Bool { seen.contains(.head) }
  /// Whether the block that ended last was a response of 1xx.
  var awaitsFinalResponse: Bool { seen.contains(.informational) }

  /// Whether the message may go on with this field.
  @inline(__always)
  mutating func allows(_ rule: FieldRule) -> Bool {
    if !seen.isDisjoint(with: rule.excluded) { return false }
    seen.formUnion(rule.added)
    if rule.number < 0 { return true }
    if rule.field == .status {
      status = rule.number
      return true
    }
    length = rule.number
    // RFC 9110, section 8.6.
    return status / 100 != 1 && (status != 204 || rule.number == 0)
  }

  /// Whether a block of fields may end here.
  @inline(__always)
  mutating func allowsEndOfBlock(in kind: Kind, endsStream: Bool) -> Bool {
    let isWhole = hasHead ? endsStream : kind == .request ? isWholeRequest() : isWholeResponse()
    return isWhole && (!endsStream || allowsEnd)
  }

  @inline(__always)
  private mutating func isWholeRequest() -> Bool {
    seen.insert(.head)
    if seen.contains(.connect) {
      length = -1
      return seen.contains(.authority) && seen.isDisjoint(with: [.scheme, .path])
    }
    guard seen.isSuperset(of: [.method, .scheme, .path]), !seen.isDisjoint(with: [.authority, .host]) else { return false }
    return !seen.contains(.web) || seen.contains(.slash) || seen.isSuperset(of: [.options, .asterisk])
  }

  @inline(__always)
  private mutating func isWholeResponse() -> Bool {
    guard seen.contains(.status) else { return false }
    if status / 100 == 1 {
      self = MessageRules()
      seen = .informational
      return true
    }
    seen.remove(.informational)
    seen.insert(.head)
    if status == 204 || status == 304 { length = 0 }
    return true
  }

  /// Whether the body may go on with so many bytes.
  @inline(__always)
  mutating func allows(bytes count: Int) -> Bool {
    received &+= Int64(count)
    return !awaitsFinalResponse && (length < 0 || received <= length)
  }

  /// Whether the message may end here.
  @inline(__always)
  var allowsEnd: Bool { !awaitsFinalResponse && (length < 0 || received == length) }
}
