import SpanwireSchema

/// Somebody outside who follows a tenant's part of the log through every crash by her cursor: what she is sent has no gap, is in order,
/// comes once, and is her tenant's.
final class Follower: @unchecked Sendable {
  // Sendable: the simulation's thread alone touches it.

  private let tenant: String
  /// What she was sent.
  private var positions: [Int64] = []
  private var violation: Violation?

  init(of tenant: String) { self.tenant = tenant }

  /// Subscribes to the present process, from where the last one left her.
  func follow(_ world: World) {
    _ = world.begin(as: World.operatorOlga(of: tenant)) { [self] channel in
      let cursor = positions.last.map { String($0) } ?? ""
      for try await response in try await EventsClient(channel).subscribe(SubscribeRequest(cursor: cursor)) {
        guard case .event(let event)? = response.item else { continue }
        guard let next = Int64(event.logPosition), next > positions.last ?? 0, event.tenantID == tenant else {
          violation = Violation("delivery", "\(tenant) is sent \(event.logPosition) of \(event.tenantID) after \(positions.last ?? 0)")
          return
        }
        positions.append(next)
      }
    }
  }

  /// Throws unless she has everything that there is of her tenant's.
  func check(against told: [Int64]) throws {
    if let violation { throw violation }
    if positions == told { return }
    let first = zip(positions, told).first { $0 != $1 }?.1 ?? told.dropFirst(positions.count).first ?? 0
    throw Violation("delivery", "\(first) was never sent to \(tenant), \(positions.last ?? 0) was the last of \(positions.count)")
  }
}
