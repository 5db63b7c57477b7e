import SpanwireEventLog
import SpanwireProtobuf
import SpanwireSchema
import SpanwireWellKnown
import Testing

@testable import SpanwireOperations

struct IncidentFiguresTests {
  static let second: Int64 = 1_000_000_000
  static let hour = 3_600 * second
  /// A moment well after 1970.
  static let begin = 500_000 * hour

  /// An event as the log would hold it.
  static func event<Payload: EventPayload>(_ payload: Payload, at: Int64, tenant: String = "vienna", task: String = "ATASK-1") -> LogEvent {
    let type = Payload.eventType
    var envelope = EventEnvelope()
    envelope.type = type.rawValue
    envelope.tenantID = tenant
    envelope.agentTaskID = task
    envelope.payload = Google_Protobuf_Any(packing: payload)
    let header = EventHeader(type: type.rawValue, tenant: tenant, lane: .data, producer: "test", occurredAt: at)
    return LogEvent(position: 1, sequence: 1, header: header, envelope: envelope.encoded())
  }

  private func value(_ figures: IncidentFigures, _ trigger: IncidentReading.Trigger, at now: Int64) throws -> Double {
    let reading = figures.readings(at: now).first { $0.trigger == trigger }
    return try #require(reading).value
  }

  @Test("The error rate counts the ends of five minutes, and says nothing of a few")
  func errorRate() throws {
    var figures = IncidentFigures()
    for number in 0..<49 { try figures.take(Self.event(AgentTaskFailed(), at: Self.begin + Int64(number) * Self.second)) }
    #expect(try value(figures, .errorRate, at: Self.begin + 50 * Self.second) == 0)
    for number in 0..<51 { try figures.take(Self.event(AgentTaskResult(), at: Self.begin + Int64(number) * Self.second)) }
    #expect(try value(figures, .errorRate, at: Self.begin + 50 * Self.second) == 0.49)
    #expect(try value(figures, .errorRate, at: Self.begin + 400 * Self.second) == 0)
    figures.forget(before: Self.begin + 400 * Self.second)
    #expect(figures.counts.isEmpty)
    #expect(!figures.changed.isEmpty, "the rows have still to go")
  }

  @Test("What an hour cost is compared with the average one of the day before, in each currency, once there is one")
  func spend() throws {
    var figures = IncidentFigures()
    func spend(_ micros: Int64, _ currency: String, atHour hour: Int64) throws {
      let settled = BudgetSettled(reservationID: "RSV-1", scope: "", micros: micros, currency: currency)
      try figures.take(Self.event(settled, at: Self.begin + hour * Self.hour))
    }
    for hour in 0..<5 { try spend(3_000_000, "EUR", atHour: Int64(hour)) }
    try spend(90_000_000, "EUR", atHour: 5)
    #expect(try value(figures, .spend, at: Self.begin + 5 * Self.hour + Self.second) == 0, "five hours are no usual day")
    for hour in 6..<24 { try spend(3_000_000, "EUR", atHour: Int64(hour)) }
    // 90 + 22 × 3 of a day's hours: about 6.8 an hour.
    let (now, usual) = (Self.begin + 24 * Self.hour - Self.second, (90.0 + 22 * 3) / 22)
    #expect(abs(try value(figures, .spend, at: now) - 3 / usual) < 0.1)
    try spend(20_000_000, "EUR", atHour: 24)
    #expect(try value(figures, .spend, at: Self.begin + 24 * Self.hour + Self.second) > 2)
    try spend(1_000_000_000, "USD", atHour: 24)
    #expect(try value(figures, .spend, at: Self.begin + 24 * Self.hour + Self.second) < 10, "dollars have no day before")
  }

  @Test("A worker whose heartbeat failed counts until it is heard again, or five minutes are over")
  func silence() throws {
    var figures = IncidentFigures()
    for worker in 0..<4 {
      try figures.take(Self.event(HeartbeatStale(workerID: "W-\(worker)"), at: Self.begin))
      // Silent, then dead: still one worker.
      try figures.take(Self.event(HeartbeatStale(workerID: "W-\(worker)"), at: Self.begin + 60 * Self.second))
    }
    #expect(try value(figures, .heartbeats, at: Self.begin + 61 * Self.second) == 4)
    try figures.take(Self.event(HeartbeatOK(workerID: "W-2"), at: Self.begin + 70 * Self.second))
    try figures.take(Self.event(HeartbeatOK(workerID: "W-1"), at: Self.begin + 70 * Self.second, tenant: "graz"))
    #expect(try value(figures, .heartbeats, at: Self.begin + 71 * Self.second) == 3)
    #expect(try value(figures, .heartbeats, at: Self.begin + 361 * Self.second) == 0)
  }
}
