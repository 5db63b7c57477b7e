import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// Audits every call that ends in a denial, whichever rule of whichever service stood against it, but for those whose refuser has done so:
/// its refusal names the record. Credentials that did not hold are denials too.
///
/// A flood of them becomes counts (`DenialWindow`).
struct DenialAudit: ServerInterceptor {
  let environment: ServiceEnvironment

  func intercept(_ call: any ServerCall, next: NextServerHandler) async throws {
    do {
      try await next(call)
    } catch let error as RPCError where error.code == .permissionDenied || error.code == .unauthenticated {
      throw await audit(error, call.context)
    }
  }

  private func audit(_ error: RPCError, _ context: ServerContext) async -> RPCError {
    if error.reasonMetadata(RPCError.auditKey) != nil { return error }
    let subject = context.principal.subject
    let kind = "\(context.principal.kind)"
    let record = AuditRecorded(
      action: context.method.name, target: context.method.service,
      actor: context.principal.id.isEmpty ? kind : "\(kind):\(context.principal.id)", actorKind: kind, decision: "deny",
      rule: error.reasonMetadata("rule") ?? error.reason?.wireName ?? error.code.name, reason: error.message, method: context.method.path)
    // Who belongs to no tenant is the platform's to know of.
    let event = await environment.auditDenial(
      EventDraft(
        record, producer: ServiceNames.prg, tenant: subject.tenant.isEmpty ? Caller.platformTenant : subject.tenant,
        org: subject.organization, occurredAt: environment.clock.now, trace: context.trace))
    return event.isEmpty ? error : error.audited(as: event)
  }
}
