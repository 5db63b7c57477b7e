import SpanwireDatabase
import SpanwireEventLog
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// The registry: versioned definitions, taken in bundles whole or not at all, and the configuration that sessions run on.
public final class RegistryServer: RegistryService {
  let environment: ServiceEnvironment
  private let lem: LemClient
  let policy: PolicyClient
  private let checks: BundleChecks

  public static let migrations = RegistryStore.migrations

  public init(environment: ServiceEnvironment, lem: LemClient, policy: PolicyClient, checks: BundleChecks) {
    self.environment = environment
    self.lem = lem
    self.policy = policy
    self.checks = checks
  }

  // MARK: Changing

  public func apply(_ request: ApplyRequest, context: ServerContext) async throws -> ApplyResponse {
    let caller = try Caller(context)
    var validation = Validation()
    if !request.dryRun { validation.idempotencyKey(request.idempotencyKey) }
    validation.optionalText(request.reason, "reason", max: RegistryLimits.reasonLetters)
    if request.source == nil { validation.add("bundle_yaml", "a bundle must be given, as YAML or as a message") }
    try validation.finish()
    guard let source = BundleSource(request.source) else { preconditionFailure("validated above") }
    try await policy.authorise(caller, to: .write, "registry_definitions")
    if request.dryRun {
      let changes = try await changeSet(source, tenant: caller.tenant)
      return changes.response(at: changes.base)
    }
    return try await change(
      to: source,
      ChangeWish(
        caller: caller, reason: request.reason, key: IdempotencyKey(request.idempotencyKey, request, context), trace: context.trace))
  }

  public func rollback(_ request: RollbackRequest, context: ServerContext) async throws -> ApplyResponse {
    let caller = try Caller(context)
    var validation = Validation()
    validation.idempotencyKey(request.idempotencyKey)
    validation.text(request.reason, "reason", max: RegistryLimits.reasonLetters)
    try validation.finish()
    try await policy.authorise(caller, to: .write, "registry_definitions")
    return try await change(
      to: .revision(request.revision),
      ChangeWish(
        caller: caller, reason: request.reason, key: IdempotencyKey(request.idempotencyKey, request, context), trace: context.trace,
        rollsBackTo: request.revision))
  }

  public func diff(_ request: DiffRequest, context: ServerContext) async throws -> DiffResponse {
    guard let source = BundleSource(request.source) else {
      throw RPCError.invalidField("bundle_yaml", "a bundle must be given, as YAML or as a message, or a revision")
    }
    let tenant = try Caller(context).tenant
    let checks = checks
    return try await environment.database.scan { snapshot in
      do {
        let changes = try RegistryChangeSet(applying: source, tenant: tenant, checks: checks, snapshot)
        return DiffResponse(baseRevision: changes.base, changes: changes.changes, warnings: changes.warnings.map(\.contract))
      } catch let refusal as RegistryChangeSet.Refusal {
        return DiffResponse(
          baseRevision: try RegistryStore.head(snapshot, tenant).revision,
          problems: refusal.problems.prefix(RegistryLimits.problemsListed).map(\.contract))
      }
    }
  }

  // MARK: Reading

  public func getDefinition(_ request: GetDefinitionRequest, context: ServerContext) async throws -> Definition {
    let tenant = try Caller(context).tenant
    var validation = Validation()
    validation.given(request.kind, "kind")
    validation.id(request.id, "id")
    try validation.finish()
    let key = DefinitionKey(request.kind, request.id)
    let definition = try await environment.database.read { reader in
      request.revision == 0
        ? try RegistryStore.effective(reader, tenant, key)
        : try RegistryStore.definition(reader, tenant, key, at: request.revision)
    }
    guard let definition else {
      let when = request.revision == 0 ? "" : " at revision \(request.revision)"
      throw RPCError.missing(.definitionNotFound, "there is no \(key.kind.word) \(key.id)\(when)")
    }
    return definition
  }

  public func listRevisions(_ request: ListRevisionsRequest, context: ServerContext) async throws -> ListRevisionsResponse {
    let tenant = try Caller(context).tenant
    var validation = Validation()
    validation.known(request.kind, "kind")
    validation.optionalID(request.id, "id")
    validation.check(request.id.isEmpty == (request.kind == .unspecified), "id", "a definition is named by its kind and its id")
    let size = validation.pageSize(
      request.pageSize, default: RegistryLimits.defaultRevisionPageSize, max: RegistryLimits.revisionPageSize)
    try validation.finish()
    let token = try PageToken.decode(request.pageToken)
    guard let before = token.isEmpty ? UInt64(Int64.max) : UInt64(token) else {
      throw RPCError.invalidField("page_token", "is not one that was given out", reason: .pageTokenInvalid)
    }
    let key = request.id.isEmpty ? nil : DefinitionKey(request.kind, request.id)
    let page = try await environment.database.scan { try RegistryStore.revisions($0, tenant, of: key, before: before, limit: size + 1) }
    var response = ListRevisionsResponse(revisions: page.prefix(size).map(\.change))
    if page.count > size, let last = response.revisions.last { response.nextPageToken = PageToken.encode(String(last.revision)) }
    return response
  }

