import SpanwireRPC
import SpanwireSchema
import SpanwireWellKnown

/// Serves an intent: is given a run, works in steps, returns what came of it. The same function serves in the platform's process and in a
/// worker.
///
/// What it throws is a failure, after which the platform tries again; `GiveUp` says that this would not help. It may be called again for
/// an execution that it has begun before: steps that are done are not done again.
public typealias IntentHandler = @Sendable (ExecutionRun) async throws -> HandlerResult

/// An execution in a handler's hands: what is wanted, and the only ways to state, artifacts and records.
public struct ExecutionRun: Sendable {
  /// What is wanted, by whom, in which session and solution.
  public let context: ExecutionContext
  /// What calls to other services are made over.
  public let channel: any Channel
  private let executions: ExecutionsClient
  private let scratchpads = ScratchpadRegistry()

  /// - Parameter channel: to the platform, with the handler's credential.
  public init(context: ExecutionContext, over channel: any Channel) {
    self.context = context
    self.channel = channel
    executions = ExecutionsClient(channel)
  }

  /// The intent's parameters.
  public var parameters: Google_Protobuf_Struct { context.intent?.parameters ?? [:] }

  /// Does a step once: its output is kept, and given again wherever the execution begins anew with the same input.
  ///
  /// - Parameters:
  ///   - id: names the step in its execution.
  ///   - input: what the output depends on; with another input the step is done again.
  ///   - body: is given a scratchpad that is gone when the execution ends.
  public func step(
    _ id: String, input: Google_Protobuf_Struct = [:], _ body: (Scratchpad) async throws -> Google_Protobuf_Struct
  ) async throws -> Google_Protobuf_Struct {
    let begun = try await executions.beginStep(BeginStepRequest(claim: context.claim, stepID: id, input: input))
    if begun.done { return begun.step?.output ?? [:] }
    let output = try await body(scratchpads.pad(of: id))
    _ = try await executions.completeStep(CompleteStepRequest(claim: context.claim, stepID: id, output: output))
    return output
  }

  /// Tells those who follow how far it is.
  public func progress(_ stepID: String, percent: UInt32, _ message: String = "") async throws {
    _ = try await executions.reportProgress(
      ReportProgressRequest(claim: context.claim, stepID: stepID, percent: percent, message: message))
  }

  /// State of the session or of the execution.
  public var state: StateSurface { StateSurface(context: context, executions: executions) }

  /// Artifacts: what executions leave behind.
  public var artifacts: ArtifactRegistry { ArtifactRegistry(context: context, executions: executions) }

  /// Appends a record to the execution's chain in the log.
  ///
  /// - Parameter key: names the record in the execution: appended again under the same key, it is there once.
  @discardableResult
  public func append(_ recordType: String, _ payload: Google_Protobuf_Struct, key: String) async throws -> WalRecord {
    try await executions.appendRecord(
      AppendRecordRequest(idempotencyKey: key, claim: context.claim, recordType: recordType, payload: payload))
  }
}

/// Reads and writes the state of a run's session and execution. In a sandbox the session's is a copy.
public struct StateSurface: Sendable {
  let context: ExecutionContext
  let executions: ExecutionsClient

  /// The session's state; empty at revision 0 when there is none.
  public func session() async throws -> StateDocument {
    try await executions.getState(GetStateRequest(claim: context.claim, key: sessionKey))
  }

  /// Writes the session's state, if it is at that revision still: ABORTED otherwise.
  @discardableResult
  public func setSession(_ state: Google_Protobuf_Struct, ifAt revision: UInt64?, ttl: Duration? = nil) async throws -> StateDocument {
    try await set(sessionKey, state, revision, ttl)
  }

  /// The execution's own state.
  public func execution() async throws -> StateDocument {
    try await executions.getState(GetStateRequest(claim: context.claim, key: executionKey))
  }

  /// Writes the execution's state, if it is at that revision still: ABORTED otherwise.
  @discardableResult
  public func setExecution(_ state: Google_Protobuf_Struct, ifAt revision: UInt64?, ttl: Duration? = nil) async throws -> StateDocument {
    try await set(executionKey, state, revision, ttl)
  }

  private var sessionKey: StateKey { StateKey(scope: .sessionID(context.sessionID)) }
  private var executionKey: StateKey { StateKey(scope: .executionID(context.executionID)) }

  private func set(_ key: StateKey, _ state: Google_Protobuf_Struct, _ revision: UInt64?, _ ttl: Duration?) async throws -> StateDocument {
    let milliseconds = ttl.map { $0.components.seconds * 1_000 + $0.components.attoseconds / 1_000_000_000_000_000 } ?? 0
    return try await executions.setState(
      SetStateRequest(claim: context.claim, key: key, state: state, expectedRevision: revision, ttlMs: milliseconds))
  }
}

/// Registers and reads artifacts.
public struct ArtifactRegistry: Sendable {
  /// Content goes out in pieces of this size, well under a message's limit.
  public static let pieceBytes = 256 << 10

  let context: ExecutionContext
  let executions: ExecutionsClient

  /// Registers an artifact and gives it its content; it is READY then. The same name again in the same execution is the same artifact.
  public func store(
    _ name: String, type: String, format: String, content: [UInt8], describedBy descriptor: Google_Protobuf_Struct = [:],
    parents: [String] = []
  ) async throws -> Artifact {
    let artifact = try await register(name, type: type, describedBy: descriptor, parents: parents)
    if artifact.lifecycleState != .pending { return artifact }
    return try await executions.uploadArtifact { requests in
      let header = UploadHeader(claim: context.claim, artifactID: artifact.artifactID, format: format)
      try await requests.write(UploadArtifactRequest(part: .header(header)))
      for start in stride(from: 0, to: content.count, by: Self.pieceBytes) {
        try await requests.write(UploadArtifactRequest(part: .chunk(Array(content[start..<min(start + Self.pieceBytes, content.count)]))))
      }
    }
  }

  /// Registers an artifact whose content is still to come: PENDING.
  public func register(
    _ name: String, type: String, describedBy descriptor: Google_Protobuf_Struct = [:], parents: [String] = []
  ) async throws -> Artifact {
    let id = "ART-" + context.executionID.drop { $0 != "-" }.dropFirst() + "-" + name
    return try await executions.registerArtifact(
      RegisterArtifactRequest(
        idempotencyKey: id, claim: context.claim, artifactID: id, artifactType: type, semanticDescriptor: descriptor,
        parentArtifacts: parents))
  }

  /// An artifact with its lineage.
  public func resolve(_ id: String) async throws -> ResolvedArtifact {
    try await executions.resolveArtifact(ResolveArtifactRequest(claim: context.claim, artifactID: id))
  }

  /// The content of an artifact.
  public func content(of id: String) async throws -> [UInt8] {
    var content: [UInt8] = []
    for try await chunk in try await executions.readArtifact(ReadArtifactRequest(claim: context.claim, artifactID: id)) {
      content += chunk.data
    }
    return content
  }
}
