import ArgumentParser
import SpanwireIdentity
import SpanwirePlatform

/// Whose JSON Web Tokens a server accepts.
struct TokenIssuerOptions: ParsableArguments {
  @Option(name: .customLong("jwt-keys"), help: "File of the issuer's public keys, a JWKS or PEM; needs --jwt-issuer and --jwt-audience.")
  var keys: String?
  @Option(name: .customLong("jwt-issuer"), help: "What the claim iss of its tokens is.") var issuer: String?
  @Option(name: .customLong("jwt-audience"), help: "What must be in their claim aud.") var audience: String?
  @Option(name: .customLong("jwt-clock-skew"), help: "Seconds that the issuer's clock may be off.") var skew: Double = 60
  @Option(
    name: .customLong("jwt-claim"),
    help: "A claim that bears another name, such as tenant_id=org: one of \(TokenRules.claims.joined(separator: ", ")); several times.")
  var claims: [String] = []

  mutating func validate() throws { _ = try chosen() }

  /// Nil for nobody's.
  func chosen() throws -> TokenOptions? {
    guard let keys else {
      if issuer != nil || audience != nil || !claims.isEmpty { throw ValidationError("--jwt-issuer and the like need --jwt-keys") }
      return nil
    }
    guard let issuer, !issuer.isEmpty, let audience, !audience.isEmpty else {
      throw ValidationError("--jwt-keys needs --jwt-issuer and --jwt-audience")
    }
    guard (0...3_600).contains(skew) else { throw ValidationError("--jwt-clock-skew is 0 to 3600 seconds") }
    var rules = TokenRules(issuer: issuer, audience: audience, clockSkew: .milliseconds(Int64(skew * 1_000)))
    for claim in claims {
      let halves = claim.split(separator: "=", maxSplits: 1).map(String.init)
      guard halves.count == 2, TokenRules.claims.contains(halves[0]) else {
        throw ValidationError("--jwt-claim is one of \(TokenRules.claims.joined(separator: ", ")), '=' and a name, not '\(claim)'")
      }
      rules.claimNames[halves[0]] = halves[1]
    }
    return TokenOptions(keysFile: keys, rules: rules)
  }
}
