import SpanwireDatabase
import SpanwireEventLog
import SpanwireEventLoop
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Synchronization

/// Flags: the registry defines them, everybody asks for them, and whoever listens is told of a change.
///
/// A tenant's flags are read once and evaluated from memory, on the loop: a flag without a rule is a look-up, and a rule has a bound.
public final class FlagsServer: FlagsService {
  let environment: ServiceEnvironment
  let book: FlagBook
  let policy: PolicyClient
  /// Whose flags callers without a credential ask for, as OpenFeature's stock clients do; nil: they are refused.
  private let anonymousTenant: String?

  /// The service's name, as which it reads the registry.
  static let producer = "flags"

  public static let migrations = FlagStageStore.migrations

  /// - Parameters:
  ///   - registry: where the flags are defined.
  ///   - policy: says who may move them, and which approvals stand.
  public init(environment: ServiceEnvironment, registry: RegistryClient, policy: PolicyClient, anonymousTenant: String? = nil) {
    self.environment = environment
    self.policy = policy
    self.anonymousTenant = anonymousTenant
    book = FlagBook(registry, environment.database)
    environment.database.observe(book.cache)
  }

  /// Why the registry must not take a flag's rule; nil when it may.
  public static func problem(inTargeting targeting: Google_Protobuf_Struct) -> String? { CompiledFlags.problem(inTargeting: targeting) }

  // MARK: What operators ask

  public func getFlags(_ request: GetFlagsRequest, context: ServerContext) async throws -> FlagConfiguration {
    let flags = try await flags(of: try Caller(context).tenant)
    return FlagConfiguration(json: flags.json, registryRevision: flags.revision, platformRevision: flags.platformRevision)
  }

  public func evaluateFlag(_ request: EvaluateFlagRequest, context: ServerContext) async throws -> EvaluateFlagResponse {
    let tenant = try Caller(context).tenant
    var fields = Validation()
    fields.text(request.flagKey, "flag_key", max: FlagLimits.keyBytes)
    try fields.finish()
    let set = try await flags(of: tenant).set
    let asking = self.asking(request.context, at: request.now?.nanosecondsSinceEpoch)
    do throws(FlagError) {
      let found = try set.resolve(request.flagKey, for: asking)
      return EvaluateFlagResponse(
        value: found.value?.contract, variant: found.variant ?? "", reason: found.reason.rawValue,
        metadata: found.metadata.isEmpty ? nil : FlagValue.contract(found.metadata))
    } catch {
      return EvaluateFlagResponse(reason: "ERROR", errorCode: error.code, errorMessage: error.message)
    }
  }

  // MARK: What clients ask

  /// Whose flags a caller sees.
  func tenant(of context: ServerContext) throws -> String {
    let subject = context.principal.subject
    if !subject.tenant.isEmpty { return subject.tenant }
    guard let anonymousTenant else {
      throw RPCError.failedPrecondition("flags are for callers with a credential; this server names no tenant for those without one")
    }
    return anonymousTenant
  }

  /// A tenant's flags as they are.
  func flags(of tenant: String) async throws -> FlagBook.Snapshot { try await book.flags(of: tenant, now: environment.clock.now) }

  func asking(_ context: Google_Protobuf_Struct?, at now: Int64? = nil) -> FlagContext {
    var attributes = context.map(FlagValue.members) ?? [:]
    var key: String?
    if case .string(let text)? = attributes.removeValue(forKey: "targetingKey") { key = text }
    return FlagContext(attributes, targetingKey: key, now: (now ?? environment.clock.now) / 1_000_000_000)
  }

  /// Tells of a tenant's flags now, and again whenever they change, until the caller goes or the server stops.
  func follow(
    _ tenant: String, _ context: ServerContext, _ tell: (_ now: FlagBook.Snapshot, _ before: FlagBook.Snapshot?) async throws -> Void
  ) async throws {
    // The log says that there is something new in a registry; the registry says what.
    let (wakes, wake) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let (log, cache) = (environment.log, book.cache)
    let follower = Task {
      defer { wake.finish() }
      try await log.deliver(
        LogFilter(types: ["registry.*", "policy.flag.transitioned"], tenant: nil), from: .now,
        to: LogSink(
          take: { delivery in
            guard case .event(let event) = delivery else { return true }
            if [tenant, Caller.platformTenant].contains(cache.tenant(changedBy: event)) { wake.yield() }
            return true
          }, drained: {}))
    }
    let token = context.onCancel {
      follower.cancel()
      wake.finish()
    }
    defer {
      context.forget(token)
      follower.cancel()
    }
    var told = try await flags(of: tenant)
    try await tell(told, nil)
    wake.yield()  // what changed before the log was followed
    for await _ in wakes {
      try context.checkCancellation()
      let now = try await book.committedFlags(of: tenant, now: environment.clock.now)
      // Most changes of a registry are none of its flags.
      guard now.json != told.json else { continue }
      try await tell(now, told)
      told = now
    }
    try context.checkCancellation()
    throw RPCError.unavailable("the server stops; ask again")
  }
}

extension FlagSet {
  struct Change {
    enum Kind { case added, changed, removed }
    var key: String
    var kind: Kind
  }

  /// What is new, other or gone, in the order of the keys.
  func changes(since former: FlagSet) -> [Change] {
    Set(flags.keys).union(former.flags.keys).sorted().compactMap { key in
      switch (former.flags[key], flags[key]) {
      case (nil, _): Change(key: key, kind: .added)
      case (_, nil): Change(key: key, kind: .removed)
      case (let old, let new): old == new && former.metadata == metadata ? nil : Change(key: key, kind: .changed)
      }
    }
  }
}

extension FlagError {
  /// OpenFeature's code.
  var code: String {
    switch self {
    case .notFound: "FLAG_NOT_FOUND"
    case .typeMismatch: "TYPE_MISMATCH"
    case .targeting: "PARSE_ERROR"
    case .variantMissing: "GENERAL"
    }
  }

  var message: String {
    switch self {
    case .notFound(let key): "there is no flag \(key)"
    case .typeMismatch(let expected, let found): "the flag holds \(found), not what is asked for: \(expected.rawValue)"
    case .targeting(let why): "the flag's rule can't be evaluated: \(why)"
    case .variantMissing(let variant): "the flag has no variant \(variant)"
    }
  }

  /// As flagd answers, so that its clients make the right error of it.
  var status: RPCError {
    switch self {
    case .notFound: .refusal(.notFound, .flagNotFound, message)
    case .typeMismatch: .refusal(.invalidArgument, .flagTypeMismatch, message)
    case .targeting: .refusal(.dataLoss, .flagRuleInvalid, message)
    case .variantMissing: .refusal(.internal, .flagRuleInvalid, message)
    }
  }
}
