import Foundation
import SpanwireModelServer
import Testing

@testable import SpanwireOutbound

/// Exchanges with a real server, in a process of its own.
@Suite(.timeLimit(.minutes(2)))
struct OutboundClientTests {
  private static func question(_ model: String, _ server: ModelServer) -> OutboundRequest {
    OutboundRequest(
      method: "POST", url: server.address + "/v1/chat/completions", headers: [("Content-Type", "application/json")],
      body: Array(#"{"model":"\#(model)","messages":[],"stream":true}"#.utf8))
  }

  private func failure(_ request: OutboundRequest, _ times: OutboundTimes = OutboundTimes(), atMost limit: Int = 1 << 20) async
    -> OutboundFailure?
  {
    let client = OutboundClient()
    defer { client.shutDown() }
    do {
      _ = try await client.send(request, within: times, atMost: limit)
      return nil
    } catch {
      return error as? OutboundFailure
    }
  }

  @Test("A reply is read whole, with its status and its headers, and a redirect is a reply like others")
  func whole() async throws {
    let server = try ModelServer()
    let client = OutboundClient()
    let answer = try await client.send(Self.question("words:2", server), within: OutboundTimes(), atMost: 1 << 20)
    #expect(answer.status == 200 && answer["content-type"] == "text/event-stream")
    #expect(String(decoding: answer.body, as: UTF8.self).hasSuffix("data: [DONE]\n\n"))
    let refused = try await client.send(Self.question("rate", server), within: OutboundTimes(), atMost: 1 << 20)
    #expect(refused.status == 429 && refused["retry-after"] == "7")
    let moved = try await client.send(
      OutboundRequest(method: "GET", url: server.address + "/moved"), within: OutboundTimes(), atMost: 1_024)
    #expect(moved.status == 302 && moved["location"] == "/stats")
    client.shutDown()
  }

  @Test("What cannot be had is told apart: no URL, nobody there, silence, a stop, the end of the time, a break, too much")
  func failures() async throws {
    let server = try ModelServer()
    let short = Duration.milliseconds(200)
    #expect(await failure(OutboundRequest(method: "GET", url: "nowhere")) == .invalidURL)
    #expect(await failure(Self.question("mute", server), OutboundTimes(first: short)) == .timedOut(.first))
    #expect(await failure(Self.question("stall", server), OutboundTimes(idle: short)) == .timedOut(.idle))
    #expect(await failure(Self.question("mute", server), OutboundTimes(whole: short)) == .timedOut(.whole))
    #expect(await failure(Self.question("huge", server), atMost: 100_000) == .tooLarge(limit: 100_000))
    guard case .broken = await failure(Self.question("dropped", server)) else {
      Issue.record("an answer that breaks off is broken")
      return
    }
    server.end()
    guard case .unreachable = await failure(Self.question("words:1", server)) else {
      Issue.record("nobody is there")
      return
    }
  }

  @Test("A caller that is cancelled closes the connection, and so does a reader that has enough")
  func cancelled() async throws {
    let server = try ModelServer()
    let client = OutboundClient()
    let (heard, hears) = AsyncStream<Void>.makeStream()
    let task = Task {
      try await client.exchange(Self.question("stall", server), within: OutboundTimes()) { reply in
        while let piece = try await reply.next() { if !piece.isEmpty { hears.yield() } }
      }
    }
    for await _ in heard { break }
    task.cancel()
    if case .failure(let error) = await task.result {
      #expect(error is CancellationError, "\(error)")
    } else {
      Issue.record("it was cancelled")
    }
    let first = try await client.exchange(Self.question("held:8", server), within: OutboundTimes()) { try await $0.next() }
    #expect(first?.isEmpty == false)
    // The server saw both go: it counts an answer whose reader went away before it takes the next question but one.
    var gone = 0
    while gone < 2 {
      let stats = try await client.send(
        OutboundRequest(method: "GET", url: server.address + "/stats"), within: OutboundTimes(), atMost: 10_000)
      gone = try JSONDecoder().decode(ModelServer.Stats.self, from: Data(stats.body)).gone
    }
    client.shutDown()
  }
}
