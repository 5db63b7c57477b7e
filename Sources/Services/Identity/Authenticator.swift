import Crypto
import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Synchronization

/// Establishes who calls, from the connection and the `authorization` metadata, before anything else looks at the call.
///
/// A credential is a JSON Web Token of the issuer, a key that this platform gave out, a client certificate, or, where that is admitted, a
/// development token. In process the caller is known already. From outside nobody says of themselves who they are: only a node of the
/// platform, known by its certificate, may say for whom it calls.
///
/// A credential is looked at once: who it stands for is remembered until it expires, or something of identity changes. A stream ends when
/// its caller's no longer stands. Whoever offers credentials that are refused, too many in a row, waits before the next is looked at.
public final class Authenticator: ServerInterceptor {
  let environment: ServiceEnvironment
  private let acceptsDevelopmentTokens: Bool
  private let tokens: TokenVerifier?
  private let known = Mutex(Known())
  private let streams = OpenStreams()
  private let reviews = Mutex(Reviews())
  private let refusals: CallerRates

  /// What tells one credential from another, without holding it.
  private enum Credential: Hashable {
    case bearer([UInt8])
    case certificate(PeerCertificate)
  }

  private struct Known {
    var principals: [Credential: (principal: Principal, until: Int64)] = [:]
    /// One more with every change: what was found before one is not kept after it.
    var changes: UInt64 = 0
  }

  private struct Reviews {
    var isRunning = false
    /// Something has changed since the one that runs began.
    var isDue = false
  }

  /// A principal with the time until which its credential stands.
  private struct Finding {
    var principal: Principal
    var until = Int64.max
    /// Empty for credentials that are not tokens.
    var tokenID = ""
    /// Whether what is bound to the principal adds to what its credential says.
    var takesBindings = true
    /// The key it is, if its use is to be noted.
    var used: ApiKey?
  }

  /// - Parameters:
  ///   - acceptsDevelopmentTokens: a server that is not for development refuses every development token, and tenants it does not know.
  ///   - tokens: whose tokens are accepted; nil for nobody's.
  ///   - monotonic: the clock by which refused credentials are counted, for tests to set.
  public init(
    environment: ServiceEnvironment, acceptsDevelopmentTokens: Bool, tokens: TokenVerifier? = nil,
    monotonic: @escaping @Sendable () -> Deadline = Deadline.now
  ) {
    self.environment = environment
    self.acceptsDevelopmentTokens = acceptsDevelopmentTokens
    self.tokens = tokens
    refusals = CallerRates(IdentityLimits.refusals, now: monotonic)
    environment.database.observe(self)
  }

  /// Verifies tokens by these keys from now on, those that have passed before too.
  package func replace(_ keys: TokenKeys) {
    tokens?.replace(keys)
    forget()
  }

  public func intercept(_ call: any ServerCall, next: NextServerHandler) async throws {
    let context = call.context
    guard context.peer !== Peer.inProcess else { return try await next(call) }
    guard context.method.kind != .unary else {
      context.principal = try await principal(of: context, from: context.peer)
      return try await next(call)
    }
    let changes = known.withLock { $0.changes }
    context.principal = try await principal(of: context, from: context.peer)
    guard context.principal.kind != .anonymous else { return try await next(call) }
    streams.open(call)
    // What changed while the caller was established has been looked for among the open streams already.
    if known.withLock({ $0.changes }) != changes { review() }
    do {
      try await next(call)
    } catch {
      throw streams.close(context) ?? error
    }
    if let verdict = streams.close(context) { throw verdict }
  }

  // MARK: Streams

  /// Looks at the callers of all open streams again, and ends those that would not be let in as they were.
  private func review() {
    let begins = reviews.withLock { reviews in
      reviews.isDue = true
      defer { reviews.isRunning = true }
      return !reviews.isRunning
    }
    guard begins else { return }
    Task {
      while takeReview() {
        for context in streams.contexts {
          if let verdict = await verdict(on: context) { streams.end(context, with: verdict) }
        }
      }
    }
  }

