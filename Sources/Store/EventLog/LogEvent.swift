import SpanwireDatabase

/// One stored event as readers of the log see it: what filters ask for, and the envelope's bytes, encoded once and shared by all.
public final class LogEvent: CommitItem {
  /// Dense from 1 in the whole log.
  public let position: Int64
  /// Dense from 1 in its stream: the session, else the tenant's producer.
  public let sequence: Int64
  public let header: EventHeader
  /// The envelope as the `event` of a `SubscribeResponse`.
  public let response: [UInt8]

  public init(position: Int64, sequence: Int64, header: EventHeader, envelope: [UInt8]) {
    self.position = position
    self.sequence = sequence
    self.header = header
    // Field 1, length-delimited.
    var response: [UInt8] = []
    response.reserveCapacity(envelope.count + 6)
    response.append(0x0A)
    var length = envelope.count
    while length >= 0x80 {
      response.append(UInt8(truncatingIfNeeded: length) | 0x80)
      length >>= 7
    }
    response.append(UInt8(length))
    start = response.count
    response.append(contentsOf: envelope)
    self.response = response
  }

  /// The `EventEnvelope`: the end of the response, which is the only copy.
  public var envelope: ArraySlice<UInt8> { response[start...] }

  /// What the event takes up in memory, about: its bytes, itself, and the texts of its header.
  var cost: Int { response.count + 400 }

  private let start: Int
}

/// What the log keeps of an event beside its envelope: what it can be found by.
public struct EventHeader: Sendable, Hashable {
  public var type: String
  public var tenant: String
  /// The product runtime session; empty when the event belongs to none.
  public var session: String
  public var journey: String
  /// 16 bytes, or none.
  public var trace: [UInt8]
  public var lane: EventLane
  /// The service that wrote it.
  public var producer: String
  public var retention: EventRetention
  /// Nanoseconds since 1970.
  public var occurredAt: Int64

  public init(
    type: String, tenant: String, session: String = "", journey: String = "", trace: [UInt8] = [], lane: EventLane, producer: String,
    retention: EventRetention = .business, occurredAt: Int64 = 0
  ) {
    self.type = type
    self.tenant = tenant
    self.session = session
    self.journey = journey
    self.trace = trace
    self.lane = lane
    self.producer = producer
    self.retention = retention
    self.occurredAt = occurredAt
  }

  /// What the stream's sequence counts within.
  var stream: String { session.isEmpty ? "producer:" + producer : session }
}

/// How much an event may cost its readers. The numbers are the contract's.
public enum EventLane: Int32, Sendable, Hashable, CaseIterable {
  case control = 1
  case data = 2
  case telemetry = 3
}

/// How long an event is kept. The numbers are the contract's.
public enum EventRetention: Int32, Sendable, Hashable, CaseIterable {
  /// For ever: the truth of business state.
  case business = 1
  case operational = 2
  case transient = 3
}

/// The events of one or more commits. `previous` is the position before the first, so that a loop can prove that it missed nothing.
final class LogBatch: Sendable {
  let previous: Int64
  let events: [LogEvent]
  /// Of all its events.
  let cost: Int

  var last: Int64 { events.last?.position ?? previous }

  init(previous: Int64, events: [LogEvent]) {
    self.previous = previous
    self.events = events
    cost = events.reduce(0) { $0 + $1.cost }
  }
}
