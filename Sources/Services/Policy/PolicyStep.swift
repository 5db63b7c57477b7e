import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// What one command of the policy service goes by: who asked, and when it is. Taken before the transaction, which may run again.
struct PolicyStep: Sendable {
  let caller: Caller
  let now: Int64
  let trace: TraceContext?
  let method: String
  let environment: ServiceEnvironment

  var tenant: String { caller.tenant }

  func tell(_ payload: some EventPayload, in tx: borrowing Transaction) throws { try tx.append(draft(payload), environment) }

  /// An event of the caller's tenant, to be appended.
  func draft(_ payload: some EventPayload) -> EventDraft {
    EventDraft(payload, producer: PolicyServer.producer, tenant: tenant, org: caller.organization, occurredAt: now, trace: trace)
  }

  /// An audit record of something that was done.
  func audit(_ action: String, _ target: String, reason: String, in tx: borrowing Transaction) throws {
    try tell(
      AuditRecorded(
        action: action, target: target, actor: caller.name, actorKind: "\(caller.kind)", decision: "allow", reason: reason, method: method),
      in: tx)
  }
}
