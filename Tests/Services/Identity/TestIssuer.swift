import Foundation
import JWTKit
import SpanwireServiceKit

@testable import SpanwireIdentity

/// An issuer of tokens with a key, that can also say what no honest issuer would.
struct TestIssuer: Sendable {
  static let issuer = "https://issuer.test"
  static let audience = "spanwire"

  let key: ES256PrivateKey
  let name: String

  init(_ name: String = "one") {
    key = ES256PrivateKey()
    self.name = name
  }

  /// 2026-05-04T09:00:00Z, as `ManualClock` has it.
  static let now = 1_777_885_200

  /// What an honest token says, with what is to be otherwise, as JSON: null takes a claim away.
  static func claims(_ changes: String = "{}") -> String {
    merged(
      #"{"iss": "\#(issuer)", "aud": "\#(audience)", "sub": "anna", "tenant_id": "vienna", "roles": ["traveller"], "exp": \#(now + 600), "#
        + #""iat": \#(now), "jti": "token-1"}"#, changes)
  }

  /// A signed token; parts of the header can be otherwise.
  func token(_ claims: String = claims(), header changes: String = "{}") async throws -> String {
    let header = Self.merged(#"{"alg": "ES256", "typ": "JWT", "kid": "\#(name)"}"#, changes)
    let signed = Self.encode(header) + "." + Self.encode(claims)
    let signer = try await JWTKeyCollection().add(ecdsa: key).getKey()
    return signed + "." + Base64URL.encode(try signer.sign(Array(signed.utf8)))
  }

  static func encode(_ json: String) -> String { Base64URL.encode(Array(json.utf8)) }

  private static func merged(_ object: String, _ changes: String) -> String {
    func members(_ text: String) -> [String: Any] {
      try! JSONSerialization.jsonObject(with: Data(text.utf8)) as! [String: Any]
    }
    let all = members(object).merging(members(changes)) { $1 }.filter { !($0.value is NSNull) }
    return String(decoding: try! JSONSerialization.data(withJSONObject: all), as: UTF8.self)
  }

  var jwk: String {
    let point = key.publicKey.parameters!
    func url(_ text: String) -> String {
      text.replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }
    return #"{"kty": "EC", "crv": "P-256", "use": "sig", "kid": "\#(name)", "x": "\#(url(point.x))", "y": "\#(url(point.y))"}"#
  }

  static func set(_ issuers: TestIssuer...) -> String { #"{"keys": [\#(issuers.map(\.jwk).joined(separator: ", "))]}"# }

  func verifier(clockSkew: Duration = .seconds(60), claimNames: [String: String] = [:]) async throws -> TokenVerifier {
    TokenVerifier(
      rules: TokenRules(issuer: Self.issuer, audience: Self.audience, clockSkew: clockSkew, claimNames: claimNames),
      keys: try await TokenKeys(Self.set(self)))
  }
}
