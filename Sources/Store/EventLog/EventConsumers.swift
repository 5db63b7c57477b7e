import SpanwireDatabase
import SpanwireRPC
import SpanwireServiceKit

/// The places of named consumers: those of the platform bear a plain name, a tenant's its tenant before a slash.
public enum EventConsumers {
  public struct Place: Sendable, Hashable {
    public let name: String
    public let position: Int64
    /// The platform's own.
    public let isInternal: Bool

    public init(name: String, position: Int64, isInternal: Bool = false) {
      self.name = name
      self.position = position
      self.isInternal = isInternal
    }
  }

  static func key(_ tenant: String, _ name: String) -> String { tenant + "/" + name }

  /// Where a tenant's consumer has acknowledged to be; nil when it never has.
  static func place(_ reader: borrowing some Reader & ~Copyable, tenant: String, _ name: String) throws -> Int64? {
    try place(reader, key(tenant, name))
  }

  /// Where one of the platform's own is; nil before its first event.
  public static func place(_ reader: borrowing some Reader & ~Copyable, _ name: String) throws -> Int64? {
    try reader.first("SELECT position FROM event_consumer WHERE name = ?1", name) { $0[0] }
  }

  /// Moves one of the platform's own on; false when it is there or further already, since another that bears the name was faster.
  @discardableResult
  public static func advance(_ transaction: borrowing Transaction, _ name: String, to position: Int64) throws -> Bool {
    try transaction.executeCounting(
      """
      INSERT INTO event_consumer (name, position) VALUES (?1, ?2)
      ON CONFLICT (name) DO UPDATE SET position = excluded.position WHERE event_consumer.position < excluded.position
      """, name, position) == 1
  }

  /// A tenant's consumers and the platform's own, by name.
  public static func all(_ reader: borrowing some Reader & ~Copyable, tenant: String) throws -> [Place] {
    let prefix = tenant + "/"
    // At most `EventLogLimits.consumers` and the platform's few.
    return try reader.query("SELECT name, position FROM event_consumer ORDER BY name") { row in
      (name: row.get(0, as: String.self), position: row.get(1, as: Int64.self))
    }.compactMap { row in
      if row.name.hasPrefix(prefix) {
        return Place(name: String(row.name.dropFirst(prefix.count)), position: row.position, isInternal: false)
      }
      return row.name.contains("/") ? nil : Place(name: row.name, position: row.position, isInternal: true)
    }
  }

  /// Everything up to a position is done with; what was acknowledged then. A position that lies behind changes nothing.
  public static func acknowledge(
    _ transaction: borrowing Transaction, tenant: String, _ name: String, through position: Int64
  ) throws -> Int64 {
    let head = try LogStore.head(transaction)
    guard position <= head else { throw EventLogError.cursorInvalid("\(position) lies beyond the log's end") }
    if try place(transaction, tenant: tenant, name) == nil {
      let count = try transaction.first("SELECT count(*) FROM event_consumer") { $0.get(0, as: Int.self) } ?? 0
      guard count < EventLogLimits.consumers else {
        throw RPCError.refusal(.resourceExhausted, .queueFull, "there are as many consumers as are allowed, \(EventLogLimits.consumers)")
      }
    }
    try advance(transaction, key(tenant, name), to: position)
    return try place(transaction, tenant: tenant, name) ?? position
  }

  /// False when there is none of that name.
  public static func delete(_ transaction: borrowing Transaction, tenant: String, _ name: String) throws -> Bool {
    try transaction.executeCounting("DELETE FROM event_consumer WHERE name = ?1", key(tenant, name)) == 1
  }
}
