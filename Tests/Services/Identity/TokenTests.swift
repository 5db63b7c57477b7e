import Crypto
import Foundation
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Testing

@testable import SpanwireIdentity

@Suite("Tokens")
struct TokenTests {
  private let issuer = TestIssuer()
  private let now = Int64(TestIssuer.now) * 1_000_000_000

  /// Why a token is refused; nil when it is not.
  private func refusal(_ token: String, by verifier: TokenVerifier) -> Reason? {
    do {
      _ = try verifier.verify(token, now: now)
      return nil
    } catch {
      let refusal = error as? RPCError
      #expect(refusal?.code == .unauthenticated)
      return refusal?.reason
    }
  }

  @Test("A token says whom it is of: kind, id, tenant, organisation, roles, segments")
  func principal() async throws {
    let claims = TestIssuer.claims(
      #"{"sub": "otto", "kind": "ops", "org_id": "hotel-1", "roles": ["ops_lead", "ops_operator"], "segments": "gold vienna-local", "#
        + #""scopes": ["planner"]}"#)
    let found = try await issuer.verifier().verify(issuer.token(claims), now: now)
    #expect(
      found.principal
        == Principal(
          kind: .ops, id: "otto", tenant: "vienna", organization: "hotel-1", roles: ["ops_lead", "ops_operator"], scopes: ["planner"],
          segments: ["gold", "vienna-local"], surface: .ops))
    #expect(found.id == "token-1" && found.expiresAt == now + 660 * 1_000_000_000)
  }