  private func takeReview() -> Bool {
    reviews.withLock { reviews in
      defer { reviews.isDue = false }
      reviews.isRunning = reviews.isDue
      return reviews.isDue
    }
  }

  /// Why the caller of a stream may not hold it any longer; nil where nothing stands against it.
  private func verdict(on context: ServerContext) async -> RPCError? {
    do {
      if context.principal.isStill(try await principal(of: context)) { return nil }
      return RPCError.denied(
        .credentialChanged, rule: "CREDENTIAL-CHANGED",
        "the credential does not stand any more for all that it stood for: open the stream again")
    } catch let error as RPCError where error.code == .unauthenticated || error.code == .permissionDenied {
      return error
    } catch {
      // The store cannot say: it is asked again soon.
      return nil
    }
  }

  /// Looks at open streams from time to time, for credentials that expire and for what other nodes change. Until the task is cancelled.
  package func keepWatch() async {
    await environment.clock.every(IdentityLimits.credentialLifetime) { review() }
  }

  // MARK: Callers

  /// Who makes a call that came from outside.
  ///
  /// - Parameter peer: from where the credential is offered, if it is the bearer's doing: it pays for each that is refused.
  func principal(of context: ServerContext, from peer: Peer? = nil) async throws -> Principal {
    let forwarded = try ForwardedPrincipal(in: context.metadata)
    let caller = try await self.caller(of: context, from: peer)
    guard let forwarded else { return caller }
    guard caller.kind == .service, context.peer.certificate != nil, context.metadata["authorization"] == nil else {
      throw RPCError.refusal(.unauthenticated, .forwardingRefused, "only a node of the platform says for whom it calls")
    }
    return .service(caller.id, onBehalfOf: forwarded.principal)
  }

  /// The one whose credential it is; the anonymous for none.
  private func caller(of context: ServerContext, from peer: Peer?) async throws -> Principal {
    if let authorization = context.metadata["authorization"] {
      guard authorization.utf8.count <= IdentityLimits.tokenBytes else {
        throw RPCError.refusal(.unauthenticated, .tokenTooLong, "the token is longer than \(IdentityLimits.tokenBytes) bytes")
      }
      guard authorization.utf8.starts(with: "Bearer ".utf8) else {
        throw unauthenticated("authorization must be 'Bearer' and a token")
      }
      let token = authorization.dropFirst("Bearer ".count)
      let hash = Self.hash(token)
      return try await remembered(.bearer(hash), from: peer) { now in try await self.bearer(token, hash: hash, now: now) }
    }
    guard let certificate = context.peer.certificate else { return .anonymous }
    return try await remembered(.certificate(certificate), from: peer) { now in try await self.bearer(of: certificate, now: now) }
  }

  // MARK: Credentials

  private func bearer(_ token: Substring, hash: [UInt8], now: Int64) async throws -> Finding {
    if token.hasPrefix("dev:") { return Finding(principal: try development(token)) }
    if token.hasPrefix(SecretKey.prefix) { return try await key(hash: hash, now: now) }
    guard let tokens else { throw unauthenticated("the token is of no kind this server knows") }
    let token = try tokens.verify(String(token), now: now)
    return Finding(principal: token.principal, until: token.expiresAt, tokenID: token.id)
  }

  private func development(_ token: Substring) throws -> Principal {
    guard acceptsDevelopmentTokens else { throw unauthenticated("development tokens are accepted only by a server started with --dev") }
    guard let principal = DevelopmentCredential.parse(String(token)) else {
      throw unauthenticated("a development token is dev:<kind>:<id>:<tenant>:<role>[,<role>], of kind user, agent, worker or ops")
    }
    return principal
  }

