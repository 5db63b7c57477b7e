import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Testing

@testable import SpanwireIdentity

@Suite("Administration of identity")
struct AdministrationTests {
  @Test("Tenants are made, suspended and resumed by the platform's administrators alone, each change in the audit")
  func tenants() async throws {
    let identity = try await TestIdentity()
    try await identity.addTenant()
    await identity.expect(.alreadyExists, .tenantExists) {
      _ = try await identity.server.createTenant(
        CreateTenantRequest(idempotencyKey: "other", tenantID: "vienna", displayName: "x"), context: identity.context())
    }
    try await identity.set(.suspended)
    let all = try await identity.server.listTenants(ListTenantsRequest(), context: identity.context())
    #expect(all.tenants.map(\.tenantID) == ["platform", "vienna"])
    let first = try await identity.server.listTenants(ListTenantsRequest(pageSize: 1), context: identity.context())
    let rest = try await identity.server.listTenants(ListTenantsRequest(pageToken: first.nextPageToken), context: identity.context())
    #expect(first.tenants.map(\.tenantID) == ["platform"] && rest.tenants.map(\.tenantID) == ["vienna"])
    let suspended = try await identity.server.listTenants(ListTenantsRequest(state: .suspended), context: identity.context())
    #expect(suspended.tenants.map(\.reason) == ["for the test"])
    for outsider in [TestIdentity.otto, TestIdentity.ops("x", "platform_admin", tenant: "vienna"), TestIdentity.ops("y", "ops_lead")] {
      await identity.expect(.permissionDenied, .policyDenied) {
        _ = try await identity.server.setTenantState(
          SetTenantStateRequest(idempotencyKey: "k", tenantID: "vienna", state: .active, reason: "mine"),
          context: identity.context(outsider))
      }
    }
    await identity.expect(.failedPrecondition, .invalidFields) { try await identity.set(.suspended, "platform") }
    #expect(try await identity.audited() == ["tenant.create ops:root", "tenant.suspend ops:root"])
  }

  @Test("A tenant's administrators act in their own, give no role of the platform's, and bind no certificates")
  func bounds() async throws {
    let identity = try await TestIdentity()
    try await identity.addTenant("graz")
    let attempts: [(reason: Reason, request: CreateRoleBindingRequest, by: Principal)] = [
      (.tenantMismatch, .init(tenantID: "graz", kind: .ops, principalID: "p", roles: ["ops_lead"]), TestIdentity.otto),
      (.policyDenied, .init(kind: .ops, principalID: "p", roles: ["platform_admin"]), TestIdentity.otto),
      (.policyDenied, .init(tenantID: "graz", kind: .ops, principalID: "p", roles: ["security_auditor"]), TestIdentity.root),
      (.policyDenied, .init(kind: .ops, principalID: "p", certificateName: "dns:a.test", roles: ["ops_lead"]), TestIdentity.otto),
      (.policyDenied, .init(kind: .ops, principalID: "p", roles: ["ops_lead"]), TestIdentity.ops("s", "support_agent", tenant: "vienna")),
    ]
    for (number, attempt) in attempts.enumerated() {
      var request = attempt.request
      request.idempotencyKey = "B\(number)"
      let asked = request
      await identity.expect(.permissionDenied, attempt.reason) {
        _ = try await identity.server.createRoleBinding(asked, context: identity.context(attempt.by))
      }
    }
    await identity.expect(.permissionDenied, .policyDenied) {
      _ = try await identity.server.createApiKey(
        CreateApiKeyRequest(idempotencyKey: "K", kind: .ops, principalID: "p", roles: ["platform_sre"]),
        context: identity.context(TestIdentity.otto))
    }
    await identity.expect(.notFound, .tenantNotFound) {
      _ = try await identity.server.createApiKey(
        CreateApiKeyRequest(idempotencyKey: "K", tenantID: "nowhere", kind: .ops, principalID: "p", roles: ["ops_lead"]),
        context: identity.context())
    }
    #expect(try await identity.audited() == ["tenant.create ops:root"])
  }

  @Test(
    "What is wrong with a binding is said by its fields, all at once",
    arguments: [
      (CreateRoleBindingRequest(), ["idempotency_key", "kind", "principal_id", "roles"]),
      (CreateRoleBindingRequest(idempotencyKey: "k", kind: .service, principalID: "p", roles: ["a"]), ["kind"]),
      (
        CreateRoleBindingRequest(idempotencyKey: "k", kind: .user, principalID: "p q", orgID: "o/", roles: ["a,b"]),
        ["principal_id", "org_id", "roles[0]"]
      ),
      (CreateRoleBindingRequest(idempotencyKey: "k", kind: .user, principalID: "p", certificateName: "w1.test"), ["certificate_name"]),
      (
        CreateRoleBindingRequest(idempotencyKey: "k", kind: .user, principalID: "p", certificateName: "uri:spanwire://a/ops/b"),
        ["certificate_name"]
      ),
      (CreateRoleBindingRequest(idempotencyKey: "k", kind: .user, principalID: "p", roles: ["a"], ttl: .init(seconds: -1)), ["ttl"]),
    ])
  func fields(request: CreateRoleBindingRequest, names: [String]) async throws {
    let identity = try await TestIdentity()
    do {
      _ = try await identity.server.createRoleBinding(request, context: identity.context())
      Issue.record("it was taken")
    } catch {
      let error = RPCError.outcome(of: error, in: nil)
      let found = try error.details.compactMap { try? $0.unpack(as: Google_Rpc_BadRequest.self) }.flatMap(\.fieldViolations).map(\.field)
      #expect(found == names)
    }
  }
}
