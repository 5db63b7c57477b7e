import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// Places that operators take out of journeys, for a time or until they are given back.
///
/// The row says what holds; journeys that start or are given a route read it. Those that run are brought in line with it, some in a
/// transaction, in passes that may be repeated and may meet: each looks at the row, not at what it was called for.
extension JourneyServer {
  /// What the effect that ends a block is called; it calls nobody.
  static let blockEnds = "block.ends"

  public func setServicePointBlock(
    _ request: SetServicePointBlockRequest, context: ServerContext
  ) async throws -> SetServicePointBlockResponse {
    let caller = try Caller(context)
    try caller.admit(tenant: request.tenantID)
    let step = JourneyStep(caller, environment)
    let until = request.until?.nanosecondsSinceEpoch
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.ids(request.servicePointIds, "service_point_ids", max: JourneyLimits.placesPerBlock)
    if request.servicePointIds.isEmpty { fields.add("service_point_ids", "names no place") }
    intervention(request.actor, request.reason, in: &fields)
    if let until, request.blocked { fields.check(until > step.now, "until", "must be in the future") }
    try fields.finish()

    let key = IdempotencyKey(request.idempotencyKey, request, context)
    let recalled = try await environment.database.read { try $0.recall(key, at: step.now) }
    if case .done(let bytes) = recalled { return try SetServicePointBlockResponse(decoding: bytes) }
    let places = request.servicePointIds
    if request.blocked {
      try await block(places, request.reason, until, step)
    } else {
      _ = try await environment.database.transaction("tjm.unblock") { tx in
        for place in places { try JourneyBlocks.beginLifting(place, tenant: caller.tenant, in: tx) }
      }
    }
    let response = try await bringInLine(places, step)
    return try await environment.database.transaction("tjm.block") { tx in
      try tx.once(key, at: step.now) {
        if !request.blocked { try self.forget(places, step, in: tx) }
        return response
      }
    }.value
  }

  private func block(_ places: [String], _ reason: String, _ until: Int64?, _ step: JourneyStep) async throws {
    let tenant = step.caller.tenant
    let expiry = environment.ids.next("BLK")
    _ = try await environment.database.transaction("tjm.block") { tx in
      let known = try JourneyBlocks.all(tenant: tenant, in: tx)
      let isNew = { (place: String) in !known.contains { $0.block.servicePointID == place } }
      guard known.count + places.count(where: isNew) <= JourneyLimits.blockedServicePoints else {
        throw JourneyRefusal.limitExceeded("blocked service points", limit: JourneyLimits.blockedServicePoints).rpcError
      }
      for (index, place) in places.enumerated() {
        let block = Journey.Block(servicePointID: place, reason: reason, until: until)
        let former = known.first { $0.block.servicePointID == place }
        // Said again: the first time of the call was cut short.
        if let former, former.block == block, !former.isLifting { continue }
        if let former, !former.expiry.isEmpty { try tx.cancelEffect(former.expiry, at: step.now) }
        let id = until == nil ? "" : "\(expiry)-\(index)"
        try JourneyBlocks.put(block, expiry: id, tenant: tenant, in: tx)
        guard let until else { continue }
        try tx.perform(
          Effect(
            id: id, owner: JourneyStep.producer, stream: id, method: Self.blockEnds, request: Array(place.utf8), dueAt: until,
            tenant: tenant, subject: step.caller.principal, trace: step.trace))
      }
    }
  }

  /// The time of a block is over. Called with the effect's outcome; when it is cut short, it is called again.
  func liftExpired(_ effect: Effect, _ step: JourneyStep) async throws {
    let place = String(decoding: effect.request, as: UTF8.self)
    let tenant = effect.tenant
    let isOver = try await environment.database.transaction("tjm.unblock") { tx in
      guard let entry = try JourneyBlocks.find(place, tenant: tenant, in: tx), entry.expiry == effect.id else { return false }
      try JourneyBlocks.beginLifting(place, tenant: tenant, in: tx)
      return true
    }.value
    guard isOver else { return }
    _ = try await bringInLine([place], step)
    _ = try await environment.database.transaction("tjm.unblock") { tx in
      try JourneyBlocks.remove(place, tenant: tenant, in: tx)
    }
  }

  private func forget(_ places: [String], _ step: JourneyStep, in tx: borrowing Transaction) throws {
    for place in places {
      if let entry = try JourneyBlocks.find(place, tenant: step.caller.tenant, in: tx), entry.isLifting, !entry.expiry.isEmpty {
        try tx.cancelEffect(entry.expiry, at: step.now)
      }
      try JourneyBlocks.remove(place, tenant: step.caller.tenant, in: tx)
    }
  }

  /// Makes every running journey of the tenant agree with the rows of these places, and says which it touched.
  private func bringInLine(_ places: [String], _ step: JourneyStep) async throws -> SetServicePointBlockResponse {
    let tenant = step.caller.tenant
    var response = SetServicePointBlockResponse()
    var last = ""
    while true {
      let (touched, next) = try await environment.database.transaction("tjm.align") { [self, last] tx in
        let page = try JourneyStore.running(tenant: tenant, after: last, limit: JourneyLimits.journeysPerSweep, in: tx)
        let blocks = try places.map { place in (place, try JourneyBlocks.find(place, tenant: tenant, in: tx)) }
        var touched: [String] = []
        for stored in page {
          if try align(try row(stored, in: tx), blocks, step, in: tx) { touched.append(stored.journeyInstanceID) }
        }
        return (touched, page.count == JourneyLimits.journeysPerSweep ? page.last?.journeyInstanceID : nil)
      }.value
      response.touched += UInt32(touched.count)
      response.journeyInstanceIds += touched.prefix(JourneyLimits.touchedJourneys - response.journeyInstanceIds.count)
      guard let next else { return response }
      last = next
    }
  }

  /// Whether the journey changed, or is blocked there already.
  private func align(
    _ row: JourneyRow, _ blocks: [(place: String, entry: JourneyBlocks.Entry?)], _ step: JourneyStep, in tx: borrowing Transaction
  ) throws -> Bool {
    var row = row
    var isTouched = false
    let graph = try graph(of: row, in: tx)
    for (place, entry) in blocks {
      let isKnown = row.journey.block(of: place) != nil
      if let entry, !entry.isLifting {
        guard isKnown || row.journey.concerns(place, in: graph) else { continue }
        row = try walk(row, .block(entry.block), step, in: tx)
        isTouched = true
      } else if isKnown {
        row = try walk(row, .unblock(servicePointID: place), step, in: tx)
        isTouched = true
      }
    }
    return isTouched
  }
}
