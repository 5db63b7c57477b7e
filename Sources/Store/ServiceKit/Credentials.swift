import SpanwireRPC

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
        throw RPCError.unauthenticated("authorization must be 'Bearer' and a token")
      }
      let token = authorization.dropFirst("Bearer ".count)
      guard token.hasPrefix(DevelopmentToken.prefix) else { throw RPCError.unauthenticated("the token is of no kind this server knows") }
      guard acceptsDevelopmentTokens else {
        throw RPCError.unauthenticated("development tokens are accepted only by a server started with --dev")
      }
      return try DevelopmentToken(String(token)).principal
    }
    if let certificate = context.peer.certificate, let principal = Principal(certificate: certificate) { return principal }
    return .anonymous
  }
}

/// A credential for development: `dev:<kind>:<id>:<tenant>:<role>[,<role>…]`. It proves nothing, so only `--dev` admits it.
public struct DevelopmentToken: Sendable, Hashable {
  public static let prefix = "dev:"

  public let principal: Principal

  /// Throws UNAUTHENTICATED with what is wrong with the token.
  public init(_ token: String) throws {
    let parts = token.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 4 || parts.count == 5, parts[0] == "dev" else {
      throw RPCError.unauthenticated("a development token is dev:<kind>:<id>:<tenant>:<role>,…")
    }
    guard isIdentifier(parts[2]), isIdentifier(parts[3]) else {
      throw RPCError.unauthenticated("id and tenant of a development token match [A-Za-z0-9._-]{1,128}")
    }
    let roles = parts.count == 5 ? parts[4].split(separator: ",").map(String.init) : []
    guard roles.allSatisfy(isIdentifier) else { throw RPCError.unauthenticated("roles of a development token match [A-Za-z0-9._-]{1,128}") }
    let kind: Principal.Kind
    switch parts[1] {
    case "user": kind = .user
    case "agent": kind = .agent
    case "worker": kind = .worker
    case "ops": kind = .ops
    default: throw RPCError.unauthenticated("a development token is for a user, an agent, a worker or ops, not for '\(parts[1])'")
    }
    principal = Principal(kind: kind, id: parts[2], tenant: parts[3], roles: roles, surface: Surface(of: kind))
  }
}

extension Surface {
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
      guard path.count == 3, path.allSatisfy(isIdentifier), let kind = kinds[path[1]] else { return nil }
      var roles: [String] = []
      if halves.count == 2, halves[1].hasPrefix("roles=") {
        roles = halves[1].dropFirst("roles=".count).split(separator: ",").map(String.init)
        guard roles.allSatisfy(isIdentifier) else { return nil }
      }
      self.init(kind: kind, id: path[2], tenant: path[0], roles: roles, surface: Surface(of: kind))
      return
    }
    return nil
  }
}

/// Whether a text is an id as the platform takes them: `[A-Za-z0-9._-]{1,128}`, so that composed keys can't collide.
private func isIdentifier(_ text: String) -> Bool {
  (1...128).contains(text.utf8.count)
    && text.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
      case UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"): true
      default: false
      }
    }
}
