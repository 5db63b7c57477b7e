import SpanwireDatabase
import SpanwireEventLog
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// TJM, the journey runtime: walks journey documents durably.
///
/// Every step is one transaction: the row is read, `JourneyStateMachine` decides, and row, events and effects are written together. What
/// a node asks of another service is an effect; its outcome comes back as a command. A restart finds every journey where it was.
public final class JourneyServer: JourneyRuntimeService {
  let environment: ServiceEnvironment
  let clients: JourneyClients
  let documents = FrozenDocuments()

  public static let migrations = JourneyStore.migrations

  public init(environment: ServiceEnvironment, clients: JourneyClients) {
    self.environment = environment
    self.clients = clients
  }

  // MARK: Reading

  public func getJourney(_ request: GetJourneyRequest, context: ServerContext) async throws -> JourneyInstance {
    let caller = try Caller(context)
    var fields = Validation()
    fields.id(request.journeyInstanceID, "journey_instance_id")
    try fields.finish()
    return try await journey(request.journeyInstanceID, caller.tenant)
  }

  public func listJourneys(_ request: ListJourneysRequest, context: ServerContext) async throws -> ListJourneysResponse {
    let caller = try Caller(context)
    var fields = Validation()
    fields.optionalID(request.productRuntimeSessionID, "product_runtime_session_id")
    fields.known(request.state, "state")
    let size = fields.pageSize(request.pageSize, default: JourneyLimits.defaultPageSize, max: JourneyLimits.pageSize)
    try fields.finish()
    let before = try PageToken.decode(request.pageToken)
    let page = try await environment.database.scan { [documents] reader in
      try JourneyStore.page(
        tenant: caller.tenant, session: request.productRuntimeSessionID, state: request.state, before: before, size: size, in: reader
      ).map { $0.journey.instance($0.origin, id: $0.id, in: try documents.config($0.origin, in: reader).graph) }
    }
    let next = page.count == size ? PageToken.encode(page[size - 1].journeyInstanceID) : ""
    return ListJourneysResponse(journeys: page, nextPageToken: next)
  }

  /// The journey as the contract shows it.
  func journey(_ id: String, _ tenant: String) async throws -> JourneyInstance {
    try await environment.database.read { [self] reader in try instance(try find(id, tenant, in: reader), in: reader) }
  }

  func instance(_ row: JourneyRow, in reader: borrowing some Reader & ~Copyable) throws -> JourneyInstance {
    row.journey.instance(row.origin, id: row.id, in: try documents.config(row.origin, in: reader).graph)
  }

  func find(_ id: String, _ tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> JourneyRow {
    guard let row = try JourneyStore.find(id, tenant: tenant, in: reader) else {
      throw RPCError.missing(.journeyNotFound, "no journey \(id)")
    }
    return row
  }

  // MARK: Walking

  /// One command on one journey, once for its key.
  func command(
    _ id: String, _ command: JourneyCommand, key: String, _ request: some Message, _ context: ServerContext
  ) async throws -> JourneyInstance {
    let step = JourneyStep(try Caller(context), environment)
    return try await once(key, request, context, step) { [self] tx in
      try walk(try find(id, step.caller.tenant, in: tx), command, step, in: tx)
    }
  }

  /// Runs a transaction for its key once; a repeated call is answered as the first was.
  func once(
    _ key: String, _ request: some Message, _ context: ServerContext, _ step: JourneyStep,
    _ body: @escaping @Sendable (borrowing Transaction) throws -> JourneyRow
  ) async throws -> JourneyInstance {
    let key = IdempotencyKey(key, request, context)
    return try await environment.database.transaction("tjm.step") { [self] tx in
      try tx.once(key, at: step.now) { try instance(try body(tx), in: tx) }
    }.value
  }

  /// What a repeated call was answered before, to spare it the questions to other services.
  func recall(_ key: String, _ request: some Message, _ context: ServerContext, _ step: JourneyStep) async throws -> JourneyInstance? {
    let key = IdempotencyKey(key, request, context)
    let recalled = try await environment.database.read { try $0.recall(key, at: step.now) }
    guard case .done(let bytes) = recalled else { return nil }
    return try JourneyInstance(decoding: bytes)
  }

  /// Lets the machine decide, and writes what it decided: the row, the events, the effects.
  ///
  /// - Parameter recommended: the accepted recommendation that a change of route carries out.
  func walk(
    _ row: JourneyRow, _ command: JourneyCommand, _ step: JourneyStep, recommended: ChangeRouteRequest? = nil,
    in tx: borrowing Transaction
  ) throws -> JourneyRow {
    let frozen = try documents.config(row.origin, in: tx)
    let transition: JourneyTransition
    do {
      transition = try JourneyStateMachine.handle(command, row.journey, in: frozen.graph, now: step.now)
    } catch {
      throw error.rpcError
    }
    guard !transition.events.isEmpty || !transition.effects.isEmpty else { return row }
    var after = row
    after.journey = transition.journey
    try JourneyStore.update(after, from: row.journey.revision, in: tx)

    let address = JourneyAddress(row, frozen)
    if let recommended {
      try step.tell(
        RecommendationAccepted(proposalID: recommended.proposalID, kind: "route_change", actor: recommended.actor), address,
        task: recommended.agentTaskID, in: tx)
    }
    var passing = row.journey
    for event in transition.events {
      passing.apply(event, frozen.graph, at: step.now)
      guard let payload = event.payload(passing, row.origin, in: frozen.graph) else { continue }
      try step.tell(payload, address, in: tx)
      if case .routeChanged = event, let recommended {
        try step.tell(
          RecommendationApplied(
            proposalID: recommended.proposalID, kind: "route_change",
            change: "the route goes on to \(recommended.servicePointIds.joined(separator: ", "))"),
          address, task: recommended.agentTaskID, in: tx)
      }
    }
    for effect in transition.effects { try cause(effect, after, frozen, step, in: tx) }
    return after
  }
}

/// What the envelopes of a journey's events say of where they belong.
struct JourneyAddress: Sendable {
  var sessionID: String
  var journeyID: String
  var productVersionID: String
  var marketCode: String

  init(_ row: JourneyRow, _ frozen: FrozenConfig) {
    sessionID = row.origin.productRuntimeSessionID
    journeyID = row.id
    productVersionID = row.origin.productVersionID
    marketCode = row.origin.marketCode
  }
}
