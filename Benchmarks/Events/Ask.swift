import Foundation
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireSchema

/// What people ask of a log that has grown, each question many times at places all over it: how long the answer takes.
struct Ask {
  let target: Target
  let rounds: Int

  init(_ target: Target, _ arguments: Arguments) {
    self.target = target
    rounds = arguments.number("rounds", default: 50)
  }

  private struct Sample {
    let cursor: String
    let session: String
    let trace: [UInt8]
  }

  func run() async throws {
    let channel = target.operations(try target.connect())
    let events = EventsClient(channel)
    let gateway = ProductRuntimeGatewayClient(channel)
    let collector = CollectorClient(channel)
    let end = try await logEnd(events)
    guard end > rounds else { throw RPCError.failedPrecondition("the log has only \(end) events") }
    var random = SystemRandomNumberGenerator()
    var samples: [Sample] = []
    while samples.count < rounds {
      let cursor = String(Int.random(in: end / 10..<end * 9 / 10, using: &random))
      let found = try await events.listEvents(
        ListEventsRequest(filter: EventFilter(types: ["product.runtime.*", "journey.*"]), cursor: cursor, pageSize: 1))
      if let event = found.events.first, event.traceID.count == 16, !event.productRuntimeSessionID.isEmpty {
        samples.append(Sample(cursor: cursor, session: event.productRuntimeSessionID, trace: event.traceID))
      }
    }
    var figures: [(String, [UInt32])] = []
    func measure(_ name: String, _ question: (Sample) async throws -> Void) async throws {
      try await question(samples[0])  // the connection and the statements are made
      var took: [UInt32] = []
      for sample in samples {
        let start = ContinuousClock.now
        try await question(sample)
        took.append(elapsed(since: start))
      }
      figures.append((name, took.sorted()))
    }
    try await measure("list of sessions, first page") { _ in
      _ = try await gateway.listSessions(ListSessionsRequest(pageSize: 50))
    }
    try await measure("list of events, 100 from the middle") { sample in
      _ = try await events.listEvents(ListEventsRequest(cursor: sample.cursor, pageSize: 100))
    }
    try await measure("list of a session's events") { sample in
      let found = try await events.listEvents(
        ListEventsRequest(filter: EventFilter(productRuntimeSessionID: sample.session), pageSize: 100))
      if found.events.isEmpty { throw RPCError(.dataLoss, "session \(sample.session) has no events") }
    }
    try await measure("watch from a cursor in the middle, 100 events") { sample in
      let stream = try await events.subscribe(SubscribeRequest(cursor: sample.cursor))
      var count = 0
      for try await response in stream {
        guard case .event = response.item else { continue }
        count += 1
        if count == 100 { break }
      }
      stream.cancel()
    }
    try await measure("trace lookup in the log") { sample in
      var count = 0
      var request = ListEventsRequest(filter: EventFilter(traceID: sample.trace), pageSize: 1_000)
      while true {
        let found = try await events.listEvents(request)
        count += found.events.count
        if found.atEnd { break }
        request.cursor = found.nextCursor
      }
      if count == 0 { throw RPCError(.dataLoss, "a trace has no events") }
    }
    try await measure("trace lookup in the collector") { sample in
      _ = try await collector.getTrace(
        GetTraceRequest(traceIDHex: sample.trace.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()))
    }
    let lines = figures.map { name, took in
      "\"\(name)\": {\"p50_us\": \(quantile(took, 0.5)), \"p99_us\": \(quantile(took, 0.99)), \"max_us\": \(took.last ?? 0)}"
    }
    say("{\"events\": \(end), \"questions\": {\(lines.joined(separator: ", "))}}")
    exit(0)
  }
}
