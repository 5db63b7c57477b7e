import Foundation
import SpanwireEventLog
import SpanwireIdentity
import SpanwireOrchestrator
import SpanwireServiceKit

/// How a platform is put together: where its data lies, where it listens, what it trusts.
public struct PlatformOptions: Sendable {
  /// The folder of its databases. One process holds it at a time.
  public var dataFolder: String
  /// `HOST:PORT`, port 0 takes a free one; or `unix:PATH`, a socket that only its owner may use.
  public var listen: String
  /// PEM files; without them the port speaks cleartext.
  public var certificateFile: String?
  public var keyFile: String?
  /// PEM file of the authorities that client certificates are checked against; callers are then known by their certificates.
  public var clientAuthoritiesFile: String?
  /// Whether a connection without a client certificate is refused; needs the authorities.
  public var requiresClientCertificate: Bool
  /// Calls a second that one caller may make in the long run, twice as many at once; nil for any number.
  public var callsPerSecond: Double?
  /// Admits development tokens. Such a server listens on loopback only.
  public var isDevelopment: Bool
  /// A place for analysis and simulation: events may be replayed there.
  public var isSandbox: Bool
  /// How long events are kept that are not business.
  public var retention: RetentionPeriods
  public var clock: any WallClock
  /// The tenant whose flags callers without a credential see, as stock clients of OpenFeature are; nil: none's.
  public var flagsTenant: String?
  /// How many turns a tenant gets when others get one, while they compete for agents; 1 for those not named.
  public var tenantWeights: [String: UInt32]
  /// The providers of the language models that agents may be put to.
  public var models: ModelProviders
  /// The URL that is told of changes of the incident mode; nil: nobody is.
  public var incidentWebhook: String?
  /// Where signed heads of the audit are kept; nil: nowhere.
  public var auditHeads: AuditHeadOptions?
  /// Whose JSON Web Tokens are accepted; nil: nobody's.
  public var tokens: TokenOptions?

  public init(
    dataFolder: String, listen: String, certificateFile: String? = nil, keyFile: String? = nil, clientAuthoritiesFile: String? = nil,
    requiresClientCertificate: Bool = false, callsPerSecond: Double? = nil, isDevelopment: Bool = false,
    isSandbox: Bool = false, retention: RetentionPeriods = RetentionPeriods(), clock: any WallClock = SystemClock(),
    flagsTenant: String? = nil, tenantWeights: [String: UInt32] = [:], models: ModelProviders = ModelProviders(),
    incidentWebhook: String? = nil, auditHeads: AuditHeadOptions? = nil, tokens: TokenOptions? = nil
  ) {
    self.dataFolder = dataFolder
    self.listen = listen
    self.certificateFile = certificateFile
    self.keyFile = keyFile
    self.clientAuthoritiesFile = clientAuthoritiesFile
    self.requiresClientCertificate = requiresClientCertificate
    self.callsPerSecond = callsPerSecond
    self.isDevelopment = isDevelopment
    self.isSandbox = isSandbox
    self.retention = retention
    self.clock = clock
    self.flagsTenant = flagsTenant
    self.tenantWeights = tenantWeights
    self.models = models
    self.incidentWebhook = incidentWebhook
    self.auditHeads = auditHeads
    self.tokens = tokens
  }
}

/// An issuer of tokens: what its tokens say, and the public keys that verify them.
public struct TokenOptions: Sendable {
  /// A JWKS, or public keys in PEM.
  public var keysFile: String
  public var rules: TokenRules

  public init(keysFile: String, rules: TokenRules) {
    self.keysFile = keysFile
    self.rules = rules
  }

  /// Reads the keys. The error names the file.
  func keys() async throws -> TokenKeys {
    guard let text = try? String(contentsOfFile: keysFile, encoding: .utf8) else {
      throw PlatformError("the keys of tokens cannot be read from \(keysFile)")
    }
    do {
      return try await TokenKeys(text)
    } catch {
      throw PlatformError("\(keysFile) gives no keys of tokens: \(error)")
    }
  }
}

/// Why a platform could not start: one line for whoever started it.
public struct PlatformError: Error, CustomStringConvertible {
  public let description: String

  public init(_ description: String) { self.description = description }
}
