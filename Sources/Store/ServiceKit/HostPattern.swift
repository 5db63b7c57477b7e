/// A pattern of an allowlist: a host name, label by label.
///
/// A first label `*` stands for exactly one label; a last label `*` stands for one of the public suffixes that the policy names, so that
/// `docs.*` admits `docs.com` and never `docs.attacker.com`. A pattern has at most one star and something else besides. No first star
/// stands for a label in punycode: what looks like another name must be listed as it is spelled.
public struct HostPattern: Sendable, Hashable {
  private let labels: [Substring]
  private enum Star { case none, first, last }
  private let star: Star

  /// Why a text is no pattern.
  public struct Fault: Error, Hashable { public let reason: String }

  public init(_ text: String) throws(Fault) {
    let lowered = text.lowercased()
    let parts = lowered.split(separator: ".", omittingEmptySubsequences: false)
    let isStarFirst = parts.first == "*"
    let isStarLast = parts.last == "*"
    guard lowered.utf8.count <= RequestedHost.maxLength, parts.count >= 2 || !isStarFirst else {
      throw Fault(reason: "is not a host name")
    }
    if isStarFirst && isStarLast { throw Fault(reason: "has more than one star") }
    let spelled = isStarFirst ? parts.dropFirst() : isStarLast ? parts.dropLast() : parts[...]
    guard !spelled.isEmpty, spelled.allSatisfy(RequestedHost.isLabel) else { throw Fault(reason: "is not a host name") }
    if !isStarLast, RequestedHost.looksNumeric(parts) { throw Fault(reason: "is an address, not a host name") }
    // Under a whole top-level domain anybody may take a name.
    if isStarFirst && parts.count < 3 { throw Fault(reason: "would admit a whole top-level domain") }
    labels = Array(spelled)
    star = isStarFirst ? .first : isStarLast ? .last : .none
  }

  /// Whether a text can be a public suffix: `com`, `co.uk`.
  public static func isSuffix(_ text: String) -> Bool {
    let labels = text.lowercased().split(separator: ".", omittingEmptySubsequences: false)
    return (1...4).contains(labels.count) && labels.allSatisfy(RequestedHost.isLabel) && !RequestedHost.looksNumeric(labels)
  }

  /// Whether the pattern admits a host, a last star standing for one of the suffixes.
  public func admits(_ host: RequestedHost, suffixes: Set<String>) -> Bool {
    switch star {
    case .none: return host.labels == labels
    case .first:
      return host.labels.count == labels.count + 1 && host.labels.dropFirst() == labels[...] && !host.labels[0].hasPrefix("xn--")
    case .last:
      guard host.labels.count > labels.count, host.labels.prefix(labels.count) == labels[...] else { return false }
      return suffixes.contains(host.labels.dropFirst(labels.count).joined(separator: "."))
    }
  }
}

/// The host that a URL leads to, taken apart as narrowly as an allowlist must: what two readers could understand differently is refused.
public struct RequestedHost: Sendable, Hashable {
  /// Of a host name (RFC 1035 §2.3.4).
  static let maxLength = 253
  public static let maxURLLength = 2_048

  fileprivate let labels: [Substring]

  /// Lower case, without a trailing dot.
  public var name: String { labels.joined(separator: ".") }

  public struct Fault: Error, Hashable { public let reason: String }

  public init(url: String) throws(Fault) {
    guard url.utf8.count <= Self.maxURLLength else { throw Fault(reason: "the URL is longer than \(Self.maxURLLength) bytes") }
    // WHATWG readers take a backslash for a slash and drop control characters; we take neither.
    guard url.utf8.allSatisfy({ $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "\\") }) else {
      throw Fault(reason: "the URL holds spaces, control characters, backslashes or what is not ASCII")
    }
    guard let scheme = url.firstRange(of: "://") else { throw Fault(reason: "the URL has no scheme") }
    let port: Substring
    switch url[..<scheme.lowerBound].lowercased() {
    case "https": port = "443"
    case "http": port = "80"
    default: throw Fault(reason: "the scheme is neither https nor http")
    }
    let authority = url[scheme.upperBound...].prefix { $0 != "/" && $0 != "?" && $0 != "#" }
    if authority.contains("@") { throw Fault(reason: "the URL carries user information") }
    if authority.contains("[") || authority.contains("%") { throw Fault(reason: "the host is no host name") }
    var host = authority
    if let colon = authority.firstIndex(of: ":") {
      host = authority[..<colon]
      guard authority[authority.index(after: colon)...] == port else { throw Fault(reason: "the port is not the scheme's own") }
    }
    var labels = Substring(host.lowercased()).split(separator: ".", omittingEmptySubsequences: false)
    // One trailing dot says that the name is complete; it leads to the same place.
    if labels.count > 1, labels.last?.isEmpty == true { labels.removeLast() }
    guard host.utf8.count <= Self.maxLength + 1, !labels.isEmpty, labels.allSatisfy(Self.isLabel) else {
      throw Fault(reason: "the host is no host name")
    }
    if Self.looksNumeric(labels) { throw Fault(reason: "the host is an address, and allowlists hold names") }
    self.labels = labels
  }

  /// Letters, digits and hyphens, no hyphen at an end (RFC 1123 §2.1); underscores occur and are harmless.
  fileprivate static func isLabel(_ label: Substring) -> Bool {
    let bytes = label.utf8
    return (1...63).contains(bytes.count) && bytes.first != UInt8(ascii: "-") && bytes.last != UInt8(ascii: "-")
      && bytes.allSatisfy { byte in
        (97...122).contains(byte) || (48...57).contains(byte) || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_")
      }
  }

  /// No top-level domain begins with a digit, and an IPv4 address in any of its spellings (`127.1`, `0x7f000001`) ends in such a label.
  fileprivate static func looksNumeric(_ labels: [Substring]) -> Bool { labels.last?.utf8.first.map { (48...57).contains($0) } ?? false }
}
