import SpanwireEventLog
import SpanwireSchema
import SpanwireServiceKit

extension JourneyServer {
  /// Whether the rows are what the log's events lead to: every journey has both, and they agree.
  public func verify() async throws -> [Verification] {
    var told: [String: JourneyProjection] = [:]
    var readable = Verification("journeys.events can be read")
    let filter = LogFilter(types: ["journey.*"], tenant: nil)
    try await environment.log.replay(filter) { event in
      readable.examine()
      let key = event.header.tenant + "/" + event.header.journey
      if !told[key, default: JourneyProjection()].apply(try event.decoded()) { readable.found("\(event.header.type) at \(event.position)") }
    }
    var rows = Verification("journeys.rows agree with the log")
    var place = (tenant: "", id: "")
    while true {
      let page = try await environment.database.scan { [self, place] reader in
        try JourneyStore.all(afterTenant: place.tenant, id: place.id, limit: JourneyLimits.pageSize, in: reader).map { row in
          (row.origin.tenantID, try instance(row, in: reader))
        }
      }
      for (tenant, journey) in page {
        rows.examine()
        let id = journey.journeyInstanceID
        guard let projection = told.removeValue(forKey: tenant + "/" + id) else {
          rows.found("\(id) is not in the log")
          continue
        }
        if projection != JourneyProjection(journey), try await !agrees(id, tenant) { rows.found("\(id) is not what the log says") }
      }
      guard page.count == JourneyLimits.pageSize, let last = page.last else { break }
      place = (last.0, last.1.journeyInstanceID)
    }
    // What was written between the two readings is in the log only for a moment: a row follows every event of its transaction.
    for key in told.keys.sorted() { rows.found("\(key) has no row") }
    return [readable, rows]
  }

  /// Looks again at a journey that has perhaps moved on between the two readings.
  private func agrees(_ id: String, _ tenant: String) async throws -> Bool {
    while true {
      let before = try await journey(id, tenant)
      var told = JourneyProjection()
      try await environment.log.replay(
        LogFilter(types: ["journey.*"], tenant: tenant, session: before.productRuntimeSessionID, journey: id)
      ) { _ = told.apply(try $0.decoded()) }
      if told == JourneyProjection(before) { return true }
      if try await journey(id, tenant).revision == before.revision { return false }
    }
  }
}
