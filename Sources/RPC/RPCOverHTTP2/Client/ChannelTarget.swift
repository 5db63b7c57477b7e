import SpanwireEventLoop

/// Where a channel connects to.
///
/// `host:port`, `dns:///host:port`, `ipv4:127.0.0.1:50051,127.0.0.1:50052`, `ipv6:[::1]:50051`, `unix:/run/spanwire.sock`: the names that
/// gRPC uses.
public struct ChannelTarget: Sendable, Hashable {
  enum Place: Sendable, Hashable {
    case host(String, port: UInt16)
    case unix(path: String)
    /// Addresses in digits, at least one, with their ports.
    case addresses([Numeric])
  }

  struct Numeric: Sendable, Hashable {
    var ip: String
    var port: UInt16
  }

  let place: Place

  /// A name that the system's resolver knows, or an address in digits.
  public static func host(_ host: String, port: UInt16) -> ChannelTarget { ChannelTarget(place: .host(host, port: port)) }
  /// A socket in the file system.
  public static func unix(path: String) -> ChannelTarget { ChannelTarget(place: .unix(path: path)) }

  private init(place: Place) { self.place = place }

  /// Reads a target; nil when it is not one. A host without a port gets 443, as with gRPC.
  public init?(_ text: String) {
    if text.hasPrefix("unix:") {
      var path = text.dropFirst("unix:".count)
      if path.hasPrefix("//") { path = path.dropFirst(2) }
      guard !path.isEmpty else { return nil }
      place = .unix(path: String(path))
      return
    }
    var authority = Substring(text)
    var isNumeric = false
    for scheme in ["dns:", "ipv4:", "ipv6:"] where text.hasPrefix(scheme) {
      isNumeric = scheme != "dns:"
      authority = authority.dropFirst(scheme.count)
      if authority.hasPrefix("//") {
        // dns://resolver/host: whose resolver to ask is the system's affair.
        guard let slash = authority.dropFirst(2).firstIndex(of: "/") else { return nil }
        authority = authority[authority.index(after: slash)...]
      }
      break
    }
    if isNumeric {
      var addresses: [Numeric] = []
      for part in authority.split(separator: ",", omittingEmptySubsequences: false) {
        guard let (ip, port) = Self.split(part), SocketAddress(ip: ip, port: port) != nil else { return nil }
        addresses.append(Numeric(ip: ip, port: port))
      }
      place = .addresses(addresses)
      return
    }
    guard let (host, port) = Self.split(authority), !host.isEmpty else { return nil }
    place = .host(host, port: port)
  }

  private static func split(_ authority: Substring) -> (String, UInt16)? {
    if authority.first == "[" {
      guard let end = authority.firstIndex(of: "]") else { return nil }
      let host = String(authority[authority.index(after: authority.startIndex)..<end])
      let rest = authority[authority.index(after: end)...]
      if rest.isEmpty { return (host, 443) }
      guard rest.first == ":", let port = UInt16(rest.dropFirst()) else { return nil }
      return (host, port)
    }
    guard let colon = authority.lastIndex(of: ":") else { return (String(authority), 443) }
    let host = authority[..<colon]
    if host.contains(":") { return (String(authority), 443) }  // a bare IPv6 address
    guard let port = UInt16(authority[authority.index(after: colon)...]) else { return nil }
    return (String(host), port)
  }

  /// What the peer is asked for in `:authority`.
  var authority: String {
    switch place {
    case .host(let host, let port): Self.joined(host, port)
    case .addresses(let addresses): Self.joined(addresses[0].ip, addresses[0].port)
    case .unix: "localhost"
    }
  }

  /// What the peer's certificate must name.
  var serverName: String {
    switch place {
    case .host(let host, _): host
    case .addresses(let addresses): addresses[0].ip
    case .unix: "localhost"
    }
  }

  private static func joined(_ host: String, _ port: UInt16) -> String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

extension ChannelTarget: CustomStringConvertible {
  /// The target as gRPC writes it.
  public var description: String {
    switch place {
    case .host: authority
    case .addresses(let addresses): addresses.map { Self.joined($0.ip, $0.port) }.joined(separator: ",")
    case .unix(let path): "unix:\(path)"
    }
  }
}
