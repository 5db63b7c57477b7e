/// Routes, and the places that are blocked on them.
extension JourneyWalk {
  mutating func changeRoute(
    _ places: [String], _ proposal: String?, _ reason: String, _ stays: [PlannedStay]
  ) throws(JourneyRefusal) {
    guard !places.isEmpty else { throw .routeEmpty }
    guard journey.nextStop + places.count <= JourneyLimits.routeStops else {
      throw .limitExceeded("route", limit: JourneyLimits.routeStops)
    }
    if let block = places.lazy.compactMap(journey.block(of:)).first {
      throw .servicePointBlocked(block.servicePointID, until: block.until)
    }
    let decided = proposal == nil ? nil : awaitedDecision
    emit(.routeChanged(servicePointIDs: places, proposalID: proposal, reason: reason))
    // She comes at other times than she was expected, even to a place where room is kept.
    for room in journey.rooms where stays.contains(where: { $0.servicePointID == room.servicePointID }) { giveBack(room) }
    keepRoom(stays)
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
    for record in here where journey.record(record.nodeID)?.status == .blocked { askForWay(from: record.nodeID) }
  }

  /// Where a visit of the route can't go on to another stop, an agent is asked for one. What it proposes, the traveller decides.
  private mutating func askForWay(from id: String) {
    guard graph.node(id)?.kind == .visit(servicePointID: nil), journey.nextOpenStop == nil else { return }
    effects.append(.askForWay(nodeID: id, revision: journey.revision))
  }

  mutating func unblock(_ place: String) {
    guard journey.block(of: place) != nil else { return }
    let stopped = journey.standingRecords.filter { $0.status == .blocked && $0.servicePointID == place }
    for record in stopped { emit(.nodeUnblocked(nodeID: record.nodeID, servicePointID: place)) }
    if stopped.isEmpty { emit(.nodeUnblocked(nodeID: nil, servicePointID: place)) }
  }

  // MARK: Room

  /// Asks the city to keep room. No two of a journey's rooms have one number: an event of the log came before, and they are few.
  mutating func keepRoom(_ stays: [PlannedStay]) {
    for (index, stay) in stays.enumerated() {
      let room = Journey.Room(
        servicePointID: stay.servicePointID, number: journey.revision << 8 | UInt64(index), startsAt: stay.startsAt,
        expiresAt: stay.expiresAt)
      emit(.roomAsked(room))
      effects.append(.keepRoom(room))
    }
  }

  private mutating func giveBack(_ room: Journey.Room) {
    emit(.roomEnded(number: room.number))
    // What is over has ended by itself.
    if room.expiresAt > now { effects.append(.giveBackRoom(room)) }
  }

  /// Gives back, after all that a command led to, what is kept where she will not come or does not stay.
  mutating func settleRooms() {
    guard !journey.rooms.isEmpty else { return }
    var places: Set<String> = []
    if journey.status == .running {
      places.formUnion(journey.route.dropFirst(journey.nextStop))
      let visits = journey.standingRecords.filter { $0.status == .active && graph.node($0.nodeID)?.kind?.name == "visit" }
      places.formUnion(visits.compactMap(\.servicePointID))
      // She is where she was last until she goes on to the next place.
      if visits.isEmpty, let here = journey.currentServicePointID { places.insert(here) }
    }
    for room in journey.rooms where !places.contains(room.servicePointID) { giveBack(room) }
  }

  /// The place is full when she would be there: the route leaves it out. Who stands before it goes on to the next stop, or tries the door
  /// while an agent is asked for another.
  mutating func roomRefused(_ number: UInt64, _ reason: String) {
    guard journey.status == .running, let room = journey.rooms.first(where: { $0.number == number }) else { return }
    emit(.roomEnded(number: number))
    let ahead = journey.route.dropFirst(journey.nextStop)
    guard ahead.contains(room.servicePointID) else { return }
    let rest = ahead.filter { $0 != room.servicePointID }
    emit(.routeChanged(servicePointIDs: rest, proposalID: nil, reason: "\(room.servicePointID) is full: \(reason)"))
    for record in journey.standingRecords where record.servicePointID == room.servicePointID { askForWay(from: record.nodeID) }
  }
}
