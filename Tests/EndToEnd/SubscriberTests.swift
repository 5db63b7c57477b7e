import Foundation
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireSchema
import SpanwireWellKnown
import Testing

/// Subscribers of a real server: whoever comes when, sees the same.
@Suite
struct SubscriberTests {
  /// Events of the run. The default keeps the suite quick; `tools/soak` asks for 100,000.
  static let wanted = Int(ProcessInfo.processInfo.environment["SPANWIRE_EVENTS"] ?? "") ?? 8_000
  /// What the memory of a server that has served a handful of events may grow by until so many more have gone past its subscribers: they
  /// hold cursors, not buffers. It is what the log's ring, its shared pages and the store's page caches fill up to.
  static let growthLimit = 10 << 20

  @Test(
    "Subscribers that come late, that reconnect and that were there from the start see the same events, while fifty read and one does not",
    .timeLimit(.minutes(15)))
  func sameEvents() async throws {
    let server = try ServerProcess()
    try server.start()
    let operations = try channel(server, "dev:ops:OPS-0001:vienna:ops_lead")
    _ = try await RegistryClient(operations).apply(
      ApplyRequest(
        idempotencyKey: "apply",
        source: .bundleYaml(try String(contentsOf: Checkout.home.appending(path: "Samples/vienna-coffee-pass.yaml"), encoding: .utf8))))
    let session = try await ProductRuntimeGatewayClient(try channel(server, "dev:user:USR-0001:vienna:traveller")).openSession(
      OpenSessionRequest(idempotencyKey: "open", productID: "PRD-VIEN-COFFEE-PASS", marketCode: "AT-VIE", segments: ["tourist"]))

    _ = try await produce(64, "first", session.productRuntimeSessionID, operations)
    let resident = try server.residentBytes()
    // The one that never reads holds its connection alone, so that nobody's flow control is its.
    let silent = try channel(server, "dev:ops:OPS-0051:vienna:ops_lead")
    let unread = try await silent.start(Events.Methods.subscribe, CallOptions())
    _ = try unread.send(SubscribeRequest())
    unread.finishSending()

    let readers = try channel(server, "dev:ops:OPS-0002:vienna:ops_lead")
    let before = try await produce(Self.wanted / 8, "warm", session.productRuntimeSessionID, operations)
    try await withThrowingTaskGroup(of: [String].self) { group in
      let last = Self.wanted / 8 * 4 + before
      for _ in 0..<50 {
        group.addTask { try await count(on: readers, atLeast: last) }
      }
      group.addTask { try await positions(EventsClient(readers), atLeast: last, reconnectingEvery: .max) }
      group.addTask { try await positions(EventsClient(readers), atLeast: last, reconnectingEvery: 997) }
      _ = try await produce(Self.wanted * 7 / 8, "run", session.productRuntimeSessionID, operations)
      group.addTask { try await positions(EventsClient(readers), atLeast: last, reconnectingEvery: .max) }
      var seen: [[String]] = []
      for try await positions in group where !positions.isEmpty { seen.append(positions) }
      let growth = try server.residentBytes() - resident
      #expect(seen.count == 3)
      #expect(seen[0].count >= last)
      #expect(Set(seen[0]).count == seen[0].count, "an event came twice")
      #expect(seen[0].compactMap(Int.init) == Array(1...seen[0].count), "positions are dense and in order")
      let common = seen.map(\.count).min() ?? 0
      #expect(Set(seen.map { Array($0.prefix(common)) }).count == 1, "subscribers saw different events")
      #expect(growth < Self.growthLimit, "the server grew by \(growth >> 10) KiB over \(Self.wanted) events")
    }
    unread.cancel()
    #expect(server.isRunning)
  }

  /// Makes about so many events by control actions, of which each tells of itself four times; how many the log has then, at least.
  @discardableResult
  private func produce(_ events: Int, _ name: String, _ session: String, _ channel: any Channel) async throws -> Int {
    let gateway = ProductRuntimeGatewayClient(channel)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for lane in 0..<32 {
        group.addTask {
          for number in stride(from: lane, to: events / 4, by: 32) {
            _ = try await gateway.applyControl(
              ApplyControlRequest(
                idempotencyKey: "\(name)-\(number)", reason: "load",
                action: .flagSessionRisk(FlagSessionRisk(productRuntimeSessionID: session, flagged: number.isMultiple(of: 2)))))
          }
        }
      }
      try await group.waitForAll()
    }
    return events / 4
  }

  /// The positions of the log from its beginning, up to one at least; reconnecting from the cursor after every so many.
  private func positions(_ events: EventsClient, atLeast last: Int, reconnectingEvery limit: Int) async throws -> [String] {
    var seen: [String] = []
    while seen.count < last {
      var left = limit
      let stream = try await events.subscribe(SubscribeRequest(cursor: seen.last ?? ""))
      for try await response in stream {
        guard case .event(let event) = response.item else { continue }
        seen.append(event.logPosition)
        left -= 1
        if left == 0 || seen.count >= last { break }
      }
      stream.cancel()
    }
    return seen
  }

  /// Reads as the others do, without looking at what it reads.
  private func count(on channel: any Channel, atLeast last: Int) async throws -> [String] {
    let call = try await channel.start(Events.Methods.subscribe, CallOptions())
    _ = try call.send(SubscribeRequest())
    call.finishSending()
    var seen = 0
    while seen < last, try await call.receive(Google_Protobuf_Empty.self) != nil { seen += 1 }
    call.cancel()
    return []
  }

  private func channel(_ server: ServerProcess, _ token: String) throws -> any Channel {
    try HTTP2Channel(#require(ChannelTarget(server.address))).intercepted(by: [CallCredentials.bearer(token)])
  }
}

extension ServerProcess {
  /// What the process holds in memory.
  func residentBytes() throws -> Int {
    let status = try String(contentsOfFile: "/proc/\(identifier)/status", encoding: .utf8)
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") } ?? ""
    return (Int(line.filter(\.isNumber)) ?? 0) << 10
  }
}
