import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// What a redeem step needs to know before its transaction: what the session holds, and whom the redemption is worth something to.
struct PreparedRedemption: Sendable {
  /// The first the journey draws on that covers it; nil when none does.
  var entitlement: Entitlement?
  var vendorID: String
  /// Tokens of the kind that the session holds in all.
  var held: Int64
  /// Why nothing can be redeemed, when nothing can.
  var objection: String
}

/// The work that nodes ask of other services, and what comes back of it.
extension JourneyServer {
  /// Names the work of one entry into a node once and for all; it is the idempotency key of the call that does it.
  static func workID(_ journey: String, _ node: Journey.NodeRecord) -> String { workID(journey, node.nodeID, node.visitNumber) }

  static func workID(_ journey: String, _ node: String, _ visit: Int) -> String { "\(journey)-\(node)-\(visit)" }

  /// What a timer's effect is called; it calls nobody.
  static let timer = "timer"

  /// The effect that wakes a journey for a timer.
  static func timerEffect(_ journey: String, _ timerID: String) -> String { "\(journey)-timer-\(timerID)" }

  /// Effects of one node are performed in order; what another node waits for holds none up.
  static func stream(_ journey: String, _ part: String) -> String { "\(journey)/\(part)" }

  /// The city's reservation of a room.
  static func roomID(_ journey: String, _ number: UInt64) -> String { "RSV-\(journey).\(number)" }

  /// The orchestrator's task of one entry into an agent node: a name that says whom its end concerns.
  static func taskID(_ journey: String, _ node: String, _ visit: Int) -> String { "ATASK-" + workID(journey, node, visit) }

  /// The types that tell of a task's end.
  static let taskEndTypes: [TypeGlob] = ["agent.task.result", "agent.task.failed", "agent.task.cancelled", "agent.task.timed_out"]

  /// Names the channel, bound to the journey runtime's own identity, over which its effects are performed, and takes their outcomes.
  /// Before the dispatcher starts.
  public func performEffects(over channel: any Channel) {
    let effects = environment.effects
    let owner = JourneyStep.producer
    effects.onOutcome(of: owner, effectOutcome)
    effects.route(owner, Trutta.Methods.redeem, RedeemRequest.self, Redemption.self, over: channel)
    effects.route(owner, AgentOrchestrator.Methods.submitTask, RunTaskRequest.self, AgentTask.self, over: channel)
    effects.route(owner, Lem.Methods.reserveCapacity, ReserveCapacityRequest.self, ReserveCapacityResponse.self, over: channel)
    effects.route(owner, Lem.Methods.releaseCapacity, ReleaseCapacityRequest.self, CapacityReservation.self, over: channel)
  }

  /// Writes an effect that the machine wants.
  func cause(
    _ effect: JourneyEffect, _ row: JourneyRow, _ frozen: FrozenConfig, _ step: JourneyStep, in tx: borrowing Transaction
  ) throws {
    let origin = row.origin
    switch effect {
    case .redeem(let node, let visit, _, let quantity, let place):
      // Without anything to draw on there is nothing to ask: the step fails in the same transaction.
      guard let redemption = step.redemption, let entitlement = redemption.entitlement else { return }
      let id = Self.workID(row.id, node, visit)
      try step.perform(
        Trutta.Methods.redeem,
        RedeemRequest(
          idempotencyKey: id, entitlementID: entitlement.entitlementID, quantity: quantity, servicePointID: place,
          vendorID: redemption.vendorID, journeyInstanceID: row.id),
        id: id, stream: Self.stream(row.id, node), in: tx)
    case .askAgent(let node, let visit, let type, let intent):
      let task = AgentTaskSpec(agentType: type, intent: intent)
      try ask(task, id: Self.workID(row.id, node, visit), node: node, row, frozen, step, in: tx)
    case .askForWay(let node, let revision):
      // Nobody waits for its end: what it recommends, the traveller decides.
      let task = AgentTaskSpec(agentType: "journey_guide", intent: "suggest_next_stop")
      try ask(task, id: "\(row.id).\(node).\(revision)", node: node, row, frozen, step, in: tx)
    case .keepRoom(let room):
      let id = Self.roomID(row.id, room.number)
      try step.perform(
        Lem.Methods.reserveCapacity,
        ReserveCapacityRequest(
          idempotencyKey: id, servicePointID: room.servicePointID, visitors: 1, holder: origin.productRuntimeSessionID,
          startsAt: .init(nanosecondsSinceEpoch: room.startsAt), expiresAt: .init(nanosecondsSinceEpoch: room.expiresAt),
          reservationID: id),
        id: id, stream: Self.stream(row.id, room.servicePointID), in: tx)
    case .giveBackRoom(let room):
      let id = Self.roomID(row.id, room.number)
      try step.perform(
        Lem.Methods.releaseCapacity, ReleaseCapacityRequest(idempotencyKey: id + ".back", reservationID: id), id: id + ".back",
        stream: Self.stream(row.id, room.servicePointID), in: tx)
    case .startTimer(let timerID, let due):
      try tx.perform(
        Effect(
          id: Self.timerEffect(row.id, timerID), owner: JourneyStep.producer, stream: Self.stream(row.id, timerID), method: Self.timer,
          request: Array(timerID.utf8), dueAt: due, tenant: origin.tenantID, subject: step.caller.principal, trace: step.trace))
    case .cancelTimer(let timerID): try tx.cancelEffect(Self.timerEffect(row.id, timerID), at: step.now)
    }
  }

