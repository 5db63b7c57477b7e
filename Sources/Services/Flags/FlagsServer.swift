import SpanwireDatabase
import SpanwireEventLog
import SpanwireEventLoop
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Synchronization

/// Flags: operators set them whole, everybody asks for them, and whoever listens is told of a change.
///
/// A tenant's flags are read once and evaluated from memory, on the loop: a flag without a rule is a look-up, and a rule has a bound.
public final class FlagsServer: FlagsService {
  let environment: ServiceEnvironment
  /// Whose flags callers without a credential ask for, as OpenFeature's stock clients do; nil: they are refused.
  private let anonymousTenant: String?
  private let known = Mutex(Known())

  public static let migrations = FlagStore.migrations

  /// A tenant's flags as they are at a revision.
  struct Snapshot: Sendable {
    var revision: UInt64
    var set: FlagSet
    var json: String

    static let none = Snapshot(revision: 0, set: FlagSet(), json: #"{"flags":{}}"#)
  }

  private struct Known {
    var snapshots: [String: Snapshot] = [:]
    /// Counts changes: what was read while something changed may be older than the change, and is not kept.
    var changes = 0
  }

  public init(environment: ServiceEnvironment, anonymousTenant: String? = nil) {
    self.environment = environment
    self.anonymousTenant = anonymousTenant
  }

  // MARK: What operators do

  public func applyFlags(_ request: ApplyFlagsRequest, context: ServerContext) async throws -> ApplyFlagsResponse {
    let caller = try Caller(context)
    let now = environment.clock.now
    var fields = Validation()
    if !request.validateOnly { fields.idempotencyKey(request.idempotencyKey) }
    fields.check(request.json.utf8.count <= FlagLimits.configurationBytes, "json", "is longer than \(FlagLimits.configurationBytes) bytes")
    fields.text(request.reason, "reason", max: FlagLimits.reasonCharacters)
    try fields.finish()
    let set = try await read(request.json)
    let (environment, trace) = (environment, context.trace)
    let change = { @Sendable (tx: borrowing Transaction) throws -> ApplyFlagsResponse in
      let former = try FlagStore.configuration(of: caller.tenant, in: tx)
      let revision = former?.revision ?? 0
      guard request.expectedRevision == 0 || request.expectedRevision == revision else {
        throw RPCError.failedPrecondition("the flags are at revision \(revision), not at \(request.expectedRevision)")
      }
      let changed = set.changes(since: try former.map { try FlagSet.parse($0.json) } ?? FlagSet())
      guard !changed.isEmpty, !request.validateOnly else {
        return ApplyFlagsResponse(revision: revision, changed: changed.map(\.key))
      }
      try FlagStore.put(
        FlagConfiguration(revision: revision + 1, json: request.json, actor: caller.name, reason: request.reason), at: now,
        tenant: caller.tenant, in: tx)
      try tx.append(
        EventDraft(
          FlagsApplied(
            revision: revision + 1, added: changed.filter { $0.kind == .added }.map(\.key),
            changed: changed.filter { $0.kind == .changed }.map(\.key), removed: changed.filter { $0.kind == .removed }.map(\.key),
            actor: caller.name, reason: request.reason), producer: "flags", tenant: caller.tenant, occurredAt: now, trace: trace),
        environment)
      return ApplyFlagsResponse(revision: revision + 1, changed: changed.map(\.key))
    }
    if request.validateOnly { return try await environment.database.transaction("flags.validate", change).value }
    let key = IdempotencyKey(request.idempotencyKey, request, context)
    defer { forget(caller.tenant) }
    return try await environment.database.transaction("flags.apply") { tx in try tx.once(key, at: now) { try change(tx) } }.value
  }

  public func getFlags(_ request: GetFlagsRequest, context: ServerContext) async throws -> FlagConfiguration {
    let tenant = try Caller(context).tenant
    let stored = try await environment.database.read { try FlagStore.configuration(of: tenant, in: $0) }
    return stored ?? FlagConfiguration(json: Snapshot.none.json)
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

  /// Reads a configuration off the loop: thousands of flags are milliseconds.
  private func read(_ json: String) async throws -> FlagSet {
    do {
      return try await offload { try FlagSet.parse(json) }
    } catch let error as FlagProblems {
      var fields = Validation()
      for problem in error.problems { fields.add(problem.path.isEmpty ? "json" : "json.\(problem.path)", problem.reason) }
      try fields.finish()
      throw error
    } catch is OffloadError {
      throw RPCError.later(.resourceExhausted, .queueFull, "too many configurations are being read", after: .milliseconds(200))
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

  /// A tenant's flags: from memory, or from its row.
  func flags(of tenant: String) async throws -> Snapshot {
    let (held, changes) = known.withLock { ($0.snapshots[tenant], $0.changes) }
    if let held { return held }
    let snapshot = try await environment.database.scan { reader -> Snapshot in
      guard let stored = try FlagStore.configuration(of: tenant, in: reader) else { return .none }
      return Snapshot(revision: stored.revision, set: try FlagSet.parse(stored.json), json: stored.json)
    }
    known.withLock { known in
      guard known.changes == changes else { return }
      if known.snapshots.count >= FlagLimits.tenantsInMemory { known.snapshots.removeAll() }
      known.snapshots[tenant] = snapshot
    }
    return snapshot
  }

  /// The same, but no older than what is committed: who is told of a change by the log may be told before memory is.
  private func committedFlags(of tenant: String) async throws -> Snapshot {
    let revision = try await environment.database.read { try FlagStore.revision(of: tenant, in: $0) }
    let held = try await flags(of: tenant)
    if held.revision >= revision { return held }
    forget(tenant)
    return try await flags(of: tenant)
  }

  private func forget(_ tenant: String) {
    known.withLock { known in
      known.changes += 1
      known.snapshots[tenant] = nil
    }
  }

  func asking(_ context: Google_Protobuf_Struct?, at now: Int64? = nil) -> FlagContext {
    var attributes = context.map(FlagValue.members) ?? [:]
    var key: String?
    if case .string(let text)? = attributes.removeValue(forKey: "targetingKey") { key = text }
    return FlagContext(attributes, targetingKey: key, now: (now ?? environment.clock.now) / 1_000_000_000)
  }

  /// Tells of a tenant's flags now, and again whenever they change, until the caller goes or the server stops.
  func follow(
    _ tenant: String, _ context: ServerContext, _ tell: (_ now: Snapshot, _ before: Snapshot?) async throws -> Void
  ) async throws {
    // The log says that there is something new; the row says what.
    let (wakes, wake) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let log = environment.log
    let follower = Task {
      defer { wake.finish() }
      try await log.deliver(
        LogFilter(types: ["policy.flags.applied"], tenant: tenant), from: .now,
        to: LogSink(
          take: { _ in
            wake.yield()
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
      let now = try await committedFlags(of: tenant)
      guard now.revision != told.revision else { continue }
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
