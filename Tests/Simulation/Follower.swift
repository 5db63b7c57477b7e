import SpanwireSchema

/// Somebody outside who follows the log through every crash by her cursor: what she is sent has no gap, is in order, and comes once.
final class Follower: @unchecked Sendable {
  // Sendable: the simulation's thread alone touches it.

  /// The last event she was sent.
  private(set) var position: Int64 = 0
  private(set) var violation: Violation?

  /// Subscribes to the present process, from where the last one left her.
  func follow(_ world: World) {
    _ = world.begin(as: World.operatorOlga) { [self] channel in
      let cursor = position == 0 ? "" : String(position)
      for try await response in try await EventsClient(channel).subscribe(SubscribeRequest(cursor: cursor)) {
        guard case .event(let event)? = response.item else { continue }
        guard let next = Int64(event.logPosition), next == position + 1 else {
          violation = Violation("delivery", "\(event.logPosition) is sent after \(position)")
          return
        }
        position = next
      }
    }
  }

  /// Throws unless she has everything up to there.
  func check(upTo head: Int64) throws {
    if let violation { throw violation }
    if position != head { throw Violation("delivery", "\(head) was never sent, \(position) was the last") }
  }
}
