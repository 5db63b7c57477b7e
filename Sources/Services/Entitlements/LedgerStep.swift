import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// What one command of the ledger goes by: who asked, and when it is. Taken before the transaction, which may run again.
struct LedgerStep: Sendable {
  let caller: Caller
  let now: Int64
  let trace: TraceContext?
  let environment: ServiceEnvironment

  var tenant: String { caller.tenant }

  /// Appends an event to the session's stream, or without one to the ledger's own.
  func tell(_ payload: some EventPayload, session: String = "", journey: String = "", in tx: borrowing Transaction) throws {
    let draft = EventDraft(
      payload, producer: EntitlementsServer.effectOwner, tenant: tenant, org: caller.organization, session: session, journey: journey,
      occurredAt: now, trace: trace)
    try tx.append(draft, environment)
  }
}
