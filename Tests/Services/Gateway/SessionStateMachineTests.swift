import Testing

@testable import SpanwireGateway

@Suite("The session state machine")
struct SessionStateMachineTests {
  static let commands: [SessionCommand] = [
    .check, .passPreflight(checks: ["coverage"]), .failPreflight(check: "coverage", reason: "closed"),
    .startJourney(journeyInstanceID: "J"),
    .endJourney(journeyInstanceID: "J", .completed, reason: ""), .endJourney(journeyInstanceID: "J", .abandoned, reason: ""),
    .endJourney(journeyInstanceID: "J", .aborted, reason: ""), .endJourney(journeyInstanceID: "J", .failed, reason: ""),
    .endJourney(journeyInstanceID: "other", .failed, reason: ""), .close(reason: "done"), .cancel(reason: "r", actor: "a"),
    .forceComplete(reason: "r", actor: "a"), .fail(reason: "r"), .flagRisk(true, reason: "r", actor: "a"), .purchase, .advanceJourney,
    .askAgent, .decideProposal,
  ]

  /// Every phase against every command: where it leads; `-` is a refusal, `=` no change of phase.
  static let table: [(SessionPhase, [String])] = [
    (.created, ["preflight", "-", "-", "-", "=", "=", "=", "=", "=", "cancelled", "cancelled", "-", "failed", "=", "-", "-", "-", "-"]),
    (.preflight, ["-", "ready", "failed", "-", "=", "=", "=", "=", "=", "cancelled", "cancelled", "-", "failed", "=", "-", "-", "-", "-"]),
    (.ready, ["-", "-", "-", "active", "=", "=", "=", "=", "=", "cancelled", "cancelled", "completed", "failed", "=", "=", "-", "=", "="]),
    (
      .active,
      [
        "-", "-", "-", "-", "post_journey", "post_journey", "failed", "failed", "=", "-", "cancelled", "completed", "failed", "=", "=", "=",
        "=", "=",
      ]
    ),
    (
      .postJourney,
      ["-", "-", "-", "active", "=", "=", "=", "=", "=", "completed", "cancelled", "completed", "failed", "=", "=", "-", "=", "="]
    ),
    (.completed, ["-", "-", "-", "-", "=", "=", "=", "=", "=", "-", "-", "-", "-", "=", "-", "-", "-", "-"]),
    (.cancelled, ["-", "-", "-", "-", "=", "=", "=", "=", "=", "-", "-", "-", "-", "=", "-", "-", "-", "-"]),
    (.failed, ["-", "-", "-", "-", "=", "=", "=", "=", "=", "-", "-", "-", "-", "=", "-", "-", "-", "-"]),
  ]

  @Test("Every command in every phase leads where the table says", arguments: table)
  func transitions(_ phase: SessionPhase, _ expected: [String]) throws {
    #expect(expected.count == Self.commands.count)
    for (command, wanted) in zip(Self.commands, expected) {
      var session = SessionProgress()
      session.phase = phase
      session.journeyInstanceID = "J"
      do {
        let next = try SessionStateMachine.handle(command, session)
        #expect((next.session.phase == phase ? "=" : next.session.phase.rawValue) == wanted, "\(command.name)")
        #expect(next.events.isEmpty || next.session.revision > session.revision)
        if next.session.phase == phase, next.events.isEmpty { #expect(next.session == session) }
      } catch {
        #expect(wanted == "-", "\(command.name) was refused: \(error)")
        #expect(error.allowed == command.allowed && !error.allowed.contains(phase))
      }
    }
  }

  @Test("A refusal says what would allow it")
  func refusal() {
    var session = SessionProgress()
    session.phase = .active
    #expect {
      try SessionStateMachine.handle(.startJourney(journeyInstanceID: "K"), session)
    } throws: {
      "\($0)" == "start_journey is not possible while active; it is while ready, post_journey"
    }
  }

  @Test("Ending a session under a running journey aborts the journey")
  func abortsJourney() throws {
    var session = SessionProgress()
    session.phase = .active
    session.journeyInstanceID = "J"
    let cancelled = try SessionStateMachine.handle(.cancel(reason: "fraud", actor: "ops-1"), session)
    #expect(cancelled.effects == [.abortJourney(journeyInstanceID: "J", reason: "fraud")])
    let ended = try SessionStateMachine.handle(.endJourney(journeyInstanceID: "J", .aborted, reason: ""), session)
    #expect(ended.effects.isEmpty)
  }

  @Test("From open to close, with a second journey")
  func life() throws {
    var transition = SessionStateMachine.open()
    var types: [SessionEvent] = transition.events
    for command: SessionCommand in [
      .check, .passPreflight(checks: []), .startJourney(journeyInstanceID: "J"),
      .endJourney(journeyInstanceID: "J", .abandoned, reason: ""),
      .startJourney(journeyInstanceID: "K"), .endJourney(journeyInstanceID: "K", .completed, reason: ""), .close(reason: "bye"),
    ] {
      transition = try SessionStateMachine.handle(command, transition.session)
      types += transition.events
    }
    #expect(transition.session.phase == .completed)
    #expect(types.count == 8)
    #expect(transition.session.journeyInstanceID == "K")
  }
}
