import Foundation
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireSchema
import Synchronization

/// Makes a platform's past by living it: sessions opened, passes bought, journeys begun, through the services themselves, until there are
/// as many sessions and events as asked. A run that is taken up again goes on, since its idempotency keys are the same.
struct Fill {
  let target: Target
  let sessions: Int
  let events: Int
  let callers: Int

  init(_ target: Target, _ arguments: Arguments) {
    self.target = target
    sessions = arguments.number("sessions", default: 100_000)
    events = arguments.number("events", default: 1_000_000)
    callers = arguments.number("callers", default: 128)
  }

  /// Travellers; each has a few sessions.
  private static let travellers = 1_000

  func run() async throws {
    let begin = ContinuousClock.now
    let channels = try (0..<4).map { _ in try target.connect() }
    let next = Tally()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for caller in 0..<callers {
        group.addTask { [self] in
          while true {
            let number = next.next()
            if number >= sessions { return }
            if number % 10_000 == 9_999 { say("fill: \(number + 1) sessions after \(Int(elapsed(since: begin) / 1_000_000)) s") }
            let channel = target.traveller(number % Self.travellers, channels[caller % channels.count])
            _ = try await live(number, ProductRuntimeGatewayClient(channel))
          }
        }
      }
      try await group.waitForAll()
    }
    // Its key is as it was: the answer is given again.
    let session = try await live(0, ProductRuntimeGatewayClient(target.traveller(0, channels[0])))
    let operations = target.operations(channels[0])
    // What is missing to the number of events is written about one session, as a busy operator would.
    var missing = try await events - head(operations)
    var round = 0
    while missing > 0 {
      let (first, count) = (round, (missing + 3) / 4)
      try await withThrowingTaskGroup(of: Void.self) { group in
        for caller in 0..<callers {
          group.addTask { [self] in
            for number in stride(from: caller, to: count, by: callers) { try await flag(first + number, session, operations) }
          }
        }
        try await group.waitForAll()
      }
      round += count
      missing = try await events - head(operations)
    }
    let (total, seconds) = (try await head(operations), Double(elapsed(since: begin)) / 1e6)
    say("{\"sessions\": \(sessions), \"events\": \(total), \"seconds\": \(seconds)}")
    exit(0)
  }

  /// One session's beginning: every one is opened, five in ten buy, three in ten set out. That makes some nine events a session.
  private func live(_ number: Int, _ gateway: ProductRuntimeGatewayClient) async throws -> String {
    let trace = TraceContext.root()
    return try await CallContext.with(principal: .anonymous, trace: trace) {
      let session = try await insist {
        try await gateway.openSession(
          OpenSessionRequest(
            idempotencyKey: "fill-\(number)-open", productID: "PRD-VIEN-COFFEE-PASS", marketCode: "AT-VIE", segments: ["tourist"],
            experimentKeys: ["EXP-PASS-SIZE"]))
      }.productRuntimeSessionID
      if number % 10 < 5 { return session }
      _ = try await insist {
        try await gateway.purchase(
          PurchaseRequest(idempotencyKey: "fill-\(number)-buy", productRuntimeSessionID: session, paymentReference: "PAY-\(number)"))
      }
      if number % 10 < 7 { return session }
      _ = try await insist {
        try await gateway.startJourney(
          StartSessionJourneyRequest(idempotencyKey: "fill-\(number)-start", productRuntimeSessionID: session))
      }
      return session
    }
  }

  private func flag(_ number: Int, _ session: String, _ operations: any Channel) async throws {
    _ = try await insist {
      try await ProductRuntimeGatewayClient(operations).applyControl(
        ApplyControlRequest(
          idempotencyKey: "fill-\(number)-flag", reason: "fill",
          action: .flagSessionRisk(FlagSessionRisk(productRuntimeSessionID: session, flagged: number.isMultiple(of: 2)))))
    }
  }

  /// A server that is asked too much says so; every call is idempotent.
  private func insist<R>(_ call: () async throws -> R) async throws -> R {
    for _ in 0..<200 {
      do {
        return try await call()
      } catch let error as RPCError where [.resourceExhausted, .unavailable, .aborted].contains(error.code) {
        try await Task.sleep(for: .milliseconds(50))
      }
    }
    return try await call()
  }

  private func head(_ channel: any Channel) async throws -> Int { try await logEnd(EventsClient(channel)) }
}

/// The position of the log's last event.
func logEnd(_ events: EventsClient) async throws -> Int {
  let call = try await events.subscribe(SubscribeRequest(fromNow: true, untilEnd: true))
  var end = 0
  for try await response in call {
    if case .heartbeat(let heartbeat) = response.item { end = Int(heartbeat.cursor) ?? 0 }
  }
  return end
}
