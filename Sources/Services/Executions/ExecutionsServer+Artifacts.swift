import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// The registry of artifacts: what there is, of what it was made, and its content by SHA-256.
extension ExecutionsServer {
  public func registerArtifact(_ request: RegisterArtifactRequest, context: ServerContext) async throws -> Artifact {
    var validation = Validation()
    validation.idempotencyKey(request.idempotencyKey)
    validation.optionalID(request.artifactID, "artifact_id")
    validation.id(request.artifactType, "artifact_type")
    validation.ids(request.parentArtifacts, "parent_artifacts", max: ExecutionsLimits.parents)
    validation.check(Set(request.parentArtifacts).count == request.parentArtifacts.count, "parent_artifacts", "names one twice")
    validation.optionalID(request.sessionID, "session_id")
    ExecutionValidation.object(request.semanticDescriptor, "semantic_descriptor", &validation)
    let (tenant, execution) = try await scope(request.claim, context, &validation)
    let (journal, stamp) = (journal, ExecutionStamp(environment))
    let now = Google_Protobuf_Timestamp(nanosecondsSinceEpoch: stamp.now)
    let artifact = Artifact(
      artifactID: request.artifactID.isEmpty ? environment.ids.next(.artifact) : request.artifactID, artifactType: request.artifactType,
      tenantID: tenant,
      producedBy: execution.map { ProducedBy(intentType: $0.intent?.intentType ?? "", executionID: $0.executionID) },
      lifecycleState: .pending, semanticDescriptor: request.semanticDescriptor, parentArtifacts: request.parentArtifacts,
      sessionID: execution?.intent?.sessionID ?? request.sessionID, sandbox: execution?.sandbox ?? false, createdAt: now, updatedAt: now)
    // A handler's artifact is one by its name in its execution; an operator's by the key of the request.
    let once = execution == nil ? IdempotencyKey(request.idempotencyKey, request, context) : nil
    let claim = request.claim
    return try await environment.database.transaction("exec.artifact") { transaction -> Artifact in
      guard let once else { return try Self.register(artifact, execution, claim, journal, stamp, transaction) }
      return try transaction.once(once, at: stamp.now) {
        try Self.register(artifact, nil, nil, journal, stamp, transaction)
      }
    }.value
  }

  private static func register(
    _ artifact: Artifact, _ execution: Execution?, _ claim: ExecutionClaim?, _ journal: ExecutionJournal, _ stamp: ExecutionStamp,
    _ transaction: borrowing Transaction
  ) throws -> Artifact {
    if let known = try ArtifactStore.artifact(transaction, tenant: artifact.tenantID, id: artifact.artifactID) {
      guard execution != nil, known.producedBy == artifact.producedBy, known.artifactType == artifact.artifactType else {
        throw RPCError.alreadyExists("there is an artifact \(artifact.artifactID) already")
      }
      return known
    }
    if let claim { _ = try journal.claimed(claim, transaction) }
    // What is made now has no descendants: with parents that are there before it, no cycle can come about.
    for parent in artifact.parentArtifacts { try check(parent, of: artifact, transaction) }
    try ArtifactStore.insert(artifact, transaction)
    try tell(artifact, execution, journal, stamp, transaction)
    return artifact
  }

  private static func check(_ parent: String, of artifact: Artifact, _ transaction: borrowing Transaction) throws {
    func refuse(_ why: String) -> RPCError { .precondition(.artifactLineageInvalid, why) }
    if parent == artifact.artifactID { throw refuse("an artifact is not its own parent: lineage has no cycles") }
    guard let known = try ArtifactStore.artifact(transaction, tenant: artifact.tenantID, id: parent) else {
      throw RPCError.missing(
        .artifactLineageInvalid, "the parent \(parent) is unknown: it is registered before what is made of it")
    }
    if known.sandbox, !artifact.sandbox { throw refuse("the parent \(parent) was made in a sandbox") }
    if known.lifecycleState == .deleted || known.lifecycleState == .failed {
      throw refuse("the parent \(parent) is \(known.lifecycleState.word)")
    }
  }

