import SpanwireRPC
import SpanwireSchema

/// The operator of the day, on a live subscription: blocks the third café and leads the traveller past it.
struct DayOperator {
  let day: Day

  /// What the operator saw of the day.
  struct Feed: Sendable {
    var session = ""
    /// Tokens redeemed by place.
    var redeemed: [String: Int64] = [:]
    var audits = 0
  }

  /// Follows the feed to the end of the session. A lost connection is taken up again after the last event seen.
  func follow() async throws -> Feed {
    var feed = Feed()
    var cursor = ""
    let events = EventsClient(day.channel)
    let gateway = ProductRuntimeGatewayClient(day.channel)
    let trace = TraceContext(day: day.run).traceBytes
    while true {
      do {
        // The whole day bears one trace, so the feed is the day's alone, on however busy a server.
        let request = SubscribeRequest(filter: EventFilter(traceID: trace), cursor: cursor)
        for try await response in try await events.subscribe(request) {
          guard case .event(let event) = response.item else { continue }
          try await act(on: event, &feed, gateway)
          cursor = event.logPosition
          if event.type == "product.runtime.session.completed" { return feed }
        }
      } catch let error as RPCError where error.code == .unavailable {
        try await day.insist { _ = try await gateway.listSessions(ListSessionsRequest(pageSize: 1)) }
      }
    }
  }

  private func act(on event: EventEnvelope, _ feed: inout Feed, _ gateway: ProductRuntimeGatewayClient) async throws {
    func say(_ text: String) { print("  operator   sees \(event.type): \(printable(text))") }
    switch event.type {
    case "product.runtime.session.created":
      feed.session = event.productRuntimeSessionID
      say(feed.session)
    case "entitlement.redeemed":
      let redeemed = try event.payload?.unpack(as: EntitlementRedeemed.self) ?? EntitlementRedeemed()
      feed.redeemed[redeemed.servicePointID, default: 0] += redeemed.quantity
      say("\(redeemed.servicePointID), \(redeemed.remaining) left")
    case "journey.node.entered":
      let entered = try event.payload?.unpack(as: JourneyNodeEntered.self) ?? JourneyNodeEntered()
      guard entered.nodeID == "visit", entered.visitNumber == 3 else { return }
      print("  operator   blocks \(entered.servicePointID)")
      let response = try await control("block", .blockServicePoint(BlockServicePoint(servicePointID: entered.servicePointID)), gateway)
      print("  operator   … audited as \(response.auditEventID), incident \(response.incidentID)")
    case "journey.node.blocked":
      let blocked = try event.payload?.unpack(as: JourneyNodeBlocked.self) ?? JourneyNodeBlocked()
      say(blocked.servicePointID)
      print("  operator   skips the node \(blocked.nodeID)")
      _ = try await control(
        "skip", .forceSkipNode(ForceSkipNode(productRuntimeSessionID: feed.session, nodeID: blocked.nodeID)), gateway)
      let place = blocked.servicePointID
      _ = try await control("unblock", .unblockServicePoint(UnblockServicePoint(servicePointID: place)), gateway)
    case "audit.recorded":
      let audit = try event.payload?.unpack(as: AuditRecorded.self) ?? AuditRecorded()
      feed.audits += 1
      say("\(audit.action) by \(audit.actor): \(audit.decision) \(audit.rule) \(audit.reason)")
    case "agent.recommendation.refused":
      let refused = try event.payload?.unpack(as: RecommendationRefused.self) ?? RecommendationRefused()
      say("\(refused.action) by \(refused.rule)")
    case "journey.completed", "product.runtime.session.completed":
      say("")
    default:
      break
    }
  }

  /// A control action of the day, inside the day's trace, once however often it is tried.
  private func control(
    _ step: String, _ action: ApplyControlRequest.Action, _ gateway: ProductRuntimeGatewayClient
  ) async throws -> ApplyControlResponse {
    let request = ApplyControlRequest(
      idempotencyKey: "day-\(day.run)-\(step)", reason: "a water pipe broke in the café", action: action)
    let trace = TraceContext(day: day.run)
    return try await day.insist {
      try await CallContext.with(principal: .anonymous, trace: trace) {
        try await gateway.applyControl(request, options: .timeout(.seconds(30)))
      }
    }
  }
}
