import SpanwireDatabase
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Synchronization
import Testing

@testable import SpanwireEventLog

@Suite(.timeLimit(.minutes(15))) struct ReplayTests {
  /// Keeps the envelopes it is given; full after each, so that a replay has to wait for it.
  final class Ear: Sendable {
    let heard = Mutex<[EventEnvelope]>([])
    let ends = Mutex(0)

    var sink: LogSink {
      LogSink(
        take: { delivery in
          switch delivery {
          case .event(let event):
            let envelope = try event.decoded()
            self.heard.withLock { $0.append(envelope) }
          case .heartbeat(_, let isLive): self.ends.withLock { $0 += isLive ? 0 : 1 }
          case .discontinuity: break
          }
          return false
        }, drained: { await Task.yield() })
    }
  }

  static func fill(_ test: TestEnvironment) async throws {
    for round in 0..<5 {
      _ = try await test.append(
        (0..<60).map { index in
          index % 2 == 0
            ? test.draft(JourneyStarted(journeyDocID: "TJM-X"), session: "PRS-\(index % 3)")
            : test.draft(JourneyChoiceMade(nodeID: "n", option: "\(round)", revision: 2), session: "PRS-\(index % 3)")
        })
    }
  }

  @Test("what is replayed is heard by the channel alone, in order and marked; the log, consumers and effects do not notice")
  func replay() async throws {
    let test = try await TestEnvironment()
    try await Self.fill(test)
    let log = test.environment.log
    let acted = Counter()
    let performed = Counter()
    let consumer = DurableConsumer("test.acts", log, LogFilter(tenant: nil)) { event in
      acted.add(event.position)
      return nil
    }
    let dispatcher = EffectDispatcher(
      database: test.environment.database, clock: test.clock,
      perform: { _ in
        performed.count.wrappingAdd(1, ordering: .relaxed)
        return []
      })
    dispatcher.start()
    consumer.start()
    while acted.last.load(ordering: .relaxed) < 300 { await Task.yield() }
    let recorder = Recorder()
    let following = Task { try await log.deliver(LogFilter(tenant: nil), from: .now, to: recorder.sink) }
    await recorder.wait(for: 0)

    let (all, some, other) = (Ear(), Ear(), Ear())
    let listening = [
      Task { try await log.channels.listen(to: "c", LogFilter(tenant: nil), sink: all.sink) },
      Task { try await log.channels.listen(to: "c", LogFilter(types: ["journey.started"], tenant: nil), sink: some.sink) },
      Task { try await log.channels.listen(to: "d", LogFilter(tenant: nil), sink: other.sink) },
    ]
    while log.channels.listenerCount < 3 { await Task.yield() }
    let done = try await log.replay(LogFilter(tenant: nil, session: ""), after: .after(10), through: 250, to: "c")
    #expect(done.events == 240 && done.listeners == 2)
    let heard = all.heard.withLock { $0 }
    let (starts, elsewhere) = (some.heard.withLock { $0.count }, other.heard.withLock { $0.count })
    #expect(heard.map(\.logPosition) == (11...250).map(String.init) && heard.allSatisfy(\.replayOnly))
    #expect(starts == 120 && elsewhere == 0 && all.ends.withLock { $0 } == 1)
    var first = heard[0]
    first.replayOnly = false
    let stored = try await log.list(LogFilter(tenant: nil), after: .after(10), limit: 1).events[0].decoded()
    #expect(first == stored && !stored.replayOnly)

    let mark = try await test.append([test.draft(JourneyStarted())])[0].position
    await recorder.wait(for: 1)
    #expect(recorder.positions == [mark] && mark == 301, "the log holds and tells nothing of the replay")
    while acted.last.load(ordering: .relaxed) < mark { await Task.yield() }
    #expect(acted.count.load(ordering: .relaxed) == 301 && performed.count.load(ordering: .relaxed) == 0)
    await consumer.stop()
    dispatcher.stop()
    for task in listening + [following] { task.cancel() }
    await test.end()
  }

  @Test("a replay that nobody hears is refused, and a replayed event is none for the log")
  func refusals() async throws {
    let test = try await TestEnvironment()
    try await Self.fill(test)
    let log = test.environment.log
    await #expect(throws: EventLogError.channelUnheard("c")) { try await log.replay(LogFilter(tenant: nil), after: .beginning, to: "c") }
    var envelope = try await log.list(LogFilter(tenant: nil), after: .beginning, limit: 1).events[0].decoded()
    envelope.replayOnly = true
    #expect(throws: EventRejection.replayOnly) { try EventABI.check(envelope) }
    await test.end()
  }

  @Test("an exported event is a CloudEvent with everything that its envelope says")
  func cloudEvent() async throws {
    let test = try await TestEnvironment()
    test.clock.set(1_779_174_000_123_456_789)
    let trace = TraceContext(traceHigh: 1, traceLow: 2, spanID: 3, parentSpanID: 4)
    let event = try await test.append([
      test.draft(JourneyChoiceMade(nodeID: "n", option: "„tea“\n", revision: 2), trace: trace)
    ])[0]
    let pool = DescriptorPool()
    for file in SpanwireSchemaFiles.all { pool.add(file) }
    let line = try event.decoded().cloudEvent(pool: pool)
    #expect(!line.contains("\n"))
    let fields = try Google_Protobuf_Struct(jsonString: line).fields
    func text(_ name: String) -> String? { if case .stringValue(let text) = fields[name]?.kind { text } else { nil } }
    let expected = [
      "specversion": "1.0", "id": event.eventID, "source": "/spanwire/t/tjm", "type": "journey.choice.made", "subject": "PRS-1",
      "time": "2026-05-19T07:00:00.123456789Z", "sequence": "1", "logposition": "1", "lane": "data", "tenantid": "t",
      "productruntimesessionid": "PRS-1", "journeyinstanceid": "JRN-1", "producer": "tjm", "datacontenttype": "application/json",
      "traceparent": "00-00000000000000010000000000000002-0000000000000003-01", "parentspanid": "0000000000000004",
      "payloadtype": "spanwire.events.v1.JourneyChoiceMade",
    ]
    for (name, value) in expected { #expect(text(name) == value, "\(name)") }
    guard case .structValue(let data) = fields["data"]?.kind else { return #expect(Bool(false), "data is the payload") }
    #expect(data.fields["option"] == Google_Protobuf_Value(kind: .stringValue("„tea“\n")))
    #expect(fields.count == expected.count + 2, "attributes are all named here, with schemaversion and data")
    await test.end()
  }
}
