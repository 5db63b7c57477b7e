import SpanwireEventLog
import SpanwireSchema
import SpanwireServiceKit

extension JourneyServer {
  /// Whether the rows are what the log's events lead to: every journey is made anew of its events, and compared.
  public func verify() async throws -> [Verification] {
    var told: [JourneyKey: JourneyRetold] = [:]
    var readable = Verification("journeys.events can be read")
    try await environment.log.replay(LogFilter(types: ["journey.*"], tenant: nil)) { event in
      readable.examine()
      let key = JourneyKey(tenant: event.header.tenant, id: event.header.journey)
      if try await !retell(try event.decoded(), into: &told[key]) {
        readable.found("\(event.header.type) at \(event.position)", of: .everyone)
      }
    }
    var rows = Verification("journeys.rows agree with the log")
    var place = JourneyKey(tenant: "", id: "")
    while true {
      let page = try await environment.database.scan { [self, place] reader in
        try JourneyStore.all(afterTenant: place.tenant, id: place.id, limit: JourneyLimits.pageSize, in: reader).map { stored in
          (row: try row(stored.journey, in: reader), isFiledRight: stored.isFiledRight)
        }
      }
      for (row, isFiledRight) in page {
        rows.examine()
        if !isFiledRight { rows.found("\(row.id) is listed as what it is not", of: .tenant(row.origin.tenantID)) }
        guard let retold = told.removeValue(forKey: JourneyKey(tenant: row.origin.tenantID, id: row.id)) else {
          rows.found("\(row.id) is not in the log", of: .tenant(row.origin.tenantID))
          continue
        }
        if retold.journey != row.journey.asTold, try await !agrees(row) {
          rows.found("\(row.id) is not what the log says", of: .tenant(row.origin.tenantID))
        }
      }
      guard page.count == JourneyLimits.pageSize, let last = page.last?.row else { break }
      place = JourneyKey(tenant: last.origin.tenantID, id: last.id)
    }
    // What was written between the two readings is in the log only for a moment: a row follows every event of its transaction.
    for key in told.keys.sorted() { rows.found("\(key.tenant)/\(key.id) has no row", of: .tenant(key.tenant)) }
    return [readable, rows]
  }

  /// Takes one event of a journey in; false when it can't be read, or there is no beginning that it could follow.
  private func retell(_ envelope: EventEnvelope, into retold: inout JourneyRetold?) async throws -> Bool {
    if let started = try? envelope.payload?.unpack(as: JourneyStarted.self) {
      let frozen = try await documents.committed(started.snapshotRef, tenant: envelope.tenantID, in: environment.database)
      guard let graph = frozen?.graph else { return false }
      retold = JourneyRetold(graph: graph, journey: Journey(graph))
    }
    guard let before = retold, let event = try? JourneyEvent(envelope, of: before.journey) else { return false }
    retold?.journey.apply(event, before.graph, at: envelope.occurredAt?.nanosecondsSinceEpoch ?? 0)
    return true
  }

  /// Looks again at a journey that has perhaps moved on between the two readings.
  private func agrees(_ seen: JourneyRow) async throws -> Bool {
    var row = seen
    while true {
      var retold: JourneyRetold?
      let filter = LogFilter(
        types: ["journey.*"], tenant: row.origin.tenantID, session: row.origin.productRuntimeSessionID, journey: row.id)
      try await environment.log.replay(filter) { _ = try await retell(try $0.decoded(), into: &retold) }
      let now = try await environment.database.read { [self, row] in try find(row.id, row.origin.tenantID, in: $0) }
      if retold?.journey == now.journey.asTold { return true }
      if now.journey.revision == row.journey.revision { return false }
      row = now
    }
  }
}

private struct JourneyKey: Hashable, Comparable {
  var tenant: String
  var id: String

  static func < (left: JourneyKey, right: JourneyKey) -> Bool { (left.tenant, left.id) < (right.tenant, right.id) }
}

/// A journey as its events tell it, and the document that they walk.
private struct JourneyRetold {
  var graph: JourneyGraph
  var journey: Journey
}

extension Journey {
  /// Without what the log does not tell: whether an answer is awaited, which the effects know, what is left, which Trutta
  /// knows, and what room is kept, which LEM knows.
  fileprivate var asTold: Journey {
    var told = self
    told.tokensLeft = nil
    told.rooms = []
    for index in told.nodes.indices { told.nodes[index].awaitsWork = false }
    return told
  }
}
