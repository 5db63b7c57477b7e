import Foundation
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireSchema
import Testing

/// What an operator does with the log from a terminal, against a real server.
@Suite(.serialized)
final class EventsTests {
  @Test("Events are exported as CloudEvents, a consumer goes on where it was, old events go by retention, and nothing is stuck")
  func keeping() throws {
    let server = try ServerProcess()
    try server.start(["--keep-operational", "0", "--keep-transient", "0"])
    let day = try spanwire([
      "demo", "--server", server.address, "--home", Checkout.home.path, "--python", Checkout.python, "--run", "kept",
    ])
    #expect(day.code == 0, "\(day.output)")

    let exported = try spanwire(["events", "export", "--server", server.address])
    let lines = try exported.output.split(separator: "\n").map {
      try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
    }
    #expect(exported.code == 0 && lines.count > 50)
    #expect(lines.map { $0["logposition"] as? String } == (1...lines.count).map(String.init))
    #expect(lines.allSatisfy { $0["specversion"] as? String == "1.0" && $0["data"] is [String: Any] && $0["time"] is String })
    let journeys = try spanwire(["events", "export", "--type", "journey.*", "--cursor", "10", "--limit", "5", "--server", server.address])
    #expect(journeys.output.split(separator: "\n").count == 5)

    for (limit, first) in [("7", "1 "), ("3", "8 ")] {
      let tail = try spanwire(["events", "tail", "--consumer", "audit", "--limit", limit, "--until-end", "--server", server.address])
      #expect(tail.code == 0 && tail.output.hasPrefix(first), "\(tail.output)")
    }
    let consumers = try spanwire(["events", "consumers", "--server", server.address])
    #expect(consumers.output.contains("audit  ") && consumers.output.contains("  10  "), "\(consumers.output)")
    #expect(try spanwire(["events", "consumers", "--forget", "audit", "--server", server.address]).code == 0)
    #expect(try !spanwire(["events", "consumers", "--server", server.address]).output.contains("audit"))

    let compacted = try spanwire(["events", "compact", "--server", server.address])
    #expect(compacted.code == 0 && compacted.output.hasPrefix("removed "), "\(compacted.output)")
    let verified = try spanwire(["verify", "--server", server.address])
    #expect(verified.code == 0, "\(verified.output)")

    for state in ["given-up", "pending", "failed"] {
      #expect(try spanwire(["effects", "list", "--state", state, "--server", server.address]).code == 0)
    }
    let unknown = try spanwire(["effects", "redrive", "EFF-none", "--reason", "try", "--server", server.address])
    #expect(unknown.code == 66, "\(unknown.output)")
    let replay = try spanwire(["events", "replay", "lab", "--reason", "look", "--server", server.address])
    #expect(replay.code == 76 && replay.output.contains("REPLAY_OUTSIDE_SANDBOX"), "\(replay.output)")
    #expect(server.terminate() == 0)
  }

  @Test("In a sandbox events are replayed to those who listen, marked, and change nothing", .timeLimit(.minutes(15)))
  func sandbox() async throws {
    let server = try ServerProcess()
    try server.start(["--sandbox"])
    let channel = try HTTP2Channel(#require(ChannelTarget(server.address)))
    let operations = channel.intercepted(by: [CallCredentials.bearer("dev:ops:OPS-0001:vienna:ops_lead")])
    _ = try await RegistryClient(operations).apply(
      ApplyRequest(
        idempotencyKey: "apply",
        source: .bundleYaml(try String(contentsOf: Checkout.home.appending(path: "Samples/vienna-coffee-pass.yaml"), encoding: .utf8))))
    let traveller = channel.intercepted(by: [CallCredentials.bearer("dev:user:USR-0001:vienna:traveller")])
    _ = try await ProductRuntimeGatewayClient(traveller).openSession(
      OpenSessionRequest(idempotencyKey: "open", productID: "PRD-VIEN-COFFEE-PASS", marketCode: "AT-VIE", segments: ["tourist"]))
    let unheard = try spanwire(["events", "replay", "lab", "--reason", "look", "--server", server.address])
    #expect(unheard.code == 76 && unheard.output.contains("CHANNEL_UNHEARD"), "\(unheard.output)")

    let events = EventsClient(operations)
    let before = try await positions(of: events)
    let stream = try await events.subscribe(
      SubscribeRequest(filter: EventFilter(types: ["product.runtime.*"]), channel: "lab"))
    var iterator = stream.makeAsyncIterator()
    guard case .heartbeat(let first) = try await iterator.next()?.item, first.live else { return #expect(Bool(false), "it should listen") }
    let replaying = Task { try spanwire(["events", "replay", "lab", "--reason", "look", "--server", server.address]) }
    var heard: [EventEnvelope] = []
    while let item = try await iterator.next()?.item {
      if case .event(let event) = item { heard.append(event) }
      if case .heartbeat = item { break }
    }
    let replayed = try await replaying.value
    #expect(replayed.code == 0 && replayed.output.hasPrefix("replayed "), "\(replayed.output)")
    #expect(!heard.isEmpty && heard.allSatisfy { $0.replayOnly && $0.type.hasPrefix("product.runtime.") })
    #expect(try await positions(of: events) == before, "a replay writes nothing")
    #expect(try spanwire(["verify", "--server", server.address]).code == 0)
    stream.cancel()
  }

  private func positions(of events: EventsClient) async throws -> [String] {
    var positions: [String] = []
    for try await response in try await events.subscribe(SubscribeRequest(untilEnd: true)) {
      if case .event(let event) = response.item { positions.append(event.logPosition + event.type) }
    }
    return positions
  }
}
