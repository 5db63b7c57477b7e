import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// Reads the event log for callers, each within its own tenant: history, live, and the proof that it is whole.
public final class EventsServer: EventsService, Sendable {
  /// What finds out whether something holds: a service's rows against the log, the ledger's balance.
  public typealias Check = @Sendable () async throws -> [Verification]

  private let log: EventLog
  private let checks: [Check]

  /// `checks` are those of every service that keeps rows; the log's own come first.
  public init(log: EventLog, checks: [Check]) {
    self.log = log
    self.checks = [{ try await log.verify() }] + checks
  }

  public func subscribe(
    _ request: SubscribeRequest, responses: ResponseWriter<SubscribeResponse>, context: ServerContext
  ) async throws {
    try await log.subscribe(request, tenant: try tenant(request.filter, context), to: responses, context)
  }

  public func listEvents(_ request: ListEventsRequest, context: ServerContext) async throws -> ListEventsResponse {
    try await log.list(request, tenant: try tenant(request.filter, context))
  }

  /// Whose events a caller reads: its own tenant's, whatever it names.
  private func tenant(_ filter: EventFilter?, _ context: ServerContext) throws -> String {
    let caller = try Caller(context)
    try caller.admit(tenant: filter?.tenantID ?? "")
    return caller.tenant
  }

  public func listEventTypes(_ request: ListEventTypesRequest, context: ServerContext) async throws -> ListEventTypesResponse {
    ListEventTypesResponse(types: EventType.allCases.map(EventTypeInfo.init))
  }

  public func verify(_ request: VerifyRequest, responses: ResponseWriter<VerifyResponse>, context: ServerContext) async throws {
    for check in checks {
      for found in try await check() {
        try await responses.write(
          VerifyResponse(
            check: found.name, ok: found.isSound, examined: UInt64(clamping: found.examined), findings: found.findings,
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
