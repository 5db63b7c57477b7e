import SpanwireEventLog
import SpanwireSchema
import SpanwireServiceKit

extension GatewayServer {
  /// Whether the rows are what the log's events lead to: every session has both, and they agree.
  public func verify() async throws -> [Verification] {
    var told: [String: SessionProjection] = [:]
    var readable = Verification("sessions.events can be read")
    let filter = LogFilter(types: ["product.runtime.session.*", "product.runtime.purchase.completed"], tenant: nil)
    try await environment.log.replay(filter) { event in
      readable.examine()
      let key = event.header.tenant + "/" + event.header.session
      if !told[key, default: SessionProjection()].apply(try event.decoded()) {
        readable.found("\(event.header.type) at \(event.position)", of: .everyone)
      }
    }
    var rows = Verification("sessions.rows agree with the log")
    var place = (tenant: "", id: "")
    while true {
      let page = try await environment.database.scan { [place] reader in
        try SessionStore.all(afterTenant: place.tenant, id: place.id, limit: GatewayLimits.pageSize, in: reader)
      }
      for (session, isFiledRight) in page {
        rows.examine()
        let id = session.productRuntimeSessionID
        if !isFiledRight { rows.found("\(id) is listed as what it is not", of: .tenant(session.tenantID)) }
        guard let projection = told.removeValue(forKey: session.tenantID + "/" + id) else {
          rows.found("\(id) is not in the log", of: .tenant(session.tenantID))
          continue
        }
        if projection != SessionProjection(session), try await !agrees(session) {
          rows.found("\(id) is not what the log says", of: .tenant(session.tenantID))
        }
      }
      guard page.count == GatewayLimits.pageSize, let last = page.last?.session else { break }
      place = (last.tenantID, last.productRuntimeSessionID)
    }
    for key in told.keys.sorted() { rows.found("\(key) has no row", of: .tenant(String(key.prefix { $0 != "/" }))) }
    return [readable, rows]
  }

  /// Looks again at a session that has perhaps moved on between the two readings.
  private func agrees(_ session: ProductRuntimeSession) async throws -> Bool {
    let (id, tenant) = (session.productRuntimeSessionID, session.tenantID)
    while true {
      let before = try await environment.database.read { try SessionStore.find(id, tenant: tenant, in: $0) }
      var told = SessionProjection()
      try await environment.log.replay(LogFilter(types: ["product.runtime.*"], tenant: tenant, session: id)) {
        _ = told.apply(try $0.decoded())
      }
      guard let before else { return false }
      if told == SessionProjection(before) { return true }
      if try await environment.database.read({ try SessionStore.find(id, tenant: tenant, in: $0) }) == before { return false }
    }
  }
}