  public func listDefinitions(_ request: ListDefinitionsRequest, context: ServerContext) async throws -> ListDefinitionsResponse {
    let caller = try Caller(context)
    let tenant = request.shared ? Caller.platformTenant : caller.tenant
    var validation = Validation()
    validation.known(request.kind, "kind")
    let size = validation.pageSize(request.pageSize, default: RegistryLimits.defaultPageSize, max: RegistryLimits.maxPageSize)
    try validation.finish()
    let after = try PageToken.decode(request.pageToken)
    let place = after.isEmpty ? nil : DefinitionKey(name: after)
    let kind = request.kind == .unspecified ? nil : request.kind
    let (page, revision) = try await environment.database.scan { snapshot in
      (
        try RegistryStore.definitions(snapshot, tenant, kind: kind, after: place, limit: size + 1),
        try RegistryStore.head(snapshot, tenant).revision
      )
    }
    var response = ListDefinitionsResponse(definitions: Array(page.prefix(size)), revision: revision)
    if page.count > size, let last = response.definitions.last?.value?.key {
      response.nextPageToken = PageToken.encode(last.name)
    }
    return response
  }

  public func getSnapshot(_ request: GetSnapshotRequest, context: ServerContext) async throws -> RuntimeConfig {
    let tenant = try Caller(context).tenant
    var validation = Validation()
    validation.id(request.snapshotRef, "snapshot_ref")
    try validation.finish()
    let reference = request.snapshotRef
    guard let config = try await environment.database.read({ try RegistryStore.snapshot($0, tenant, reference) }) else {
      throw RPCError.missing(.snapshotNotFound, "there is no snapshot \(reference)")
    }
    return config
  }

  // MARK: Resolving

  public func resolveRuntimeConfig(_ request: ResolveRuntimeConfigRequest, context: ServerContext) async throws -> RuntimeConfig {
    let tenant = try Caller(context).tenant
    try validate(request)
    var config = try await environment.database.read { snapshot in
      do {
        var config = try RuntimeConfigResolver.resolve(request) { try RegistryStore.effective(snapshot, tenant, $0)?.value }
        config.registryRevision = try RegistryStore.head(snapshot, tenant).revision
        config.platformRevision = try RegistryStore.head(snapshot, Caller.platformTenant).revision
        return config
      } catch let refusal as RuntimeConfigResolver.Refusal {
        throw refusal.error
      }
    }
    let hash = SHA256.hash(config.encoded())
    config.contentHash = "sha256:" + SHA256.hex(hash)
    config.snapshotRef = SnapshotReference.text(hash)
    let (resolved, now) = (config, environment.clock.now)
    // The reference names the content, so a snapshot that is there needs no second writing.
    if try await !environment.database.read({ try RegistryStore.hasSnapshot($0, tenant, resolved.snapshotRef) }) {
      _ = try await environment.database.transaction("registry.snapshot") { transaction in
        try RegistryStore.put(resolved, tenant: tenant, now: now, transaction)
      }
    }
    return resolved
  }

  private func validate(_ request: ResolveRuntimeConfigRequest) throws {
    var validation = Validation()
    if request.productID.isEmpty == request.productVersionID.isEmpty {
      validation.add("product_id", "exactly one of product_id and product_version_id must be given")
    }
    validation.optionalID(request.productID, "product_id")
    validation.optionalID(request.productVersionID, "product_version_id")
    validation.id(request.marketCode, "market_code")
    validation.optionalID(request.userID, "user_id")
    validation.optionalID(request.avatarID, "avatar_id")
    if request.segments.count > RegistryLimits.segments {
      validation.add("segments", "at most \(RegistryLimits.segments) segments")
    }
    for (index, segment) in request.segments.enumerated() { validation.id(segment, "segments[\(index)]") }
    if request.experimentKeys.count > RegistryLimits.experimentKeys {
      validation.add("experiment_keys", "at most \(RegistryLimits.experimentKeys) experiments")
    }
    for (index, key) in request.experimentKeys.enumerated() { validation.id(key, "experiment_keys[\(index)]") }
    if !request.experimentKeys.isEmpty, request.userID.isEmpty, request.avatarID.isEmpty {
      validation.add("user_id", "an experiment assigns a user or an avatar: one of them must be given")
    }
    try validation.finish()
  }

  // MARK: Inside

  /// What a source would change; throws INVALID_ARGUMENT with everything that stands against it.
  func changeSet(_ source: BundleSource, tenant: String) async throws -> RegistryChangeSet {
    let checks = checks
    return try await environment.database.scan { snapshot in
      do {
        return try RegistryChangeSet(applying: source, tenant: tenant, checks: checks, snapshot)
      } catch let refusal as RegistryChangeSet.Refusal {
        throw BundleRefusal.error(refusal.problems)
      }
    }
  }
}

extension BundleProblem {
  fileprivate var contract: Problem { Problem(path: path, line: UInt32(line ?? 0), text: text) }
}

/// `SNAP-` and 26 letters of Crockford's alphabet, like every id, made of the content's hash.
enum SnapshotReference {
  static func text(_ hash: [UInt8]) -> String {
    func word(_ start: Int) -> UInt64 { hash[start..<start + 8].reduce(0) { $0 << 8 | UInt64($1) } }
    return ULID(high: word(0), low: word(8)).text(.snapshot)
  }
}
