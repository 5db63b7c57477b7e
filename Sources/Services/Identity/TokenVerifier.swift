import JWTKit
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Synchronization

/// Whose tokens are accepted, and how their claims are called.
public struct TokenRules: Sendable {
  /// What the claim `iss` must be.
  public var issuer: String
  /// What must be among the claim `aud`.
  public var audience: String
  /// How far the issuer's clock may be off: a minute, when nobody says otherwise.
  public var clockSkew: Duration
  /// Claims that bear other names than ours: `["tenant_id": "https://example.org/tenant"]`.
  public var claimNames: [String: String]

  /// The claims that may be called otherwise. `kind` is user unless it says agent, worker or ops.
  public static let claims = ["sub", "tenant_id", "org_id", "kind", "roles", "segments", "scopes"]

  public init(issuer: String, audience: String, clockSkew: Duration = .seconds(60), claimNames: [String: String] = [:]) {
    self.issuer = issuer
    self.audience = audience
    self.clockSkew = clockSkew
    self.claimNames = claimNames
  }

  func name(_ claim: String) -> String { claimNames[claim] ?? claim }
}

/// What a token says that has passed: nothing of it is the bearer's own word.
struct VerifiedToken: Sendable {
  let principal: Principal
  /// Empty: it cannot be revoked by name.
  let id: String
  /// Nanoseconds since 1970, the skew added.
  let expiresAt: Int64
}

/// Verifies JSON Web Tokens (RFC 7519): the signature first, then what is claimed. Each refusal is UNAUTHENTICATED with a reason of its own.
public final class TokenVerifier: Sendable {
  let rules: TokenRules
  private let keys: Mutex<TokenKeys>

  package init(rules: TokenRules, keys: TokenKeys) {
    self.rules = rules
    self.keys = Mutex(keys)
  }

  /// Tokens are verified by these keys from now on.
  package func replace(_ keys: TokenKeys) { self.keys.withLock { $0 = keys } }

  func verify(_ token: String, now: Int64) throws -> VerifiedToken {
    let parts = token.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 3, let header = Self.object(parts[0]), let algorithm = header.text("alg") else {
      throw refusal(.tokenMalformed, "the token is no JWT: a header, claims and a signature, in base64url with dots between")
    }
    try checkSignature(parts, header, algorithm)
    guard let claims = Self.object(parts[1]) else { throw refusal(.tokenMalformed, "the token's claims are no JSON object") }
    let expiresAt = try checkClaims(claims, now: now)
    return VerifiedToken(principal: try principal(claims), id: try tokenID(claims), expiresAt: expiresAt)
  }

  // MARK: Signature

  private func checkSignature(_ parts: [Substring], _ header: Google_Protobuf_Struct, _ algorithm: String) throws {
    guard algorithm.lowercased() != "none" else {
      throw refusal(.tokenAlgorithmRefused, "the token is not signed (alg none)")
    }
    guard header.fields["crit"] == nil else {
      throw refusal(.tokenMalformed, "the token's header has extensions (crit), none of which is known")
    }
    let name = header.text("kid")
    let candidates = keys.withLock { $0.candidates(for: name) }
    guard !candidates.isEmpty else {
      throw refusal(.tokenKeyUnknown, name == nil ? "the token names no key (kid)" : "no key of the issuer has the token's kid")
    }
    let fitting = candidates.filter { $0.algorithm == algorithm }
    guard !fitting.isEmpty else {
      throw refusal(.tokenAlgorithmRefused, "the token is signed by \(Self.short(algorithm)), its key is for \(candidates[0].algorithm)")
    }
    guard let signature = Base64URL.decode(parts[2]) else { throw refusal(.tokenMalformed, "the token's signature is no base64url") }
    let signed = Array((parts[0] + "." + parts[1]).utf8)
    // A signature that cannot even be tried is a wrong one.
    guard fitting.contains(where: { (try? $0.verifier.verify(signature, signs: signed)) == true }) else {
      throw refusal(.tokenForged, "the token's signature is wrong")
    }
  }

  private static func object(_ part: Substring) -> Google_Protobuf_Struct? {
    guard let bytes = Base64URL.decode(part), let text = String(validating: bytes, as: UTF8.self) else { return nil }
    return try? Google_Protobuf_Struct(jsonString: text)
  }

  // MARK: Claims

