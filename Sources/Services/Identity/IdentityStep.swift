import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// What one command of the identity service goes by: who asked, when it is, and in which tenants they may. Taken before the transaction.
struct IdentityStep: Sendable {
  let caller: Caller
  let now: Int64
  let trace: TraceContext?
  let method: String
  let environment: ServiceEnvironment

  /// Who administers a tenant's principals, and who looks at them besides.
  private static let administrators: Set<String> = ["platform_admin", "ops_lead"]
  private static let readers: Set<String> = Caller.platformRoles.union(administrators)

  var time: Google_Protobuf_Timestamp { .init(nanosecondsSinceEpoch: now) }

  /// Whether the caller is of the platform's own people, in one of these roles.
  private func isOfPlatform(_ roles: Set<String>) -> Bool {
    caller.tenant == Caller.platformTenant && !roles.isDisjoint(with: caller.roles)
  }

  func requirePlatform(_ roles: Set<String> = ["platform_admin"]) throws {
    guard isOfPlatform(roles) else {
      throw RPCError.denied(
        .policyDenied, rule: "R7-grant", "it takes \(roles.sorted().joined(separator: " or ")) of the tenant \(Caller.platformTenant)")
    }
  }

  /// The tenant in which the caller changes something: the one named, its own if none is.
  func changing(_ named: String) throws -> String {
    if isOfPlatform(["platform_admin"]) { return named.isEmpty ? caller.tenant : named }
    return try own(named, Self.administrators)
  }

  /// The tenant that the caller looks at.
  func reading(_ named: String) throws -> String {
    if isOfPlatform(Caller.platformRoles) { return named.isEmpty ? caller.tenant : named }
    return try own(named, Self.readers)
  }

  private func own(_ named: String, _ roles: Set<String>) throws -> String {
    try caller.admit(tenant: named)
    guard !roles.isDisjoint(with: caller.roles) else {
      throw RPCError.denied(.policyDenied, rule: "R7-grant", "it takes one of \(roles.sorted().joined(separator: ", "))")
    }
    return caller.tenant
  }

  /// Nobody gives out the platform's own roles but its administrators, and nobody gets them but its own people.
  func checkGrant(of roles: [String], in tenant: String) throws {
    guard let role = roles.first(where: Caller.platformRoles.contains) else { return }
    guard tenant == Caller.platformTenant, isOfPlatform(["platform_admin"]) else {
      throw RPCError.denied(
        .policyDenied, rule: "R7-grant", "the role \(role) is given by platform_admin, in the tenant \(Caller.platformTenant)")
    }
  }

  /// An audit record of something that was done; what is remembered of credentials is dropped when it commits.
  func audit(_ action: String, _ target: String, reason: String, in tx: borrowing Transaction) throws {
    try tx.append(
      EventDraft(
        AuditRecorded(
          action: action, target: target, actor: caller.name, actorKind: "\(caller.kind)", decision: "allow", rule: "R7-grant",
          reason: reason, method: method),
        producer: IdentityServer.producer, tenant: caller.tenant, org: caller.organization, occurredAt: now, trace: trace), environment)
  }
}
