import SpanwireDatabase
import SpanwireSchema
import SpanwireServiceKit

extension EventLog {
  /// Proves that the log is whole: positions and sequences without a gap but for what compaction accounts for, every envelope what its
  /// columns say, every payload its type's, every page's summary that of its events.
  ///
  /// Reads the log page by page up to its present end, in memory that grows only with the number of streams.
  public func verify() async throws -> [Verification] {
    var positions = Verification("log.positions are dense")
    var sequences = Verification("log.stream_sequence is dense in every stream")
    var envelopes = Verification("log.envelopes agree with their columns and payloads decode")
    var summaries = Verification("log.pages are what their rows say")
    // One snapshot: what each stream had come to when the log had come to its head.
    let (head, known) = try await database.scan { (try LogStore.head($0), try LogStore.streams($0)) }
    var streams = known
    let size = EventLogLimits.page
    var compacted: Int64 = 0
    var gaps = StreamGaps()
    for number in 0..<(head + size - 1) / size {
      // Decoding a page takes milliseconds in a debug build: it is done where the page is read.
      let (events, row) = try await database.scan { snapshot in
        (
          try LogStore.page(snapshot, after: number * size, through: min(head, (number + 1) * size))
            .map { (event: $0, finding: Self.finding($0)) },
          try LogStore.pages(snapshot, from: number, before: number + 1).first
        )
      }
      let (first, expected) = (number * size + 1, min(size, head - number * size))
      summaries.examine(events.count)
      if expected == size {
        if let row {
          compacted += size - row.kept
          if !events.allSatisfy({ row.summary.mayHold($0.event.header) }) {
            summaries.found("the summary of page \(number) does not know all of its events", of: .everyone)
          }
        } else {
          summaries.found("page \(number) has no summary", of: .everyone)
        }
      }
      // A page that has become full since the head was read is not judged by its row.
      let kept = expected == size ? row?.kept ?? size : expected
      if kept != Int64(events.count) { positions.found("from \(first) on there are \(events.count) events, not \(kept)", of: .everyone) }
      for (offset, (event, finding)) in events.enumerated() {
        positions.examine()
        if kept == expected, event.position != first + Int64(offset) {
          positions.found("at \(first + Int64(offset)) comes \(event.position)", of: .everyone)
        }
        sequences.examine()
        let stream = event.header.tenant + "\n" + event.header.stream
        if let gap = streams[stream]?.take(event.sequence) {
          gaps.add(
            gap, of: event.header.tenant,
            "\(event.header.stream) at \(event.position): \(event.sequence), not \(event.sequence - gap)")
        } else {
          sequences.found(
            "\(event.header.stream) at \(event.position) is no stream, or begins again", of: .tenant(event.header.tenant))
        }
        envelopes.examine()
        if let finding { envelopes.found("\(event.position): \(finding)", of: .everyone) }
      }
    }
    for (stream, place) in streams where place.seen < place.last {
      let (tenant, name) = (stream.prefix { $0 != "\n" }, stream.drop { $0 != "\n" }.dropFirst())
      gaps.add(place.last - place.seen, of: String(tenant), "\(name) ends at \(place.seen), not \(place.last)")
    }
    // Of events that are gone nobody knows the stream; but all of them together are as many as compaction took.
    if gaps.total != compacted {
      for (finding, tenant) in gaps.findings { sequences.found(finding, of: .tenant(tenant)) }
      sequences.found("\(gaps.total) events are missing, of which compaction removed \(compacted)", of: .everyone)
    }
    return [positions, sequences, envelopes, summaries]
  }

  /// What is wrong with a stored event; nil for nothing.
  private static func finding(_ event: LogEvent) -> String? {
    guard let envelope = try? event.decoded() else { return "the envelope does not decode" }
    do { try EventABI.check(envelope) } catch { return "\(error)" }
    guard let type = EventType(rawValue: envelope.type), EventHeader(envelope, EventTraits.of(type)) == event.header else {
      return "the columns are not the envelope's"
    }
    if envelope.logPosition != LogCursor.text(event.position) || envelope.streamSequence != UInt64(event.sequence) {
      return "the envelope says position \(envelope.logPosition), sequence \(envelope.streamSequence)"
    }
    return nil
  }

  /// Calls `body` with every event of a filter up to the log's present end, in order: how a room rebuilds its rows to verify them.
  public func replay(_ filter: LogFilter, _ body: (LogEvent) async throws -> Void) async throws {
    var cursor = LogCursor.beginning
    while true {
      let (events, through, atEnd) = try await list(filter, after: cursor, limit: Int(EventLogLimits.page))
      for event in events { try await body(event) }
      if atEnd { return }
      cursor = .after(through)
    }
  }
}

/// How far a stream has been read, and how far it goes.
struct StreamPlace: Sendable {
  var seen: Int64 = 0
  let last: Int64

  /// How many are missing before this one; nil when it cannot come here.
  mutating func take(_ sequence: Int64) -> Int64? {
    guard sequence > seen, sequence <= last else { return nil }
    defer { seen = sequence }
    return sequence - seen - 1
  }
}

/// Sequences that are not there, and the first places of it.
private struct StreamGaps {
  var total: Int64 = 0
  var findings: [(text: String, tenant: String)] = []

  mutating func add(_ count: Int64, of tenant: String, _ finding: @autoclosure () -> String) {
    guard count > 0 else { return }
    total += count
    if findings.count < Verification.maxFindings { findings.append((finding(), tenant)) }
  }
}

extension LogStore {
  /// Every stream by tenant and name, with its last sequence.
  static func streams(_ reader: borrowing some Reader & ~Copyable) throws -> [String: StreamPlace] {
    let rows = try reader.query("SELECT tenant_id, stream, last_sequence FROM event_stream") { row in
      (row.get(0, as: String.self) + "\n" + row.get(1, as: String.self), StreamPlace(last: row[2]))
    }
    return Dictionary(uniqueKeysWithValues: rows)
  }
}

extension PageSummary {
  /// Whether it knows of everything that an event can be found by.
  func mayHold(_ header: EventHeader) -> Bool {
    let filter = LogFilter(
      types: TypeGlob(header.type).map { [$0] } ?? [], tenant: header.tenant, session: header.session, journey: header.journey,
      trace: header.trace, lanes: [header.lane])
    return Wanted(filter).map(mayHold) ?? true
  }
}
