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
    try await authorise(caller)
    let source = request.source.map(BundleText.init) ?? .none
    // Another Apply may come between the comparison and the transaction; then it is compared anew.
    for _ in 0..<RegistryLimits.applyAttempts {
      let changes = try await changeSet(source, tenant: caller.tenant)
      if request.dryRun {
        return ApplyResponse(revision: changes.base, contentHash: changes.contentHash, changes: changes.changes, warnings: changes.warnings)
      }
      if let response = try await commit(changes, request, context) { return response }
    }
    throw RPCError.aborted("the registry changed while the bundle was judged; try again")
  }

  public func diff(_ request: DiffRequest, context: ServerContext) async throws -> DiffResponse {
    var validation = Validation()
    if request.source == nil { validation.add("bundle_yaml", "a bundle must be given, as YAML or as a message") }
    try validation.finish()
    let source = request.source.map(BundleText.init) ?? .none
    let changes = try await changeSet(source, tenant: try Caller(context).tenant)
    return DiffResponse(baseRevision: changes.base, changes: changes.changes)
  }

  // MARK: Reading

  public func getDefinition(_ request: GetDefinitionRequest, context: ServerContext) async throws -> Definition {
    let tenant = try Caller(context).tenant
    var validation = Validation()
    checkKind(request.kind, required: true, &validation)
    validation.id(request.id, "id")
    try validation.finish()
    let key = DefinitionKey(request.kind, request.id)
    guard let definition = try await environment.database.read({ try RegistryStore.definition($0, tenant, key) }) else {
      throw RPCError.missing(.definitionNotFound, "there is no \(key.kind.word) \(key.id)")
    }
    return definition
  }

  public func listDefinitions(_ request: ListDefinitionsRequest, context: ServerContext) async throws -> ListDefinitionsResponse {
    let tenant = try Caller(context).tenant
    var validation = Validation()
    checkKind(request.kind, required: false, &validation)
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
      let revision = try RegistryStore.head(snapshot, tenant).revision
      do {
        return try RuntimeConfigResolver.resolve(request, revision: revision) { key in
          try RegistryStore.definition(snapshot, tenant, key)?.value
        }
      } catch let refusal as RuntimeConfigResolver.Refusal {
        throw refusal.error
      }
    }
    let hash = SHA256.hash(config.encoded())
    config.contentHash = "sha256:" + SHA256.hex(hash)
    config.snapshotRef = SnapshotReference.text(hash)
    let (resolved, now) = (config, environment.clock.now)
    // The reference names the content, so a snapshot that is there needs no second writing.
    let known = try await environment.database.read { try RegistryStore.snapshot($0, tenant, resolved.snapshotRef) != nil }
    if !known {
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

  private func checkKind(_ kind: DefinitionKind, required: Bool, _ validation: inout Validation) {
    if kind == .unspecified ? required : !DefinitionKind.known.contains(kind) {
      validation.add("kind", "must be a known kind of definition")
    }
  }

  // MARK: Inside

  private func changeSet(_ source: BundleText, tenant: String) async throws -> RegistryChangeSet {
    let checks = checks
    return try await environment.database.scan { snapshot in
      try RegistryChangeSet(applying: source.read(), tenant: tenant, checks: checks, snapshot)
    }
  }
}

/// A bundle as it came, unread: reading it takes milliseconds and is done away from the loop.
enum BundleText: Sendable {
  case none
  case yaml(String)
  case message(Bundle)

  init(_ source: ApplyRequest.Source) {
    switch source {
    case .bundleYaml(let text): self = .yaml(text)
    case .bundle(let bundle): self = .message(bundle)
    }
  }

  init(_ source: DiffRequest.Source) {
    switch source {
    case .bundleYaml(let text): self = .yaml(text)
    case .bundle(let bundle): self = .message(bundle)
    }
  }

  func read() -> ReadBundle {
    switch self {
    case .none: ReadBundle()
    case .yaml(let text): BundleReader.read(yaml: text)
    case .message(let bundle): BundleReader.read(bundle)
    }
  }
}

/// `SNAP-` and 26 letters of Crockford's alphabet, like every id, made of the content's hash.
enum SnapshotReference {
  static func text(_ hash: [UInt8]) -> String {
    func word(_ start: Int) -> UInt64 { hash[start..<start + 8].reduce(0) { $0 << 8 | UInt64($1) } }
    return ULID(high: word(0), low: word(8)).text(.snapshot)
  }
}
