/// What may become of a turn: one table, everything else is refused. Pure: a state and an input in, the next state and the event that tells
/// of it out, or nil, and then nothing has changed.
///
/// wanted → rejected | deferred | stale | open; open → active; active → active (output, playback) | cancelling | committed | aborted;
/// cancelling → aborted; committed → closed; aborted → closed. The other states have no exits: who was deferred wants a turn anew.
public enum TurnStateMachine {
  public enum State: Int64, Sendable, CaseIterable {
    /// Before anything was accepted.
    case wanted = 0
    case open = 1
    case active = 2
    /// Cancelled: nothing that it still says is accepted.
    case cancelling = 3
    case committed = 4
    case aborted = 5
    case closed = 6
    /// Never accepted, these three.
    case rejected = 7
    case deferred = 8
    case stale = 9

    /// Whether a turn in this state was accepted once: it has a plan, and evidence.
    public var isAccepted: Bool {
      switch self {
      case .open, .active, .cancelling, .committed, .aborted, .closed: true
      case .wanted, .rejected, .deferred, .stale: false
      }
    }
  }

  public enum Input: Sendable, CaseIterable {
    case reject
    case deferral
    case staleEpoch
    case open
    case activate
    case output
    case playback
    case cancel
    case commit
    case abort
    case close
  }

  public struct Transition: Sendable, Hashable {
    public let to: State
    /// The event type that tells of it.
    public let event: String
  }

  private static let table: [State: [Input: Transition]] = [
    .wanted: [
      .reject: Transition(to: .rejected, event: "turn_reject"),
      .deferral: Transition(to: .deferred, event: "turn_defer"),
      .staleEpoch: Transition(to: .stale, event: "turn_stale_epoch_reject"),
      .open: Transition(to: .open, event: "turn_open"),
    ],
    .open: [.activate: Transition(to: .active, event: "turn_active")],
    .active: [
      .output: Transition(to: .active, event: "output_accepted"),
      .playback: Transition(to: .active, event: "playback_started"),
      .cancel: Transition(to: .cancelling, event: "cancel_accepted"),
      .commit: Transition(to: .committed, event: "turn_commit"),
      .abort: Transition(to: .aborted, event: "turn_abort"),
    ],
    .cancelling: [.abort: Transition(to: .aborted, event: "turn_abort")],
    .committed: [.close: Transition(to: .closed, event: "turn_close")],
    .aborted: [.close: Transition(to: .closed, event: "turn_close")],
  ]

  /// The transition that an input makes in a state; nil where it makes none.
  public static func transition(_ state: State, _ input: Input) -> Transition? { table[state]?[input] }

  /// The input that an event tells of; nil for events of other things.
  public static func input(of event: String) -> Input? { inputs[event] }

  private static let inputs: [String: Input] = Dictionary(
    table.values.flatMap { $0.map { ($0.value.event, $0.key) } }, uniquingKeysWith: { first, _ in first })
}
