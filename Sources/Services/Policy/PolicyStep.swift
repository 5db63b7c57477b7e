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

  /// An event of a tenant's, by default the caller's, to be appended.
  func draft(_ payload: some EventPayload, of owner: String? = nil) -> EventDraft {
    EventDraft(payload, producer: PolicyServer.producer, tenant: owner ?? tenant, org: caller.organization, occurredAt: now, trace: trace)
  }

  /// An audit record of something that was done, in the tenant whose affair it is.
  func audit(
    _ action: String, _ target: String, reason: String, rule: String = "", of owner: String? = nil, in tx: borrowing Transaction
  ) throws {
    let record = AuditRecorded(
      action: action, target: target, actor: caller.name, actorKind: "\(caller.kind)", decision: "allow", rule: rule, reason: reason,
      method: method)
    try tx.append(draft(record, of: owner), environment)
  }
}
