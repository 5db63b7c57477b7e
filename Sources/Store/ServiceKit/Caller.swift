import SpanwireRPC
import SpanwireSchema

/// The one whose wish a call is: behind any services that pass it on, the principal that came from outside.
public struct Caller: Sendable, Hashable {
  /// The tenant that owns what is shared by all.
  public static let platformTenant = "platform"
  /// The roles that reach beyond one tenant: nobody has them but the platform's own people.
  public static let platformRoles: Set<String> = ["platform_admin", "platform_sre", "security_auditor"]

  public let principal: Principal

  public var kind: Principal.Kind { principal.kind }
  public var id: String { principal.id }
  public var tenant: String { principal.tenant }
  public var organization: String { principal.organization }
  public var roles: [String] { principal.roles }
  /// The groups of customers that its credential puts it in.
  public var segments: [String] { principal.segments }
  /// The role by which policy judges; empty for none.
  public var role: String { principal.roles.first ?? "" }
  /// `user:anna`, as events and audit name an actor.
  public var name: String { kind.name + ":" + id }

  /// Whether it is of the platform's own people, who look after every tenant.
  public var isOfPlatform: Bool { tenant == Self.platformTenant && !Self.platformRoles.isDisjoint(with: roles) }

  public init(_ principal: Principal) { self.principal = principal }

  /// Throws UNAUTHENTICATED for a caller who belongs to no tenant.
  public init(_ context: CallContext) throws {
    principal = context.principal.subject
    guard !principal.tenant.isEmpty else {
      throw RPCError.refusal(.unauthenticated, .unauthenticated, "the credential names no tenant")
    }
  }

  /// The service that made the call; nil when the caller came in by itself.
  public static func service(of context: CallContext) -> String? {
    context.principal.kind == .service ? context.principal.id : nil
  }

  /// A tenant named in a request is the caller's own: another's is refused as if it were not there.
  public func admit(tenant named: String) throws {
    if !named.isEmpty && named != tenant {
      throw RPCError.refusal(.permissionDenied, .tenantMismatch, "the request names another tenant than its credential")
    }
  }
}

extension Principal.Kind {
  /// As it is written in names of callers, which are part of every idempotency key: without the reflection of string interpolation.
  var name: String {
    switch self {
    case .anonymous: "anonymous"
    case .user: "user"
    case .agent: "agent"
    case .worker: "worker"
    case .ops: "ops"
    case .service: "service"
    }
  }
}

/// Credentials without a key, for development: `dev:<kind>:<id>:<tenant>:<role>[,<role>]`. Refused unless the server runs with `--dev`.
public enum DevelopmentCredential {
  /// The principal that a token names; nil when it is malformed.
  public static func parse(_ token: String) -> Principal? {
    let parts = token.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 5, parts[0] == "dev", Identifier.isValid(parts[2]), Identifier.isValid(parts[3]) else { return nil }
    let roles = parts[4].split(separator: ",").map(String.init)
    guard !roles.isEmpty, roles.allSatisfy(Identifier.isValid) else { return nil }
    let kinds: [String: (Principal.Kind, SpanwireRPC.Surface)] = [
      "user": (.user, .edge), "agent": (.agent, .worker), "worker": (.worker, .worker), "ops": (.ops, .ops),
    ]
    guard let (kind, surface) = kinds[parts[1]] else { return nil }
    return Principal(kind: kind, id: parts[2], tenant: parts[3], roles: roles, surface: surface)
  }

  public static func text(kind: Principal.Kind, id: String, tenant: String, roles: [String]) -> String {
    "dev:\(kind):\(id):\(tenant):\(roles.joined(separator: ","))"
  }
}
