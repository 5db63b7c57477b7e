import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Testing

@testable import SpanwireIdentity

@Suite("Who calls")
struct AuthenticatorTests {
  private let node = PeerCertificate(subject: "CN=node-1", uris: ["spanwire://platform/service/tjm"])

  @Test("A token counts in a tenant that there is, until it expires, and is looked at again when something changes")
  func token() async throws {
    let identity = try await TestIdentity()
    let token = try await identity.issuer.token()
    await identity.expect(.unauthenticated, .tenantNotFound) { _ = try await identity.caller(token) }
    try await identity.addTenant()
    #expect(try await identity.caller(token) === identity.caller(token))
    #expect(try await identity.caller(token).description == "user:anna")
    identity.clock.advance(by: .seconds(661))
    await identity.expect(.unauthenticated, .tokenExpired) { _ = try await identity.caller(token) }
  }

  @Test("A suspended tenant is refused whatever its credential is, at once, and admitted again when it is resumed")
  func suspended() async throws {
    let identity = try await TestIdentity(isDevelopment: true)
    try await identity.addTenant()
    let key = try await identity.server.createApiKey(
      CreateApiKeyRequest(idempotencyKey: "K", tenantID: "vienna", kind: .worker, principalID: "w", roles: ["external_agent"]),
      context: identity.context())
    let token = try await identity.issuer.token()
    let certificate = PeerCertificate(subject: "CN=anna", uris: ["spanwire://vienna/user/anna?roles=traveller"])
    let callers: [(String?, PeerCertificate?)] = [
      (token, nil), (key.secret, nil), ("dev:user:anna:vienna:traveller", nil), (nil, certificate),
    ]
    for state in [TenantState.active, .suspended, .active] {
      if state == .suspended { try await identity.set(.suspended) }
      for (token, certificate) in callers {
        if state == .suspended {
          await identity.expect(.unauthenticated, .tenantSuspended) { _ = try await identity.caller(token, certificate: certificate) }
        } else {
          #expect(try await identity.caller(token, certificate: certificate).tenant == "vienna")
        }
      }
      if state == .suspended { try await identity.set(.active) }
    }
  }

  @Test("A revoked token is refused at once, in its tenant; another of the same name in another tenant is not")
  func revoked() async throws {
    let identity = try await TestIdentity()
    try await identity.addTenant()
    try await identity.addTenant("graz")
    let token = try await identity.issuer.token()
    let other = try await identity.issuer.token(TestIssuer.claims(#"{"tenant_id": "graz"}"#))
    #expect(try await identity.caller(token).id == "anna")
    _ = try await identity.server.revokeToken(
      RevokeTokenRequest(idempotencyKey: "R", tokenID: "token-1", reason: "lost"), context: identity.context(TestIdentity.otto))
    await identity.expect(.unauthenticated, .tokenRevoked) { _ = try await identity.caller(token) }
    #expect(try await identity.caller(other).tenant == "graz")
    let listed = try await identity.server.listRevokedTokens(ListRevokedTokensRequest(), context: identity.context(TestIdentity.otto))
    #expect(listed.tokens.map(\.tokenID) == ["token-1"])
    // It is forgotten when no token can be that old any more.
    identity.clock.advance(by: .seconds(32 * 86_400))
    try await identity.server.purge()
    let left = try await identity.server.listRevokedTokens(ListRevokedTokensRequest(), context: identity.context(TestIdentity.otto))
    #expect(left.tokens.isEmpty)
  }

  @Test("A key counts from when it is made until it is revoked or expires; what is stored of it is not its secret")
  func key() async throws {
    let identity = try await TestIdentity()
    try await identity.addTenant()
    let request = CreateApiKeyRequest(
      idempotencyKey: "K", kind: .agent, principalID: "planner", roles: ["external_agent"], label: "the planner", ttl: .init(seconds: 3_600)
    )
    let made = try await identity.server.createApiKey(request, context: identity.context(TestIdentity.otto))
    let again = try await identity.server.createApiKey(request, context: identity.context(TestIdentity.otto))
    #expect(made.secret.hasPrefix("swk_") && made.secret.utf8.count == 47 && again.secret.isEmpty && again.key == made.key)
    let caller = try await identity.caller(made.secret)
    #expect(
      caller == Principal(kind: .agent, id: "planner", tenant: "vienna", roles: ["external_agent"], surface: .worker))
    await identity.expect(.unauthenticated, .credentialRefused) { _ = try await identity.caller(String(made.secret.dropLast()) + "!") }
    let id = made.key?.keyID ?? ""
    let other = TestIdentity.ops("eva", "ops_lead", tenant: "graz")
    await identity.expect(.notFound, .apiKeyNotFound) {
      _ = try await identity.server.revokeApiKey(
        RevokeApiKeyRequest(idempotencyKey: "X", keyID: id, reason: "not mine"), context: identity.context(other))
    }
    _ = try await identity.server.revokeApiKey(
      RevokeApiKeyRequest(idempotencyKey: "X", keyID: id, reason: "leaked"), context: identity.context(TestIdentity.otto))
    await identity.expect(.unauthenticated, .credentialRefused) { _ = try await identity.caller(made.secret) }

    var short = request
    short.idempotencyKey = "K2"
    let second = try await identity.server.createApiKey(short, context: identity.context(TestIdentity.otto))
    #expect(try await identity.caller(second.secret).id == "planner")
    identity.clock.advance(by: .seconds(3_600))
    await identity.expect(.unauthenticated, .credentialRefused) { _ = try await identity.caller(second.secret) }
    #expect(
      try await identity.audited() == [
        "tenant.create ops:root", "api_key.create ops:otto", "api_key.revoke ops:otto", "api_key.create ops:otto",
      ])
  }

