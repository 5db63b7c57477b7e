import SpanwireDatabase
import SpanwireEventLog
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Synchronization

/// PRG, the product runtime gateway: the only way in.
///
/// It owns the session and the contract with the outside, and coordinates the others: it asks them by calls that only read, and changes
/// them by effects written with its own change, so that a crash between the two ends with both done. What it answers then comes of the
/// effects' outcomes, for a repeated call as for the first.
public final class GatewayServer: ProductRuntimeGatewayService {
  let environment: ServiceEnvironment
  let clients: GatewayClients
  let snapshots: SnapshotCache
  let configs: ConfigCache
  private let journeyEnds: Mutex<DurableConsumer?> = Mutex(nil)
  private let follower: Mutex<Task<Void, Never>?> = Mutex(nil)

  public static let migrations = SessionStore.migrations

  public init(environment: ServiceEnvironment, clients: GatewayClients) {
    self.environment = environment
    self.clients = clients
    snapshots = SnapshotCache(clients.registry)
    configs = ConfigCache(clients.registry, clock: environment.clock)
  }

  /// Begins to follow the ends of journeys, by which sessions move on, and the registry's changes.
  public func start() {
    environment.database.observe(configs)
    follower.withLock {
      $0 = Task { [configs] in
        await CallContext.with(principal: .service(GatewayStep.producer)) { await configs.follow() }
      }
    }
    let consumer = DurableConsumer("prg.journeys", environment.log, LogFilter(types: Self.journeyEndTypes, tenant: nil)) { [self] event in
      let envelope = try event.decoded()
      let principal = Principal(
        kind: .service, id: GatewayStep.producer, tenant: envelope.tenantID, organization: envelope.orgID, surface: .internal)
      let step = GatewayStep(Caller(principal), environment, trace: TraceContext(below: envelope))
      return { [self] tx in try journeyEnded(envelope, step, in: tx) }
    }
    journeyEnds.withLock { $0 = consumer }
    consumer.start()
  }

  public func stop() async {
    follower.withLock { $0 }?.cancel()
    await journeyEnds.withLock { $0 }?.stop()
  }

  private static let journeyEndTypes: [TypeGlob] = ["journey.completed", "journey.abandoned", "journey.aborted", "journey.failed"]

  // MARK: Whose session

  func step(_ context: ServerContext) throws -> GatewayStep { GatewayStep(try Caller(context), environment) }

  /// The session, if it is the caller's to see: a traveller's own, an operator's or a service's within the tenant.
  func session(_ id: String, _ caller: Caller) async throws -> ProductRuntimeSession {
    var fields = Validation()
    fields.id(id, "product_runtime_session_id")
    try fields.finish()
    return try await environment.database.read { [self] reader in try session(id, caller, in: reader) }
  }

  func session(_ id: String, _ caller: Caller, in reader: borrowing some Reader & ~Copyable) throws -> ProductRuntimeSession {
    guard let session = try SessionStore.find(id, tenant: caller.tenant, in: reader), caller.kind != .user || session.userID == caller.id
    else { throw RPCError.missing(.sessionNotFound, "no session \(id)") }
    return session
  }

  // MARK: Once

  /// Runs a transaction once for its key; the answer is kept.
  func once<Response: Message>(
    _ key: String, _ request: some Message, _ context: ServerContext, _ step: GatewayStep,
    _ body: @escaping @Sendable (borrowing Transaction) throws -> Response
  ) async throws -> Response {
    let key = IdempotencyKey(key, request, context)
    return try await environment.database.transaction("prg.step") { tx in
      try tx.once(key, at: step.now) { try body(tx) }
    }.value
  }

  /// As `once`, where the answer comes of effects: what is kept says how to find it.
  func ticket(
    _ key: IdempotencyKey, _ step: GatewayStep, _ body: @escaping @Sendable (borrowing Transaction) throws -> Ticket
  ) async throws -> Ticket {
    try await environment.database.transaction("prg.ticket") { tx in
      if case .done(let bytes) = try tx.recall(key, at: step.now) { return Ticket(bytes: bytes) }
      let ticket = try body(tx)
      try tx.remember(key, ticket.bytes, at: step.now)
      return ticket
    }.value
  }

  /// What a repeated call made at first, to spare it the questions to other services.
  func recall(_ key: IdempotencyKey) async throws -> Ticket? {
    let now = environment.clock.now
    guard case .done(let bytes) = try await environment.database.read({ try $0.recall(key, at: now) }) else { return nil }
    return Ticket(bytes: bytes)
  }

  // MARK: Effects

  /// Waits until an effect has ended and what it ended with is written down.
  @discardableResult
  func settle(effect id: String) async throws -> EffectOutcome {
    try await withThrowingTaskGroup(of: EffectOutcome.self) { [environment] group in
      group.addTask { try await environment.effects.outcome(of: id) }
      group.addTask {
        try await Task.sleep(for: GatewayLimits.effectPatience)
        throw RPCError.unavailable("what was asked of another service is under way: repeat the call with the same key")
      }
      defer { group.cancelAll() }
      guard let outcome = try await group.next() else { preconditionFailure("two tasks were added") }
      return outcome
    }
  }

