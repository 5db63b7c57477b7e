import SpanwireDatabase
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// Room kept at places of limited capacity.
extension CityGraphServer {
  /// Keeps room for visitors, or refuses when there is not enough at any moment of the time.
  public func reserveCapacity(_ request: ReserveCapacityRequest, context: ServerContext) async throws -> ReserveCapacityResponse {
    let step = try step(context)
    let visitors = Int64(max(1, request.visitors))
    let startsAt = request.startsAt?.nanosecondsSinceEpoch ?? step.now
    let expiresAt = request.expiresAt?.nanosecondsSinceEpoch ?? startsAt
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.servicePointID, "service_point_id")
    fields.optionalID(request.reservationID, "reservation_id")
    fields.text(request.holder, "holder", max: CityGraphLimits.actorCharacters)
    fields.moment(request.startsAt, "starts_at")
    fields.moment(request.expiresAt, "expires_at")
    fields.check(visitors <= CityGraphLimits.visitors, "visitors", "at most \(CityGraphLimits.visitors)")
    fields.check(
      startsAt - step.now <= Int64(CityGraphLimits.nextOpeningDays) * CityGraphLimits.dayNanoseconds, "starts_at",
      "is more than \(CityGraphLimits.nextOpeningDays) days ahead")
    fields.check(expiresAt > max(startsAt, step.now), "expires_at", "must lie ahead, and after starts_at")
    fields.check(expiresAt - startsAt <= CityGraphLimits.dayNanoseconds, "expires_at", "is more than a day after its start")
    try fields.finish()

    let reservation = PlaceReservation(
      id: request.reservationID.isEmpty ? environment.ids.next("RSV") : request.reservationID,
      servicePointID: request.servicePointID, visitors: visitors, holder: request.holder,
      startsAt: startsAt, expiresAt: expiresAt)
    let key = IdempotencyKey(request.idempotencyKey, request, context)
    return try await change("lem.reserve", key, step) { tx in
      guard let point = try CityGraphStore.point(reservation.servicePointID, tenant: step.tenant, in: tx) else {
        throw Self.missing(reservation.servicePointID)
      }
      if let block = try CityGraphStore.block(of: reservation.servicePointID, tenant: step.tenant, in: tx),
        block.until.map({ $0 > startsAt }) ?? true
      {
        throw RPCError.failedPrecondition("\(reservation.servicePointID) is blocked then: \(block.reason)")
      }
      if try CityGraphStore.reservation(reservation.id, tenant: step.tenant, in: tx) != nil {
        throw RPCError.alreadyExists("there is a reservation \(reservation.id) already")
      }
      try CityGraphStore.forgetReservations(of: reservation.servicePointID, until: step.now, tenant: step.tenant, in: tx)
      let others = try CityGraphStore.reservations(of: reservation.servicePointID, tenant: step.tenant, in: tx)
      guard others.count < CityGraphLimits.reservationsPerPlace else {
        throw RPCError.refusal(
          .resourceExhausted, .capacityExceeded,
          "\(reservation.servicePointID) has \(others.count) reservations, which is as many as it can")
      }
      var response = ReserveCapacityResponse(reservation: reservation.contract)
      if let capacity = PlaceCapacity(of: point, others) {
        let free = capacity.free(from: startsAt, to: expiresAt)
        guard free >= visitors else {
          throw RPCError.precondition(
            .capacityExceeded, "\(reservation.servicePointID) has room for \(free) of \(capacity.visitors) then, not for \(visitors)",
            metadata: [("free", "\(free)"), ("capacity", "\(capacity.visitors)")])
        }
        response.freeCapacity = UInt32(free - visitors)
      }
      try CityGraphStore.put(reservation, tenant: step.tenant, in: tx)
      try step.tell(
        CapacityReserved(
          reservationID: reservation.id, servicePointID: point.servicePointID, visitors: UInt32(visitors), holder: reservation.holder,
          startsAt: .init(nanosecondsSinceEpoch: startsAt), expiresAt: .init(nanosecondsSinceEpoch: expiresAt)),
        market: point.marketCode, in: tx)
      try CityGraphStore.advance(step.tenant, mapChanged: false, in: tx)
      return response
    }
  }

  /// Gives room back before its time.
  public func releaseCapacity(_ request: ReleaseCapacityRequest, context: ServerContext) async throws -> CapacityReservation {
    let step = try step(context)
    var fields = Validation()
    fields.idempotencyKey(request.idempotencyKey)
    fields.id(request.reservationID, "reservation_id")
    try fields.finish()
    let key = IdempotencyKey(request.idempotencyKey, request, context)
    return try await change("lem.release", key, step) { tx in
      guard let reservation = try CityGraphStore.reservation(request.reservationID, tenant: step.tenant, in: tx),
        reservation.expiresAt > step.now
      else { throw RPCError.missing(.reservationNotFound, "there is no reservation \(request.reservationID), or it is over") }
      try CityGraphStore.removeReservation(reservation.id, tenant: step.tenant, in: tx)
      let point = try CityGraphStore.point(reservation.servicePointID, tenant: step.tenant, in: tx)
      try step.tell(
        CapacityReleased(reservationID: reservation.id, servicePointID: reservation.servicePointID), market: point?.marketCode ?? "",
        in: tx)
      try CityGraphStore.advance(step.tenant, mapChanged: false, in: tx)
      return reservation.contract
    }
  }

  public func listReservations(_ request: ListReservationsRequest, context: ServerContext) async throws -> ListReservationsResponse {
    let step = try step(context)
    var fields = Validation()
    fields.optionalID(request.servicePointID, "service_point_id")
    let size = fields.pageSize(request.pageSize, default: CityGraphLimits.defaultPageSize, max: CityGraphLimits.pageSize)
    try fields.finish()
    let after = try PageToken.decode(request.pageToken)
    let rows = try await environment.database.scan {
      try CityGraphStore.reservations(
        after: after, of: request.servicePointID, notOverAt: step.now, count: size + 1, tenant: step.tenant, in: $0)
    }
    return ListReservationsResponse(
      reservations: rows.prefix(size).map(\.contract), nextPageToken: rows.count > size ? PageToken.encode(rows[size - 1].id) : "")
  }
}
