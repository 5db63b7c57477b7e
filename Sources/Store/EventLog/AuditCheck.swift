import SpanwireProtobuf
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// Proves a chain of audit records, given one after the other in the order of the log, and compares it with heads that were signed before.
public struct AuditCheck: Sendable {
  /// What was found.
  public private(set) var verification = Verification("audit: the chain is whole")
  /// The last record that was examined.
  public private(set) var last = AuditHead(logPosition: LogCursor.text(0), hash: AuditChain.start)
  private var heads: [UInt64: [AuditHead]]
  private var newest: AuditHead?

  /// - Parameter heads: heads of this log whose signatures were checked, in any order.
  public init(heads: [AuditHead] = []) {
    self.heads = Dictionary(grouping: heads) { $0.sequence }
    newest = heads.max { $0.sequence < $1.sequence }
    compare(with: last)
  }

  /// Takes the next event of type `audit.recorded`.
  public mutating func examine(_ event: LogEvent) {
    verification.examine()
    guard let envelope = try? event.decoded(), let record = try? envelope.payload?.unpack(as: AuditRecorded.self) else {
      return verification.found("at position \(event.position) stands no audit record, but what claims to be one", of: .everyone)
    }
    let (number, expected) = (record.sequence, last.sequence + 1)
    if number > expected {
      let missing = number - expected
      verification.found(
        missing == 1 ? "record \(expected) is missing" : "records \(expected) to \(number - 1) are missing", of: .everyone)
    } else if number < expected {
      verification.found("record \(number) stands after record \(last.sequence): records were put in another order", of: .everyone)
    } else if record.prevHash != last.hash {
      verification.found("record \(number) does not name the hash of the record before it", of: .everyone)
    }
    let isWhole =
      AuditChain.hash(of: envelope, record) == record.hash && envelope.encoded()[...] == event.envelope
      && EventType(rawValue: envelope.type).map { EventHeader(envelope, EventTraits.of($0)) == event.header } == true
      && envelope.logPosition == LogCursor.text(event.position)
    if !isWhole { verification.found("record \(number), at position \(event.position), was changed", of: .everyone) }
    last = AuditHead(sequence: number, logPosition: LogCursor.text(event.position), hash: record.hash)
    compare(with: last)
  }

  /// There are no more: was this all?
  ///
  /// - Parameters:
  ///   - head: how far the log itself says that the chain has come.
  ///   - isOlder: what was examined is a copy from an earlier time, such as a backup: heads made after it are none of its.
  public mutating func finish(at head: AuditHead, isOlder: Bool = false) {
    if head.sequence != last.sequence || head.hash != last.hash {
      verification.found(
        "the log says that its last record is number \(head.sequence); the last one there is number \(last.sequence)", of: .everyone)
    }
    guard !isOlder, let newest, newest.sequence > last.sequence else { return }
    verification.found(
      "a signed head of \(newest.moment) tells of \(newest.sequence) records; the log ends with number \(last.sequence): "
        + "its tail was cut off", of: .everyone)
  }

  private mutating func compare(with record: AuditHead) {
    for head in heads.removeValue(forKey: record.sequence) ?? [] where head.hash != record.hash || head.logPosition != record.logPosition {
      verification.found(
        "record \(record.sequence) is not the one that the signed head of \(head.moment) tells of: the chain was computed anew",
        of: .everyone)
    }
  }
}

extension AuditHead {
  fileprivate var moment: String { RFC3339.format(exportedAt?.nanosecondsSinceEpoch ?? 0) }
}

extension EventLog {
  /// Goes through all audit records that there are now, and compares them with signed heads.
  public func verifyAudit(heads: [AuditHead] = [], isOlder: Bool = false) async throws -> AuditCheck {
    var check = AuditCheck(heads: heads)
    var cursor = LogCursor.beginning
    var head: AuditHead
    var examined: Int
    repeat {
      examined = check.verification.examined
      var isAtEnd = false
      while !isAtEnd {
        let page = try await list(AuditChain.filter, after: cursor, limit: Int(EventLogLimits.page))
        for event in page.events { check.examine(event) }
        (cursor, isAtEnd) = (.after(page.through), page.atEnd)
      }
      // What came meanwhile is looked at too; what the chain does not know of has no right to be there.
      head = try await database.scan { try AuditChain.head($0) }
    } while head.sequence > check.last.sequence && check.verification.examined > examined
    check.finish(at: head, isOlder: isOlder)
    return check
  }
}
