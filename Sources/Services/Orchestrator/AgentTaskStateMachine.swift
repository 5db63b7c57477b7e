import SpanwireSchema

/// What may become of an agent task.
///
/// received → running | cancelled | failed | timed out; running → running (a further attempt) | completed | failed | cancelled |
/// timed out. The other states have no exits. Pure: a state and a wish in, the next state or the refusal out.
enum AgentTaskStateMachine {
  static func isTerminal(_ state: AgentTaskState) -> Bool {
    switch state {
    case .completed, .failed, .cancelled, .timedOut: true
    default: false
    }
  }

  static func exits(of state: AgentTaskState) -> [AgentTaskState] {
    switch state {
    case .received: [.running, .failed, .cancelled, .timedOut]
    case .running: [.running, .completed, .failed, .cancelled, .timedOut]
    default: []
    }
  }

  static func allows(_ state: AgentTaskState, to next: AgentTaskState) -> Bool { exits(of: state).contains(next) }
}

/// What may become of a proposal.
///
/// open → accepted | rejected | applied; accepted → applied | rejected (what was accepted could not be done). A refused proposal was
/// never open.
enum ProposalStateMachine {
  static func exits(of state: ProposalState) -> [ProposalState] {
    switch state {
    case .open: [.accepted, .rejected, .applied]
    case .accepted: [.applied, .rejected]
    default: []
    }
  }

  static func allows(_ state: ProposalState, to next: ProposalState) -> Bool { exits(of: state).contains(next) }
}
