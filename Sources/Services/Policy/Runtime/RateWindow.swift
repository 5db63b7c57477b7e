import Synchronization

/// Counts calls within a sliding minute, exactly: the moments of the last `max_per_minute` calls of each policy are kept.
///
/// In memory: after a restart a minute begins anew.
final class RateWindow: Sendable {
  private struct Ring {
    /// The moments of the calls let in, oldest first from `next` on once it is full.
    var moments: [Int64] = []
    var next = 0
  }

  private let rings = Mutex<[String: Ring]>([:])
  private static let minute: Int64 = 60_000_000_000

  /// Lets a call in, or says in how many nanoseconds the next may come.
  func admit(_ key: String, limit: Int, now: Int64) -> Int64? {
    if limit == 0 { return Self.minute }
    return rings.withLock { rings in
      // Policies come and go; what was idle for a minute counts for nothing.
      if rings.count >= PolicyLimits.rateWindows, rings[key] == nil {
        rings = rings.filter { $0.value.moments.contains { now - $0 < Self.minute } }
      }
      var ring = rings[key] ?? Ring()
      defer { rings[key] = ring }
      if ring.moments.count != limit, ring.next != 0 || ring.moments.count > limit {
        // The policy's limit has changed: keep the latest calls, in order.
        ring.moments = Array((ring.moments[ring.next...] + ring.moments[..<ring.next]).suffix(limit))
        ring.next = 0
      }
      if ring.moments.count < limit {
        ring.moments.append(now)
        return nil
      }
      let oldest = ring.moments[ring.next]
      if now - oldest < Self.minute { return Self.minute - (now - oldest) }
      ring.moments[ring.next] = now
      ring.next = (ring.next + 1) % limit
      return nil
    }
  }

  /// Takes a call back that another policy refused after all.
  func takeBack(_ key: String, at moment: Int64) {
    rings.withLock { rings in
      guard var ring = rings[key] else { return }
      ring.moments = Array(ring.moments[ring.next...] + ring.moments[..<ring.next])
      ring.next = 0
      if let index = ring.moments.lastIndex(of: moment) { ring.moments.remove(at: index) }
      rings[key] = ring
    }
  }
}
