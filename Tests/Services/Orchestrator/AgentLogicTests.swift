import SpanwireSchema
import Testing

@testable import SpanwireOrchestrator

@Suite("What agents work out by themselves")
struct AgentLogicTests {
  @Test(
    "a wish for what no agent may do is recognised, a question about it is not",
    arguments: [
      ("Please redeem my last coffee for me.", "redeem"), ("Can you redeem it?", "redeem"), ("Buy me the large pass!", "payment"),
      ("refund the pass", "payment"), ("Give me a free coffee", "issue"), ("add two tokens to my account", "issue"),
      ("lower the price of the pass", "registry_change"), ("close the café next door", "lem_mutation"),
      ("How do I redeem a coffee?", nil), ("What can I buy?", nil), ("Can I pay by card?", nil), ("Where is the next café?", nil),
      ("give me a hint", nil), ("", nil), ("!!!", nil), ("Redeemer statue", nil),
    ])
  func wishes(message: String, action: String?) {
    #expect(ForbiddenWish(in: message)?.action == action)
  }

  @Test("the next stop is near and good, open long enough, and never of unknown hours")
  func ranking() {
    let hour: Int64 = 3_600_000_000_000
    func place(_ id: String, _ metres: Double, _ score: Double, open: Int64?) -> NextStopCandidate {
      NextStopCandidate(servicePointID: id, name: id, metres: metres, experienceScore: score, openUntil: open, dwellNanoseconds: hour / 2)
    }
    let candidates = [
      place("far", 1_500, 0.9, open: 10 * hour), place("near", 100, 0.7, open: 10 * hour), place("twin", 100, 0.7, open: 10 * hour),
      place("closing", 50, 0.9, open: hour / 2), place("unknown", 50, 1, open: nil), place("poor", 50, 0.2, open: 10 * hour),
    ]
    let ranked = NextStopRanking.ranked(candidates, now: 0, finishBy: nil, minimumScore: 0.3)
    #expect(ranked.map(\.servicePointID) == ["near", "twin", "far"])
    #expect(NextStopRanking.ranked(candidates, now: 0, finishBy: hour / 4, minimumScore: 0).isEmpty)
  }

  @Test("terminal states have no exits, and every other state has one that ends it")
  func states() {
    for state in [AgentTaskState.completed, .failed, .cancelled, .timedOut] {
      #expect(AgentTaskStateMachine.isTerminal(state))
      #expect(AgentTaskStateMachine.exits(of: state).isEmpty)
    }
    for state in [AgentTaskState.received, .running] {
      #expect(!AgentTaskStateMachine.isTerminal(state))
      #expect(AgentTaskStateMachine.exits(of: state).contains(where: AgentTaskStateMachine.isTerminal))
    }
    #expect(!AgentTaskStateMachine.allows(.received, to: .completed))
  }

  @Test(
    "a proposal is decided once",
    arguments: [
      (ProposalState.open, ProposalState.accepted, true), (.open, .rejected, true), (.open, .applied, true), (.accepted, .applied, true),
      (.accepted, .accepted, false), (.rejected, .accepted, false), (.applied, .rejected, false), (.refused, .accepted, false),
      (.refused, .applied, false),
    ])
  func proposals(from: ProposalState, to: ProposalState, allowed: Bool) {
    #expect(ProposalStateMachine.allows(from, to: to) == allowed)
  }

  @Test("the latest end of a day follows the market's clock, summer and winter")
  func latestEnd() {
    var limits = ProfileLimits()
    limits.latestEndLocal = "22:00"
    limits.timeZone = "Europe/Vienna"
    let summer: Int64 = 1_782_907_200 * 1_000_000_000  // 2026-07-01T12:00:00Z
    let winter: Int64 = 1_795_262_400 * 1_000_000_000  // 2026-11-21T12:00:00Z
    #expect(limits.latestEnd(onDayOf: summer) == summer + 8 * 3_600_000_000_000)
    #expect(limits.latestEnd(onDayOf: winter) == winter + 9 * 3_600_000_000_000)
    #expect(limits.wallClock(winter) == "13:00")
    limits.latestEndLocal = ""
    #expect(limits.latestEnd(onDayOf: summer) == nil)
  }

  @Test("advice is for what happened, the urgent first")
  func advice() {
    let advice = Mitigation.advice(for: ["journey.node.blocked", "runtime.error", "journey.started"])
    #expect(advice.map(\.because) == ["runtime.error", "journey.node.blocked"])
    #expect(Mitigation.isStriking("journey.node.blocked") && !Mitigation.isStriking("journey.node.completed"))
  }
}
