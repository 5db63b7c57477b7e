import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireSchema

/// What was acknowledged, to be compared with what the server holds.
struct LoadBooks: Sendable {
  var acknowledged: [(key: String, id: String)]
  var steps: [(journey: String, steps: Int)]
  /// Sessions of other runs are nobody's here.
  var run: String

  struct Finding {
    var sessions = 0
    var steps = 0
    /// Acknowledged and not there.
    var lost = 0
    /// There more often than it was acknowledged.
    var duplicated = 0

    var isClean: Bool { lost == 0 && duplicated == 0 }
    var json: String {
      "{\"acknowledged_sessions\": \(sessions), \"acknowledged_steps\": \(steps), \"lost\": \(lost), \"duplicated\": \(duplicated)}"
    }
  }

  /// Every call has been answered: what is there and what was acknowledged must be the same, to the last.
  func compare(over channel: HTTP2Channel) async throws -> Finding {
    let operators = channel.intercepted(by: [CallCredentials.bearer("dev:ops:OPS-0001:vienna:ops_lead")])
    var finding = Finding()
    finding.sessions = acknowledged.count
    finding.steps = steps.reduce(0) { $0 + $1.steps }

    let wanted = Set(acknowledged.map(\.id))
    // The same id under two keys would be one session for two wishes.
    finding.lost += acknowledged.count - wanted.count
    var found: Set<String> = []
    var page = ListSessionsRequest(pageSize: 500)
    repeat {
      let response = try await ProductRuntimeGatewayClient(operators).listSessions(page, options: .timeout(.seconds(60)))
      for session in response.sessions where session.userID.hasPrefix("USR-\(run)-") { found.insert(session.productRuntimeSessionID) }
      page.pageToken = response.nextPageToken
    } while !page.pageToken.isEmpty
    finding.lost += wanted.subtracting(found).count
    finding.duplicated += found.subtracting(wanted).count

    guard finding.steps > 0 else { return finding }
    // The log tells of each step that was taken.
    var taken: [String: Int] = [:]
    let request = SubscribeRequest(filter: EventFilter(types: ["journey.choice.made"]), untilEnd: true)
    for try await response in try await EventsClient(operators).subscribe(request) {
      if case .event(let event) = response.item { taken[event.journeyInstanceID, default: 0] += 1 }
    }
    for (journey, steps) in steps {
      finding.lost += max(0, steps - (taken[journey] ?? 0))
      finding.duplicated += max(0, (taken[journey] ?? 0) - steps)
    }
    return finding
  }
}
