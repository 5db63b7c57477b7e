/// Routes, and the places that are blocked on them.
extension JourneyWalk {
  mutating func changeRoute(_ places: [String], _ proposal: String?, _ reason: String) throws(JourneyRefusal) {
    guard !places.isEmpty else { throw .routeEmpty }
    guard journey.nextStop + places.count <= JourneyLimits.routeStops else {
      throw .limitExceeded("route", limit: JourneyLimits.routeStops)
    }
    if let block = places.lazy.compactMap(journey.block(of:)).first {
      throw .servicePointBlocked(block.servicePointID, until: block.until)
    }
    let decided = proposal == nil ? nil : awaitedDecision
    emit(.routeChanged(servicePointIDs: places, proposalID: proposal, reason: reason))
    if let decided { try complete(decided, "accepted") }
  }

  mutating func block(_ block: Journey.Block) {
    if journey.blocks.contains(block) { return }
    // Work that is under way at the place goes on: its outcome is a fact, not a step.
    let here = journey.standingRecords.filter { record in
      (record.status == .active || record.status == .blocked) && record.servicePointID == block.servicePointID && !record.awaitsWork
    }
    for record in here { emit(.nodeBlocked(nodeID: record.nodeID, block)) }
    if here.isEmpty { emit(.nodeBlocked(nodeID: nil, block)) }
    // The route loses the place, and a visit that stood there goes on to the next stop if there is one.
    let ahead = journey.route.dropFirst(journey.nextStop)
    if ahead.contains(block.servicePointID) {
      let rest = ahead.filter { $0 != block.servicePointID }
      emit(.routeChanged(servicePointIDs: rest, proposalID: nil, reason: "\(block.servicePointID) is blocked: \(block.reason)"))
    }
  }

  mutating func unblock(_ place: String) {
    guard journey.block(of: place) != nil else { return }
    let stopped = journey.standingRecords.filter { $0.status == .blocked && $0.servicePointID == place }
    for record in stopped { emit(.nodeUnblocked(nodeID: record.nodeID, servicePointID: place)) }
    if stopped.isEmpty { emit(.nodeUnblocked(nodeID: nil, servicePointID: place)) }
  }
}
