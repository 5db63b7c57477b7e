import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// Reads the event log for callers, each within its own tenant: history, live, replay, and the proof that it is whole. Keeps the places of
/// named consumers, and shows operators the effects that need them.
public final class EventsServer: EventsService, Sendable {
  /// What finds out whether something holds: a service's rows against the log, the ledger's balance.
  public typealias Check = @Sendable () async throws -> [Verification]

  let environment: ServiceEnvironment
  let retention: RetentionPeriods
  private let isSandbox: Bool
  private let checks: [Check]

  var log: EventLog { environment.log }

  /// `checks` are those of every service that keeps rows; the log's own come first. Events are replayed in a sandbox alone.
  public init(
    environment: ServiceEnvironment, checks: [Check], retention: RetentionPeriods = RetentionPeriods(), isSandbox: Bool = false
  ) {
    self.environment = environment
    self.retention = retention
    self.isSandbox = isSandbox
    let log = environment.log
    self.checks = [{ try await log.verify() }] + checks
    environment.effects.onGiveUp { effect, error in
      let event = EventDraft(
        DLQEnqueued(
          itemID: effect.id, reason: String("\(effect.method): \(error.code) \(error.message)".prefix(EventsLimits.reason)),
          attempts: UInt32(effect.attempts)),
        producer: Self.producer, tenant: effect.tenant, occurredAt: environment.clock.now, trace: effect.trace?.child())
      return { try $0.append(event, environment) }
    }
  }

  static let producer = "events"

  public func subscribe(
    _ request: SubscribeRequest, responses: ResponseWriter<SubscribeResponse>, context: ServerContext
  ) async throws {
    let tenant = try tenant(request.filter, context)
    if !request.channel.isEmpty { return try await listen(request, tenant, responses) }
    try await log.subscribe(request, tenant: tenant, to: responses, context)
  }

  private func listen(_ request: SubscribeRequest, _ tenant: String, _ responses: ResponseWriter<SubscribeResponse>) async throws {
    var fields = Validation()
    fields.id(request.channel, "channel")
    fields.check(
      request.cursor.isEmpty && !request.fromNow && !request.untilEnd && request.consumer.isEmpty && request.mode != .live, "channel",
      "excludes everything but a filter")
    try fields.finish()
    let filter = try LogFilter(request.filter ?? EventFilter(), tenant: tenant, path: "filter.")
    try requireSandbox()
    try await log.channels.listen(to: channelKey(request.channel, tenant), filter, sink: LogSink(responses))
  }

  public func replayEvents(_ request: ReplayEventsRequest, context: ServerContext) async throws -> ReplayEventsResponse {
    let tenant = try tenant(request.filter, context)
    var fields = Validation()
    fields.id(request.channel, "channel")
    fields.text(request.reason, "reason", max: EventsLimits.reason)
    try fields.finish()
    let filter = try LogFilter(request.filter ?? EventFilter(), tenant: tenant, path: "filter.")
    let cursor = try LogCursor(text: request.cursor)
    var last: Int64?
    if !request.until.isEmpty {
      guard case .after(let position) = try LogCursor(text: request.until) else { preconditionFailure("a text is a position") }
      last = position
    }
    try requireSandbox()
    let played = try await log.replay(filter, after: cursor, through: last, to: channelKey(request.channel, tenant))
    return ReplayEventsResponse(events: UInt64(played.events), listeners: UInt32(played.listeners))
  }

  /// Channels are a tenant's own.
  private func channelKey(_ channel: String, _ tenant: String) -> String { tenant + "/" + channel }

  private func requireSandbox() throws {
    guard isSandbox else {
      throw RPCError.precondition(.replayOutsideSandbox, "events are replayed in a sandbox alone, and this server is none")
    }
  }

  public func listEvents(_ request: ListEventsRequest, context: ServerContext) async throws -> ListEventsResponse {
    try await log.list(request, tenant: try tenant(request.filter, context))
  }

  /// Whose events a caller reads: its own tenant's, whatever it names.
  func tenant(_ filter: EventFilter?, _ context: ServerContext) throws -> String {
    let caller = try Caller(context)
    try caller.admit(tenant: filter?.tenantID ?? "")
    return caller.tenant
  }

  public func listEventTypes(_ request: ListEventTypesRequest, context: ServerContext) async throws -> ListEventTypesResponse {
    ListEventTypesResponse(types: EventType.allCases.map(EventTypeInfo.init))
  }

  public func verify(_ request: VerifyRequest, responses: ResponseWriter<VerifyResponse>, context: ServerContext) async throws {
    let caller = try Caller(context)
    for check in checks {
      for found in try await check() {
        try await responses.write(
          VerifyResponse(
            check: found.name, ok: found.isSound, examined: UInt64(clamping: found.examined), findings: found.findings(for: caller),
            findingsTotal: UInt64(clamping: found.findingsTotal)))
      }
    }
  }
}

extension EventTypeInfo {
  init(_ type: EventType) {
    self.init(
      type: type.rawValue, messageType: type.messageType, lane: type.lane, retention: type.retention, requires: type.requires,
      schemaVersion: type.schemaVersion, reserved: type.isReserved)
  }
}
