import SpanwireDatabase
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// What handlers say of their steps, under their claims.
extension ExecutionsServer {
  /// Who may act under a claim: this service's own handlers, and workers whose credential names the handler that has the execution.
  func admit(_ claim: ExecutionClaim?, _ context: ServerContext, _ validation: inout Validation) async throws -> Execution {
    ExecutionValidation.claim(claim, &validation)
    try validation.finish()
    guard let claim else { preconditionFailure("it was validated") }
    let caller = try Caller(context)
    let isWorker = caller.kind == .worker && Caller.service(of: context) == nil
    // A worker of tenant platform works for every tenant.
    if !(isWorker && caller.tenant == Caller.platformTenant) { try caller.admit(tenant: claim.tenantID) }
    guard isWorker || Caller.service(of: context) == Self.producer else {
      throw RPCError.denied(.policyDenied, rule: "CLAIM-HANDLER", "only the handler that has an execution acts under its claim")
    }
    let journal = journal
    let execution = try await environment.database.read { try journal.claimed(claim, $0) }
    if isWorker, !caller.roles.contains(execution.handlerName) {
      throw RPCError.denied(
        .agentForbidden, rule: "WORKER-HANDLER", "the credential does not name the handler \(execution.handlerName)")
    }
    return execution
  }

  public func beginStep(_ request: BeginStepRequest, context: ServerContext) async throws -> StepBegun {
    var validation = Validation()
    validation.id(request.stepID, "step_id")
    ExecutionValidation.object(request.input, "input", &validation)
    _ = try await admit(request.claim, context, &validation)
    return try await journal.beginStep(request)
  }

  public func completeStep(_ request: CompleteStepRequest, context: ServerContext) async throws -> ExecutionStep {
    var validation = Validation()
    validation.id(request.stepID, "step_id")
    ExecutionValidation.object(request.output, "output", &validation)
    _ = try await admit(request.claim, context, &validation)
    return try await journal.completeStep(request)
  }

  public func reportProgress(_ request: ReportProgressRequest, context: ServerContext) async throws -> ReportProgressResponse {
    var validation = Validation()
    validation.id(request.stepID, "step_id")
    validation.range(request.percent, "percent", 0...100)
    validation.optionalText(request.message, "message", max: ExecutionsLimits.messageLetters)
    _ = try await admit(request.claim, context, &validation)
    try await journal.progress(request)
    return ReportProgressResponse()
  }

  public func appendRecord(_ request: AppendRecordRequest, context: ServerContext) async throws -> WalRecord {
    var validation = Validation()
    validation.idempotencyKey(request.idempotencyKey)
    validation.id(request.recordType, "record_type")
    ExecutionValidation.object(request.payload, "payload", &validation)
    _ = try await admit(request.claim, context, &validation)
    return try await journal.append(request)
  }

  public func listRecords(_ request: ListRecordsRequest, context: ServerContext) async throws -> ListRecordsResponse {
    let key = try key(request.executionID, context)
    var validation = Validation()
    let size = pageSize(request.pageSize, &validation)
    try validation.finish()
    let after = try Self.number(request.pageToken)
    let records = try await environment.database.scan { snapshot in
      guard try ExecutionsStore.row(snapshot, key) != nil else { throw Self.unknown(key.id) }
      return try ExecutionsStore.records(snapshot, of: key, after: after, limit: size + 1)
    }
    return ListRecordsResponse(
      records: Array(records.prefix(size)), nextPageToken: records.count > size ? PageToken.encode("\(records[size - 1].sequence)") : "")
  }

  /// The number that a page token stands for; 0 for the first page.
  static func number(_ token: String) throws -> Int64 {
    if token.isEmpty { return 0 }
    guard let number = Int64(try PageToken.decode(token)) else {
      throw RPCError.invalidField("page_token", "is not one that was given out", reason: .pageTokenInvalid)
    }
    return number
  }
}