  @Test("What is bound to a principal adds to its token; a certificate is whose it is bound to be, and nobody's else")
  func bindings() async throws {
    let identity = try await TestIdentity()
    try await identity.addTenant()
    let token = try await identity.issuer.token()
    #expect(try await identity.caller(token).roles == ["traveller"])
    let bound = try await identity.server.createRoleBinding(
      CreateRoleBindingRequest(
        idempotencyKey: "B1", kind: .user, principalID: "anna", orgID: "hotel-1", roles: ["vendor"], segments: ["gold"]),
      context: identity.context(TestIdentity.otto))
    let caller = try await identity.caller(token)
    #expect(caller.roles == ["traveller", "vendor"] && caller.segments == ["gold"] && caller.organization == "hotel-1")
    _ = try await identity.server.deleteRoleBinding(
      DeleteRoleBindingRequest(idempotencyKey: "D1", bindingID: bound.bindingID, reason: "left"),
      context: identity.context(TestIdentity.otto))
    #expect(try await identity.caller(token).roles == ["traveller"])

    let certificate = PeerCertificate(subject: "CN=w1", dnsNames: ["w1.vienna.test"])
    #expect(try await identity.caller(certificate: certificate).kind == .anonymous)
    let request = CreateRoleBindingRequest(
      idempotencyKey: "B2", tenantID: "vienna", kind: .worker, principalID: "w1", certificateName: "dns:w1.vienna.test",
      roles: ["external_agent"], ttl: .init(seconds: 3_600))
    _ = try await identity.server.createRoleBinding(request, context: identity.context())
    #expect(
      try await identity.caller(certificate: certificate)
        == Principal(kind: .worker, id: "w1", tenant: "vienna", roles: ["external_agent"], surface: .worker))
    var again = request
    again.idempotencyKey = "B3"
    let second = again
    await identity.expect(.alreadyExists, .certificateNameBound) {
      _ = try await identity.server.createRoleBinding(second, context: identity.context())
    }
    identity.clock.advance(by: .seconds(3_600))
    #expect(try await identity.caller(certificate: certificate).kind == .anonymous)
  }

  @Test("Whom a call is for is said by a node of the platform only, known by its certificate")
  func forwarded() async throws {
    let identity = try await TestIdentity(isDevelopment: true)
    let anna = CallingPrincipal(kind: .user, principalID: "anna", tenantID: "vienna", roles: ["traveller"])
    let caller = try await identity.caller(certificate: node, forwarded: anna.encoded())
    #expect(caller.description == "service:tjm for user:anna" && caller.tenant == "vienna" && caller.subject.roles == ["traveller"])
    let chain = CallingPrincipal(kind: .service, principalID: "prg", onBehalfOf: anna)
    #expect(
      try await identity.caller(certificate: node, forwarded: chain.encoded()).description == "service:tjm for service:prg for user:anna")

    let user = PeerCertificate(subject: "CN=anna", uris: ["spanwire://vienna/user/anna"])
    let ops = CallingPrincipal(kind: .ops, principalID: "otto", tenantID: "graz", roles: ["ops_lead"])
    let attempts: [(token: String?, certificate: PeerCertificate?, said: [UInt8])] = [
      ("dev:user:anna:vienna:traveller", nil, ops.encoded()), (nil, user, ops.encoded()), (nil, nil, ops.encoded()),
      ("dev:user:anna:vienna:traveller", node, ops.encoded()), (nil, node, [1, 2, 3]), (nil, node, []),
      (nil, node, CallingPrincipal(kind: .user, principalID: "a:b", tenantID: "vienna").encoded()),
      (nil, node, CallingPrincipal(kind: .user, principalID: "anna").encoded()),
      (nil, node, CallingPrincipal(kind: .user, principalID: "anna", tenantID: "vienna", onBehalfOf: ops).encoded()),
      (nil, node, (0..<9).reduce(anna) { next, _ in CallingPrincipal(kind: .service, principalID: "prg", onBehalfOf: next) }.encoded()),
    ]
    for attempt in attempts {
      await identity.expect(.unauthenticated, .forwardingRefused) {
        _ = try await identity.caller(attempt.token, certificate: attempt.certificate, forwarded: attempt.said)
      }
    }
  }

  @Test("A server that is not for development refuses development tokens, and the platform's roles in any other tenant")
  func production() async throws {
    let identity = try await TestIdentity()
    try await identity.addTenant()
    await identity.expect(.unauthenticated, .unauthenticated) { _ = try await identity.caller("dev:ops:o:vienna:ops_lead") }
    let claims = #""kind": "ops", "roles": ["ops_lead", "platform_admin"]"#
    let token = try await identity.issuer.token(TestIssuer.claims("{\(claims)}"))
    await identity.expect(.unauthenticated, .credentialRefused) { _ = try await identity.caller(token) }
    let own = try await identity.issuer.token(TestIssuer.claims(#"{\#(claims), "tenant_id": "platform"}"#))
    #expect(try await identity.caller(own).roles.contains("platform_admin"))
    let long = try await identity.issuer.token(
      TestIssuer.claims(#"{\#(claims), "note": "\#(String(repeating: "x", count: 4_096))"}"#))
    await identity.expect(.unauthenticated, .tokenTooLong) { _ = try await identity.caller(long) }
  }

  @Test("Whoever offers too many credentials that are refused waits before the next is looked at; others, and who was known before, do not")
  func guessing() async throws {
    let identity = try await TestIdentity()
    try await identity.addTenant()
    let token = try await identity.issuer.token()
    #expect(try await identity.caller(token, from: "ipv4:192.0.2.1").id == "anna")
    for number in 0..<IdentityLimits.refusals.burst {
      await identity.expect(.unauthenticated, .credentialRefused) { _ = try await identity.caller("swk_\(number)", from: "ipv4:192.0.2.1") }
    }
    let fresh = try await identity.issuer.token(TestIssuer.claims(#"{"sub": "bert", "jti": "token-2"}"#))
    do {
      _ = try await identity.caller(fresh, from: "ipv4:192.0.2.1")
      Issue.record("it was looked at")
    } catch {
      let refusal = RPCError.outcome(of: error, in: nil)
      #expect(refusal.code == .resourceExhausted && refusal.reason == .tooManyRefusals && refusal.retryDelay ?? .zero > .zero, "\(refusal)")
    }
    #expect(try await identity.caller(fresh, from: "ipv4:192.0.2.2").id == "bert")
    #expect(try await identity.caller(token, from: "ipv4:192.0.2.1").id == "anna")
  }

  @Test("A key with scopes stands for a principal that has them; what is no name of a service is refused")
  func scopes() async throws {
    let identity = try await TestIdentity()
    try await identity.addTenant()
    let scopes = ["spanwire.events.v1.Events", CallScope.readOnly]
    let made = try await identity.server.createApiKey(
      CreateApiKeyRequest(
        idempotencyKey: "K", tenantID: "vienna", kind: .ops, principalID: "watcher", roles: ["ops_operator"], scopes: scopes),
      context: identity.context())
    #expect(made.key?.scopes == scopes)
    #expect(try await identity.caller(made.secret).scopes == scopes)
    let listed = try await identity.server.listApiKeys(ListApiKeysRequest(tenantID: "vienna"), context: identity.context())
    #expect(listed.keys.map(\.scopes) == [scopes])
    await identity.expect(.invalidArgument, .invalidFields) {
      _ = try await identity.server.createApiKey(
        CreateApiKeyRequest(
          idempotencyKey: "L", tenantID: "vienna", kind: .ops, principalID: "watcher", roles: ["ops_operator"], scopes: ["events"]),
        context: identity.context())
    }
    for (scopes, admitted) in [
      ([], true), ([CallScope.readOnly], true), (["spanwire.events.v1.Events"], true), (["spanwire.events.v1.Events.ListEvents"], true),
      (["spanwire.events.v1.Events.Subscribe"], false), (["spanwire.events"], false), (["graz-trip-planner"], true),
    ] as [([String], Bool)] {
      #expect(CallScope.admit(Events.Methods.listEvents, scopes) == admitted, "\(scopes)")
      #expect(CallScope.admit(Identity.Methods.createTenant, scopes) == (scopes.isEmpty || scopes == ["graz-trip-planner"]), "\(scopes)")
    }
  }

  @Test("An open stream ends when its caller's credential does: revoked, suspended, expired, or stripped of a role")
  func streams() async throws {
    let identity = try await TestIdentity()
    try await identity.addTenant()
    let token = try await identity.issuer.token()
    let revoked = try await identity.stream(token) {
      _ = try await identity.server.revokeToken(
        RevokeTokenRequest(idempotencyKey: "R", tokenID: "token-1", reason: "lost"), context: identity.context(TestIdentity.otto))
    }
    #expect(revoked?.code == .unauthenticated && revoked?.reason == .tokenRevoked, "\(String(describing: revoked))")

    let key = try await identity.server.createApiKey(
      CreateApiKeyRequest(
        idempotencyKey: "K", tenantID: "vienna", kind: .ops, principalID: "w", roles: ["ops_operator"], ttl: .init(seconds: 3_600)),
      context: identity.context())
    let suspended = try await identity.stream(key.secret) { try await identity.set(.suspended) }
    #expect(suspended?.code == .unauthenticated && suspended?.reason == .tenantSuspended, "\(String(describing: suspended))")
    try await identity.set(.active)

    let bound = try await identity.server.createRoleBinding(
      CreateRoleBindingRequest(idempotencyKey: "B", tenantID: "vienna", kind: .user, principalID: "anna", roles: ["vendor"]),
      context: identity.context())
    let other = try await identity.issuer.token(TestIssuer.claims(#"{"jti": "token-2"}"#))
    let stripped = try await identity.stream(other) {
      _ = try await identity.server.deleteRoleBinding(
        DeleteRoleBindingRequest(idempotencyKey: "D", tenantID: "vienna", bindingID: bound.bindingID, reason: "left"),
        context: identity.context())
    }
    #expect(
      stripped?.code == .permissionDenied && stripped?.reasonMetadata("rule") == "CREDENTIAL-CHANGED", "\(String(describing: stripped))")

    let watch = Task { await identity.authenticator.keepWatch() }
    let expired = try await identity.stream(key.secret) {
      // Whatever does not concern it leaves it open: only its own end does not.
      try await identity.addTenant("graz")
      await identity.clock.sleeping()
      identity.clock.advance(by: .seconds(3_600))
    }
    #expect(expired?.code == .unauthenticated && expired?.message.contains("has expired") == true, "\(String(describing: expired))")
    watch.cancel()
    await watch.value
  }
}
