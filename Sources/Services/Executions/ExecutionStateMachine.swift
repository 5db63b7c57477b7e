import SpanwireSchema

/// What may become of an execution.
///
/// created → running | failed | cancelled; running → running (a further attempt) | completed | failed | cancelled. The other states have
/// no exits. Pure: the runtime alone moves an execution, never its handler.
enum ExecutionStateMachine {
  static func exits(of status: ExecutionStatus) -> [ExecutionStatus] {
    switch status {
    case .created: [.running, .failed, .cancelled]
    case .running: [.running, .completed, .failed, .cancelled]
    default: []
    }
  }

  static func allows(_ status: ExecutionStatus, to next: ExecutionStatus) -> Bool { exits(of: status).contains(next) }

  static func isTerminal(_ status: ExecutionStatus) -> Bool { exits(of: status).isEmpty && status != .unspecified }
}

/// What may become of an artifact.
///
/// pending → ready | failed; ready → archived → deleted.
enum ArtifactStateMachine {
  static func exits(of state: ArtifactState) -> [ArtifactState] {
    switch state {
    case .pending: [.ready, .failed]
    case .ready: [.archived]
    case .archived: [.deleted]
    default: []
    }
  }

  static func allows(_ state: ArtifactState, to next: ArtifactState) -> Bool { exits(of: state).contains(next) }
}

extension ExecutionStatus {
  var word: String {
    switch self {
    case .created: "created"
    case .running: "running"
    case .completed: "completed"
    case .failed: "failed"
    case .cancelled: "cancelled"
    default: "unspecified"
    }
  }
}

extension ArtifactState {
  var word: String {
    switch self {
    case .pending: "pending"
    case .ready: "ready"
    case .failed: "failed"
    case .archived: "archived"
    case .deleted: "deleted"
    default: "unspecified"
    }
  }
}
