import SpanwireDatabase
import SpanwireEventLog
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// What one transaction of the gateway goes by: who wished it, when, and as part of which trace. Values only, so that the transaction
/// may run again.
struct GatewayStep: Sendable {
  /// The service's own name, in events and effects.
  static let producer = "prg"

  let caller: Caller
  let environment: ServiceEnvironment
  let now: Int64
  let trace: TraceContext?

  /// Within the ambient call, unless another trace is named.
  init(_ caller: Caller, _ environment: ServiceEnvironment, trace: TraceContext? = CallContext.current?.trace) {
    self.caller = caller
    self.environment = environment
    now = environment.clock.now
    self.trace = trace
  }

  /// The trace as incidents link to it; none when nobody traces.
  var traceIDs: [String] { trace.map { [$0.traceID] } ?? [] }

  /// A call of another service, made after the commit.
  func cause(
    _ method: MethodDescriptor, _ request: some Message, id: String, stream: String, in tx: borrowing Transaction
  ) throws {
    try tx.perform(
      Effect(
        id: id, owner: Self.producer, stream: stream, method: method.path, request: request.encoded(), tenant: caller.tenant,
        subject: caller.principal, trace: trace))
  }

  /// Appends an event, to the session's stream or without one to the gateway's own; returns its id.
  @discardableResult
  func tell(
    _ payload: any Message, _ session: ProductRuntimeSession?, task: String = "", in tx: borrowing Transaction
  ) throws -> String {
    try tx.append(draft(payload, session, task: task), environment).eventID
  }

  /// The event as it is appended.
  func draft(_ payload: any Message, _ session: ProductRuntimeSession?, task: String = "") -> EventDraft {
    EventDraft(
      payload, producer: Self.producer, tenant: caller.tenant, org: session?.orgID ?? caller.organization,
      session: session?.productRuntimeSessionID ?? "", journey: session?.journeyInstanceID ?? "",
      productVersion: session?.productVersionID ?? "", market: session?.marketCode ?? "", agentTask: task, occurredAt: now, trace: trace)
  }

  /// The effect by which a journey ends with its session; a session ends once, so there is one.
  static func abortEffect(of journeyID: String) -> String { "\(journeyID)-abort" }

  /// Writes a change: the session's row if it differs, its events, what it causes elsewhere.
  func write(_ change: SessionChange, in tx: borrowing Transaction) throws {
    if change.changesRow { try SessionStore.update(change.session, in: tx) }
    try tell(change, in: tx)
  }

  /// The events of a change and what it causes elsewhere, for a row that was written already.
  func tell(_ change: SessionChange, in tx: borrowing Transaction) throws {
    try tx.append(change.events.map { draft($0.payload, change.session, task: $0.agentTaskID) }, environment)
    for case .abortJourney(let journeyID, let reason) in change.effects {
      let id = Self.abortEffect(of: journeyID)
      try cause(
        JourneyRuntime.Methods.forceAbort,
        ForceAbortRequest(idempotencyKey: id, journeyInstanceID: journeyID, reason: reason, actor: caller.name), id: id,
        stream: change.session.productRuntimeSessionID, in: tx)
    }
  }
}

/// What a call answered at first, where the answer itself comes of effects: how to find it again.
struct Ticket: Sendable, Hashable {
  /// What the call made: a purchase, a decision, a control action.
  var id: String
  /// The effect whose response is part of the answer.
  var effect = ""
  /// How many effects must have ended.
  var parts: UInt32 = 0

  var bytes: [UInt8] { Array("\(id)\n\(effect)\n\(parts)".utf8) }

  init(id: String, effect: String = "", parts: UInt32 = 0) {
    self.id = id
    self.effect = effect
    self.parts = parts
  }

  /// As it was kept: anything else is our own bug.
  init(bytes: [UInt8]) {
    let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    guard lines.count == 3, let parts = UInt32(lines[2]) else { preconditionFailure("no ticket") }
    self.init(id: lines[0], effect: lines[1], parts: parts)
  }
}
