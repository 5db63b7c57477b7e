import SpanwireDatabase
import SpanwireSchema
import SpanwireServiceKit

extension EventLog {
  /// Proves that the log is whole: positions and sequences without a gap, every envelope what its columns say, every payload its type's.
  ///
  /// Reads the log page by page up to its present end, in memory that grows only with the number of streams.
  public func verify() async throws -> [Verification] {
    var positions = Verification("log.positions are dense")
    var sequences = Verification("log.stream_sequence is dense in every stream")
    var envelopes = Verification("log.envelopes agree with their columns and payloads decode")
    let head = try await database.read { try LogStore.head($0) }
    var position = try await database.read { try LogStore.first($0) } - 1
    var next = position + 1
    var streams: [String: Int64] = [:]
    while position < head {
      let from = position
      let through = min(head, position + EventLogLimits.page)
      // Decoding a page takes milliseconds in a debug build: it is done where the page is read.
      let events = try await database.scan { snapshot in
        try LogStore.page(snapshot, after: from, through: through).map { (event: $0, finding: Self.finding($0)) }
      }
      for (event, finding) in events {
        positions.examine()
        if event.position != next { positions.found("after \(next - 1) comes \(event.position)") }
        next = event.position + 1
        let stream = event.header.tenant + "\n" + event.header.stream
        sequences.examine()
        let expected = (streams[stream] ?? event.sequence - 1) + 1
        if event.sequence != expected { sequences.found("\(event.header.stream) at \(event.position): \(event.sequence), not \(expected)") }
        streams[stream] = event.sequence
        envelopes.examine()
        if let finding { envelopes.found("\(event.position): \(finding)") }
      }
      position = through
    }
    if next != head + 1 { positions.found("the last position is \(head), the last event \(next - 1)") }
    return [positions, sequences, envelopes]
  }

  /// What is wrong with a stored event; nil for nothing.
  private static func finding(_ event: LogEvent) -> String? {
    guard let envelope = try? event.decoded() else { return "the envelope does not decode" }
    do { try EventABI.check(envelope) } catch { return "\(error)" }
    guard let type = EventType(rawValue: envelope.type), EventHeader(envelope, type) == event.header else {
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