  private func key(hash: [UInt8], now: Int64) async throws -> Finding {
    let found = try await environment.database.read { try IdentityStore.key(secretHash: hash, in: $0) }
    guard let found, let kind = Principal.Kind(found.kind) else { throw refused("the key is none of this platform's") }
    let end = found.expiresAt?.nanosecondsSinceEpoch ?? 0
    guard found.revokedAt == nil else { throw refused("the key \(found.keyID) is revoked") }
    guard end > now else { throw refused("the key \(found.keyID) has expired") }
    let isDue = now - (found.lastUsedAt?.nanosecondsSinceEpoch ?? 0) >= IdentityLimits.lastUsed.nanoseconds
    return Finding(
      principal: Principal(
        kind: kind, id: found.principalID, tenant: found.tenantID, organization: found.orgID, roles: found.roles, scopes: found.scopes,
        segments: found.segments, surface: Surface(of: kind)), until: end, takesBindings: false, used: isDue ? found : nil)
  }

  /// A certificate stands for whom its authority says in a name of ours, else for whom it is bound to; else for nobody.
  private func bearer(of certificate: PeerCertificate, now: Int64) async throws -> Finding {
    if let principal = Principal(certificate: certificate) { return Finding(principal: principal) }
    let names = certificate.names.prefix(IdentityLimits.certificateNames)
    let bound = try await environment.database.read { reader -> RoleBinding? in
      for name in names {
        if let binding = try IdentityStore.binding(ofCertificate: name, in: reader),
          (binding.expiresAt?.nanosecondsSinceEpoch ?? .max) > now
        {
          return binding
        }
      }
      return nil
    }
    guard let bound, let kind = Principal.Kind(bound.kind) else { return Finding(principal: .anonymous) }
    return Finding(
      principal: Principal(kind: kind, id: bound.principalID, tenant: bound.tenantID, surface: Surface(of: kind)),
      until: bound.expiresAt?.nanosecondsSinceEpoch ?? .max)
  }

  // MARK: What is stored of them

  private func remembered(
    _ credential: Credential, from peer: Peer?, _ find: (_ now: Int64) async throws -> Finding
  ) async throws -> Principal {
    let now = environment.clock.now
    let (held, changes) = known.withLock { ($0.principals[credential], $0.changes) }
    if let held, now < held.until { return held.principal }
    // One that was good a moment ago is no guess.
    if held == nil, let peer, let wait = refusals.wait(of: peer.host) {
      throw RPCError.later(
        .resourceExhausted, .tooManyRefusals, "too many credentials from this address were refused",
        after: .nanoseconds(Int64(clamping: wait)))
    }
    var finding: Finding
    do {
      finding = try await find(now)
      try await complete(&finding, now: now)
    } catch let error as RPCError where error.code == .unauthenticated {
      if let peer { refusals.charge(peer.host) }
      throw error
    }
    let (principal, lifetime) = (finding.principal, IdentityLimits.credentialLifetime.nanoseconds)
    let until = min(finding.until, now + lifetime)
    known.withLock { known in
      guard known.changes == changes else { return }
      if known.principals.count >= IdentityLimits.credentials { known.principals.removeAll(keepingCapacity: true) }
      known.principals[credential] = (principal, until)
    }
    if let key = finding.used { note(key, at: now) }
    return principal
  }

