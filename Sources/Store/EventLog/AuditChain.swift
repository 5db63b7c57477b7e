import SpanwireDatabase
import SpanwireProtobuf
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// The chain that the audit records of a log make: each bears a sequence without gaps, the hash of the one before, and its own.
///
/// A record's hash is SHA-256 over its envelope as it is stored, but for the hash itself: who, what, when, where in the log, and through
/// `prev_hash` everything before. Whoever changes a record must recompute all that follow; a head that was signed and kept elsewhere
/// shows that, and shows a tail that was cut off.
public enum AuditChain {
  /// What the first record names as the hash before it.
  public static let start = [UInt8](repeating: 0, count: 32)

  /// What every audit record is found by.
  public static let filter = LogFilter(types: ["audit.recorded"], tenant: nil)

  /// How far the chain has come.
  public static func head(_ reader: borrowing some Reader & ~Copyable) throws -> AuditHead {
    try reader.first("SELECT sequence, position, hash FROM audit_head WHERE id = 1") {
      AuditHead(sequence: UInt64($0.get(0, as: Int64.self)), logPosition: LogCursor.text($0[1]), hash: $0[2])
    } ?? AuditHead(logPosition: LogCursor.text(0), hash: start)
  }

  /// Makes a record's envelope, complete but for the chain, the one after `head`; returns its hash.
  public static func link(_ envelope: inout EventEnvelope, _ record: AuditRecorded, after head: AuditHead) -> [UInt8] {
    var record = record
    record.sequence = head.sequence + 1
    record.prevHash = head.hash
    record.hash = hash(of: envelope, record)
    envelope.payload = Google_Protobuf_Any(packing: record)
    return record.hash
  }

  /// The hash that a record must bear in its envelope.
  public static func hash(of envelope: EventEnvelope, _ record: AuditRecorded) -> [UInt8] {
    var (envelope, record) = (envelope, record)
    record.hash = []
    envelope.payload = Google_Protobuf_Any(packing: record)
    return SHA256.hash(envelope.encoded())
  }
}

extension Transaction {
  /// The chain has a further record.
  func advanceAudit(to hash: [UInt8], at position: Int64) throws {
    try execute(
      """
      INSERT INTO audit_head (id, sequence, position, hash) VALUES (1, 1, ?1, ?2)
      ON CONFLICT (id) DO UPDATE SET sequence = audit_head.sequence + 1, position = excluded.position, hash = excluded.hash
      """, position, hash)
  }
}

extension AuditHead {
  /// What a signature of it is made over.
  public var signedBytes: [UInt8] {
    var head = self
    head.signature = []
    return Array("spanwire-audit-head-v1".utf8) + [0] + head.encoded()
  }
}
