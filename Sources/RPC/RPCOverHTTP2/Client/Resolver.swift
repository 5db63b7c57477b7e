import SpanwireEventLoop

/// Finds the addresses behind a target.
///
/// A channel asks when it leaves IDLE, and again when a connection is lost or cannot be made, at most once in
/// `ClientLimits.resolutionInterval`; what answered before stays in use until the new list is there.
public struct Resolver: Sendable {
  enum Kind: Sendable {
    /// Addresses that never change: nothing to wait for, and nothing to ask again.
    case fixed([SocketAddress])
    case asked(@Sendable () async throws -> [SocketAddress])
  }

  let kind: Kind

  /// A resolver of one's own. It is asked on a loop and must not block it; an empty list or an error leaves the channel as it is, and calls
  /// fail with UNAVAILABLE if it has no address at all.
  public init(_ resolve: @escaping @Sendable () async throws -> [SocketAddress]) { kind = .asked(resolve) }

  /// Addresses that never change.
  public init(fixed addresses: [SocketAddress]) { kind = .fixed(addresses) }

  /// What the target's own form asks for: the file system, digits, or the system's resolver.
  init(_ target: ChannelTarget) {
    switch target.place {
    case .unix(let path): kind = .fixed(SocketAddress(unixPath: path).map { [$0] } ?? [])
    case .addresses(let addresses): kind = .fixed(addresses.compactMap { SocketAddress(ip: $0.ip, port: $0.port) })
    case .host(let host, let port):
      if let address = SocketAddress(ip: host, port: port) {
        kind = .fixed([address])
      } else {
        kind = .asked { try await offload { try SocketAddress.resolve(host: host, port: port) } }
      }
    }
  }
}
