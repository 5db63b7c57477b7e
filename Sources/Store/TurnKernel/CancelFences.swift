/// Turns that were cancelled a moment ago: what they still say is refused before it costs a transaction, and before the one that writes the
/// cancel has committed. Pure: time comes in as a value.
///
/// A fence is no state of record. It stands for a while, since what is late is late by seconds; past that the turn's row refuses.
public struct CancelFences: Sendable {
  private let lifetime: Int64
  private let bound: Int
  private var until: [TurnKey: Int64] = [:]
  /// In the order in which they end, which is that in which they were set: they all stand equally long. Those lifted meanwhile are among them.
  private var order: [(key: TurnKey, until: Int64)] = []
  private var first = 0

  public init(lifetime: Int64, bound: Int) {
    self.lifetime = lifetime
    self.bound = bound
  }

  public init() { self.init(lifetime: TurnLimits.fenceNanoseconds, bound: TurnLimits.fences) }

  public var count: Int { until.count }

  /// Fences a turn. Where there are as many as may be, the one that ends first makes room.
  public mutating func set(_ key: TurnKey, at now: Int64) {
    sweep(at: now)
    while order.count - first >= bound { removeFirst() }
    until[key] = now + lifetime
    order.append((key, now + lifetime))
  }

  /// Takes a fence back: the cancel was not accepted.
  public mutating func lift(_ key: TurnKey) { until[key] = nil }

  public func isFenced(_ key: TurnKey, at now: Int64) -> Bool {
    guard let until = until[key] else { return false }
    return now < until
  }

  /// Forgets what has stood long enough.
  public mutating func sweep(at now: Int64) {
    while first < order.count, order[first].until <= now { removeFirst() }
    if first > bound {
      order.removeFirst(first)
      first = 0
    }
  }

  private mutating func removeFirst() {
    let (key, end) = order[first]
    // One that was set again since ends later.
    if until[key] == end { until[key] = nil }
    first += 1
  }
}

/// Whose turn, and which of them: an attempt of a task under its lease epoch.
public struct TurnKey: Hashable, Sendable {
  public var tenant: String
  public var task: String
  public var epoch: UInt64

  public init(tenant: String, task: String, epoch: UInt64) {
    self.tenant = tenant
    self.task = task
    self.epoch = epoch
  }
}
