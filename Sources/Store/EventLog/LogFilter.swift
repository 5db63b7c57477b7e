/// What a subscriber wants. What is empty or nil admits everything; what is given must all match.
public struct LogFilter: Sendable, Hashable {
  /// Globs on whole type names: `journey.*`, `agent.task.result`.
  public var types: [TypeGlob]
  /// Nil reads every tenant's events: for the platform's own consumers.
  public var tenant: String?
  public var session: String
  public var journey: String
  public var trace: [UInt8]
  public var lanes: Set<EventLane>

  /// A caller's globs; more are refused.
  public static let maxTypes = 64

  public init(
    types: [TypeGlob] = [], tenant: String?, session: String = "", journey: String = "", trace: [UInt8] = [], lanes: Set<EventLane> = []
  ) {
    self.types = types
    self.tenant = tenant
    self.session = session
    self.journey = journey
    self.trace = trace
    self.lanes = lanes
  }

  public func matches(_ header: EventHeader) -> Bool {
    if !session.isEmpty && session != header.session { return false }
    if let tenant, tenant != header.tenant { return false }
    if !lanes.isEmpty && !lanes.contains(header.lane) { return false }
    if !journey.isEmpty && journey != header.journey { return false }
    if !trace.isEmpty && trace != header.trace { return false }
    return types.isEmpty || types.contains { $0.matches(header.type) }
  }
}

/// A pattern for names of event types: `*` stands for any text, dots included.
public struct TypeGlob: Sendable, Hashable, ExpressibleByStringLiteral {
  public let text: String
  private let pattern: [UInt8]

  /// Names are far shorter.
  public static let maxLength = 128

  /// Nil unless made of lower-case letters, digits, `_`, `.` and `*`.
  public init?(_ text: String) {
    let bytes = Array(text.utf8)
    let isValid =
      (1...Self.maxLength).contains(bytes.count)
      && bytes.allSatisfy { byte in
        (97...122).contains(byte) || (48...57).contains(byte) || byte == 95 || byte == 46 || byte == 42
      }
    guard isValid else { return nil }
    self.text = text
    pattern = bytes
  }

  public init(stringLiteral text: String) {
    guard let glob = TypeGlob(text) else { preconditionFailure("no glob: \(text)") }
    self = glob
  }

  public func matches(_ name: String) -> Bool {
    var name = name
    return name.withUTF8 { name in
      // Where the last star stood, and how far it has been stretched.
      var n = 0
      var p = 0
      var star = -1
      var stretched = 0
      while n < name.count {
        if p < pattern.count && pattern[p] == UInt8(ascii: "*") {
          star = p
          stretched = n
          p += 1
        } else if p < pattern.count && pattern[p] == name[n] {
          n += 1
          p += 1
        } else if star >= 0 {
          stretched += 1
          n = stretched
          p = star + 1
        } else {
          return false
        }
      }
      while p < pattern.count && pattern[p] == UInt8(ascii: "*") { p += 1 }
      return p == pattern.count
    }
  }
}
