import SpanwireRPC
import SpanwireSchema

/// Establishes who calls, from the connection and the `authorization` metadata, before anything else looks at the call.
///
/// In process the caller is known already. From outside, metadata named `spanwire-*` counts for nothing: nobody says of themselves
/// who they are.
public struct CredentialInterceptor: ServerInterceptor {
  private let acceptsDevelopmentTokens: Bool

  /// A server that is not for development refuses every development token.
  public init(acceptsDevelopmentTokens: Bool) {
    self.acceptsDevelopmentTokens = acceptsDevelopmentTokens
  }

  public func intercept(_ call: any ServerCall, next: NextServerHandler) async throws {
    let context = call.context
    if context.peer !== Peer.inProcess { context.principal = try principal(of: context) }
    try await next(call)
  }

  private func principal(of context: ServerContext) throws -> Principal {
    if let authorization = context.metadata["authorization"] {
      guard authorization.hasPrefix("Bearer ") else {
        throw unauthenticated("authorization must be 'Bearer' and a token")
      }
      let token = authorization.dropFirst("Bearer ".count)
      guard token.hasPrefix("dev:") else { throw unauthenticated("the token is of no kind this server knows") }
      guard acceptsDevelopmentTokens else { throw unauthenticated("development tokens are accepted only by a server started with --dev") }
      guard let principal = DevelopmentCredential.parse(String(token)) else {
        throw unauthenticated("a development token is dev:<kind>:<id>:<tenant>:<role>[,<role>], of kind user, agent, worker or ops")
      }
      return principal
    }
    if let certificate = context.peer.certificate, let principal = Principal(certificate: certificate) { return principal }
    return .anonymous
  }

  private func unauthenticated(_ message: String) -> RPCError { .refusal(.unauthenticated, .unauthenticated, message) }
}

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
