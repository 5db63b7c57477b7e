import SpanwireDatabase
import SpanwireEventLog
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// What one transaction of the journey runtime goes by: who wished it, when, and as part of which trace. Values only, so that the
/// transaction may run again.
struct JourneyStep: Sendable {
  /// The service's own name, in events and effects.
  static let producer = "tjm"

  let caller: Caller
  let environment: ServiceEnvironment
  let now: Int64
  let trace: TraceContext?
  /// Of a redeem step.
  var redemption: PreparedRedemption?

  init(_ caller: Caller, _ environment: ServiceEnvironment, redemption: PreparedRedemption? = nil, trace: TraceContext? = nil) {
    self.caller = caller
    self.environment = environment
    now = environment.clock.now
    self.trace = trace ?? CallContext.current?.trace
    self.redemption = redemption
  }

  /// The journey runtime, when nobody asked it.
  static func itself(in tenant: String) -> Caller { Caller(Principal(kind: .service, id: producer, tenant: tenant, surface: .internal)) }

  /// A call of another service, made after the commit.
  func perform(
    _ method: MethodDescriptor, _ request: some Message, id: String, stream: String, in tx: borrowing Transaction
  ) throws {
    try tx.perform(
      Effect(
        id: id, owner: Self.producer, stream: stream, method: method.path, request: request.encoded(), tenant: caller.tenant,
        subject: caller.principal, trace: trace))
  }

  /// An event of a journey, for the session's stream.
  func draft(_ payload: any Message, _ address: JourneyAddress, task: String = "") -> EventDraft {
    EventDraft(
      payload, producer: Self.producer, tenant: caller.tenant, org: caller.organization, session: address.sessionID,
      journey: address.journeyID, productVersion: address.productVersionID, market: address.marketCode, agentTask: task, occurredAt: now,
      trace: trace)
  }
}
