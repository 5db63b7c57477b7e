import Foundation
import SpanwireEventLoop
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireSchema
import SpanwireWellKnown
import Synchronization

/// One writer, many subscribers through real RPC. The writer flags a session at risk and takes it back, one call after the other, of which
/// each writes a few events in one commit; every subscriber wants all of them.
struct FanOut {
  let target: Target
  let subscribers: Int
  let connections: Int
  let writes: Int
  /// Subscribers besides, on a connection of their own, that never read.
  let stalled: Int

  init(_ target: Target, _ arguments: Arguments) {
    self.target = target
    subscribers = arguments.number("subscribers", default: 1_000)
    connections = arguments.number("connections", default: 10)
    writes = arguments.number("writes", default: 500)
    stalled = arguments.number("stalled", default: 0)
  }

  func run() async throws {
    let writing = try target.connect()
    let gateway = ProductRuntimeGatewayClient(target.operations(writing))
    let session = try await ProductRuntimeGatewayClient(target.traveller(1, writing)).openSession(
      OpenSessionRequest(
        idempotencyKey: UUID().uuidString, productID: "PRD-VIEN-COFFEE-PASS", marketCode: "AT-VIE", segments: ["tourist"])
    ).productRuntimeSessionID

    let channels = try (0..<connections).map { _ in try target.connect() }
    let silent = try target.connect()
    var unread: [any ClientCall] = []
    for _ in 0..<stalled { unread.append(try await subscribe(target.operations(silent))) }

    // The first write warms everything up and shows how many events each makes.
    let perWrite = try await eventsOfOneWrite(gateway, session, target.operations(writing))
    let expected = writes * perWrite
    let watch = Stopwatch(writes: writes, perWrite: perWrite)
    let (live, isLive) = AsyncStream<Void>.makeStream()
    let loops = EventLoopGroup.shared.loops
    try await withThrowingTaskGroup(of: [UInt32].self) { group in
      for number in 0..<subscribers {
        let channel = channels[number % connections]
        group.addTask(executorPreference: loops[number % connections % loops.count]) { [self] in
          let call = try await subscribe(target.operations(channel))
          // Its first message is the heartbeat that says that it is live.
          _ = try await call.receive(Google_Protobuf_Empty.self)
          isLive.yield()
          var took: [UInt32] = []
          took.reserveCapacity(expected)
          while took.count < expected, try await call.receive(Google_Protobuf_Empty.self) != nil {
            took.append(watch.microseconds(ofEvent: took.count))
          }
          call.cancel()
          return took
        }
      }
      for await _ in live.prefix(subscribers) {}
      say("begin")
      let begin = ContinuousClock.now
      for number in 0..<writes {
        watch.wrote(number)
        try await write(number, gateway, session)
      }
      let written = elapsed(since: begin)
      var latencies: [UInt32] = []
      latencies.reserveCapacity(expected * subscribers)
      for try await took in group { latencies += took }
      let seconds = Double(elapsed(since: begin)) / 1e6
      say("end")
      latencies.sort()
      guard latencies.count == expected * subscribers else {
        throw RPCError(.dataLoss, "\(latencies.count) deliveries of \(expected * subscribers)")
      }
      say(
        """
        {"subscribers": \(subscribers), "stalled": \(stalled), "writes": \(writes), "events": \(expected), "deliveries": \(latencies.count), \
        "seconds": \(seconds), "writing_seconds": \(Double(written) / 1e6), "deliveries_per_second": \(Int(Double(latencies.count) / seconds)), \
        "p50_us": \(quantile(latencies, 0.5)), "p99_us": \(quantile(latencies, 0.99)), "max_us": \(latencies.last ?? 0)}
        """)
    }
    for call in unread { call.cancel() }
    exit(0)
  }

  private func subscribe(_ channel: any Channel) async throws -> any ClientCall {
    let call = try await channel.start(Events.Methods.subscribe, CallOptions())
    _ = try call.send(SubscribeRequest(fromNow: true))
    call.finishSending()
    return call
  }

  private func write(_ number: Int, _ gateway: ProductRuntimeGatewayClient, _ session: String) async throws {
    _ = try await gateway.applyControl(
      ApplyControlRequest(
        idempotencyKey: UUID().uuidString, reason: "fan-out",
        action: .flagSessionRisk(FlagSessionRisk(productRuntimeSessionID: session, flagged: number.isMultiple(of: 2)))))
  }

  private func eventsOfOneWrite(_ gateway: ProductRuntimeGatewayClient, _ session: String, _ channel: any Channel) async throws -> Int {
    let events = EventsClient(channel)
    try await write(0, gateway, session)
    var cursor = ""
    var position = ""
    for round in 0..<2 {
      if round == 1 { try await write(1, gateway, session) }
      for try await response in try await events.subscribe(SubscribeRequest(cursor: cursor, untilEnd: true)) {
        if case .heartbeat(let heartbeat) = response.item { position = heartbeat.cursor }
      }
      if round == 0 { cursor = position }
    }
    return (Int(position) ?? 0) - (Int(cursor) ?? 0)
  }
}

/// When each write began, and so how long its events took to their subscribers.
private final class Stopwatch: Sendable {
  private let start = ContinuousClock.now
  private let perWrite: Int
  private let began: Mutex<[UInt32]>

  init(writes: Int, perWrite: Int) {
    self.perWrite = perWrite
    began = Mutex([UInt32](repeating: 0, count: writes))
  }

  func wrote(_ number: Int) { began.withLock { $0[number] = elapsed(since: start) } }

  func microseconds(ofEvent index: Int) -> UInt32 {
    let now = elapsed(since: start)
    return now &- began.withLock { $0[min(index / perWrite, $0.count - 1)] }
  }
}