  /// The response an effect ended with; throws what it failed with.
  func outcome<Response: Message>(of effect: String, as type: Response.Type) async throws -> Response {
    switch try await settle(effect: effect) {
    case .succeeded(let bytes): return try Response(decoding: bytes)
    case .failed(let error): throw error
    case .cancelled: throw RPCError.cancelled("the effect was taken back")
    }
  }

  /// Names the channel, bound to the gateway's own identity, over which its effects are performed, and takes their outcomes. Before the
  /// dispatcher starts.
  public func performEffects(over channel: any Channel) {
    let effects = environment.effects
    let owner = GatewayStep.producer
    effects.onOutcome(of: owner, effectOutcome)
    effects.route(owner, Trutta.Methods.issue, IssueRequest.self, Entitlement.self, over: channel)
    effects.route(owner, Trutta.Methods.withdraw, WithdrawRequest.self, Entitlement.self, over: channel)
    effects.route(owner, Trutta.Methods.compensate, CompensateRequest.self, Entitlement.self, over: channel)
    effects.route(owner, Trutta.Methods.correctSettlement, CorrectSettlementRequest.self, Settlement.self, over: channel)
    effects.route(owner, JourneyRuntime.Methods.startJourney, StartJourneyRequest.self, JourneyInstance.self, over: channel)
    effects.route(owner, JourneyRuntime.Methods.changeRoute, ChangeRouteRequest.self, JourneyInstance.self, over: channel)
    effects.route(
      owner, JourneyRuntime.Methods.declineRecommendation, DeclineRecommendationRequest.self, JourneyInstance.self, over: channel)
    effects.route(owner, JourneyRuntime.Methods.forceAbort, ForceAbortRequest.self, JourneyInstance.self, over: channel)
    effects.route(owner, JourneyRuntime.Methods.forceSkipNode, ForceNodeRequest.self, JourneyInstance.self, over: channel)
    effects.route(owner, JourneyRuntime.Methods.forceCompleteNode, ForceNodeRequest.self, JourneyInstance.self, over: channel)
    effects.route(
      owner, JourneyRuntime.Methods.setServicePointBlock, SetServicePointBlockRequest.self, SetServicePointBlockResponse.self,
      over: channel)
    effects.route(owner, Lem.Methods.blockServicePoint, BlockServicePointRequest.self, BlockChange.self, over: channel)
    effects.route(owner, Lem.Methods.unblockServicePoint, UnblockServicePointRequest.self, BlockChange.self, over: channel)
    effects.route(
      owner, AgentOrchestrator.Methods.recordProposalDecision, RecordProposalDecisionRequest.self, Proposal.self, over: channel)
  }

  /// What came of an effect, for what wanted it.
  @Sendable private func effectOutcome(
    _ effect: Effect, _ outcome: EffectOutcome
  ) async throws -> (@Sendable (borrowing Transaction) throws -> Void)? {
    guard let subject = effect.subject else { return nil }
    let step = GatewayStep(Caller(subject), environment)
    let result: Result<[UInt8], RPCError>
    switch outcome {
    case .succeeded(let bytes): result = .success(bytes)
    case .failed(let error): result = .failure(error)
    case .cancelled: return nil
    }
    let error: RPCError? = if case .failure(let error) = result { error } else { nil }
    switch effect.method {
    case Trutta.Methods.issue.path:
      guard let (purchase, number) = Self.part(of: effect.id) else { return nil }
      let entitlement = try result.map { try Entitlement(decoding: $0) }
      return { [self] tx in try granted(purchase, number, entitlement, step, in: tx) }
    case JourneyRuntime.Methods.startJourney.path:
      return { [self] tx in try journeyStarted(effect, result, step, in: tx) }
    case JourneyRuntime.Methods.changeRoute.path:
      let request = try ChangeRouteRequest(decoding: effect.request)
      return { [self] tx in try routeChanged(request, error, step, in: tx) }
    default:
      guard effect.id.hasPrefix("CTL-"), let (control, part) = Self.part(of: effect.id) else { return nil }
      let controlled = ControlEffect(
        control: control, part: part, method: effect.method, error: error, response: (try? result.get()) ?? [])
      return { [self] tx in try self.controlled(controlled, step, in: tx) }
    }
  }

  /// `PUR-…-2` is the third part of PUR-….
  private static func part(of id: String) -> (whole: String, number: Int)? {
    guard let dash = id.lastIndex(of: "-"), let number = Int(id[id.index(after: dash)...]) else { return nil }
    return (String(id[..<dash]), number)
  }
}

extension Result where Failure == RPCError {
  fileprivate func map<Other>(_ transform: (Success) throws -> Other) throws -> Result<Other, RPCError> {
    switch self {
    case .success(let value): .success(try transform(value))
    case .failure(let error): .failure(error)
    }
  }
}
