import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// Checks what comes from callers and handlers, field by field, before anything is stored.
enum ExecutionValidation {
  /// A request to submit, whose intent's tenant is the caller's.
  static func check(_ request: SubmitExecutionRequest) throws {
    var validation = Validation()
    validation.idempotencyKey(request.idempotencyKey)
    validation.optionalID(request.executionID, "execution_id")
    validation.range(request.timeoutMs, "timeout_ms", 0...ExecutionsLimits.timeoutMilliseconds)
    validation.range(request.maxRetries ?? 0, "max_retries", 0...ExecutionsLimits.retries)
    metadata(request.metadata, "metadata", &validation)
    guard let intent = request.intent else {
      validation.add("intent", "is required")
      return try validation.finish()
    }
    validation.id(intent.intentType, "intent.intent_type")
    validation.id(intent.sessionID, "intent.session_id")
    validation.id(intent.solutionID, "intent.solution_id")
    validation.optionalID(intent.intentID, "intent.intent_id")
    object(intent.parameters, "intent.parameters", &validation)
    metadata(intent.metadata, "intent.metadata", &validation)
    try validation.finish()
  }

  /// What a handler is given: everything there, and what the intent says.
  static func check(_ context: ExecutionContext) throws {
    var validation = Validation()
    validation.id(context.executionID, "execution_id")
    guard let intent = context.intent else {
      validation.add("intent", "is required")
      return try validation.finish()
    }
    validation.id(intent.intentType, "intent.intent_type")
    for (field, value, wanted) in [
      ("tenant_id", context.tenantID, intent.tenantID), ("session_id", context.sessionID, intent.sessionID),
      ("solution_id", context.solutionID, intent.solutionID),
    ] {
      validation.id(value, field)
      validation.check(value == wanted, field, "is \(value), where the intent says \(wanted)")
    }
    validation.check(context.createdAt != nil, "created_at", "is required")
    validation.check(
      context.claim?.executionID == context.executionID && context.claim?.tenantID == context.tenantID, "claim", "must be of this execution"
    )
    try validation.finish()
  }

  /// What a handler returns. What is wrong with it is a verdict: the same function would only return it again.
  static func check(_ result: HandlerResult) throws {
    var validation = Validation()
    object(result.output, "output", &validation)
    validation.ids(result.artifactIds, "artifact_ids", max: ExecutionsLimits.artifactsOfResult)
    validation.check(result.events.count <= ExecutionsLimits.eventsOfResult, "events", "at most \(ExecutionsLimits.eventsOfResult)")
    for (index, event) in result.events.prefix(ExecutionsLimits.eventsOfResult).enumerated() {
      validation.id(event.recordType, "events[\(index)].record_type")
      object(event.payload, "events[\(index)].payload", &validation)
    }
    try validation.finish()
  }

  /// An object of JSON, within its size.
  static func object(_ value: Google_Protobuf_Struct?, _ field: String, _ validation: inout Validation) {
    guard let value else { return }
    if value.encoded().count > ExecutionsLimits.objectBytes {
      return validation.add(field, "is larger than \(ExecutionsLimits.objectBytes) bytes")
    }
    if (try? value.canonicalJSON()) == nil { validation.add(field, "holds a number that JSON has not") }
  }

  static func metadata(_ metadata: ProtoMap<String, String>, _ field: String, _ validation: inout Validation) {
    validation.check(metadata.pairs.count <= ExecutionsLimits.metadata, field, "at most \(ExecutionsLimits.metadata) entries")
    for (key, value) in metadata.pairs.prefix(ExecutionsLimits.metadata) {
      validation.id(key, "\(field) key")
      validation.optionalText(value, "\(field)[\(key)]", max: ExecutionsLimits.metadataLetters)
    }
  }

  static func claim(_ claim: ExecutionClaim?, _ validation: inout Validation) {
    guard let claim else { return validation.add("claim", "is required: a handler acts under that of its execution") }
    validation.id(claim.tenantID, "claim.tenant_id")
    validation.id(claim.executionID, "claim.execution_id")
  }
}
