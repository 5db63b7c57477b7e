/// The headers of the log's last page while it fills, so that they need not be read back when it is full.
///
/// A transaction may be rolled back, and its positions are given to other events then. Nothing has to be told of it: positions are dense, so
/// what stands at one is what was written there last, and who writes one drops what was noted from there on.
final class OpenPage: @unchecked Sendable {
  // Sendable: of the writer's thread alone, as the transactions are.

  /// The position before the first that is noted.
  private var before: Int64 = 0
  private var headers: [EventHeader] = []

  init() { headers.reserveCapacity(Int(EventLogLimits.page)) }

  /// An event was written at a position; returns the headers of its page if that is full now and all of them are known.
  func take(_ header: EventHeader, at position: Int64) -> [EventHeader]? {
    let noted = position - before - 1
    if noted < 0 || noted > headers.count || (position - 1).isMultiple(of: EventLogLimits.page) {
      headers.removeAll(keepingCapacity: true)
      before = position - 1
    } else {
      headers.removeLast(headers.count - Int(noted))
    }
    headers.append(header)
    return headers.count == EventLogLimits.page && position.isMultiple(of: EventLogLimits.page) ? headers : nil
  }
}