  /// Asks an agent, as part of the journey.
  private func ask(
    _ task: AgentTaskSpec, id: String, node: String, _ row: JourneyRow, _ frozen: FrozenConfig, _ step: JourneyStep,
    in tx: borrowing Transaction
  ) throws {
    let origin = row.origin
    try step.perform(
      AgentOrchestrator.Methods.submitTask,
      RunTaskRequest(
        idempotencyKey: id, agentTaskID: "ATASK-" + id, tenantID: origin.tenantID, invoker: "tjm",
        context: AgentContext(
          productRuntimeSessionID: origin.productRuntimeSessionID, productVersionID: origin.productVersionID,
          journeyInstanceID: row.id, userID: origin.userID, marketCode: origin.marketCode,
          cityCode: frozen.config.market?.cityCode ?? "", profiles: frozen.config.agentProfiles,
          runtimeSnapshotRef: origin.runtimeSnapshotRef),
        task: task),
      id: id, stream: Self.stream(row.id, node), in: tx)
  }

  /// What came of an effect, as a command to the journey that wanted it.
  @Sendable private func effectOutcome(
    _ effect: Effect, _ outcome: EffectOutcome
  ) async throws -> (@Sendable (borrowing Transaction) throws -> Void)? {
    let step = JourneyStep(effect.subject.map(Caller.init) ?? JourneyStep.itself(in: effect.tenant), environment)
    if effect.method == Self.blockEnds {
      try await liftExpired(effect, step)
      return nil
    }
    let id = String(effect.stream.prefix { $0 != "/" })
    return { [self] tx in
      guard let stored = try JourneyStore.find(id, tenant: effect.tenant, in: tx) else { return }
      let row = try row(stored, in: tx)
      guard let command = try command(for: effect, outcome, row, in: tx) else { return }
      _ = try walk(row, command, step, in: tx)
    }
  }

  private func command(
    for effect: Effect, _ outcome: EffectOutcome, _ row: JourneyRow, in tx: borrowing Transaction
  ) throws -> JourneyCommand? {
    if effect.method == Self.timer {
      guard case .succeeded = outcome else { return nil }
      return .timerFired(timerID: String(decoding: effect.request, as: UTF8.self))
    }
    if effect.method == Lem.Methods.reserveCapacity.path {
      guard case .failed(let error) = outcome, error.reason == .capacityExceeded,
        let room = row.journey.rooms.first(where: { Self.roomID(row.id, $0.number) == effect.id })
      else { return nil }
      return .roomRefused(number: room.number, reason: error.message)
    }
    guard let node = row.journey.nodes.first(where: { Self.workID(row.id, $0) == effect.id }) else { return nil }
    switch outcome {
    case .succeeded:
      // That an agent was asked is no answer: its task's end is.
      guard effect.method == Trutta.Methods.redeem.path else { return nil }
      let quantity = try RedeemRequest(decoding: effect.request).quantity
      return .workSucceeded(
        nodeID: node.nodeID, visitNumber: node.visitNumber, tokensLeft: row.journey.tokensLeft.map { max(0, $0 - quantity) })
    case .failed(let error): return .workFailed(nodeID: node.nodeID, visitNumber: node.visitNumber, reason: error.message)
    case .cancelled: return nil
    }
  }

