import Foundation
import Testing

/// Journeys from a terminal: what a traveller and an operator do by hand, without a program of their own.
@Suite(.serialized, .timeLimit(.minutes(15)))
struct JourneyCommandTests {
  private static let traveller = "dev:user:USR-0001:vienna:traveller"

  @Test("A journey is started, walked, shown, followed, blocked and given up by hand")
  func byHand() throws {
    let server = try ServerProcess()
    try server.start()
    func run(_ arguments: String..., as token: String? = nil) throws -> Outcome {
      try token.map { try spanwire(arguments + ["--server", server.address], token: $0) }
        ?? spanwire(arguments + ["--server", server.address])
    }
    func done(_ arguments: String..., as token: String? = nil) throws -> String {
      let arguments = arguments + ["--server", server.address]
      let outcome = try token.map { try spanwire(arguments, token: $0) } ?? spanwire(arguments)
      #expect(outcome.code == 0, "\(arguments): \(outcome.output)")
      return outcome.output
    }
    _ = try done("registry", "apply", Checkout.home.appending(path: "Samples/vienna-coffee-pass.yaml").path)
    let opened = try done(
      "call", "spanwire.gateway.v1.ProductRuntimeGateway/OpenSession", "--json",
      #"{"idempotencyKey": "hand", "productId": "PRD-VIEN-COFFEE-PASS", "marketCode": "AT-VIE", "segments": ["tourist"]}"#,
      as: Self.traveller)
    let session = try #require(opened.firstMatch(of: /PRS-[0-9A-Z]{26}/).map { String($0.output) })

    let started = try done("journeys", "start", session, as: Self.traveller)
    let journey = try #require(started.firstMatch(of: /JRN-[0-9A-Z]{26}/).map { String($0.output) })
    #expect(started.contains("running  at plan"))
    #expect(try done("journeys", "list", "--session", session).contains(journey))
    #expect(try done("journeys", "list", "--state", "completed").contains(journey) == false)

    // Nobody waits for this; it is remembered.
    #expect(try done("journeys", "signal", session, "rain", "heavy", as: Self.traveller).contains("signal    rain heavy"))
    let wrong = try run("journeys", "read", session, as: Self.traveller)
    #expect(wrong.code == 1 && wrong.output.contains("no message takes this step"), "\(wrong.output)")

    let sight = "SP-VIE-SIGHT-MICHAELERKIRCHE"
    _ = try done("sessions", "control", "block", sight, "--reason", "mass", "--until", "2026-05-19T12:00:00Z")
    #expect(try done("journeys", "show", journey).contains("blocked   \(sight) until 2026-05-19T12:00:00Z: mass"))
    _ = try done("sessions", "control", "skip-node", session, "--node", "plan", "--reason", "in a hurry")
    #expect(try done("journeys", "show", journey).contains("→ goodbye"))

    let story = try done("journeys", "history", journey)
    #expect(story.contains("journey.started") && story.contains("journey.node.skipped"))
    let cursor = try #require(story.split(separator: "\n").first?.split(separator: " ").first)
    let next = try done("journeys", "watch", journey, "--cursor", String(cursor), "--limit", "1")
    #expect(next.contains("journey.node.entered") && !next.contains("journey.started"))

    #expect(try done("journeys", "abandon", session, "--reason", "rain", as: Self.traveller).contains("abandoned"))
    let late = try run("journeys", "choose", session, "finish", "--node", "more", as: Self.traveller)
    #expect(late.code == 76 && late.output.contains("the journey is abandoned"), "\(late.output)")
    #expect(try run("journeys", "show", "JRN-NONE").code == 66)
    #expect(try run("journeys", "list", "--state", "asleep").code == 64)
    #expect(server.terminate() == 0)
  }
}