  public func uploadArtifact(_ requests: RequestStream<UploadArtifactRequest>, context: ServerContext) async throws -> Artifact {
    guard let first = try await requests.next(), case .header(let header)? = first.part else {
      throw RPCError.invalidField("header", "must be the first message")
    }
    var validation = Validation()
    validation.id(header.artifactID, "header.artifact_id")
    validation.text(header.format, "header.format", max: 100)
    validation.check(
      header.sha256.isEmpty
        || header.sha256.utf8.count == 64 && header.sha256.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) },
      "header.sha256", "must be 64 hexadecimal digits, in lower case")
    let (tenant, execution) = try await scope(header.claim, context, &validation)
    // Nothing is read for an artifact that takes no content.
    let known = try await find(header.artifactID, tenant)
    try Self.checkTakesContent(known, execution)
    var (content, hash) = ([UInt8](), SHA256())
    while let request = try await requests.next() {
      guard case .chunk(let chunk)? = request.part else { throw RPCError.invalidField("chunk", "must follow the header") }
      guard content.count + chunk.count <= ExecutionsLimits.contentBytes else {
        throw RPCError.refusal(
          .resourceExhausted, .invalidFields, "content of an artifact has at most \(ExecutionsLimits.contentBytes) bytes")
      }
      content += chunk
      hash.update(chunk)
    }
    let sha256 = SHA256.hex(hash.finish())
    guard header.sha256.isEmpty || header.sha256 == sha256 else {
      throw RPCError.precondition(.contentMismatch, "the content hashes to \(sha256), not to \(header.sha256)")
    }
    let (journal, stamp, whole) = (journal, ExecutionStamp(environment), content)
    return try await environment.database.transaction("exec.content") { transaction -> Artifact in
      if let claim = header.claim { _ = try journal.claimed(claim, transaction) }
      guard var artifact = try ArtifactStore.artifact(transaction, tenant: tenant, id: header.artifactID) else {
        throw Self.unknownArtifact(header.artifactID)
      }
      // The same content in the same form again: it is there.
      if artifact.materializations.contains(where: { $0.sha256 == sha256 && $0.format == header.format }) { return artifact }
      try Self.checkTakesContent(artifact, execution)
      try ArtifactStore.keep(whole, sha256: sha256, tenant: tenant, transaction)
      artifact.materializations.append(
        Materialization(
          format: header.format, sha256: sha256, sizeBytes: UInt64(whole.count), createdAt: .init(nanosecondsSinceEpoch: stamp.now)))
      artifact.lifecycleState = .ready
      artifact.updatedAt = .init(nanosecondsSinceEpoch: stamp.now)
      try ArtifactStore.update(artifact, transaction)
      try Self.tell(artifact, execution, journal, stamp, transaction)
      return artifact
    }.value
  }

  /// One that waits for content takes it, and one that has some takes it in further forms.
  private static func checkTakesContent(_ artifact: Artifact, _ execution: Execution?) throws {
    if let execution, artifact.producedBy?.executionID != execution.executionID {
      throw RPCError.denied(.policyDenied, rule: "CLAIM-SCOPE", "the artifact was made by another execution")
    }
    guard artifact.lifecycleState == .pending || artifact.lifecycleState == .ready else {
      throw RPCError.precondition(
        .artifactTransitionInvalid, "the artifact is \(artifact.lifecycleState.word); only one that is pending or ready takes content")
    }
    guard artifact.materializations.count < ExecutionsLimits.materializations else {
      throw RPCError.resourceExhausted("an artifact has at most \(ExecutionsLimits.materializations) forms")
    }
  }

  public func setArtifactState(_ request: SetArtifactStateRequest, context: ServerContext) async throws -> Artifact {
    var validation = Validation()
    validation.idempotencyKey(request.idempotencyKey)
    validation.id(request.artifactID, "artifact_id")
    validation.given(request.state, "state")
    validation.optionalText(request.reason, "reason", max: ExecutionsLimits.messageLetters)
    let (tenant, execution) = try await scope(request.claim, context, &validation)
    let caller = try Caller(context)
    let (journal, stamp, once) = (journal, ExecutionStamp(environment), IdempotencyKey(request.idempotencyKey, request, context))
    let audit = AuditRecorded(
      action: "artifact.\(request.state.word)", target: request.artifactID, actor: caller.id, actorKind: "\(caller.kind)",
      decision: "allow", reason: request.reason, method: context.method.path)
    return try await environment.database.transaction("exec.artifact.state") { transaction -> Artifact in
      try transaction.once(once, at: stamp.now) {
        guard var artifact = try ArtifactStore.artifact(transaction, tenant: tenant, id: request.artifactID) else {
          throw Self.unknownArtifact(request.artifactID)
        }
        if let execution, artifact.producedBy?.executionID != execution.executionID {
          throw RPCError.denied(.policyDenied, rule: "CLAIM-SCOPE", "the artifact was made by another execution")
        }
        guard ArtifactStateMachine.allows(artifact.lifecycleState, to: request.state) else {
          let exits = ArtifactStateMachine.exits(of: artifact.lifecycleState).map(\.word).joined(separator: " or ")
          throw RPCError.precondition(
            .artifactTransitionInvalid,
            "the artifact is \(artifact.lifecycleState.word)\(exits.isEmpty ? " for good" : " and can become \(exits)")")
        }
        if request.state == .deleted {
          for form in artifact.materializations { try ArtifactStore.release(sha256: form.sha256, tenant: tenant, transaction) }
          artifact.materializations = []
        }
        artifact.lifecycleState = request.state
        artifact.reason = request.reason
        artifact.updatedAt = .init(nanosecondsSinceEpoch: stamp.now)
        try ArtifactStore.update(artifact, transaction)
        try Self.tell(artifact, execution, journal, stamp, transaction)
        if execution == nil { try journal.append(audit, tenant: tenant, at: stamp, transaction) }
        return artifact
      }
    }.value
  }

  // MARK: Reading

  public func resolveArtifact(_ request: ResolveArtifactRequest, context: ServerContext) async throws -> ResolvedArtifact {
    var validation = Validation()
    validation.id(request.artifactID, "artifact_id")
    let (tenant, _) = try await scope(request.claim, context, &validation)
    return try await environment.database.scan { snapshot -> ResolvedArtifact in
      guard let artifact = try ArtifactStore.artifact(snapshot, tenant: tenant, id: request.artifactID) else {
        throw Self.unknownArtifact(request.artifactID)
      }
      var (ancestors, seen) = ([Artifact](), Set([artifact.artifactID]))
      var waiting = artifact.parentArtifacts[...]
      while let id = waiting.popFirst(), ancestors.count < ExecutionsLimits.ancestors {
        guard seen.insert(id).inserted, let ancestor = try ArtifactStore.artifact(snapshot, tenant: tenant, id: id) else { continue }
        ancestors.append(ancestor)
        waiting += ancestor.parentArtifacts
      }
      return ResolvedArtifact(artifact: artifact, ancestors: ancestors)
    }
  }

  public func listArtifacts(_ request: ListArtifactsRequest, context: ServerContext) async throws -> ListArtifactsResponse {
    let tenant = try Caller(context).tenant
    var validation = Validation()
    validation.optionalID(request.artifactType, "artifact_type")
    validation.optionalID(request.sessionID, "session_id")
    validation.optionalID(request.executionID, "execution_id")
    validation.optionalID(request.parentArtifact, "parent_artifact")
    validation.known(request.state, "state")
    let size = pageSize(request.pageSize, &validation)
    try validation.finish()
    let after = try PageToken.decode(request.pageToken)
    let page = try await environment.database.scan {
      try ArtifactStore.page($0, tenant: tenant, request, after: after, limit: size + 1)
    }
    return ListArtifactsResponse(
      artifacts: Array(page.prefix(size)), nextPageToken: page.count > size ? PageToken.encode(page[size - 1].artifactID) : "")
  }

  public func readArtifact(
    _ request: ReadArtifactRequest, responses: ResponseWriter<ArtifactChunk>, context: ServerContext
  ) async throws {
    var validation = Validation()
    validation.id(request.artifactID, "artifact_id")
    validation.optionalText(request.format, "format", max: 100)
    let (tenant, _) = try await scope(request.claim, context, &validation)
    let artifact = try await find(request.artifactID, tenant)
    guard let form = artifact.materializations.first(where: { request.format.isEmpty || $0.format == request.format }) else {
      throw RPCError.precondition(
        .artifactNotFound,
        "the artifact is \(artifact.lifecycleState.word) and has no content\(request.format.isEmpty ? "" : " as \(request.format)")")
    }
    let pieces = try await environment.database.scan { try ArtifactStore.pieces($0, sha256: form.sha256, tenant: tenant) }
    var hash = SHA256()
    for piece in pieces { hash.update(piece) }
    guard SHA256.hex(hash.finish()) == form.sha256 else {
      throw RPCError(.dataLoss, "the content of \(artifact.artifactID) is not what was stored under \(form.sha256)")
    }
    for piece in pieces { try await responses.write(ArtifactChunk(data: piece)) }
  }

  // MARK: Inside

  static func unknownArtifact(_ id: String) -> RPCError { .missing(.artifactNotFound, "there is no artifact \(id)") }

  private func find(_ id: String, _ tenant: String) async throws -> Artifact {
    guard let artifact = try await environment.database.read({ try ArtifactStore.artifact($0, tenant: tenant, id: id) }) else {
      throw Self.unknownArtifact(id)
    }
    return artifact
  }

  /// Whose artifacts a request is about: the claim's, or without one the caller's. A worker has a claim.
  private func scope(
    _ claim: ExecutionClaim?, _ context: ServerContext, _ validation: inout Validation
  ) async throws -> (tenant: String, execution: Execution?) {
    let caller = try Caller(context)
    guard claim != nil || caller.kind == .worker && Caller.service(of: context) == nil else {
      try validation.finish()
      return (caller.tenant, nil)
    }
    let execution = try await admit(claim, context, &validation)
    return (execution.intent?.tenantID ?? "", execution)
  }

  /// Tells of an artifact as it is now.
  private static func tell(
    _ artifact: Artifact, _ execution: Execution?, _ journal: ExecutionJournal, _ stamp: ExecutionStamp,
    _ transaction: borrowing Transaction
  ) throws {
    let changed = ArtifactChanged(
      artifactID: artifact.artifactID, artifactType: artifact.artifactType, state: artifact.lifecycleState.word,
      sha256: artifact.materializations.last?.sha256 ?? "", reason: artifact.reason)
    if let execution {
      try journal.tell(changed, execution, at: stamp, transaction)
    } else {
      try journal.append(changed, tenant: artifact.tenantID, session: artifact.sessionID, at: stamp, transaction)
    }
  }
}
