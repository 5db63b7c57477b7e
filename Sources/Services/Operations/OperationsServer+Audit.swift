import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// The audit: looked through, taken away, proven whole.
extension OperationsServer {
  public func listAudit(_ request: ListAuditRequest, context: ServerContext) async throws -> ListAuditResponse {
    var fields = Validation()
    let size = fields.pageSize(request.pageSize, default: OperationsLimits.defaultAuditPage, max: OperationsLimits.auditPage)
    let caller = try await auditor(context, of: request.filter)
    let wanted = try AuditWanted(request.filter ?? AuditFilter(), caller, &fields)
    let after = try PageToken.decode(request.pageToken)
    guard let position = after.isEmpty ? 0 : Int64(after) else {
      throw RPCError.invalidField("page_token", "is not one that was given out", reason: .pageTokenInvalid)
    }
    let page = try await read(wanted, after: position, limit: size)
    return ListAuditResponse(records: page.records, nextPageToken: page.atEnd ? "" : PageToken.encode(LogCursor.text(page.through)))
  }

  public func exportAudit(
    _ request: ExportAuditRequest, responses: ResponseWriter<ExportAuditResponse>, context: ServerContext
  ) async throws {
    var fields = Validation()
    fields.ids(request.approvalRefs, "approval_refs", max: OperationsLimits.approvals)
    try fields.finish()
    let caller = try await auditor(context, of: request.filter)
    let wanted = try AuditWanted(request.filter ?? AuditFilter(), caller, &fields)
    let rule = try await policy.authorise(caller, to: .export, OperationsLimits.auditCategory, approvals: request.approvalRefs)
    try await audit("audit.export", wanted.tenant ?? "all tenants", by: rule, caller, context)
    let end = try await environment.log.head()
    var position: Int64 = 0
    while position < end {
      let page = try await read(wanted, after: position, limit: OperationsLimits.auditPage)
      for record in page.records { try await responses.write(ExportAuditResponse(record: record)) }
      if page.atEnd { return }
      position = page.through
    }
  }

  public func verifyAudit(_ request: VerifyAuditRequest, context: ServerContext) async throws -> VerifyAuditResponse {
    // The chain is one for all tenants.
    _ = try await auditor(context, of: AuditFilter(allTenants: true))
    var fields = Validation()
    fields.check(request.heads.count <= EventLogLimits.comparedHeads, "heads", "at most \(EventLogLimits.comparedHeads)")
    try fields.finish()
    let check = try await environment.log.verifyAudit(heads: request.heads)
    return VerifyAuditResponse(
      records: UInt64(check.verification.examined), head: check.last, findings: check.verification.findings)
  }

  /// The caller, if the access policy lets them read the audit: their own tenant's, or all tenants' if they ask for it.
  private func auditor(_ context: ServerContext, of filter: AuditFilter?) async throws -> Caller {
    let caller = try Caller(context)
    try await policy.authorise(caller, to: .read, OperationsLimits.auditCategory, of: filter?.allTenants ?? false ? "" : nil)
    return caller
  }

  /// Records after a position, and how far the log was read for them.
  private func read(
    _ wanted: AuditWanted, after position: Int64, limit: Int
  ) async throws -> (records: [EventEnvelope], through: Int64, atEnd: Bool) {
    var records: [EventEnvelope] = []
    var through = position
    for _ in 0..<OperationsLimits.auditStretches {
      let page = try await environment.log.list(wanted.events, after: .after(through), limit: limit)
      for event in page.events {
        let envelope = try event.decoded()
        guard wanted.admits(envelope) else { continue }
        records.append(envelope)
        if records.count == limit { return (records, event.position, false) }
      }
      through = page.through
      if page.atEnd { return (records, through, true) }
    }
    return (records, through, false)
  }
}

/// What a reader of the audit looks for, checked.
private struct AuditWanted {
  let filter: AuditFilter
  /// Nil for all.
  let tenant: String?

  init(_ filter: AuditFilter, _ caller: Caller, _ fields: inout Validation) throws {
    let texts = [
      ("actor", filter.actor), ("action", filter.action), ("rule", filter.rule), ("target", filter.target),
    ]
    for (field, text) in texts { fields.optionalText(text, "filter." + field, max: OperationsLimits.nameLetters) }
    fields.check(["", "allow", "deny"].contains(filter.decision), "filter.decision", "must be 'allow' or 'deny'")
    try fields.finish()
    self.filter = filter
    tenant = filter.allTenants ? nil : caller.tenant
  }

  var events: LogFilter { LogFilter(types: AuditChain.filter.types, tenant: tenant) }

  func admits(_ envelope: EventEnvelope) -> Bool {
    guard let record = try? envelope.payload?.unpack(as: AuditRecorded.self) else { return false }
    let at = envelope.occurredAt?.nanosecondsSinceEpoch ?? 0
    if let from = filter.from, at < from.nanosecondsSinceEpoch { return false }
    if let until = filter.until, at >= until.nanosecondsSinceEpoch { return false }
    func matches(_ wanted: String, _ found: String) -> Bool { wanted.isEmpty || wanted == found }
    let isAction =
      filter.action.hasSuffix("*") ? record.action.hasPrefix(filter.action.dropLast()) : matches(filter.action, record.action)
    return isAction && matches(filter.actor, record.actor) && matches(filter.decision, record.decision)
      && matches(filter.rule, record.rule) && matches(filter.target, record.target)
  }
}
