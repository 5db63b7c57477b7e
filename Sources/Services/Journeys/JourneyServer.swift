import SpanwireDatabase
import SpanwireEventLog
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Synchronization

/// TJM, the journey runtime: walks journey documents durably.
///
/// Every step is one transaction: the row is read, `JourneyStateMachine` decides, and row, events and effects are written together. What
/// a node asks of another service is an effect; its outcome comes back as a command. A restart finds every journey where it was.
public final class JourneyServer: JourneyRuntimeService {
  let environment: ServiceEnvironment
  let clients: JourneyClients
  let documents = FrozenDocuments()

  public static let migrations = JourneyStore.migrations

  /// Brings in what the orchestrator's tasks came to.
  private let taskEnds: Mutex<DurableConsumer?> = Mutex(nil)

  public init(environment: ServiceEnvironment, clients: JourneyClients) {
    self.environment = environment
    self.clients = clients
  }

  /// Begins to follow the ends of agents' tasks, for which nodes wait.
  public func start() {
    let consumer = DurableConsumer("tjm.tasks", environment.log, LogFilter(types: Self.taskEndTypes, tenant: nil)) { [self] event in
      try taskEnded(try event.decoded())
    }
    taskEnds.withLock { $0 = consumer }
    consumer.start()
  }

  public func stop() async { await taskEnds.withLock { $0 }?.stop() }

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
    fields.optionalID(request.journeyDocID, "journey_doc_id")
    fields.known(request.state, "state")
    let size = fields.pageSize(request.pageSize, default: JourneyLimits.defaultPageSize, max: JourneyLimits.pageSize)
    try fields.finish()
    var filter = JourneyStore.Filter(
      tenant: caller.tenant, session: request.productRuntimeSessionID, document: request.journeyDocID, state: request.state)
    // Ids sort by the time at which they were made, which is that of the start.
    filter.from = request.startedFrom.map(Self.firstID) ?? ""
    filter.before = request.startedBefore.map(Self.firstID) ?? ""
    if !request.pageToken.isEmpty {
      let token = try PageToken.decode(request.pageToken)
      filter.before = filter.before.isEmpty ? token : min(filter.before, token)
    }
    let page = try await environment.database.scan { [self, filter] reader in
      try JourneyStore.page(filter, size: size, in: reader).map { stored in
        let row = try row(stored, in: reader)
        return row.instance(in: try graph(of: row, in: reader))
      }
    }
    let next = page.count == size ? PageToken.encode(page[size - 1].journeyInstanceID) : ""
    return ListJourneysResponse(journeys: page, nextPageToken: next)
  }

  /// The first id that a journey of that millisecond can have.
  private static func firstID(_ time: Google_Protobuf_Timestamp) -> String {
    let milliseconds = UInt64(clamping: time.nanosecondsSinceEpoch / 1_000_000) & 0xFFFF_FFFF_FFFF
    return ULID(high: milliseconds << 16, low: 0).text(.journeyInstance)
  }

  /// The journey's own part of its session's stream, from its beginning or from where a watcher was.
  public func watchJourney(
    _ request: WatchJourneyRequest, responses: ResponseWriter<SubscribeResponse>, context: ServerContext
  ) async throws {
    let caller = try Caller(context)
    var fields = Validation()
    fields.id(request.journeyInstanceID, "journey_instance_id")
    try fields.finish()
    let journey = try await journey(request.journeyInstanceID, caller.tenant)
    let subscribe = SubscribeRequest(
      filter: EventFilter(
        types: request.types, productRuntimeSessionID: journey.productRuntimeSessionID, journeyInstanceID: journey.journeyInstanceID),
      cursor: request.cursor, untilEnd: request.untilEnd)
    try await environment.log.subscribe(subscribe, tenant: caller.tenant, to: responses, context)
  }

  /// The journey as the contract shows it.
  func journey(_ id: String, _ tenant: String) async throws -> JourneyInstance {
    try await environment.database.read { [self] reader in try instance(try find(id, tenant, in: reader), in: reader) }
  }

  func instance(_ row: JourneyRow, in reader: borrowing some Reader & ~Copyable) throws -> JourneyInstance {
    row.instance(in: try graph(of: row, in: reader))
  }

  func graph(of row: JourneyRow, in reader: borrowing some Reader & ~Copyable) throws -> JourneyGraph {
    try config(of: row, in: reader).graph
  }

  func config(of row: JourneyRow, in reader: borrowing some Reader & ~Copyable) throws -> FrozenConfig {
    try documents.config(row.origin.runtimeSnapshotRef, tenant: row.origin.tenantID, in: reader)
  }

  /// A stored journey, ready to walk.
  func row(_ stored: JourneyInstance, in reader: borrowing some Reader & ~Copyable) throws -> JourneyRow {
    JourneyRow(stored, in: try documents.config(stored.runtimeSnapshotRef, tenant: stored.tenantID, in: reader).graph)
  }

  func find(_ id: String, _ tenant: String, in reader: borrowing some Reader & ~Copyable) throws -> JourneyRow {
    guard let stored = try JourneyStore.find(id, tenant: tenant, in: reader) else {
      throw RPCError.missing(.journeyNotFound, "no journey \(id)")
    }
    return try row(stored, in: reader)
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
    let frozen = try config(of: row, in: tx)
    let transition: JourneyTransition
    do {
      transition = try JourneyStateMachine.handle(command, row.journey, in: frozen.graph, now: step.now)
    } catch {
      throw error.rpcError
    }
    guard !transition.events.isEmpty || !transition.effects.isEmpty else { return row }
    var after = row
    after.journey = transition.journey
    try JourneyStore.update(after, from: row.journey, in: tx)

    let address = JourneyAddress(row, frozen)
    var drafts: [EventDraft] = []
    if let recommended {
      drafts.append(
        step.draft(
          RecommendationAccepted(proposalID: recommended.proposalID, kind: "route_change", actor: recommended.actor), address,
          task: recommended.agentTaskID))
    }
    var passing = row.journey
    for event in transition.events {
      passing.apply(event, frozen.graph, at: step.now)
      guard let payload = event.payload(passing, row.origin, in: frozen.graph) else { continue }
      drafts.append(step.draft(payload, address))
      if case .routeChanged = event, let recommended {
        drafts.append(
          step.draft(
            RecommendationApplied(
              proposalID: recommended.proposalID, kind: "route_change",
              change: "the route goes on to \(recommended.servicePointIds.joined(separator: ", "))"),
            address, task: recommended.agentTaskID))
      }
    }
    try tx.append(drafts, environment)
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
