/// The right to act for a resource, until it expires. The epoch grows with every new holder and stands in the WHERE of its writes, so that
/// an old holder that woke up late changes nothing.
public struct Lease: Sendable, Hashable {
  public let resource: String
  public let holder: String
  public let epoch: Int64
  /// Nanoseconds since 1970, by the clock of whoever asked.
  public let expiresAt: Int64

  public init(resource: String, holder: String, epoch: Int64, expiresAt: Int64) {
    self.resource = resource
    self.holder = holder
    self.epoch = epoch
    self.expiresAt = expiresAt
  }
}

extension Transaction {
  /// Takes a lease that is free, expired, or the holder's own already; nil while somebody else holds it.
  ///
  /// The holder's own lease is prolonged under its epoch; any other begins a new one.
  public func acquireLease(_ resource: String, holder: String, now: Int64, until: Int64) throws -> Lease? {
    try first(
      """
      INSERT INTO lease (resource, holder, epoch, expires_at) VALUES (?1, ?2, 1, ?4)
      ON CONFLICT (resource) DO UPDATE SET
        epoch = CASE WHEN lease.holder = excluded.holder AND lease.expires_at > ?3 THEN lease.epoch ELSE lease.epoch + 1 END,
        holder = excluded.holder, expires_at = excluded.expires_at
      WHERE lease.holder = excluded.holder OR lease.expires_at <= ?3
      RETURNING epoch
      """, resource, holder, now, until
    ) { Lease(resource: resource, holder: holder, epoch: $0[0], expiresAt: until) }
  }

  /// Prolongs a lease; false when it is no longer held under that epoch.
  public func renewLease(_ lease: Lease, until: Int64) throws -> Bool {
    try executeCounting(
      "UPDATE lease SET expires_at = ?4 WHERE resource = ?1 AND holder = ?2 AND epoch = ?3",
      lease.resource, lease.holder, lease.epoch, until) == 1
  }

  /// Gives a lease up; the epoch stays, so that the next holder's is higher.
  public func releaseLease(_ lease: Lease) throws {
    try execute(
      "UPDATE lease SET expires_at = 0 WHERE resource = ?1 AND holder = ?2 AND epoch = ?3", lease.resource, lease.holder, lease.epoch)
  }
}

extension Reader where Self: ~Copyable {
  /// The epoch under which a resource is held; 0 when it never was.
  public func leaseEpoch(_ resource: String) throws -> Int64 {
    try first("SELECT epoch FROM lease WHERE resource = ?1", resource) { $0[0] } ?? 0
  }
}

/// A table that several workers take rows from, each row to one of them.
public struct WorkQueue: Sendable {
  /// `UPDATE … WHERE key IN (SELECT … WHERE due <= ?1 … LIMIT ?3) RETURNING …`, with ?1 now, ?2 the time until which the rows are claimed,
  /// ?3 the limit. One writer at a time makes it exact on SQLite; on PostgreSQL the inner SELECT has its own spelling with SKIP LOCKED.
  let sqlite: StaticString

  public init(sqlite: StaticString) { self.sqlite = sqlite }
}

extension Transaction {
  /// Takes up to `limit` rows of a queue.
  public func claim<T>(_ queue: WorkQueue, limit: Int, now: Int64, until: Int64, row: (Row) throws -> T) throws -> [T] {
    try query(queue.sqlite, now, until, Int64(limit), row: row)
  }
}