  /// Issuer, audience and times; returns when the token ends.
  private func checkClaims(_ claims: Google_Protobuf_Struct, now: Int64) throws -> Int64 {
    guard claims.text("iss") == rules.issuer else { throw refusal(.tokenWrongIssuer, "the token is of another issuer") }
    guard claims.audiences.contains(rules.audience) else { throw refusal(.tokenWrongAudience, "the token is for another audience") }
    let skew = rules.clockSkew.nanoseconds
    guard let expiry = try moment("exp", claims) else { throw refusal(.tokenMalformed, "the token never expires (exp)") }
    guard expiry > now - skew else { throw refusal(.tokenExpired, "the token has expired") }
    guard expiry - now <= IdentityLimits.longestToken.nanoseconds + skew else {
      throw refusal(.tokenMalformed, "the token lasts longer than \(IdentityLimits.longestToken.components.seconds / 86_400) days")
    }
    for name in ["nbf", "iat"] {
      if let start = try moment(name, claims), start > now + skew {
        throw refusal(.tokenNotYetValid, "the token is not valid yet (\(name))")
      }
    }
    return expiry + skew
  }

  /// A NumericDate in nanoseconds.
  private func moment(_ name: String, _ claims: Google_Protobuf_Struct) throws -> Int64? {
    guard claims.fields[name] != nil else { return nil }
    // Within 1970 to 2255, which nanoseconds in 64 bits can tell.
    guard let seconds = claims.number(name), (0..<9e9).contains(seconds) else {
      throw refusal(.tokenMalformed, "the token's \(name) is no time in seconds")
    }
    return Int64(seconds * 1e3) * 1_000_000
  }

  private func tokenID(_ claims: Google_Protobuf_Struct) throws -> String {
    guard claims.fields["jti"] != nil else { return "" }
    guard let id = claims.text("jti"), (1...Identifier.maxLength).contains(id.utf8.count) else {
      throw refusal(.tokenMalformed, "the token's jti is no text of 1 to \(Identifier.maxLength) bytes")
    }
    return id
  }

  private func principal(_ claims: Google_Protobuf_Struct) throws -> Principal {
    guard let tenant = claims.text(rules.name("tenant_id")), !tenant.isEmpty else {
      throw refusal(.tokenWithoutTenant, "the token names no tenant (\(rules.name("tenant_id")))")
    }
    let kinds: [String: Principal.Kind] = ["user": .user, "agent": .agent, "worker": .worker, "ops": .ops]
    guard let kind = kinds[claims.text(rules.name("kind")) ?? (claims.fields[rules.name("kind")] == nil ? "user" : "")] else {
      throw refusal(.tokenMalformed, "the token's \(rules.name("kind")) is none of user, agent, worker, ops")
    }
    let id = try self.id("sub", claims, isRequired: true)
    let organization = try self.id("org_id", claims, isRequired: false)
    guard Identifier.isValid(tenant) else { throw refusal(.tokenMalformed, "the token's tenant does not match [A-Za-z0-9._-]{1,128}") }
    return Principal(
      kind: kind, id: id, tenant: tenant, organization: organization, roles: try ids("roles", claims), scopes: try ids("scopes", claims),
      segments: try ids("segments", claims), surface: Surface(of: kind))
  }

  private func id(_ claim: String, _ claims: Google_Protobuf_Struct, isRequired: Bool) throws -> String {
    let name = rules.name(claim)
    if !isRequired, claims.fields[name] == nil { return "" }
    guard let id = claims.text(name), Identifier.isValid(id) else {
      throw refusal(.tokenMalformed, "the token's \(name) does not match [A-Za-z0-9._-]{1,128}")
    }
    return id
  }

  private func ids(_ claim: String, _ claims: Google_Protobuf_Struct) throws -> [String] {
    let name = rules.name(claim)
    guard let ids = claims.texts(name), ids.count <= IdentityLimits.roles, ids.allSatisfy(Identifier.isValid) else {
      throw refusal(.tokenMalformed, "the token's \(name) are not up to \(IdentityLimits.roles) ids")
    }
    return ids
  }

  private static func short(_ text: String) -> String { String(text.prefix(16)) }

  private func refusal(_ reason: Reason, _ message: String) -> RPCError { .refusal(.unauthenticated, reason, message) }
}

extension Google_Protobuf_Struct {
  /// RFC 7519 §4.1.3: one text, or a list of them.
  fileprivate var audiences: [String] {
    if let one = text("aud") { return [one] }
    return texts("aud") ?? []
  }
}
