import SpanwireDatabase
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// Role bindings: what a principal may be beyond what its credential says, and which certificate is its own.
extension IdentityServer {
  public func createRoleBinding(_ request: CreateRoleBindingRequest, context: ServerContext) async throws -> RoleBinding {
    let step = try step(context)
    let tenant = try step.changing(request.tenantID)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.principal(request.kind, request.principalID, request.orgID, request.roles, request.segments)
    fields.certificateName(request.certificateName)
    fields.check(
      !request.certificateName.isEmpty || !request.roles.isEmpty || !request.segments.isEmpty, "roles",
      "a binding gives roles or segments, or names a certificate")
    let ttl = request.ttl.map(\.duration)
    fields.check(ttl.map { $0 > .zero && $0 <= IdentityLimits.longestKey } ?? true, "ttl", "must be more than nothing and at most a year")
    try fields.finish()
    try step.checkGrant(of: request.roles, in: tenant)
    // A certificate proves the same in every tenant, so whose it is, is the platform's to say.
    if !request.certificateName.isEmpty { try step.requirePlatform() }
    let binding = RoleBinding(
      bindingID: environment.ids.next(.roleBinding), tenantID: tenant, kind: request.kind, principalID: request.principalID,
      certificateName: request.certificateName, orgID: request.orgID, roles: request.roles, segments: request.segments,
      createdAt: step.time, createdBy: step.caller.name, expiresAt: ttl.map { .init(nanosecondsSinceEpoch: step.now + $0.nanoseconds) })
    return try await change("identity.create_role_binding", request.idempotencyKey, request, context, step) { tx in
      try tx.requireTenant(tenant, named: request.tenantID)
      if !binding.certificateName.isEmpty,
        let other = try IdentityStore.binding(ofCertificate: binding.certificateName, in: tx)
      {
        throw RPCError.refusal(
          .alreadyExists, .certificateNameBound, "\(binding.certificateName) is bound by \(other.bindingID) of tenant \(other.tenantID)")
      }
      guard
        try IdentityStore.bindings(of: binding.kind, binding.principalID, tenant: tenant, at: step.now, in: tx).count
          < IdentityLimits.bindingsOfPrincipal
      else {
        throw RPCError.resourceExhausted("\(binding.principalID) has \(IdentityLimits.bindingsOfPrincipal) bindings already")
      }
      try IdentityStore.insert(binding, in: tx)
      try step.audit("role_binding.create", binding.bindingID, reason: binding.summary, in: tx)
      return binding
    }
  }

  public func listRoleBindings(_ request: ListRoleBindingsRequest, context: ServerContext) async throws -> ListRoleBindingsResponse {
    let (bindings, next) = try await page(
      of: request.tenantID, request.principalID, request.pageSize, request.pageToken, context, id: \RoleBinding.bindingID
    ) { try IdentityStore.bindings(of: request.principalID, after: $0, size: $1, tenant: $2, in: $3) }
    return ListRoleBindingsResponse(bindings: bindings, nextPageToken: next)
  }

  public func deleteRoleBinding(_ request: DeleteRoleBindingRequest, context: ServerContext) async throws -> RoleBinding {
    let step = try step(context)
    let tenant = try step.changing(request.tenantID)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.bindingID, "binding_id")
    fields.text(request.reason, "reason", max: IdentityLimits.reasonLetters)
    try fields.finish()
    return try await change("identity.delete_role_binding", request.idempotencyKey, request, context, step) { tx in
      guard let binding = try IdentityStore.binding(request.bindingID, tenant: tenant, in: tx) else {
        throw RPCError.missing(.roleBindingNotFound, "there is no role binding \(request.bindingID)")
      }
      try step.checkGrant(of: binding.roles, in: tenant)
      if !binding.certificateName.isEmpty { try step.requirePlatform() }
      try IdentityStore.deleteBinding(binding.bindingID, tenant: tenant, in: tx)
      try step.audit("role_binding.delete", binding.bindingID, reason: request.reason, in: tx)
      return binding
    }
  }
}

extension Transaction {
  /// Refuses to put something into a tenant that does not exist. The caller's own does, or is of a development server.
  func requireTenant(_ id: String, named: String) throws {
    if !named.isEmpty, try IdentityStore.tenant(id, in: self) == nil {
      throw RPCError.missing(.tenantNotFound, "there is no tenant \(id)")
    }
  }
}

extension Validation {
  /// What a credential or a binding says of its principal.
  mutating func principal(_ kind: PrincipalKind, _ id: String, _ org: String, _ roles: [String], _ segments: [String]) {
    given(kind, "kind")
    check(kind.rawValue == 0 || Principal.Kind(kind) != nil, "kind", "must be user, agent, worker or ops")
    self.id(id, "principal_id")
    optionalID(org, "org_id")
    ids(roles, "roles", max: IdentityLimits.roles)
    ids(segments, "segments", max: IdentityLimits.roles)
  }

  /// `dns:worker-1.example`: a kind of name and the name, as the certificate has it.
  mutating func certificateName(_ name: String) {
    if name.isEmpty { return }
    let halves = name.split(separator: ":", maxSplits: 1)
    check(
      halves.count == 2 && ["uri", "email", "dns", "ip", "subject"].contains(halves[0]), "certificate_name",
      "must begin with uri:, email:, dns:, ip: or subject:")
    // Names of ours say for themselves whom they are of.
    check(!name.hasPrefix("uri:spanwire://"), "certificate_name", "a spanwire:// name speaks for itself and is not bound")
    check(name.utf8.count <= IdentityLimits.certificateNameBytes, "certificate_name", "is longer than a certificate's name")
    optionalText(name, "certificate_name", max: IdentityLimits.certificateNameBytes)
  }
}

extension RoleBinding {
  /// For the audit: who it is of, and what it gives.
  fileprivate var summary: String {
    var text = "\(Principal.Kind(kind).map { "\($0)" } ?? "?"):\(principalID)"
    if !roles.isEmpty { text += " is " + roles.joined(separator: ", ") }
    if !segments.isEmpty { text += " in " + segments.joined(separator: ", ") }
    if !certificateName.isEmpty { text += " by " + certificateName }
    return String(text.prefix(IdentityLimits.reasonLetters))
  }
}
