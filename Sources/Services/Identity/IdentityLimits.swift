import SpanwireRPC

/// Every bound of identity, with its reason.
enum IdentityLimits {
  /// Bytes of a bearer token: tokens with many roles stay below; a longer one is refused before anybody hashes it.
  static let tokenBytes = 4_096
  /// How long a token may last from now on: a revocation is kept for as long, so that none comes to life again.
  static let longestToken = Duration.seconds(30 * 24 * 3_600)
  /// Keys of issuers: those of several, each while one follows the other.
  static let keys = 64
  /// Bytes of a file of keys: 64 of the largest.
  static let keyFileBytes = 256 << 10
  /// Credentials whose principals are remembered: some 500 bytes each. When more are in use, all are looked at afresh.
  static let credentials = 10_000
  /// How old what is remembered may be, where another node changed it.
  static let credentialLifetime = Duration.seconds(10)
  /// Credentials that one address may have refused at once, and then a second: enough for a program that was not told of its new key, and
  /// too few to find one by guessing.
  static let refusals = RateLimit(burst: 100, perSecond: 1)
  /// How exact the last use of a key is told: one write in so long, however often it is used.
  static let lastUsed = Duration.seconds(300)
  /// Roles, segments and scopes of one principal each: more than there are.
  static let roles = 32
  /// Bindings that count for one principal: more would be a mistake in the making of them.
  static let bindingsOfPrincipal = 32
  /// Names of one certificate that are looked up: more than certificates have.
  static let certificateNames = 16
  /// Bytes of a certificate's name: a URI or a subject.
  static let certificateNameBytes = 1_024
  /// Bytes of a passed-on principal: a principal with all its roles, behind a few services.
  static let forwardedBytes = 4_096
  /// Services that may stand between a wish and its caller: deeper is a loop.
  static let forwardedDepth = 8
  /// How long a key lasts when nobody says, and at most.
  static let key = Duration.seconds(90 * 24 * 3_600)
  static let longestKey = Duration.seconds(366 * 24 * 3_600)
  /// Letters of a label, a name or a reason: what a table of a terminal shows.
  static let labelLetters = 200
  static let reasonLetters = 500
  /// A page when the caller does not say, and at most.
  static let defaultPage = 100
  static let page = 500
  /// Revocations forgotten in one transaction: about a millisecond's work.
  static let purgeBatch = 500
}
