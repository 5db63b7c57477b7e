import SpanwireSchema
import SpanwireWellKnown

/// Room that is kept at a place for some visitors, for a time; it ends by itself.
struct PlaceReservation: Sendable, Hashable {
  var id: String
  var servicePointID: String
  var visitors: Int64
  var holder: String
  /// Nanoseconds since 1970; the end is not part of it.
  var startsAt: Int64
  var expiresAt: Int64

  func holds(at now: Int64) -> Bool { startsAt <= now && now < expiresAt }

  var contract: CapacityReservation {
    CapacityReservation(
      reservationID: id, servicePointID: servicePointID, visitors: UInt32(visitors), holder: holder,
      startsAt: .init(nanosecondsSinceEpoch: startsAt), expiresAt: .init(nanosecondsSinceEpoch: expiresAt))
  }
}

/// How full a place of limited capacity is.
struct PlaceCapacity {
  let visitors: Int64
  let reservations: [PlaceReservation]

  /// Nil where the place takes any number.
  init?(of point: ServicePoint, _ reservations: [PlaceReservation]) {
    guard point.capacity > 0 else { return nil }
    visitors = Int64(point.capacity)
    self.reservations = reservations
  }

  /// The room that is left all through a time; none, and not less, where a registry made the place smaller than what was reserved.
  func free(from start: Int64, to end: Int64) -> Int64 {
    // It can only get fuller where a reservation begins.
    let moments = [start] + reservations.map(\.startsAt).filter { start < $0 && $0 < end }
    return moments.map(free(at:)).min() ?? visitors
  }

  func free(at now: Int64) -> Int64 {
    max(0, visitors - reservations.reduce(0) { $1.holds(at: now) ? $0 + $1.visitors : $0 })
  }

  /// The parts of these windows, in seconds, in which there is room for so many.
  func windows(_ windows: [TimeWindow], for party: Int64) -> [TimeWindow] {
    // A second that is partly full is full.
    let edges = Set(
      reservations.flatMap { [UnixTime.seconds($0.startsAt), UnixTime.seconds($0.expiresAt + 999_999_999)] }
    ).sorted()
    return windows.flatMap { window -> [TimeWindow] in
      let cuts = [window.start] + edges.filter { window.start < $0 && $0 < window.end } + [window.end]
      var parts: [TimeWindow] = []
      for (start, end) in zip(cuts, cuts.dropFirst()) where free(from: start * 1_000_000_000, to: end * 1_000_000_000) >= party {
        if let last = parts.last, last.end == start {
          parts[parts.count - 1].end = end
        } else {
          parts.append(.init(start: start, end: end))
        }
      }
      return parts
    }
  }
}