  /// An agent's task has ended, as the log tells: the node that asked goes on. Called by the consumer.
  func taskEnded(_ envelope: EventEnvelope) throws -> (@Sendable (borrowing Transaction) throws -> Void)? {
    let id = envelope.journeyInstanceID
    guard !id.isEmpty, envelope.agentTaskID.hasPrefix("ATASK-" + id + "-") else { return nil }
    let failure: String?
    switch envelope.type {
    case "agent.task.result": failure = nil
    case "agent.task.failed": failure = try envelope.payload?.unpack(as: AgentTaskFailed.self).message
    case "agent.task.cancelled": failure = "the task was cancelled"
    default: failure = "the agent took too long"
    }
    let step = JourneyStep(JourneyStep.itself(in: envelope.tenantID), environment, trace: TraceContext(below: envelope))
    return { [self] tx in
      guard let stored = try JourneyStore.find(id, tenant: envelope.tenantID, in: tx) else { return }
      let row = try row(stored, in: tx)
      let asked = row.journey.nodes.first { Self.taskID(id, $0.nodeID, $0.visitNumber) == envelope.agentTaskID }
      guard let asked else { return }
      let command: JourneyCommand =
        failure.map { .workFailed(nodeID: asked.nodeID, visitNumber: asked.visitNumber, reason: $0) }
        ?? .workSucceeded(nodeID: asked.nodeID, visitNumber: asked.visitNumber, tokensLeft: nil)
      _ = try walk(row, command, step, in: tx)
    }
  }

  /// The outcome of work told from outside the dispatcher: an operator's repair of an effect that was lost on its way.
  public func completeNodeWork(_ request: CompleteNodeWorkRequest, context: ServerContext) async throws -> JourneyInstance {
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.journeyInstanceID, "journey_instance_id")
    fields.id(request.nodeID, "node_id")
    fields.optionalText(request.reason, "reason", max: JourneyLimits.reasonCharacters)
    try fields.finish()
    let visit = Int(request.visitNumber)
    let command: JourneyCommand =
      request.ok
      ? .workSucceeded(nodeID: request.nodeID, visitNumber: visit, tokensLeft: nil)
      : .workFailed(nodeID: request.nodeID, visitNumber: visit, reason: request.reason)
    return try await self.command(request.journeyInstanceID, command, key: request.idempotencyKey, request, context)
  }

  // MARK: Redemptions

  /// Everything the session holds that can be redeemed.
  func purse(of session: String) async throws -> [Entitlement] {
    var held: [Entitlement] = []
    var request = ListEntitlementsRequest(productRuntimeSessionID: session, pageSize: 100)
    repeat {
      let page = try await clients.entitlements.listEntitlements(request)
      held += page.entitlements
      request.pageToken = page.nextPageToken
    } while !request.pageToken.isEmpty && held.count < JourneyLimits.entitlements
    return held.filter { $0.state == .active }
  }

  /// Looks up, before a redeem step, what it would draw on. Nil when the traveller doesn't stand there: the machine says so.
  func prepareRedemption(_ request: AdvanceJourneyRequest, _ caller: Caller) async throws -> PreparedRedemption? {
    let (row, frozen) = try await environment.database.read { [self] reader in
      let row = try find(request.journeyInstanceID, caller.tenant, in: reader)
      return (row, try config(of: row, in: reader))
    }
    guard row.journey.stands(at: request.nodeID), case .redeem(let token, let quantity)? = frozen.graph.node(request.nodeID)?.kind,
      let place = row.journey.record(request.nodeID)?.servicePointID
    else { return nil }
    let held = try await purse(of: row.origin.productRuntimeSessionID).filter { $0.tokenID == token }
    // Those the journey was started with come first, in their order; then what was bought since.
    let order = row.origin.entitlementIds
    let ranked = held.sorted { left, right in
      let places = (order.firstIndex(of: left.entitlementID) ?? .max, order.firstIndex(of: right.entitlementID) ?? .max)
      return places.0 == places.1 ? left.entitlementID < right.entitlementID : places.0 < places.1
    }
    let vendor = try await clients.city.getServicePoint(GetServicePointRequest(servicePointID: place)).servicePoint?.vendorID ?? ""
    return PreparedRedemption(
      entitlement: vendor.isEmpty ? nil : ranked.first { $0.remaining >= quantity }, vendorID: vendor,
      held: held.reduce(0) { $0 + $1.remaining },
      objection: vendor.isEmpty ? "\(place) has no vendor to redeem at" : "the session holds no \(quantity) of \(token)")
  }
}
