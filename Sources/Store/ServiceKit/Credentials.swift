import SpanwireRPC
import SpanwireSchema

extension SpanwireRPC.Surface {
  /// The side by which a kind of principal comes in.
  public init(of kind: Principal.Kind) {
    self =
      switch kind {
      case .anonymous, .user: .edge
      case .ops: .ops
      case .agent, .worker: .worker
      case .service: .internal
      }
  }
}

extension Principal {
  /// Who a verified client certificate names: a subject alternative name `spanwire://<tenant>/<kind>/<id>[?roles=a,b]`.
  public convenience init?(certificate: PeerCertificate) {
    for uri in certificate.uris where uri.hasPrefix("spanwire://") {
      let halves = uri.dropFirst("spanwire://".count).split(separator: "?", maxSplits: 1)
      let path = halves[0].split(separator: "/", omittingEmptySubsequences: false).map(String.init)
      let kinds: [String: Principal.Kind] = ["user": .user, "agent": .agent, "worker": .worker, "ops": .ops, "service": .service]
      guard path.count == 3, path.allSatisfy(Identifier.isValid), let kind = kinds[path[1]] else { return nil }
      var roles: [String] = []
      if halves.count == 2, halves[1].hasPrefix("roles=") {
        roles = halves[1].dropFirst("roles=".count).split(separator: ",").map(String.init)
        guard roles.allSatisfy(Identifier.isValid) else { return nil }
      }
      self.init(kind: kind, id: path[2], tenant: path[0], roles: roles, surface: SpanwireRPC.Surface(of: kind))
      return
    }
    return nil
  }
}
