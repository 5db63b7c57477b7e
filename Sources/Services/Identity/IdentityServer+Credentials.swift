import SpanwireDatabase
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// Credentials: keys that the platform gives out, and tokens that it takes back.
extension IdentityServer {
  public func createApiKey(_ request: CreateApiKeyRequest, context: ServerContext) async throws -> CreateApiKeyResponse {
    let step = try step(context)
    let tenant = try step.changing(request.tenantID)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.principal(request.kind, request.principalID, request.orgID, request.roles, request.segments)
    fields.check(!request.roles.isEmpty, "roles", "a key has at least one")
    fields.ids(request.scopes, "scopes", max: IdentityLimits.roles)
    for (index, scope) in request.scopes.enumerated() where !CallScope.isOne(scope) {
      fields.add(
        "scopes[\(index)]", "must be a service or a method by its full name, such as spanwire.events.v1.Events, or \(CallScope.readOnly)")
    }
    fields.optionalText(request.label, "label", max: IdentityLimits.labelLetters)
    let ttl = request.ttl.map(\.duration) ?? IdentityLimits.key
    fields.check(ttl > .zero && ttl <= IdentityLimits.longestKey, "ttl", "must be more than nothing and at most a year")
    try fields.finish()
    try step.checkGrant(of: request.roles, in: tenant)
    let secret = SecretKey()
    let key = ApiKey(
      keyID: environment.ids.next(.apiKey), tenantID: tenant, kind: request.kind, principalID: request.principalID, orgID: request.orgID,
      roles: request.roles, segments: request.segments, label: request.label, createdAt: step.time, createdBy: step.caller.name,
      expiresAt: .init(nanosecondsSinceEpoch: step.now + ttl.nanoseconds), scopes: request.scopes)
    let made = try await change("identity.create_api_key", request.idempotencyKey, request, context, step) { tx in
      try tx.requireTenant(tenant, named: request.tenantID)
      try IdentityStore.insert(key, secretHash: secret.hash, in: tx)
      try step.audit("api_key.create", key.keyID, reason: key.summary, in: tx)
      return key
    }
    // What is kept of this call for its repetition has no secret in it.
    return CreateApiKeyResponse(key: made, secret: made.keyID == key.keyID ? secret.text : "")
  }

  public func listApiKeys(_ request: ListApiKeysRequest, context: ServerContext) async throws -> ListApiKeysResponse {
    let (keys, next) = try await page(
      of: request.tenantID, request.principalID, request.pageSize, request.pageToken, context, id: \ApiKey.keyID
    ) { try IdentityStore.keys(of: request.principalID, after: $0, size: $1, tenant: $2, in: $3) }
    return ListApiKeysResponse(keys: keys, nextPageToken: next)
  }

  public func revokeApiKey(_ request: RevokeApiKeyRequest, context: ServerContext) async throws -> ApiKey {
    let step = try step(context)
    let tenant = try step.changing(request.tenantID)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.keyID, "key_id")
    fields.text(request.reason, "reason", max: IdentityLimits.reasonLetters)
    try fields.finish()
    return try await change("identity.revoke_api_key", request.idempotencyKey, request, context, step) { tx in
      guard var key = try IdentityStore.key(request.keyID, tenant: tenant, in: tx) else {
        throw RPCError.missing(.apiKeyNotFound, "there is no key \(request.keyID)")
      }
      if key.revokedAt != nil { return key }
      try IdentityStore.revoke(key, at: step.now, in: tx)
      key.revokedAt = step.time
      try step.audit("api_key.revoke", key.keyID, reason: request.reason, in: tx)
      return key
    }
  }

  public func revokeToken(_ request: RevokeTokenRequest, context: ServerContext) async throws -> RevokedToken {
    let step = try step(context)
    let tenant = try step.changing(request.tenantID)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.check(
      (1...Identifier.maxLength).contains(request.tokenID.utf8.count), "token_id", "must be a jti of 1 to \(Identifier.maxLength) bytes")
    fields.optionalText(request.tokenID, "token_id", max: Identifier.maxLength)
    fields.text(request.reason, "reason", max: IdentityLimits.reasonLetters)
    let longest = step.now + IdentityLimits.longestToken.nanoseconds
    let ends = request.expiresAt?.nanosecondsSinceEpoch ?? longest
    fields.check(ends > step.now && ends <= longest, "expires_at", "must lie in the future, at most 30 days ahead")
    try fields.finish()
    let token = RevokedToken(
      tenantID: tenant, tokenID: request.tokenID, reason: request.reason, revokedBy: step.caller.name, revokedAt: step.time,
      // A day more than the token says: clocks may be off, the issuer's and this one.
      expiresAt: .init(nanosecondsSinceEpoch: ends + Duration.seconds(86_400).nanoseconds))
    return try await change("identity.revoke_token", request.idempotencyKey, request, context, step) { tx in
      try tx.requireTenant(tenant, named: request.tenantID)
      try IdentityStore.put(token, in: tx)
      try step.audit("token.revoke", token.tokenID, reason: request.reason, in: tx)
      return token
    }
  }

  public func listRevokedTokens(_ request: ListRevokedTokensRequest, context: ServerContext) async throws -> ListRevokedTokensResponse {
    let (tokens, next) = try await page(
      of: request.tenantID, "", request.pageSize, request.pageToken, context, id: \RevokedToken.tokenID
    ) { try IdentityStore.revoked(after: $0, size: $1, tenant: $2, in: $3) }
    return ListRevokedTokensResponse(tokens: tokens, nextPageToken: next)
  }
}

extension ApiKey {
  /// For the audit: whose it is, and what it lets them be.
  fileprivate var summary: String {
    var text = "\(Principal.Kind(kind).map { "\($0)" } ?? "?"):\(principalID) is \(roles.joined(separator: ", "))"
    if !scopes.isEmpty { text += " for \(scopes.joined(separator: ", "))" }
    return String(text.prefix(IdentityLimits.reasonLetters))
  }
}
