import SpanwireTurnKernel
import Testing

@Suite("The turns' table")
struct TurnStateMachineTests {
  typealias State = TurnStateMachine.State
  typealias Input = TurnStateMachine.Input

  /// The whole table; what is not in it is refused.
  static let table: [(from: State, input: Input, to: State, event: String)] = [
    (.wanted, .reject, .rejected, "turn_reject"),
    (.wanted, .deferral, .deferred, "turn_defer"),
    (.wanted, .staleEpoch, .stale, "turn_stale_epoch_reject"),
    (.wanted, .open, .open, "turn_open"),
    (.open, .activate, .active, "turn_active"),
    (.active, .output, .active, "output_accepted"),
    (.active, .playback, .active, "playback_started"),
    (.active, .cancel, .cancelling, "cancel_accepted"),
    (.active, .commit, .committed, "turn_commit"),
    (.active, .abort, .aborted, "turn_abort"),
    (.cancelling, .abort, .aborted, "turn_abort"),
    (.committed, .close, .closed, "turn_close"),
    (.aborted, .close, .closed, "turn_close"),
  ]

  @Test("every state with every input makes the table's transition, or none", arguments: State.allCases)
  func exhaustive(state: State) {
    for input in Input.allCases {
      let expected = Self.table.first { $0.from == state && $0.input == input }
      let transition = TurnStateMachine.transition(state, input)
      #expect(transition?.to == expected?.to && transition?.event == expected?.event, "\(state) with \(input)")
    }
  }

  @Test("every accepted turn is told as open, active, commit or abort, close; every other as one refusal that accepts nothing")
  func chains() {
    var ends: [[String]] = []
    func walk(_ state: State, _ told: [String]) {
      let steps = Input.allCases.compactMap { TurnStateMachine.transition(state, $0) }.filter { $0.to != state }
      if steps.isEmpty { return ends.append(told) }
      for step in steps { walk(step.to, told + [step.event]) }
    }
    walk(.wanted, [])
    let accepted: Set<[String]> = [
      ["turn_open", "turn_active", "turn_commit", "turn_close"], ["turn_open", "turn_active", "turn_abort", "turn_close"],
      ["turn_open", "turn_active", "cancel_accepted", "turn_abort", "turn_close"],
    ]
    #expect(Set(ends) == accepted.union([["turn_reject"], ["turn_defer"], ["turn_stale_epoch_reject"]]))
    #expect(State.allCases.filter(\.isAccepted) == [.open, .active, .cancelling, .committed, .aborted, .closed])
  }

  @Test("after a cancel no output and no playback is accepted, in any state")
  func fenced() {
    for state in [State.cancelling, .aborted, .closed] {
      #expect(TurnStateMachine.transition(state, .output) == nil && TurnStateMachine.transition(state, .playback) == nil)
    }
  }

  @Test("every event of the table names its input")
  func events() {
    for row in Self.table { #expect(TurnStateMachine.input(of: row.event) == row.input) }
    #expect(TurnStateMachine.input(of: "agent.task.started") == nil)
  }
}
