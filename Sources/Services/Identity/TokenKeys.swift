import Foundation
import JWTKit
import SpanwireProtobuf
import SpanwireServiceKit
import SpanwireWellKnown

/// The public keys by which tokens are verified: from a JWKS, or from PEM.
///
/// Every key has one algorithm, and verifies nothing that was signed by another: so a public key is never mistaken for a secret. Keys that
/// are secrets are not taken.
package struct TokenKeys: Sendable {
  struct Key: Sendable {
    let algorithm: String
    let verifier: any JWTAlgorithm
  }

  private var named: [String: Key] = [:]
  private var unnamed: [Key] = []

  package var count: Int { named.count + unnamed.count }

  /// Why a file gives no keys.
  package struct Problem: Error, CustomStringConvertible {
    package let description: String
  }

  /// Reads what a file of keys holds: a JWKS if it begins as JSON does, else PEM.
  package init(_ text: String) async throws {
    guard text.utf8.count <= IdentityLimits.keyFileBytes else {
      throw Problem(description: "it is longer than \(IdentityLimits.keyFileBytes) bytes")
    }
    if text.first(where: { !$0.isWhitespace }) == "{" { try await readSet(text) } else { try await readPEM(text) }
    guard count > 0 else { throw Problem(description: "it holds no public key that verifies signatures") }
    guard count <= IdentityLimits.keys else { throw Problem(description: "it holds more than \(IdentityLimits.keys) keys") }
  }

  /// The keys that a token's header asks for: the one of its name, or without a name those that have none, or the only one there is.
  func candidates(for name: String?) -> [Key] {
    if let name { return named[name].map { [$0] } ?? [] }
    if unnamed.isEmpty, named.count == 1 { return Array(named.values) }
    return unnamed
  }

  // MARK: Reading

  private mutating func readSet(_ text: String) async throws {
    guard let set = try? Google_Protobuf_Struct(jsonString: text), case .listValue(let list) = set.fields["keys"]?.kind else {
      throw Problem(description: "it is no JWKS: a JSON object with the list keys")
    }
    for (index, value) in list.values.enumerated() {
      guard case .structValue(let fields) = value.kind else { throw Problem(description: "keys[\(index)] is no object") }
      do {
        try await add(fields)
      } catch {
        throw Problem(description: "keys[\(index)]: \((error as? Problem)?.description ?? "\(error)")")
      }
    }
  }

  /// A key of a set. What is not for signatures, or of a kind that is not known, is passed over, as RFC 7517 asks.
  private mutating func add(_ fields: Google_Protobuf_Struct) async throws {
    let type = fields.text("kty") ?? ""
    if let use = fields.text("use"), use != "sig" { return }
    guard ["RSA", "EC", "OKP"].contains(type) else {
      if type == "oct" { throw Problem(description: "a secret (kty oct) verifies nothing here: sign with a private key") }
      return
    }
    guard let algorithm = fields.text("alg") ?? Self.algorithm(type, curve: fields.text("crv")) else { return }
    guard Self.algorithms.contains(algorithm) else { return }
    // The name is not jwt-kit's to judge: it asks for one where RFC 7517 does not.
    var fields = fields
    let name = fields.text("kid")
    fields.fields["kid"] = Google_Protobuf_Value(kind: .stringValue(name ?? "unnamed"))
    fields.fields["alg"] = Google_Protobuf_Value(kind: .stringValue(algorithm))
    let jwk = try JSONDecoder().decode(JWK.self, from: Data(try fields.jsonString().utf8))
    let verifier = try await JWTKeyCollection().add(jwk: jwk).getKey(alg: algorithm)
    let key = Key(algorithm: algorithm, verifier: verifier)
    guard let name else { return unnamed.append(key) }
    guard named[name] == nil else { throw Problem(description: "there is another key with the kid \(name)") }
    named[name] = key
  }

  private mutating func readPEM(_ text: String) async throws {
    let end = "-----END PUBLIC KEY-----"
    for part in text.components(separatedBy: end).dropLast() {
      guard let start = part.range(of: "-----BEGIN PUBLIC KEY-----") else {
        throw Problem(description: "it ends a PUBLIC KEY that does not begin")
      }
      let pem = String(part[start.lowerBound...]) + end + "\n"
      let keys = JWTKeyCollection()
      if let key = try? Insecure.RSA.PublicKey(pem: pem) {
        await keys.add(rsa: key, digestAlgorithm: .sha256)
      } else if let key = try? ES256PublicKey(pem: pem) {
        await keys.add(ecdsa: key)
      } else if let key = try? ES384PublicKey(pem: pem) {
        await keys.add(ecdsa: key)
      } else if let key = try? EdDSA.PublicKey(pem: pem) {
        await keys.add(eddsa: key)
      } else {
        throw Problem(description: "a PUBLIC KEY is neither RSA of 2048 bits or more, nor P-256, P-384 or Ed25519")
      }
      let verifier = try await keys.getKey()
      unnamed.append(Key(algorithm: verifier.name, verifier: verifier))
    }
  }

  private static let algorithms: Set<String> = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
  ]

  /// The algorithm of a key that names none.
  private static func algorithm(_ type: String, curve: String?) -> String? {
    switch (type, curve) {
    case ("RSA", _): "RS256"
    case ("EC", "P-256"): "ES256"
    case ("EC", "P-384"): "ES384"
    case ("EC", "P-521"): "ES512"
    case ("OKP", "Ed25519"): "EdDSA"
    default: nil
    }
  }
}

extension Google_Protobuf_Struct {
  /// A member that is text; nil when there is none or it is something else.
  func text(_ name: String) -> String? {
    if case .stringValue(let text) = fields[name]?.kind { text } else { nil }
  }

  func number(_ name: String) -> Double? {
    if case .numberValue(let number) = fields[name]?.kind { number } else { nil }
  }

  /// A member that is a list of texts, or one text with spaces between, as scopes are written; nil when it is neither.
  func texts(_ name: String) -> [String]? {
    switch fields[name]?.kind {
    case nil: []
    case .stringValue(let text): text.split(separator: " ").map(String.init)
    case .listValue(let list):
      list.values.reduce(into: [String]?([])) { texts, value in
        if case .stringValue(let text) = value.kind { texts?.append(text) } else { texts = nil }
      }
    default: nil
    }
  }
}