  /// Checks tenant and revocation, and adds what is bound to the principal.
  private func complete(_ finding: inout Finding, now: Int64) async throws {
    let (principal, tokenID) = (finding.principal, finding.tokenID)
    // Who has no credential is in no tenant; a node is in none's alone.
    if principal.kind == .anonymous || principal.kind == .service { return }
    let takesBindings = finding.takesBindings
    let (tenant, isRevoked, bindings) = try await environment.database.read { reader in
      (
        try IdentityStore.tenant(principal.tenant, in: reader),
        try !tokenID.isEmpty && IdentityStore.isRevoked(tokenID, tenant: principal.tenant, in: reader),
        takesBindings
          ? try IdentityStore.bindings(of: PrincipalKind(principal.kind), principal.id, tenant: principal.tenant, at: now, in: reader) : []
      )
    }
    if isRevoked { throw RPCError.refusal(.unauthenticated, .tokenRevoked, "the token is revoked") }
    if tenant?.state == .suspended {
      throw RPCError.refusal(.unauthenticated, .tenantSuspended, "the tenant \(principal.tenant) is suspended")
    }
    guard tenant != nil || acceptsDevelopmentTokens else {
      throw RPCError.refusal(.unauthenticated, .tenantNotFound, "this platform has no tenant \(principal.tenant)")
    }
    finding.principal = principal.with(bindings)
    for binding in bindings { finding.until = min(finding.until, binding.expiresAt?.nanosecondsSinceEpoch ?? .max) }
    // Where the platform's tenants are known, its own roles are for its own people, whoever says otherwise.
    if !acceptsDevelopmentTokens, principal.tenant != Caller.platformTenant,
      let role = finding.principal.roles.first(where: Caller.platformRoles.contains)
    {
      throw RPCError.refusal(
        .unauthenticated, .credentialRefused, "the role \(role) is for principals of the tenant \(Caller.platformTenant) alone")
    }
  }

  /// Writes down that a key was used; no call waits for it.
  private func note(_ key: ApiKey, at now: Int64) {
    let database = environment.database
    Task { _ = try? await database.transaction("identity.key_used") { try IdentityStore.used(key, at: now, in: $0) } }
  }

  private static func hash(_ token: Substring) -> [UInt8] {
    var hash = Crypto.SHA256()
    var token = token
    token.withUTF8 { hash.update(bufferPointer: UnsafeRawBufferPointer($0)) }
    return Array(hash.finalize())
  }

  private func forget() {
    known.withLock { known in
      known.changes += 1
      known.principals.removeAll(keepingCapacity: true)
    }
    review()
  }

  private func unauthenticated(_ message: String) -> RPCError { .refusal(.unauthenticated, .unauthenticated, message) }
  private func refused(_ message: String) -> RPCError { .refusal(.unauthenticated, .credentialRefused, message) }
}

extension Authenticator: CommitObserver {
  /// Whatever changes identity writes an audit record, in the same commit.
  public func committed(_ items: [any CommitItem]) {
    if items.contains(where: { ($0 as? LogEvent)?.header.producer == IdentityServer.producer }) { forget() }
  }

  /// What was committed last is not known by its events.
  public func recovered(_ snapshot: borrowing Snapshot) { forget() }
}

/// A key as its owner holds it: a prefix, by which leaked ones are found, and 256 random bits.
struct SecretKey: Sendable {
  static let prefix = "swk_"

  let text: String
  let hash: [UInt8]

  init() {
    var random = SystemRandomNumberGenerator()
    let bits = (0..<4).flatMap { _ in withUnsafeBytes(of: random.next() as UInt64) { Array($0) } }
    text = Self.prefix + Base64URL.encode(bits)
    hash = Array(Crypto.SHA256.hash(data: Array(text.utf8)))
  }
}

extension PeerCertificate {
  /// What a binding can name it by, the most particular first.
  var names: [String] {
    uris.map { "uri:" + $0 } + emails.map { "email:" + $0 } + dnsNames.map { "dns:" + $0 } + ipAddresses.map { "ip:" + $0 }
      + (subject.isEmpty ? [] : ["subject:" + subject])
  }
}

extension Principal {
  /// The same with what is bound to it.
  func with(_ bindings: [RoleBinding]) -> Principal {
    if bindings.isEmpty { return self }
    func joined(_ own: [String], _ more: [[String]]) -> [String] {
      more.joined().reduce(into: own) { if !$0.contains($1) { $0.append($1) } }
    }
    return Principal(
      kind: kind, id: id, tenant: tenant,
      organization: organization.isEmpty ? bindings.lazy.map(\.orgID).first { !$0.isEmpty } ?? "" : organization,
      roles: joined(roles, bindings.map(\.roles)), scopes: scopes, segments: joined(segments, bindings.map(\.segments)), surface: surface,
      onBehalfOf: onBehalfOf)
  }
}