  @Test(
    "What a token claims is judged, each fault by its own reason",
    arguments: [
      ("exp: now-61", .tokenExpired), ("exp: now-59", nil), ("exp: null", .tokenMalformed), (#"exp: "tomorrow""#, .tokenMalformed),
      ("exp: 1e300", .tokenMalformed), ("exp: -1", .tokenMalformed), ("exp: now+2678400", .tokenMalformed),
      ("nbf: now+61", .tokenNotYetValid), ("nbf: now+59", nil), ("iat: now+3600", .tokenNotYetValid),
      (#"iss: "https://other.test""#, .tokenWrongIssuer), ("iss: null", .tokenWrongIssuer), (#"aud: "others""#, .tokenWrongAudience),
      (#"aud: ["others", "spanwire"]"#, nil), ("aud: []", .tokenWrongAudience), ("aud: null", .tokenWrongAudience),
      (#"aud: "others spanwire""#, .tokenWrongAudience), ("tenant_id: null", .tokenWithoutTenant), (#"tenant_id: """#, .tokenWithoutTenant),
      (#"tenant_id: "a:b""#, .tokenMalformed), (#"tenant_id: ["vienna"]"#, .tokenWithoutTenant), ("sub: null", .tokenMalformed),
      (#"sub: "an na""#, .tokenMalformed), (#"kind: "service""#, .tokenMalformed), ("kind: 5", .tokenMalformed),
      (#"roles: ["a", 1]"#, .tokenMalformed), (#"roles: "\#((0..<33).map { "r\($0)" }.joined(separator: " "))""#, .tokenMalformed),
      ("roles: null", nil), ("jti: null", nil), (#"jti: """#, .tokenMalformed),
      (#"jti: "\#(String(repeating: "j", count: 129))""#, .tokenMalformed), ("jti: 7", .tokenMalformed),
    ] as [(String, Reason?)])
  func claims(change: String, reason: Reason?) async throws {
    let halves = change.split(separator: ": ", maxSplits: 1)
    var value = String(halves[1])
    if value.hasPrefix("now") { value = String(TestIssuer.now + Int(value.dropFirst(3))!) }
    let token = try await issuer.token(TestIssuer.claims(#"{"\#(halves[0])": \#(value)}"#))
    #expect(refusal(token, by: try await issuer.verifier()) == reason)
  }

  @Test("A signature that is none, another's, or by another algorithm than the key's is refused")
  func signatures() async throws {
    let verifier = try await issuer.verifier()
    let token = try await issuer.token()
    let parts = token.split(separator: ".").map(String.init)
    let none = TestIssuer.encode(#"{"alg": "none"}"#)
    let hmacHeader = TestIssuer.encode(#"{"alg": "HS256", "kid": "one"}"#)
    let secret = SymmetricKey(data: Data(issuer.key.publicKey.pemRepresentation.utf8))
    let confused = "\(hmacHeader).\(parts[1])"
    let mac = Base64URL.encode(Array(HMAC<Crypto.SHA256>.authenticationCode(for: Data(confused.utf8), using: secret)))
    let elevated = TestIssuer.encode(TestIssuer.claims(#"{"kind": "ops", "roles": ["platform_admin"]}"#))
    let cases: [(String, Reason?)] = [
      (token, nil), (try await TestIssuer().token(), .tokenForged), ("\(parts[0]).\(elevated).\(parts[2])", .tokenForged),
      ("\(none).\(parts[1]).", .tokenAlgorithmRefused), ("\(none).\(parts[1]).\(parts[2])", .tokenAlgorithmRefused),
      ("\(confused).\(mac)", .tokenAlgorithmRefused), (try await issuer.token(header: #"{"alg": "NONE"}"#), .tokenAlgorithmRefused),
      (try await issuer.token(header: #"{"alg": "RS256"}"#), .tokenAlgorithmRefused),
      (try await issuer.token(header: #"{"kid": "other"}"#), .tokenKeyUnknown), (try await issuer.token(header: #"{"kid": null}"#), nil),
      (try await issuer.token(header: #"{"crit": ["b64"], "b64": false}"#), .tokenMalformed),
      ("\(parts[0]).\(parts[1]).", .tokenForged), ("\(parts[0]).\(parts[1]).\(parts[2])A", .tokenForged),
      ("\(parts[0]).\(parts[1])", .tokenMalformed), ("\(token).\(parts[2])", .tokenMalformed), ("..", .tokenMalformed),
      ("not a token", .tokenMalformed), ("", .tokenMalformed),
    ]
    for (token, reason) in cases { #expect(refusal(token, by: verifier) == reason, "\(token)") }
  }

  @Test("Keys rotate: two stand side by side, and one that is gone verifies nothing")
  func rotation() async throws {
    let next = TestIssuer("two")
    let verifier = try await issuer.verifier()
    let (old, new) = (try await issuer.token(), try await next.token())
    #expect(refusal(old, by: verifier) == nil && refusal(new, by: verifier) == .tokenKeyUnknown)
    verifier.replace(try await TokenKeys(TestIssuer.set(issuer, next)))
    #expect(refusal(old, by: verifier) == nil && refusal(new, by: verifier) == nil)
    verifier.replace(try await TokenKeys(TestIssuer.set(next)))
    #expect(refusal(old, by: verifier) == .tokenKeyUnknown && refusal(new, by: verifier) == nil)
  }

  @Test("A key in PEM verifies tokens without a name of their key")
  func pem() async throws {
    let verifier = TokenVerifier(
      rules: TokenRules(issuer: TestIssuer.issuer, audience: TestIssuer.audience),
      keys: try await TokenKeys(TestIssuer().key.publicKey.pemRepresentation + "\n" + issuer.key.publicKey.pemRepresentation))
    #expect(refusal(try await issuer.token(header: #"{"kid": null}"#), by: verifier) == nil)
    #expect(refusal(try await issuer.token(), by: verifier) == .tokenKeyUnknown)
    #expect(refusal(try await TestIssuer().token(header: #"{"kid": null}"#), by: verifier) == .tokenForged)
  }

  @Test("Claims may bear other names")
  func names() async throws {
    let verifier = try await issuer.verifier(claimNames: ["tenant_id": "https://issuer.test/tenant", "sub": "uid"])
    let token = try await issuer.token(
      TestIssuer.claims(#"{"tenant_id": null, "https://issuer.test/tenant": "graz", "uid": "eva"}"#))
    let principal = try verifier.verify(token, now: now).principal
    #expect(principal.tenant == "graz" && principal.id == "eva")
  }

  @Test(
    "A file that gives no keys says why",
    arguments: [
      ("", "no public key"), ("{}", "no JWKS"), (#"{"keys": []}"#, "no public key"),
      (#"{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}"#, "a secret"),
      (#"{"keys": [{"kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB"}]}"#, "no public key"), (#"{"keys": [5]}"#, "keys[0]"),
      (#"{"keys": [{"kty": "EC", "crv": "P-256", "kid": "a", "x": "AA", "y": "AA"}]}"#, "keys[0]"),
      ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "PUBLIC KEY"), (String(repeating: "x", count: 300_000), "longer"),
    ])
  func badFiles(text: String, reason: String) async throws {
    do {
      _ = try await TokenKeys(text)
      Issue.record("it gave keys")
    } catch {
      #expect("\(error)".contains(reason), "\(error)")
    }
    await #expect(throws: TokenKeys.Problem.self) { try await TokenKeys(TestIssuer.set(issuer, issuer)) }
  }
}
